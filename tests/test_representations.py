"""Tests of pretrained networks as features, with random weights in place of published ones."""

import numpy as np
import pandas as pd
import pytest
import torch
import torchaudio

from conftest import build_classifier, build_datamodule, make_batch
from emotion import runs
from emotion.data.feature_cache import cached_features
from emotion.errors import EmotionError
from emotion.features.opensmile import OpensmileFunctionals
from emotion.features.speech import SpeechRepresentation
from emotion.features.vggish import Vggish
from emotion.inference import Predictor
from emotion.models.layer_mix import LayerMix
from emotion.pipelines.evaluate import evaluate

FACTORIES = {
    "wav2vec2": torchaudio.models.wav2vec2_base,
    "hubert": torchaudio.models.hubert_base,
    "wavlm": torchaudio.models.wavlm_base,
}


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory):
    """Return a function that returns a file of random weights and the network with these weights."""
    files = {}

    def make(name):
        if name not in files:
            torch.manual_seed(sum(map(ord, name)))
            network = FACTORIES[name]().eval()
            files[name] = tmp_path_factory.mktemp("weights") / f"{name}.pth", network
            torch.save(network.state_dict(), files[name][0])
        return files[name]

    return make


def test_parameter_counts_equal_published_ones():
    # Published: 94.4 million parameters in the base models, 72.1 million in VGGish.
    with torch.device("meta"):
        speech, vggish = SpeechRepresentation(16_000, "wav2vec2_base"), Vggish(16_000)
    assert sum(parameter.numel() for parameter in speech.parameters()) == pytest.approx(94.4e6, rel=1e-3)
    assert (speech.num_channels, speech.num_features) == (12, 12 * 768)
    assert sum(parameter.numel() for parameter in vggish.network.parameters()) == 72_141_184


