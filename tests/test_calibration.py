"""Tests of calibration: temperature, Brier score, risk over coverage."""

import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import brier_score_loss

from emotion import metrics, runs
from emotion.composition import restore_run
from emotion.inference import Predictor
from emotion.pipelines.train import train
from emotion.training.calibration import fit_temperature

SMALL = ("trainer.max_epochs=3", "model.backbone.channels=[8,8,8,8]")


def test_the_temperature_of_synthetic_logits_is_found():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20_000, 5))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([random.choice(5, p=row) for row in shares])
    for temperature in (0.5, 1.0, 3.0):
        assert fit_temperature(temperature * logits, labels) == pytest.approx(temperature, rel=0.05)


def test_extreme_temperatures_are_limited():
    certain = np.array([[9.0, 0.0], [0.0, 9.0]])
    assert 0.05 <= fit_temperature(certain, np.array([0, 1])) < 0.5
    assert fit_temperature(certain, np.array([1, 0])) == pytest.approx(20, rel=1e-3)


def test_the_brier_score_equals_that_of_scikit_learn():
    random = np.random.default_rng(0)
    truth, probabilities = random.integers(0, 2, 100), random.dirichlet([1, 1], 100)
    expected = 2 * brier_score_loss(truth, probabilities[:, 1])
    assert metrics.brier_score(truth, probabilities) == pytest.approx(expected)


