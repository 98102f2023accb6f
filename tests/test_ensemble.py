"""Tests of ensembles: `emotion ensemble`, and the pooling of log-probabilities."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emotion import runs
from emotion.errors import EmotionError
from emotion.inference import Predictor
from emotion.pipelines.ensemble import combine, group_members
from emotion.pipelines.evaluate import evaluate
from emotion.reports.runs import Run, find_runs
from emotion.statistics.log_linear import fit_weights, pool

SMALL = ("trainer.max_epochs=1", "model.backbone.channels=[4,4,4,4]", "scheduler=constant")


@pytest.fixture
def members(train_in_process):
    """A CNN, refitted on dev, and a logistic regression of the demo corpus."""
    network = train_in_process(*SMALL, "training.refit=true", name="network")
    estimator = train_in_process("model=logistic_regression", "model.grid.C=[0.01]", name="estimator")
    return [run for directory in (network, estimator) for run in find_runs([directory])]


def test_an_ensemble_is_a_run(members, compose, demo_root, tmp_path):
    directory = tmp_path / "ensemble"
    combine(members, directory, "joint", weighted=True)
    metrics = runs.load_metrics(directory)
    assert metrics["name"] == "joint" and metrics["members"] == [run.name for run in members]
    kept = pd.read_csv(directory / "predictions.csv")
    labels = list(kept.columns[5:])

    # The saved model, on the test split and on a file, answers what the members answer together.
    again = ["split=test", f"run={directory}"]
    assert evaluate(compose(*again, config_name="evaluate"), again)["test/uar"] == metrics["test/uar"]
    row = kept[kept["split"] == "test"].iloc[0]
    name = row["recording"].rpartition("/")[2]
    answer = Predictor.from_run(directory).predict(next(demo_root.rglob(f"03-{name}.wav")))
    assert answer.emotion == row["predicted"]
    np.testing.assert_allclose([answer.probabilities[name] for name in labels], row[labels].astype(float), atol=2e-3)

    # Dev answers are those before the refit, and dev counts as trained on.
    weights = runs.load_composed(directory).model.fusion.weights
    logs = [np.log(run.predictions[labels].to_numpy().clip(1e-6)) for run in members]
    np.testing.assert_allclose(kept[labels], pool(np.stack(logs), list(weights.values())), atol=1e-3)
    assert "refit" in set(runs.load_splits(directory)["split"])
    again = ["split=dev", f"run={directory}"]
    with pytest.raises(EmotionError, match="were used to train"):
        evaluate(compose(*again, config_name="evaluate"), again)

    with pytest.raises(EmotionError, match="holds files already"):
        combine(members, members[0].directory, "x", weighted=False)
    assert runs.load_metrics(members[0].directory)["name"] == members[0].name


def test_weights_are_the_most_likely():
    generator = np.random.default_rng(0)
    labels = generator.integers(4, size=300)
    truth = np.eye(4)[labels]
    logits = np.stack([3 * truth, truth, 0 * truth]) + generator.standard_normal((3, 300, 4))
    logs = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    weights = fit_weights(logs, labels)
    assert weights[0] > weights[1] > weights[2] >= 0.01

    def loss(weights):
        return -np.log(pool(logs, np.array(weights))[np.arange(300), labels]).mean()

    around = [loss(weights + np.array(step)) for step in product((-0.05, 0, 0.05), repeat=3) if min(weights + step) > 0]
    assert loss(weights) == pytest.approx(min(around), abs=1e-6)


def fake(directory, fold, seed):
    shared = {"name": directory, "model": "cnn", "fold": fold, "seed": seed, "data": "demo", "channel": "speech"}
    shared |= {"labels": "ravdess8", "protocol": "actor6", "folds": 1, "speaker_independent": True}
    return Run(Path(directory), shared)


def test_members_are_grouped_by_fold_and_seed():
    one, other = ([fake(name, fold, seed) for fold in (0, 1) for seed in (0, 1)] for name in ("one", "other"))
    groups = group_members([one, other], over_seeds=False)
    assert list(groups) == ["fold0-seed0", "fold0-seed1", "fold1-seed0", "fold1-seed1"]
    assert [run.name for run in groups["fold1-seed0"]] == ["one", "other"]
    assert {name: len(own) for name, own in group_members([one], over_seeds=True).items()} == {"fold0": 2, "fold1": 2}
    assert len(group_members([one[:1], other[3:]], over_seeds=False)) == 1  # single runs, of whatever seed


@pytest.mark.parametrize(
    ("systems", "message"),
    [
        ([[("a", 0, 0)]], "a is one run; an ensemble needs two or more"),
        ([[("a", 0, 0), ("a", 1, 0)], [("b", 0, 0)]], "b has no run of fold1-seed0"),
        ([[("a", 0, 0), ("a", 0, 0)], [("b", 0, 0)]], "several runs of fold0-seed0"),
    ],
)
def test_incomplete_groups_are_refused(systems, message):
    with pytest.raises(EmotionError, match=message):
        group_members([[fake(*run) for run in system] for system in systems], over_seeds=False)


def test_members_of_different_folds_are_refused(tmp_path):
    with pytest.raises(EmotionError, match="b has fold 3, a has 0; the members of an ensemble share"):
        combine([fake("a", 0, 0), fake("b", 3, 0)], tmp_path / "new", "x", weighted=False)
    assert not (tmp_path / "new").exists()
