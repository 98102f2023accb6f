"""Tests of the branches of a fusion: inputs, features per branch and estimators."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from torch import nn

from conftest import CLASSES, build_classifier, build_datamodule, make_batch, typed_config
from emotion import runs
from emotion.batch import select_items
from emotion.composition import load_classifier
from emotion.data.table import class_weights
from emotion.errors import EmotionError
from emotion.inference import Predictor, export
from emotion.labels import EMOTIONS
from emotion.models.late_fusion import Concatenation
from emotion.pipelines.evaluate import evaluate
from emotion.pipelines.train import train
from emotion.training.branches import cross_fit
from emotion.training.estimator import Vectors

SMALL = ("model.branches.audio=mfcc_cnn", "model.branches.audio.backbone.channels=[4,4]", "~model.branches.face")
AUDIO = ("model=late_fusion", *SMALL, "trainer.max_epochs=1")
TWO = (*AUDIO, "model.branches.vector=functionals", "model.branches.vector.features=[chroma,rms]")
STACKED = (*AUDIO, "model.branches.vector=logistic_functionals", "model.branches.vector.grid={C:[0.1,10.0]}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+model.images.size=48", "unknown key model.images"),
        ("+model.pooling=mean", "unknown key model.pooling"),
        ("model.input=speech", "model.input=speech: known: action_units, features, hog3d, images"),
        ("model.input=vector", "model.input=vector"),
        ("model.input=images", "model.images is missing"),
        ("~model.input", "model.input=null"),
    ],
)
def test_keys_of_a_branch_depend_on_its_input(compose, override, message):
    with pytest.raises(EmotionError, match=message):
        typed_config(compose("model=mfcc_cnn", override))


def test_features_of_a_branch_default_to_the_features_group(compose):
    config = typed_config(compose(*TWO, "features.trim_db=20", "model.branches.vector.features.normalize=none"))
    features = config.model.branches["vector"].features
    assert (list(features.sets), features.trim_db, features.normalize, features.n_delta_orders) == (
        ["chroma", "rms"],
        20.0,
        "none",
        0,
    )
    assert config.features.normalize == "train" and config.model.branches["audio"].features is None
    with pytest.raises(
        EmotionError, match=r"model\.branches\.vector\.features\.sets\.mfcc\.n_mfcc=200: at most n_mels"
    ):
        both = "model.branches.vector.features=mfcc", "model.branches.vector.features.sets.mfcc.n_mfcc=200"
        typed_config(compose(*AUDIO, "model.branches.vector=functionals", *both))
    with pytest.raises(
        EmotionError, match=r"unknown choice model\.branches\.audio\.features=chrom: did you mean chroma"
    ):
        compose(*AUDIO, "model.branches.audio.features=chrom")


def test_branches_may_define_their_features(compose):
    config = typed_config(compose(*AUDIO, "model.branches.vector=compare_functionals"))
    assert list(config.model.branches["vector"].features.sets) == ["compare_2016"]
    other = typed_config(compose(*AUDIO, "model.branches.b=compare_functionals", "model.branches.b.features=rms"))
    assert list(other.model.branches["b"].features.sets) == ["rms"]


def test_spectrum_augmentations_skip_features_without_a_spectrum(compose):
    two = (*AUDIO, "model.branches.vector=splines", "model.branches.vector.features=spline_variants", "augment=vtlp")
    classifier = build_classifier(compose(*two), CLASSES).train()
    whole, alone = classifier.front_ends
    assert whole.augments_audio and not alone.augments_audio
    assert classifier(make_batch()).isfinite().all()


@pytest.mark.slow
def test_features_per_branch_work_from_training_to_prediction(train_in_process, compose, demo_root):
    run_dir = train_in_process(*TWO)
    computed = train_in_process(*TWO, "features.cache=false", name="computed")
    assert runs.load_metrics(run_dir)["dev/loss"] == pytest.approx(runs.load_metrics(computed)["dev/loss"], abs=1e-3)
    overrides = [f"run={run_dir}"]
    again = evaluate(compose(*overrides, config_name="evaluate"), overrides)
    assert again["test/loss"] == runs.load_metrics(run_dir)["test/loss"]
    table = pd.read_csv(run_dir / "predictions.csv")
    expected = table[table["split"] == "test"].head(4)
    files = [demo_root / f"Actor_{name[-2:]}" / f"03-{name.split('/')[1]}.wav" for name in expected["recording"]]
    for prediction, row in zip(Predictor.from_run(run_dir).predict(files), expected.itertuples(), strict=True):
        assert list(prediction.probabilities.values()) == pytest.approx(
            [getattr(row, name) for name in EMOTIONS], abs=1e-4
        )


def test_batches_hold_cached_features_of_each_branch_or_waveforms(compose):
    from emotion.pipelines.results import cache_features

    for augment, cached, waveform in (("none", 2, False), ("noise", 0, True)):
        config = typed_config(compose(*TWO, f"augment={augment}"))
        datamodule = build_datamodule(config)
        datamodule.setup()
        classifier = build_classifier(config, CLASSES)
        cache_features(classifier, datamodule, torch.device("cpu"))
        (batch, *_) = datamodule.train_dataloader()
        assert (len(batch.get("features", {})), "waveform" in batch) == (cached, waveform)
        (batch, *_) = datamodule.val_dataloader()
        sizes = {features.shape[1] for features, _ in batch["features"].values()}
        assert sizes == {end.num_features for end in classifier.front_ends} == {40, 13}
        assert classifier.train()(batch).isfinite().all()


@pytest.mark.slow
def test_two_branches_are_exported_if_their_hop_lengths_agree(train_in_process, tmp_path):
    run_dir = train_in_process(*TWO)
    assert export.export(run_dir, tmp_path / "model.onnx", "onnx").difference < 1e-4
    other = train_in_process(*TWO, "model.branches.vector.features.hop_length=256", name="other")
    with pytest.raises(EmotionError, match=r"hop_length=256 and 512 cannot be exported together"):
        export.export(other, tmp_path / "other.onnx", "onnx")


# Estimators.


class RandomVectors:
    """Random vectors and labels, on which an estimator overfits to its training recordings."""

    def __init__(self, speakers=6, each=20):
        random = np.random.default_rng(0)
        self.speakers = np.repeat([f"s{number}" for number in range(speakers)], each)
        self.labels = random.integers(0, 4, len(self.speakers))
        self.train = Vectors(random.standard_normal((len(self.labels), 200)), self.labels, np.arange(len(self.labels)))


@pytest.fixture
def estimator(compose):
    config = compose("model=logistic_regression", "model.estimator.max_iter=300")
    return build_classifier(config, 4).head


def accuracy(log_probabilities, labels):
    return (log_probabilities.argmax(axis=1) == labels).mean()


def test_cross_fitting_predicts_speakers_with_estimators_not_trained_on_them(estimator):
    data = RandomVectors()
    estimator.fit(data.train.values, data.labels, None)
    fitted = estimator.pipeline
    fold, log_probabilities = cross_fit(estimator, data.train, data.speakers, None, seed=0)
    assert estimator.pipeline is fitted
    assert accuracy(estimator(torch.from_numpy(data.train.values)).numpy(), data.labels) == 1
    assert accuracy(log_probabilities, data.labels) < 0.5
    assert all(len(set(fold[data.speakers == speaker])) == 1 for speaker in set(data.speakers))
    assert set(fold) == set(range(5))


def test_folds_of_a_single_speaker_hold_every_class(estimator):
    data = RandomVectors(speakers=1, each=60)
    fold, log_probabilities = cross_fit(estimator, data.train, data.speakers, None, seed=0)
    assert all(set(data.labels[fold == number]) == set(range(4)) for number in range(5))
    assert accuracy(log_probabilities, data.labels) < 0.6
    too_few = Vectors(data.train.values[:3], np.array([0, 1, 1]), np.arange(3))
    with pytest.raises(EmotionError, match="two recordings of each class"):
        cross_fit(estimator, too_few, data.speakers[:3], None, seed=0)


@pytest.fixture(scope="module")
def clips(real_data, tmp_path_factory):
    """Return the overrides of real clips of six actors: four of train, one of dev and one of test of luna5."""
    root = tmp_path_factory.mktemp("clips") / "ravdess"
    for actor in ("01", "04", "07", "08", "03", "02"):
        (root / f"Actor_{actor}").mkdir(parents=True)
        for path in (real_data / "ravdess").rglob(f"03-01-*-01-??-{actor}.*"):
            (root / f"Actor_{actor}" / path.name).symlink_to(path)
    return ("data=ravdess", f"data.root={root.parent}", "protocol=luna5", "data.on_error=skip")


@pytest.fixture(scope="module")
def stacked(clips, tmp_path_factory):
    """Return a finished fusion of a CNN and an estimator on real clips."""
    import hydra

    from emotion.config.compose import DIRECTORY
    from emotion.hydra_cli.overrides import choose_branches

    run_dir = tmp_path_factory.mktemp("stacked") / "run"
    with hydra.initialize_config_dir(str(DIRECTORY), version_base="1.3"):
        overrides = choose_branches([*clips, *STACKED])
    with hydra.initialize_config_dir(str(DIRECTORY), version_base="1.3"):
        train(hydra.compose("train", overrides=overrides), run_dir, overrides, hints=False)
    return run_dir


def vectors(classifier, datamodule, *splits):
    encoder = classifier.encoder.encoders["vector"].eval()
    return np.concatenate([encoder.vector(batch).double().numpy() for batch in datamodule.batches(*splits)])


@pytest.mark.slow
def test_training_log_probabilities_are_from_estimators_without_the_speaker(stacked):
    config = runs.load_config(stacked)
    classifier, datamodule = load_classifier(stacked, config), build_datamodule(config)
    datamodule.setup()
    table = pd.read_csv(stacked / "checkpoints" / "vector_cross_fitted.csv")
    rows = datamodule.table[datamodule.table["split"] == "train"]
    assert list(table["recording"]) == list(rows["recording"])
    assert table["speaker"].nunique() == table["fold"].nunique() == 4
    values, labels = vectors(classifier, datamodule, "train"), rows["label"].to_numpy()
    weights = class_weights(datamodule.table, len(datamodule.classes)).numpy()[labels]
    encoder = classifier.encoder.encoders["vector"]
    for fold, rows_of_fold in table.groupby("fold").indices.items():
        others = np.setdiff1d(np.arange(len(table)), rows_of_fold)
        assert not set(table["speaker"].iloc[rows_of_fold]) & set(table["speaker"].iloc[others])
        scaler, logistic = (clone(step) for step in encoder.estimator.pipeline)
        logistic.fit(scaler.fit_transform(values[others]), labels[others], sample_weight=weights[others])
        expected = logistic.predict_log_proba(scaler.transform(values[rows_of_fold]))
        actual = table.loc[table["fold"] == fold, list(EMOTIONS)].to_numpy()
        unclipped = expected > np.log(1e-5)  # smaller ones are clipped
        np.testing.assert_allclose(actual[unclipped], expected[unclipped], atol=1e-3)
    encoder.set_cross_fitted(table["recording"].tolist(), torch.tensor(table[list(EMOTIONS)].to_numpy(np.float32)))
    batch = datamodule.dataset("train").__getitems__(range(len(table)))
    cross_fitted, whole = encoder.train()(batch).numpy(), encoder.eval()(batch).numpy()
    np.testing.assert_allclose(cross_fitted, table[list(EMOTIONS)].to_numpy(), atol=1e-5)
    assert accuracy(whole, labels) > accuracy(cross_fitted, labels) + 0.2


def test_parameters_are_selected_on_dev_and_the_run_is_complete(stacked, clips, compose, tmp_path):
    grid = pd.read_csv(stacked / "grid_vector.csv")
    config = runs.load_config(stacked)
    classifier = load_classifier(stacked, config)
    encoder = classifier.encoder.encoders["vector"]
    assert grid["C"][grid["dev/uar"].idxmax()] == encoder.estimator.pipeline[-1].C
    assert runs.load_metrics(stacked)["parameters"] == sum(p.numel() for p in classifier.parameters()) + (
        encoder.estimator.size
    )
    moved = shutil.copytree(stacked, tmp_path / "moved")
    overrides = [f"run={moved}"]
    again = evaluate(compose(*overrides, config_name="evaluate"), overrides)
    assert again["test/loss"] == runs.load_metrics(stacked)["test/loss"]
    (moved / "checkpoints" / "vector.skops").unlink()
    with pytest.raises(EmotionError, match=r"vector\.skops does not exist"):
        Predictor.from_run(moved)


def test_fusions_with_an_estimator_predict_files_and_are_bundled(stacked, tmp_path):
    from emotion.inference.bundle import bundle

    root = tmp_path / "bundle"
    bundle(stacked, root)
    table = pd.read_csv(stacked / "predictions.csv").query("split == 'test'").head(3)
    data = json.loads((stacked / "environment.json").read_text())["data_root"]
    files = [f"{data}/ravdess/Actor_{name[-2:]}/03-{name.split('/')[1]}.flac" for name in table["recording"]]
    for run_dir, tolerance in ((stacked, 1e-4), (root, 2e-2)):
        for prediction, row in zip(Predictor.from_run(run_dir).predict(files), table.itertuples(), strict=True):
            expected = [getattr(row, name) for name in EMOTIONS]
            assert list(prediction.probabilities.values()) == pytest.approx(expected, abs=tolerance)
    with pytest.raises(
        EmotionError, match="a scikit-learn estimator cannot be exported to this format; use --format bundle"
    ):
        export.export(stacked, tmp_path / "model.onnx", "onnx", files)


@pytest.mark.slow
def test_a_resumed_fusion_with_an_estimator_equals_an_uninterrupted_one(train_in_process, compose):
    overrides = (*STACKED, "scheduler=constant", "features=chroma", "model.branches.audio=frame_mlp")
    overrides = [override for override in overrides if "channels" not in override]
    whole = train_in_process(*overrides, "trainer.max_epochs=2", name="whole")
    half = train_in_process(*overrides, name="half")
    overrides = [f"resume={half}", "trainer.max_epochs=2"]
    train(compose(*overrides), half, overrides[1:])
    assert runs.load_metrics(half)["test/loss"] == pytest.approx(runs.load_metrics(whole)["test/loss"], abs=1e-6)


@pytest.mark.parametrize("fusion", ["concatenation", "gated", "cross_attention", "mean_log_probability"])
def test_every_fusion_accepts_an_estimator_and_missing_modalities(compose, fusion):
    torch.manual_seed(0)
    units = ("model.branches.vector.vector=action_unit_means", f"model/fusion={fusion}")
    classifier = build_classifier(compose(*STACKED, *units), CLASSES)
    encoder, batch = classifier.encoder.encoders["vector"], make_batch()
    encoder.estimator.fit(np.random.default_rng(0).random((40, 35)), np.arange(40) % CLASSES, None)
    encoder.set_cross_fitted(batch["recording"], torch.randn(4, CLASSES))
    batch["action_unit_frames"][1] = 0
    batch["action_units"][1] = torch.nan
    logits = classifier.eval()(batch)
    rest = torch.tensor([0, 2, 3])
    torch.testing.assert_close(classifier(select_items(batch, rest)), logits[rest])
    assert logits.isfinite().all()
    nn.functional.cross_entropy(classifier.train()(batch), batch["label"]).backward()
    assert not list(encoder.parameters())
    assert all(p.grad.isfinite().all() for p in classifier.parameters() if p.grad is not None)
    if fusion == "mean_log_probability":
        torch.testing.assert_close(classifier.encoder.encode("vector", batch)[0], encoder(batch))


def test_cross_fitted_log_probabilities_are_selected_by_recording(compose):
    encoder = build_classifier(compose(*STACKED), CLASSES).encoder.encoders["vector"].train()
    batch, values = make_batch(), torch.randn(4, CLASSES).log_softmax(dim=1)
    encoder.set_cross_fitted(batch["recording"][::-1], values)
    torch.testing.assert_close(encoder(batch), values.flip(0))
    torch.testing.assert_close(encoder(select_items(batch, torch.tensor([True, False, False, True]))), values[[3, 0]])
    mixture = batch | {"mix_partner": torch.tensor([1, 0, 3, 2]), "mix_weight": torch.full((4,), 0.75)}
    torch.testing.assert_close(encoder(mixture), 0.75 * values.flip(0) + 0.25 * values[[2, 3, 0, 1]])
    with pytest.raises(EmotionError, match="other/1 has no cross-fitted"):
        encoder(batch | {"recording": ["other/1", *batch["recording"][1:]]})
    joined = Concatenation({"one": encoder}).train()(batch)
    assert joined.shape == (4, CLASSES)


@pytest.mark.slow
def test_branches_are_initialised_from_runs_with_other_features_and_estimators(train_in_process, compose, demo_root):
    small = ("model.grid={C:[0.01,1.0]}", "features=[chroma,rms]")
    initial = train_in_process("model=logistic_regression", "model.vector=means", *small, name="initial")
    network = train_in_process(
        "model=mfcc_cnn", "model.backbone.channels=[4,4]", "trainer.max_epochs=1", name="network"
    )
    fusion = ("model=late_fusion", "~model.branches.face", f"model.branches.audio.init_from={network}")
    fusion += ("model.branches.vector=logistic_functionals", f"model.branches.vector.init_from={initial}")
    run_dir = train_in_process(*fusion, "trainer.max_epochs=1", name="fused")
    config, initial_config = runs.load_config(run_dir), runs.load_config(initial)
    vector = config.model.branches["vector"]
    assert list(vector.vector.features.sets) == ["chroma", "rms"]
    assert list(config.model.branches["audio"].features.sets) == ["mfcc"]
    assert vector.vector.backbone == initial_config.model.vector.backbone
    fused, single = load_classifier(run_dir, config), load_classifier(initial, initial_config)
    encoder = fused.encoder.encoders["vector"]
    assert encoder.estimator.pipeline[-1].C == single.head.pipeline[-1].C
    batch = build_datamodule(initial_config)
    batch.setup()
    batch = batch.dataset("test").__getitems__([0, 5])
    torch.testing.assert_close(encoder.eval()(batch), single.eval()(batch).log_softmax(dim=1))
    assert not (run_dir / "grid_vector.csv").exists()
    assert len(pd.read_csv(run_dir / "checkpoints" / "vector_cross_fitted.csv")) == 256
    for name in ("config.yaml", "overrides.yaml"):
        assert str(initial) not in (run_dir / name).read_text()
    slow = ("model=audio_lstm", "features=rms", "model.backbone.width=4", "data.sample_rate=8000")
    other = train_in_process(*slow, "trainer.max_epochs=1", name="other")
    with pytest.raises(EmotionError, match=r"has another data\.sample_rate than the other runs"):
        train_in_process(*fusion, f"model.branches.vector.init_from={other}", name="refused")
    for override, message in (
        ("features=log_mel", "features=log_mel cannot be changed|features cannot be changed"),
        ("model.branches.vector.grid={C:[1.0]}", "model.branches.vector.grid cannot be changed"),
        ("protocol.fold=1", "was trained or selected on"),
    ):
        with pytest.raises(EmotionError, match=message):
            train_in_process(*fusion, override, name="refused")


def test_a_refit_includes_estimators_and_recordings_without_their_modality(train_in_process, demo_root, tmp_path):
    from emotion.corpora.demo import Demo
    from emotion.prepare.action_units import INTENSITIES, PRESENCES

    table = Demo().scan(demo_root)
    values = pd.DataFrame(np.random.default_rng(0).random((len(table), 35)), columns=INTENSITIES + PRESENCES)
    known = values.assign(name=table["recording"].str.replace("demo/", "01-")).iloc[::2]
    known.to_csv(tmp_path / "units.csv", index=False)
    units = (f"action_units.table={tmp_path / 'units.csv'}", "data.on_error=allow_missing_modality")
    overrides = (*STACKED, "model.branches.vector.vector=action_unit_means", *units, "training.refit=true")
    run_dir = train_in_process(*overrides)
    cross_fitted = pd.read_csv(run_dir / "checkpoints" / "vector_cross_fitted.csv")
    rows = runs.load_recordings(run_dir)
    assert (rows["split"] == "train").sum() == 256
    both = rows.loc[rows["split"] != "test", "recording"]
    assert set(cross_fitted["recording"]) == set(both[both.isin(table["recording"].iloc[::2])])

    classifier = load_classifier(run_dir, runs.load_config(run_dir))
    scaler = classifier.encoder.encoders["vector"].estimator.pipeline[0]
    assert scaler.n_samples_seen_ == len(cross_fitted)
    assert np.isfinite(cross_fitted[list(EMOTIONS)]).all(axis=None)