@pytest.mark.slow
@pytest.mark.parametrize("name", FACTORIES)
def test_loaded_weights_give_the_output_of_torchaudio(compose, random_weights, name):
    path, network = random_weights(name)
    chosen = [f"features.sets.{name}.weights={path}", "features.trim_db=null"]
    classifier = build_classifier(compose(f"model={name}", *chosen), 8).eval()
    classifier.encoder.load_pretrained()
    batch = make_batch((9_000, 300, 16_000))
    features, frames = classifier.encoder.front_end.compute_features(batch)
    assert frames.tolist() == [27, 1, 49]
    for row in (0, 2):
        alone = batch["waveform"][row : row + 1, : batch["waveform_length"][row]]
        with torch.no_grad():
            expected = torch.cat(network.extract_features(alone)[0], dim=2)[0]
        torch.testing.assert_close(features[row, :, : frames[row]].T, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_single_layers_are_selectable():
    torch.manual_seed(0)
    all_layers, waveform, length = (
        SpeechRepresentation(16_000, "wav2vec2_base"),
        torch.randn(1, 4_000),
        torch.tensor([4_000]),
    )
    layers = all_layers(waveform, length)[0].unflatten(1, (12, 768))
    for layer, number in (("middle", 6), ("last", 12), (3, 3)):
        single = SpeechRepresentation(16_000, "wav2vec2_base", layers=layer)
        single.load_state_dict(all_layers.state_dict())
        torch.testing.assert_close(single(waveform, length)[0], layers[:, number - 1], atol=1e-5, rtol=1e-4)
        assert single.feature_groups == ((f"layer {number}", 768),)


def test_layer_weights_are_applied():
    network = LayerMix(6, num_channels=3, width=4).eval()
    with torch.no_grad():
        network.weights.copy_(torch.tensor([0.0, 100.0, 0.0]))
        network.project[0].bias.zero_()
    features = torch.randn(1, 6, 5)
    embeddings, _ = network.encode_frames(features, torch.tensor([5]))
    torch.testing.assert_close(embeddings, network.project(features[:, 2:4]))


@pytest.mark.slow
def test_freeze_determines_which_parameters_are_trained(compose, random_weights):
    from omegaconf import OmegaConf

    from emotion.training.module import EmotionModule

    path, _ = random_weights("wav2vec2")
    options = [f"features.sets.wav2vec2.weights={path}", "augment=none"]
    frozen, tuned = (
        build_classifier(compose("model=wav2vec2", *options, f"features.sets.wav2vec2.freeze={freeze}"), 8).train()
        for freeze in ("true", "false")
    )
    batch = make_batch((4_000, 5_000))
    for classifier in (frozen, tuned):
        torch.nn.functional.cross_entropy(classifier(batch), batch["label"]).backward()
    speech = frozen.encoder.front_end.features
    assert not speech.training
    assert all(parameter.grad is None for parameter in speech.parameters())
    assert frozen.encoder.backbone.weights.grad.any()
    assert all(parameter.grad.any() for parameter in tuned.encoder.front_end.features.parameters())

    module = EmotionModule(tuned, tuple("abcdefgh"), OmegaConf.create({"lr": 0.1}), OmegaConf.create({}))
    by_rate = module._parameters_by_lr()
    assert {rate: sum(p.numel() for p in parameters) > 1e7 for rate, parameters in by_rate.items()} == {
        1.0: False,
        0.01: True,
    }


@pytest.fixture(scope="session")
def subset(demo_root, tmp_path_factory):
    """Return the overrides of a corpus of five speakers and two emotions."""
    root = tmp_path_factory.mktemp("subset")
    for emotion, number in (("happy", "03"), ("sad", "04")):
        (root / emotion).mkdir()
        for actor in range(1, 6):
            name = f"03-01-{number}-01-01-01-{actor:02}.wav"
            (root / emotion / f"person{actor}.wav").symlink_to(demo_root / f"Actor_{actor:02}" / name)
    corpus = ("data=folder", f"data.root={root}", "data.corpus.speaker=person.")
    return (*corpus, "protocol=speakers5", "labels=happy_sad", "features.duration_s=0.3")


@pytest.mark.slow
@pytest.mark.parametrize("frozen", ["true", "false"])
def test_runs_with_pretrained_features_train_evaluate_and_predict(
    train_in_process, compose, random_weights, subset, frozen
):
    path, _ = random_weights("wav2vec2")
    options = [f"features.sets.wav2vec2.weights={path}", f"features.sets.wav2vec2.freeze={frozen}"]
    run_dir = train_in_process(*subset, "model=wav2vec2", *options, "trainer.max_epochs=1")
    assert str(path.parent) not in (run_dir / "config.yaml").read_text() + (run_dir / "overrides.yaml").read_text()
    overrides = [f"run={run_dir}"]
    path.rename(path.with_suffix(".away"))  # the run must not need the file
    try:
        metrics = evaluate(compose(*overrides, config_name="evaluate"), overrides)
        assert metrics["test/loss"] == pytest.approx(runs.load_metrics(run_dir)["test/loss"], abs=1e-5)
    finally:
        path.with_suffix(".away").rename(path)
    table = pd.read_csv(run_dir / "predictions.csv").iloc[-1]
    root = subset[1].removeprefix("data.root=")
    (prediction,) = Predictor.from_run(run_dir).predict([f"{root}/{table['recording'].split('/', 1)[1]}.wav"])
    assert prediction.probabilities["happy"] == pytest.approx(table["happy"], abs=1e-4)
    svm = train_in_process(
        "model=svm", f"model.vector.init_from={run_dir}", *subset[:-1], "model.grid={C:[1.0]}", name="svm"
    )
    assert runs.load_metrics(svm)["test/uar"] >= 0


@pytest.mark.slow
def test_resumed_training_equals_uninterrupted_training(train_in_process, random_weights, subset):
    path, _ = random_weights("wav2vec2")
    options = [*subset, "model=wav2vec2", f"features.sets.wav2vec2.weights={path}", "scheduler=constant"]
    whole = train_in_process(*options, "trainer.max_epochs=2", name="whole")
    half = train_in_process(*options, "trainer.max_epochs=1", name="half")
    path.rename(path.with_suffix(".away"))
    try:
        train_in_process(f"resume={half}", "trainer.max_epochs=2", name="half")
    finally:
        path.with_suffix(".away").rename(path)
    losses = [runs.load_metrics(run)["test/loss"] for run in (whole, half)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


@pytest.mark.slow
def test_feature_caches_depend_on_the_weights(subset, compose, tmp_path):
    datamodule = build_datamodule(compose(*subset))
    datamodule.setup()
    torch.manual_seed(0)
    one, other = (build_classifier(compose("model=vggish", *subset), 2).front_ends[0] for _ in range(2))
    first, second = (cached_features(end, datamodule.sources["waveform"], "key", tmp_path) for end in (one, other))
    again = cached_features(one, datamodule.sources["waveform"], "key", tmp_path)
    assert len(list((tmp_path / "features").glob("*.npy"))) == 2
    np.testing.assert_array_equal(first.values, again.values)
    batch = datamodule.dataset("test").__getitems__([0, 1])
    features, frames = other.extract(batch["waveform"], batch["waveform_length"])
    values, length = second.select(batch["recording"]).padded([0, 1])
    torch.testing.assert_close(values.transpose(1, 2), features)
    torch.testing.assert_close(length, frames)


@pytest.mark.slow
def test_missing_weights_are_reported_in_one_line(train_in_process, subset, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))

    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    line = (
        r"the weights pretrained could not be downloaded from torchaudio\.pipelines\.HUBERT_BASE \(no route to host\)"
    )
    with pytest.raises(EmotionError, match=line):
        train_in_process(*subset, "model=hubert", name="a")
    with pytest.raises(EmotionError, match="weights=nowhere is neither a file nor one of: none, pretrained"):
        train_in_process(*subset, "model=wavlm", "features.sets.wavlm.weights=nowhere", name="b")
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(EmotionError, match="holds the weights of another network"):
        train_in_process(*subset, "model=hubert", f"features.sets.hubert.weights={tmp_path / 'other.pth'}", name="c")
    with pytest.raises(EmotionError, match=r"could not be downloaded from https://github\.com/.*vggish"):
        train_in_process(*subset, "model=vggish", name="d")


@pytest.mark.slow
def test_weights_in_the_torch_hub_cache_are_used(random_weights, monkeypatch, tmp_path):
    path, network = random_weights("hubert")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "hubert_fairseq_base_ls960.pth").symlink_to(path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    speech = SpeechRepresentation(16_000, "hubert_base")
    speech.load_pretrained()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(speech.model.state_dict()[name], value)


@pytest.mark.slow
def test_unsuitable_options_of_pretrained_features_are_refused(compose):
    for options in (["features=[mfcc,vggish]"], ["features=vggish", "features.n_delta_orders=1"]):
        with pytest.raises(EmotionError, match="vggish cannot be stacked"):
            build_classifier(compose("model=audio_lstm", *options), 8)
    with pytest.raises(EmotionError, match="augment=vtlp changes a spectrum"):
        build_classifier(compose("model=vggish", "augment=vtlp"), 8)
    with pytest.raises(EmotionError, match=r"normalize=clip leaves nothing of features=egemaps"):
        build_classifier(compose("model=svm", "features=egemaps", "features.normalize=clip"), 8)
    with pytest.raises(EmotionError, match="needs audio at 16000 Hz"):
        build_classifier(compose("model=wav2vec2", "data.sample_rate=22050"), 8)
    with pytest.raises(EmotionError, match="layers=13: all, middle, last"):
        SpeechRepresentation(16_000, "hubert_base", layers=13)
    with pytest.raises(EmotionError, match="did you mean wavlm_large"):
        SpeechRepresentation(16_000, "wavlm_lage")


def clip(store, row):
    offset, length = store.index[["offset", "length"]].iloc[row]
    return store.columns["waveforms"][offset : offset + length].astype(np.float32) / 2**15


@pytest.mark.slow
def test_vggish_input_equals_the_published_recipe(ravdess_speech):
    """The expected values are computed in double precision: framing, spectrum, mel filter bank, logarithm."""
    samples = clip(ravdess_speech, 0).astype(np.float64)
    window = 0.5 - 0.5 * np.cos(2 * np.pi / 400 * np.arange(400))
    frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160]
    spectrum = np.abs(np.fft.rfft(frames * window, 512))
    scale = lambda hertz: 1127.0 * np.log(1.0 + hertz / 700.0)  # noqa: E731
    edges = np.linspace(scale(125.0), scale(7500.0), 66)
    bank = np.empty((257, 64))
    bins = scale(np.linspace(0.0, 8000.0, 257))
    for band in range(64):
        low, centre, high = edges[band : band + 3]
        bank[:, band] = np.maximum(0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    bank[0] = 0
    expected = np.log(spectrum @ bank + 0.01)
    examples = Vggish(16_000).examples(torch.from_numpy(samples).float())
    assert examples.shape == (len(expected) // 96, 96, 64)
    np.testing.assert_allclose(examples.flatten(0, 1), expected[: len(examples) * 96], atol=2e-3)


@pytest.mark.slow
def test_vggish_postprocessing_equals_pca_and_quantisation(tmp_path):
    torch.manual_seed(0)
    vectors, means = torch.randn(128, 128), torch.randn(128, 1)
    torch.save({"pca_eigen_vectors": vectors, "pca_means": means}, tmp_path / "pca.pth")
    raw = Vggish(16_000, "none", postprocess=False).eval()
    processed = Vggish(16_000, "none", str(tmp_path / "pca.pth"))
    processed.network.load_state_dict(raw.network.state_dict())
    processed.load_pretrained()
    waveform, length = 0.1 * torch.randn(2, 40_000), torch.tensor([40_000, 16_000])
    plain, frames = raw(waveform, length)
    embedded, _ = processed(waveform, length)
    assert frames.tolist() == [2, 1]
    white = (vectors.double() @ (plain[0].double() - means.double())).clamp(-2, 2)
    np.testing.assert_allclose(embedded[0], ((white + 2) * 255 / 4).round().detach(), atol=1)
    assert (embedded[0] == embedded[0].round()).all()
    # The published file holds NumPy arrays and one-dimensional means.
    torch.save({"pca_eigen_vectors": vectors.numpy(), "pca_means": means[:, 0].numpy()}, tmp_path / "numpy.pth")
    again = Vggish(16_000, "none", str(tmp_path / "numpy.pth"))
    again.load_pretrained()
    torch.testing.assert_close(again.components["pca_means"], processed.components["pca_means"])
    with pytest.raises(EmotionError, match="quantised embeddings have no gradient"):
        Vggish(16_000, "none", freeze=False)


@pytest.mark.slow
@pytest.mark.parametrize(("collection", "size"), [("eGeMAPSv02", 88), ("ComParE_2016", 6373)])
def test_functionals_equal_those_of_opensmile(collection, size, ravdess_speech):
    opensmile = pytest.importorskip("opensmile")
    waveforms = [torch.from_numpy(clip(ravdess_speech, row)) for row in (0, 700)]
    samples, length = (
        torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True),
        torch.tensor([len(waveform) for waveform in waveforms]),
    )
    vectors, frames = OpensmileFunctionals(16_000, collection)(samples, length)
    assert vectors.shape == (2, size, 1)
    assert frames.tolist() == [1, 1]
    smile = opensmile.Smile(opensmile.FeatureSet[collection], opensmile.FeatureLevel.Functionals)
    for item, count, vector in zip(samples, length.tolist(), vectors, strict=True):
        expected = smile.process_signal(item[:count].numpy(), 16_000)
        np.testing.assert_allclose(vector[:, 0], expected.to_numpy()[0], rtol=1e-5)


def test_missing_opensmile_is_reported(monkeypatch):
    import sys

    from emotion.features import opensmile as module

    monkeypatch.setitem(sys.modules, "opensmile", None)
    module._smile.cache_clear()
    with pytest.raises(EmotionError, match=r"pip install 'emotion\[opensmile\]'"):
        OpensmileFunctionals(16_000, "eGeMAPSv02")(torch.zeros(1, 16_000), torch.tensor([16_000]))