def test_risk_is_the_error_rate_of_the_most_confident():
    truth = np.array([0, 0, 0, 0])
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])  # confidence 0.9, 0.8, 0.7, 0.6
    coverage, risk = metrics.risk_coverage_curve(truth, probabilities)
    np.testing.assert_allclose(coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(risk, [0, 1 / 2, 1 / 3, 1 / 2])
    assert metrics.area_under_risk_coverage(truth, probabilities) == pytest.approx(np.mean(risk))


@pytest.fixture(scope="module")
def two_runs(demo_root, tmp_path_factory):
    """The same training with and without calibration."""
    from emotion.config.compose import compose

    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emotion.plots.tensorboard.write_summary", lambda *_: None)
        for name in ("true", "false"):
            overrides = [*SMALL, f"training.calibrate={name}"]
            train(compose("train", overrides), folder / name, overrides, hints=False)
    return folder / "true", folder / "false"


def test_calibration_changes_probabilities_but_no_decision(two_runs):
    one, other = (pd.read_csv(run / "predictions.csv") for run in two_runs)
    assert (one["predicted"] == other["predicted"]).all()
    calibrated, plain = map(runs.load_metrics, two_runs)
    assert calibrated["dev/uar"] == plain["dev/uar"]
    assert calibrated["dev/loss"] < plain["dev/loss"]
    assert "temperature" not in plain
    dev = other["split"] == "dev"
    labels = list(other.columns[5:])
    logits = np.log(other.loc[dev, labels].to_numpy())
    truth = pd.Index(labels).get_indexer(pd.Index(other.loc[dev, "emotion"]))
    assert calibrated["temperature"] == pytest.approx(fit_temperature(logits, truth), rel=1e-3)
    scaled = torch.tensor(np.log(other[labels].to_numpy()) / calibrated["temperature"]).softmax(dim=1)
    np.testing.assert_allclose(one[labels], scaled, atol=2e-5)


def test_evaluations_have_all_measures_of_calibration(two_runs):
    found = runs.load_metrics(two_runs[0])
    for split in ("dev", "test"):
        for name in ("loss", "calibration_error", "brier_score", "aurc"):
            assert found[f"{split}/{name}"] >= 0
    assert (two_runs[0] / "calibration.png").stat().st_size > 10_000


def test_files_are_predicted_with_calibrated_probabilities(two_runs):
    expected = pd.read_csv(two_runs[0] / "predictions.csv").tail(1).to_dict("records")[0]
    restored = restore_run(two_runs[0])
    directory = restored.datamodule.corpus.locate(None)
    row = restored.datamodule.table.set_index("recording").loc[expected["recording"]]
    prediction = Predictor.from_run(two_runs[0]).predict(directory / row["audio"])
    for label, probability in prediction.probabilities.items():
        assert probability == pytest.approx(expected[label], abs=2e-6)


def test_predictions_below_the_required_confidence_are_uncertain(two_runs, demo_root, command):
    table = pd.read_csv(two_runs[0] / "predictions.csv")
    dev = table.loc[table["split"] == "dev", list(table.columns[5:])].max(axis=1)
    limit = runs.load_metrics(two_runs[0])["min_confidence"]
    assert (dev >= limit).mean() == pytest.approx(2 / 3, abs=0.02)
    files = sorted((demo_root / "Actor_01").glob("*.wav"))
    arguments = ("predict", *map(str, files), "--run", str(two_runs[0]), "--format", "json")
    for options, threshold in (((), 0.0), (("--min-confidence",), limit), (("--min-confidence=1",), 1.0)):
        result = command(*arguments, *options)
        assert result.returncode == 0, result.stderr
        for row in json.loads(result.stdout):
            best = max(row["probabilities"], key=row["probabilities"].get)
            assert row["emotion"] == (best if row["probabilities"][best] >= threshold else "uncertain")
    assert "uncertain" in command(*arguments[:-1], "table", "--min-confidence=1").stdout


@pytest.mark.parametrize("value", ["1.5", "much", "-0.1", "nan"])
def test_wrong_confidences_are_refused(command, value):
    result = command("predict", "a.wav", f"--min-confidence={value}")
    assert result.returncode == 2
    assert f"{value} is not a number from 0 to 1" in result.stderr


def test_models_without_a_confidence_need_one(two_runs, demo_root, tmp_path, command):
    shutil.copytree(two_runs[0], tmp_path / "run")
    path = tmp_path / "run" / "metrics.json"
    path.write_text(path.read_text().replace("min_confidence", "other"))
    file = next((demo_root / "Actor_01").glob("*.wav"))
    result = command("predict", str(file), "--run", "run", "--min-confidence")
    assert result.returncode == 1
    assert "this model comes with no confidence to require; give one" in result.stderr


@pytest.mark.slow
def test_calibrating_again_after_a_resume_gives_the_same(two_runs, tmp_path, compose):
    """No epoch is left, so the same checkpoint is calibrated a second time."""
    shutil.copytree(two_runs[0], tmp_path / "run")
    train(compose(f"resume={tmp_path / 'run'}"), tmp_path / "run", [])
    one, other = (json.loads((run / "metrics.json").read_text()) for run in (two_runs[0], tmp_path / "run"))
    assert other["temperature"] == one["temperature"]
    assert other["test/loss"] == one["test/loss"]


def test_overlays_and_live_lines_show_uncertain_predictions(face, tmp_path):
    from emotion.inference.live import Estimate, _line
    from emotion.inference.overlay import write_image_overlay
    from emotion.inference.predictions import Prediction
    from emotion.inference.timeline import Segment
    from emotion.media.image import Image

    prediction = Prediction("a.png", "uncertain", {"happy": 0.4, "sad": 0.35, "angry": 0.25}, ("face",))
    cv2.imwrite(str(tmp_path / "a.png"), face)
    width, height = Image(tmp_path / "a.png").size
    boxes = np.array([[0.0, 10, 10, width - 10, height - 10]])
    write_image_overlay(
        tmp_path / "a.png", [Segment(0, 0, 1, boxes, prediction)], ("happy", "sad", "angry"), tmp_path / "b.png"
    )
    assert (cv2.imread(str(tmp_path / "b.png")) != cv2.imread(str(tmp_path / "a.png"))).any()
    assert _line(Estimate(1.0, prediction)) == "0:01  uncertain 0.40  face"
    assert _line(Estimate(1.0, Prediction("live", "no speech", {}, ()))) == "0:01  no speech"
