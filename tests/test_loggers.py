"""Tests of loggers and of further callbacks."""

import json

import numpy as np
import pandas as pd
import pytest

from emotion.errors import EmotionError

SHORT = ("trainer.max_epochs=2", "features=rms", "model=audio_lstm")


@pytest.mark.slow
def test_loggers_get_the_same_figures(train_in_process, demo_root, tmp_path):
    from mlflow.tracking import MlflowClient

    run = train_in_process("logger=[csv,mlflow]", f"logger.mlflow.folder={tmp_path / 'all runs'}", "seed=3", *SHORT)
    metrics = json.loads((run / "metrics.json").read_text())
    client = MlflowClient(f"sqlite:///{tmp_path / 'all runs' / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("demo-audio_lstm").experiment_id])
    assert found.info.run_name == "demo-audio_lstm run"
    assert found.data.metrics["final/test/uar"] == pytest.approx(metrics["test/uar"])
    assert found.data.params["seed"] == "3" and len(found.data.params["recordings"]) == 12
    assert {file.path.split("/")[-1] for file in client.list_artifacts(found.info.run_id, "figures")} == {
        "confusion_matrix_dev.png",
        "confusion_matrix_test.png",
    }
    curves = pd.read_csv(run / "csv" / "metrics.csv")
    for key in ("dev/uar", "train/loss"):
        history = [point.value for point in client.get_metric_history(found.info.run_id, key)]
        np.testing.assert_allclose(history, curves[key].dropna())
        assert len(history) == 2
    assert curves["final/test/uar"].dropna().tolist() == pytest.approx([metrics["test/uar"]])


def test_curves_before_a_resume_are_kept(train_in_process, demo_root):
    run = train_in_process("logger=csv", "scheduler=constant", *SHORT)
    before = (run / "csv" / "metrics.csv").read_text()
    train_in_process(f"resume={run}", "trainer.max_epochs=3")
    assert (run / "metrics_before_resume_1.csv").read_text() == before
    assert pd.read_csv(run / "csv" / "metrics.csv")["dev/uar"].notna().sum() == 1


@pytest.mark.slow
def test_servers_that_cannot_be_reached_are_named(train_in_process, demo_root):
    with pytest.raises(EmotionError, match=r"MLflow at http://127\.0\.0\.1:9 cannot be reached"):
        train_in_process("logger=mlflow", "logger.mlflow.tracking_uri='http://127.0.0.1:9'", *SHORT)


@pytest.mark.slow
def test_each_run_of_wandb_is_one_of_its_own(train_in_process, demo_root):
    for name in ("one", "two"):
        run = train_in_process("logger=wandb", *SHORT, name=name)
        (found,) = (run / "wandb").glob("offline-run-*")
        assert list(found.glob("*.wandb"))
        assert len(list(found.glob("files/media/images/figures/confusion_matrix_test*.png"))) == 1


def test_a_run_needs_no_logger(train_in_process, demo_root):
    run = train_in_process("logger=none", *SHORT)
    assert not (run / "tensorboard").exists() and (run / "metrics.json").exists()


@pytest.mark.parametrize(("name", "flag"), [("mlflow", "_MLFLOW_AVAILABLE"), ("wandb", "_WANDB_AVAILABLE")])
def test_missing_libraries_are_named(train_in_process, demo_root, monkeypatch, name, flag):
    monkeypatch.setattr(f"pytorch_lightning.loggers.{name}.{flag}", False)
    with pytest.raises(EmotionError, match=rf"{name} is not installed: pip install 'emotion\[{name}\]'"):
        train_in_process(f"logger={name}", *SHORT)


@pytest.mark.slow
def test_callbacks_log_learning_rates_and_gradients(train_in_process, demo_root):
    run = train_in_process("logger=csv", "callbacks=[learning_rate,gradient_norm]", *SHORT)
    curves = pd.read_csv(run / "csv" / "metrics.csv")
    parts = curves[[column for column in curves if column.startswith("gradient_norm/")]].dropna()
    assert {"gradient_norm/encoder/backbone", "gradient_norm/head"} == set(parts)
    total = curves["gradient_norm"].dropna()
    np.testing.assert_allclose(np.sqrt((parts**2).sum(axis=1)), total, rtol=1e-5)
    assert (total > 0).all()
    rates = curves[[column for column in curves if column.startswith("lr-")]].dropna()
    assert len(rates) == len(total) > 2 and (rates.to_numpy() > 0).all()


def test_callbacks_that_need_a_logger_say_so(train_in_process, demo_root):
    with pytest.raises(EmotionError, match="has no logger"):
        train_in_process("logger=none", "callbacks=learning_rate", *SHORT)
