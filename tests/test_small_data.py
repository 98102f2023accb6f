"""Tests of metrics on small data: they cover the classes of a split, and small classes cause a warning."""

import json
import logging

import numpy as np
import pandas as pd
import pytest
import soundfile
from omegaconf import OmegaConf

from emotion import runs
from emotion.errors import EmotionError
from emotion.inference import Predictor
from emotion.labels import KNOWN, SCHEMES, classes, emotions_in, label_names, scheme
from emotion.pipelines.evaluate import evaluate

RATE = 16_000
FAST = ("data=folder", "model.backbone.channels=[4,4,4,4]", "trainer.max_epochs=1", "scheduler=constant")


@pytest.fixture(autouse=True)
def all_messages(caplog):
    caplog.set_level(logging.INFO)


def make(root, **counts):
    """Write `counts` recordings of each emotion."""
    for number, (emotion, count) in enumerate(counts.items()):
        (root / emotion).mkdir(parents=True)
        for take in range(count):
            time = np.arange(RATE // 2) / RATE
            audio = 0.3 * np.sin(2 * np.pi * (150 + 7 * take + 60 * number) * time) * np.sin(5 * time) ** 2
            soundfile.write(root / emotion / f"{take}.wav", audio, RATE)
    return root


def test_metrics_of_a_test_split_with_one_emotion(tmp_path, train_in_process, caplog):
    root = make(tmp_path / "recordings", happy=20, sad=2, angry=1)
    metrics = runs.load_metrics(train_in_process("data=folder", f"data.root={root}", "model=svm"))
    assert metrics["test/chance"] == 1.0 and metrics["test/uar"] == metrics["test/recall/happy"]
    assert "(chance 1.000)" in caplog.text
    missing = "neutral, calm, sad, angry, fearful, disgust, surprised"
    assert f"test holds 1 of 8 classes, over which UAR and chance are computed; missing: {missing}" in caplog.text
    assert "train has no recordings of neutral, calm, fearful" in caplog.text
    assert "fewer than 10 recordings of a class (dev 4 of happy; test 4 of happy): UAR is uncertain" in caplog.text


@pytest.mark.slow
def test_recordings_without_a_label_are_skipped_with_a_warning(tmp_path, train_in_process, compose, caplog):
    root = make(tmp_path / "recordings", happy=10, sad=10, bored=10)
    run_dir = train_in_process(*FAST, f"data.root={root}")
    assert runs.load_metrics(run_dir)["test/chance"] == 0.5
    assert "(chance 0.500)" in caplog.text
    assert "30 recordings, speakers unknown" in caplog.text
    dropped = "10 recordings are skipped, since labels=emotions has no label for their emotions (10 bored)"
    assert f"{dropped}; labels=from_data has all" in caplog.text
    caplog.clear()
    overrides = [f"run={run_dir}"]
    evaluate(compose(*overrides, config_name="evaluate"), overrides)
    assert "(chance 0.500)" in caplog.text and "missing: neutral, calm, angry" in caplog.text


@pytest.mark.slow
def test_labels_from_data_work_from_training_to_resuming(tmp_path, train_in_process, compose, caplog):
    root = make(tmp_path / "recordings", sad=12, bored=12, happy=12)
    run_dir = train_in_process(*FAST, f"data.root={root}", "labels=from_data")
    assert "are skipped" not in caplog.text and "missing:" not in caplog.text
    metrics = runs.load_metrics(run_dir)
    assert (metrics["labels"], metrics["test/chance"]) == ("happy,sad,bored", pytest.approx(1 / 3))
    assert OmegaConf.load(run_dir / "config.yaml").labels == ["happy", "sad", "bored"]
    table = pd.read_csv(run_dir / "predictions.csv")
    assert list(table.columns[5:]) == ["happy", "sad", "bored"] and set(table["emotion"]) == {"happy", "sad", "bored"}
    # Predict without the training data.
    moved = root.rename(tmp_path / "moved")
    predictor = Predictor.from_run(run_dir)
    assert predictor.labels == ("happy", "sad", "bored")
    assert set(predictor.predict(moved / "sad" / "0.wav").probabilities) == {"happy", "sad", "bored"}
    # Evaluate and resume with additional data.
    make(moved, angry=3)
    overrides = [f"run={run_dir}", f"data.root={moved}"]
    again = evaluate(compose(*overrides, config_name="evaluate"), overrides)
    assert again["test/uar"] == metrics["test/uar"] and again["labels"] == "happy,sad,bored"
    from emotion.pipelines.train import train

    overrides = [f"data.root={moved}", "trainer.max_epochs=2"]
    train(compose(f"resume={run_dir}", *overrides), run_dir, overrides)
    assert runs.load_metrics(run_dir)["epochs"] == 2


@pytest.mark.slow
def test_report_of_runs_with_labels_from_data(tmp_path, train_in_process):
    from emotion.reports.runs import find_runs
    from emotion.reports.tables import compare_systems, format_systems, to_markdown

    root = make(tmp_path / "recordings", sad=5, happy=5)
    run_dir = train_in_process("data=folder", f"data.root={root}", "labels=from_data", "model=svm")
    assert "2" in to_markdown(format_systems(compare_systems(find_runs([run_dir]))))


def test_a_single_label_is_refused(tmp_path, train_in_process):
    root = make(tmp_path / "recordings", sad=5)
    with pytest.raises(EmotionError, match="have only the label sad; at least two labels are needed"):
        train_in_process("data=folder", f"data.root={root}", "labels=from_data")


def test_lists_of_emotions_are_label_schemes():
    assert classes(["sad", "happy"]) == classes("sad,happy") == classes(OmegaConf.create(["sad", "happy"]))
    assert label_names(OmegaConf.create(["sad", "happy"])) == "sad,happy"
    assert emotions_in(reversed(KNOWN)) == list(KNOWN)
    assert all(scheme(name) == SCHEMES[name] for name in SCHEMES)
    for labels, message in (
        (["sad"], "at least two"),
        (["sad", "sad"], "each once"),
        (["sad", "hapy"], "did you mean happy"),
    ):
        with pytest.raises(EmotionError, match=message):
            scheme(labels)
    with pytest.raises(EmotionError, match="did you mean from_data"):
        scheme("from_dat")


def test_metrics_of_complete_splits_cover_all_classes(trained):
    """Values are equal, not only close."""
    from emotion.metrics.predictions import split_metrics

    metrics = json.loads((trained / "metrics.json").read_text())
    table = pd.read_csv(trained / "predictions.csv")
    recalls = [metrics[f"test/recall/{name}"] for name in classes("emotions")]
    assert metrics["test/uar"] == np.mean(recalls) and metrics["test/chance"] == 1 / 8
    assert split_metrics(table, classes("emotions"))["test/uar"] == metrics["test/uar"]
