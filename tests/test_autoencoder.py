"""Tests of an autoencoder of one emotion: training, metrics and files of its run directory."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn.metrics import roc_auc_score

from emotion import runs
from emotion.errors import EmotionError
from emotion.inference import Predictor
from emotion.models.autoencoder import Autoencoder, ErrorHead
from emotion.pipelines.evaluate import evaluate

QUICK = ("labels=happy_sad", "trainer.max_epochs=3", "data.batch_size=8", "model.backbone.channels=[8,16,16]")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    import hydra

    from emotion.config.compose import DIRECTORY
    from emotion.pipelines.train import train

    run_dir, overrides = tmp_path_factory.mktemp("autoencoder") / "run", ["model=variational_autoencoder", *QUICK]
    with hydra.initialize_config_dir(str(DIRECTORY), version_base="1.3"):
        config = hydra.compose("train", overrides=overrides)
    train(config, run_dir, overrides)
    return run_dir


@pytest.mark.slow
def test_training_uses_one_emotion_only(run):
    splits = runs.load_splits(run)
    assert set(splits["emotion"][splits["split"] == "train"]) == {"happy"}
    assert set(splits["emotion"][splits["split"] == "test"]) == {"happy", "sad"}


@pytest.mark.slow
def test_metrics_equal_those_of_the_table_of_errors(run):
    metrics, table = runs.load_metrics(run), pd.read_csv(run / "reconstructions" / "errors.csv")
    for split in ("dev", "test"):
        rows = table[table["split"] == split]
        happy, sad = (rows[rows["emotion"] == emotion] for emotion in ("happy", "sad"))
        for kind in ("error", "unexplained"):
            assert metrics[f"{split}/{kind}/happy"] == pytest.approx(happy[kind].mean(), abs=1e-5)
            assert metrics[f"{split}/{kind}/others"] == pytest.approx(sad[kind].mean() / happy[kind].mean(), abs=1e-5)
            area = roc_auc_score(rows["emotion"] == "sad", rows[kind])
            assert metrics[f"{split}/{kind}/auc"] == pytest.approx(area, abs=1e-5)


@pytest.mark.slow
def test_figures_and_audio_are_written(run):
    names = {path.name for path in (run / "reconstructions").iterdir()}
    assert {"errors.csv", "errors.png", "reconstructions.png", "samples.png"} <= names
    assert {"happy_features.wav", "happy_reconstructed.wav", "sad_reconstructed.wav", "sample_4.wav"} <= names
    samples, rate = soundfile.read(run / "reconstructions" / "happy_features.wav")
    assert rate == 16_000
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() == pytest.approx(0.9, abs=1e-3)


@pytest.mark.slow
def test_evaluation_and_prediction_equal_training(run, compose, demo_root):
    overrides = [f"run={run}"]
    metrics = evaluate(compose(*overrides, config_name="evaluate"), overrides)
    assert metrics["test/uar"] == runs.load_metrics(run)["test/uar"]
    row = pd.read_csv(run / "predictions.csv").iloc[-1]
    take = row["recording"].split("/")[1]
    (prediction,) = Predictor.from_run(run).predict([demo_root / f"Actor_{take[-2:]}" / f"03-{take}.wav"])
    assert prediction.probabilities["happy"] == pytest.approx(row["happy"], abs=1e-4)


@pytest.mark.slow
def test_resumed_training_equals_uninterrupted_training(train_in_process):
    whole = train_in_process("model=autoencoder", *QUICK, "trainer.max_epochs=2", "scheduler=constant", name="whole")
    half = train_in_process("model=autoencoder", *QUICK, "trainer.max_epochs=1", "scheduler=constant", name="half")
    train_in_process(f"resume={half}", "trainer.max_epochs=2", name="half")
    losses = [runs.load_metrics(path)["test/error/sad"] for path in (whole, half)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert "variational" not in (whole / "metrics.json").read_text()
    assert not (whole / "reconstructions" / "samples.png").exists()


def test_training_data_have_lower_errors_than_other_data():
    torch.manual_seed(0)
    network = Autoencoder(8, frames=16, latent=4, channels=(8, 16))
    optimizer, frames = torch.optim.AdamW(network.parameters(), lr=0.01), torch.full((64,), 16)
    features = torch.randn(64, 2) @ torch.randn(2, 8 * 16)
    features = (features / features.std()).unflatten(1, (8, 16))
    for _ in range(150):
        optimizer.zero_grad()
        network.loss(features, frames)[0].mean().backward()
        optimizer.step()
    unseen = torch.randn(64, 8, 16)
    training_error, other_error = (network.eval().errors(each, frames)[0].mean().item() for each in (features, unseen))
    assert training_error < 0.2
    assert other_error > 0.8


def test_errors_ignore_padding():
    torch.manual_seed(0)
    network, frames = Autoencoder(5, frames=20, latent=4, channels=(4, 8)).eval(), torch.tensor([20, 7, 30])
    features = torch.randn(3, 5, 30) * (torch.arange(30) < frames[:, None])[:, None]
    error, unexplained = network.errors(features, frames)
    reconstruction = network.reconstruction(network(features, frames)[:, :-1])
    for row, count in enumerate((20, 7, 20)):
        original, reconstructed = features[row, :, :count], reconstruction[row, :, :count]
        assert error[row].item() == pytest.approx((original - reconstructed).square().mean().item(), rel=1e-4)
        variance = original.var(dim=1, correction=0).mean()
        assert unexplained[row].item() == pytest.approx((error[row] / variance).item(), rel=1e-3)


def test_kl_divergence_equals_that_of_torch():
    torch.manual_seed(0)
    network = Autoencoder(5, frames=8, latent=4, channels=(4,), variational=True).eval()
    features, frames = torch.randn(3, 5, 8), torch.full((3,), 8)
    loss, error = network.loss(features, frames)
    mean, log_variance = network._encoded(features)
    normal = torch.distributions.Normal
    divergence = torch.distributions.kl_divergence(normal(mean, (log_variance / 2).exp()), normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(loss, error + 2 * divergence / 40)
    assert network.samples(3).shape == (3, 5, 8)
    torch.testing.assert_close(network.samples(2, seed=1), network.samples(2, seed=1))
    with pytest.raises(EmotionError, match="only a variational autoencoder can be sampled"):
        Autoencoder(5, channels=(4,)).samples(1)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_is_a_logistic_regression(classes):
    from sklearn.linear_model import LogisticRegression

    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % classes
    embeddings = torch.randn(60, 3, generator=generator)
    embeddings[:, -1] += labels
    head = ErrorHead(classes)
    head.fit(embeddings, labels)
    expected = LogisticRegression(class_weight="balanced", C=100.0).fit(embeddings[:, -1:].numpy(), labels.numpy())
    prediction = head(embeddings).softmax(dim=1)
    np.testing.assert_allclose(prediction, expected.predict_proba(embeddings[:, -1:].numpy()), atol=1e-4)


@pytest.mark.slow
def test_no_audio_is_written_for_features_without_an_inverse(train_in_process):
    run_dir = train_in_process(
        "model=autoencoder",
        "features=spline_variants",
        *QUICK,
        "trainer.max_epochs=1",
        "features.sets.spline_variants.semitones=[]",
        "features.sets.spline_variants.speed_factors=[]",
    )
    names = {path.name for path in (run_dir / "reconstructions").iterdir()}
    assert names == {"errors.csv", "errors.png", "reconstructions.png"}


def test_unsuitable_monitors_and_emotions_are_refused(train_in_process):
    with pytest.raises(EmotionError, match=r"training\.monitor=dev/uar"):
        train_in_process("model=autoencoder", *QUICK, "training.monitor=dev/uar", name="a")
    with pytest.raises(EmotionError, match=r"model\.train_emotion=angry"):
        train_in_process("model=autoencoder", *QUICK, "model.train_emotion=angry")
