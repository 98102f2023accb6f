"""Tests of scikit-learn estimators as models: training, run directory, evaluation and prediction."""

import sys

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import skops.io
import torch
from scipy.interpolate import make_lsq_spline
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from conftest import build_datamodule
from emotion import runs
from emotion.composition import load_classifier
from emotion.config.compose import DIRECTORY
from emotion.errors import EmotionError
from emotion.features.splines import Splines
from emotion.inference import Predictor
from emotion.labels import EMOTIONS
from emotion.metrics import recall_per_class
from emotion.models.functionals import Functionals, SplineCoefficients
from emotion.pipelines.evaluate import evaluate
from emotion.pipelines.results import cache_features
from emotion.plots import finished_run

SIMPLE = ("model=logistic_regression", "features=mfcc")
CLASSICAL = sorted(path.stem for path in (DIRECTORY / "model").glob("*.yaml") if "estimator@" in path.read_text())
CLASSICAL.remove("classical_fusion")
QUICK = {
    "random_forest": ("model.estimator.n_estimators=50", "model.grid={max_features:[sqrt]}"),
    "mlp": ("model.estimator.max_iter=30", "model.grid={alpha:[0.1]}"),
    "xgboost": ("model.estimator.n_estimators=20", "model.grid={max_depth:[3]}"),
}


@pytest.fixture
def ragged():
    """Return features of three items of unequal length, with large values in the padding, and their lengths."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.tensor([7, 1, 30])
    features = torch.full((3, 4, 30), 1e6)
    for item, count in zip(features, frames, strict=True):
        item[:, :count] = torch.randn(4, int(count), generator=generator)
    return features, frames


def test_functionals_equal_those_of_numpy_and_scipy(ragged):
    names = [
        "mean",
        "std",
        "skewness",
        "kurtosis",
        "minimum",
        "percentile_5",
        "lower_quartile",
        "median",
        "maximum",
    ]
    vectors = Functionals(4, names)(*ragged).unflatten(1, (len(names), 4))
    for item, count, vector in zip(*ragged, vectors, strict=True):
        valid = item[:, :count].double().numpy()
        varies = count > 1
        expected = [valid.mean(1), valid.std(1)]
        expected += [f(valid, axis=1) if varies else np.zeros(4) for f in (scipy.stats.skew, scipy.stats.kurtosis)]
        expected += [np.quantile(valid, part, axis=1) for part in (0, 0.05, 0.25, 0.5, 1)]
        np.testing.assert_allclose(vector, expected, atol=2e-5, rtol=1e-4)
    with pytest.raises(EmotionError, match="did you mean mean"):
        Functionals(4, ["maen"])


def test_splines_equal_those_of_scipy(ragged):
    network = SplineCoefficients(4, n_coefficients=8)
    vectors = network(*ragged).unflatten(1, (4, 8))
    long = ragged[0][2].double().numpy()
    spline = make_lsq_spline(np.linspace(0, 1, 30), long.T, Splines(8, 4).knots, k=3)
    np.testing.assert_allclose(vectors[2], spline.c.T, atol=1e-4)
    assert vectors.isfinite().all()
    straight = torch.linspace(-1, 2, 50)[None, None]
    (ends,) = SplineCoefficients(1)(straight, torch.tensor([50]))
    assert (float(ends[0]), float(ends[-1])) == pytest.approx((-1, 2), abs=1e-4)


def _set_up(config):
    datamodule = build_datamodule(config)
    datamodule.setup()
    return datamodule


def _vectors(classifier, batches):
    return np.concatenate([classifier.encoder(batch).double().numpy() for batch in batches])


@pytest.mark.slow
@pytest.mark.parametrize("model", CLASSICAL)
def test_every_estimator_trains_and_predicts(train_in_process, model, demo_root):
    run_dir = train_in_process(f"model={model}", "features=mfcc", *QUICK.get(model, ()))
    metrics = runs.load_metrics(run_dir)
    assert metrics["test/uar"] > 0.3
    assert metrics["model"] == model
    assert metrics["parameters"] > 100
    table = pd.read_csv(run_dir / "predictions.csv")
    assert table["split"].value_counts().to_dict() == {"dev": 64, "test": 64}
    np.testing.assert_allclose(table[list(EMOTIONS)].sum(axis=1), 1, atol=1e-5)
    assert {"best.skops", "best.ckpt"} == {path.name for path in (run_dir / "checkpoints").iterdir()}
    expected = table[table["split"] == "test"].set_index("recording")
    files = [demo_root / f"Actor_{name[-2:]}" / f"03-{name.split('/')[1]}.wav" for name in expected.index[:8]]
    for prediction, row in zip(Predictor.from_run(run_dir).predict(files), expected.itertuples(), strict=False):
        assert list(prediction.probabilities.values()) == pytest.approx(
            [getattr(row, label) for label in EMOTIONS], abs=1e-4
        )


@pytest.mark.slow
def test_grid_search_uses_dev_and_scaling_uses_train(train_in_process, compose):
    run_dir = train_in_process(*SIMPLE, "model.grid={C:[0.0001,0.1,1000.0]}", "training.class_weights=false")
    grid = pd.read_csv(run_dir / "grid.csv")
    config = runs.load_config(run_dir)
    datamodule = _set_up(config)
    classifier = load_classifier(run_dir, config)
    cache_features(classifier, datamodule, torch.device("cpu"))  # as in training: the last digits decide at boundaries
    vectors = {split: _vectors(classifier, datamodule.batches(split)) for split in ("train", "dev")}
    labels = {split: datamodule.dataset(split).label.numpy() for split in vectors}
    for row in grid.itertuples():
        reference = make_pipeline(StandardScaler(), LogisticRegression(C=row.C, max_iter=2000, random_state=0))
        prediction = reference.fit(vectors["train"], labels["train"]).predict(vectors["dev"])
        assert np.nanmean(recall_per_class(labels["dev"], prediction, 8)) == pytest.approx(row[2], abs=1e-6)
    assert grid["C"][grid["dev/uar"].idxmax()] == classifier.head.pipeline[-1].C
    assert runs.load_metrics(run_dir)["dev/uar"] == pytest.approx(grid["dev/uar"].max())
    np.testing.assert_allclose(classifier.head.pipeline[0].mean_, vectors["train"].mean(axis=0), atol=1e-6)


@pytest.mark.slow
def test_refit_uses_train_and_dev(train_in_process, compose):
    overrides = (*SIMPLE, "model.grid={C:[0.001,0.1]}", "training.class_weights=false")
    before = train_in_process(*overrides, name="before")
    run_dir = train_in_process(*overrides, "training.refit=true", name="refitted")
    old, new = (runs.load_metrics(path) for path in (before, run_dir))
    assert {key: old[key] for key in old if key.startswith(("train/", "dev/"))} == {
        key: new[key] for key in new if key.startswith(("train/", "dev/"))
    }
    config = runs.load_config(run_dir)
    classifier = load_classifier(run_dir, config)
    vectors = _vectors(classifier, _set_up(config).batches("train", "dev"))
    np.testing.assert_allclose(classifier.head.pipeline[0].mean_, vectors.mean(axis=0), atol=1e-6)
    assert classifier.head.pipeline[-1].C == load_classifier(before, config).head.pipeline[-1].C
    tables = [pd.read_csv(path / "predictions.csv").set_index("recording") for path in (before, run_dir)]
    differs = (tables[0][list(EMOTIONS)] != tables[1][list(EMOTIONS)]).any(axis=1)
    assert differs.groupby(tables[0]["split"]).mean().to_dict() == {"dev": 0, "test": 1}

    def evaluate_split(split):
        overrides = [f"run={run_dir}", f"split={split}"]
        return evaluate(compose(*overrides, config_name="evaluate"), overrides)

    assert evaluate_split("test")["test/uar"] == new["test/uar"]
    with pytest.raises(EmotionError, match="64 of the 64 recordings of this dev split were used to train"):
        evaluate_split("dev")


@pytest.mark.slow
def test_evaluation_equals_the_metrics_of_the_run(train_in_process, compose):
    run_dir = train_in_process(*SIMPLE)
    overrides = [f"run={run_dir}"]
    metrics = evaluate(compose(*overrides, config_name="evaluate"), overrides)
    assert metrics["test/uar"] == runs.load_metrics(run_dir)["test/uar"]


@pytest.mark.slow
def test_embeddings_of_an_initial_run_are_used(train_in_process, trained, compose):
    run_dir = train_in_process("model=svm", f"model.vector.init_from={trained}", name="svm")
    classifier, initial = (load_classifier(path, runs.load_config(path)) for path in (run_dir, trained))
    batch = _set_up(runs.load_config(trained)).dataset("test").__getitems__([0, 5, 9])
    torch.testing.assert_close(classifier.encoder(batch), initial.encoder(batch))
    assert runs.load_metrics(run_dir)["test/uar"] > 0.4
    assert str(trained) not in (run_dir / "config.yaml").read_text()


@pytest.mark.slow
def test_runs_without_epochs_have_no_learning_curves(train_in_process):
    run_dir = train_in_process(*SIMPLE, "model.grid.C=[1.0]")
    assert [path.name for path in finished_run.plot_run(run_dir)] == ["confusion_matrix.png", "hardest.png"]
    recording = pd.read_csv(run_dir / "predictions.csv")["recording"][0]
    with pytest.raises(EmotionError, match="attributions need gradients"):
        finished_run.plot_run_attributions(run_dir, [recording])


@pytest.mark.slow
def test_splines_and_action_units_exceed_chance(train_in_process, compose, real_data):
    assert runs.load_metrics(train_in_process(*SIMPLE, "model.vector=splines", name="splines"))["test/uar"] > 0.2
    overrides = ("data=ravdess", f"data.root={real_data}", "protocol=luna5", "model.vector=action_unit_means")
    table = f"action_units.table={real_data / 'ravdess_action_units_mean.csv'}"
    run_dir = train_in_process("model=logistic_regression", *overrides, table, name="units")
    assert runs.load_metrics(run_dir)["test/uar"] > 0.4


@pytest.mark.slow
def test_untrusted_files_execute_nothing(train_in_process):
    run_dir = train_in_process(*SIMPLE, "model.grid={C:[1.0]}")
    config, file = runs.load_config(run_dir), run_dir / "checkpoints" / "best.skops"
    original = file.read_bytes()
    fitted = skops.io.loads(original)
    untrusted = make_pipeline(FunctionTransformer(func=print), fitted[-1])
    skops.io.dump(untrusted, file)
    with pytest.raises(EmotionError, match=r"is refused: it holds builtins\.print"):
        load_classifier(run_dir, config)
    for damaged in (b"", b"PK\x03\x04", original[:-50]):
        file.write_bytes(damaged)
        with pytest.raises(EmotionError, match="is not an estimator that can be read"):
            load_classifier(run_dir, config)
    skops.io.dump([1, 2], file)
    with pytest.raises(EmotionError, match="holds another estimator"):
        load_classifier(run_dir, config)
    file.unlink()
    with pytest.raises(EmotionError, match="was the run finished"):
        load_classifier(run_dir, config)


def test_invalid_parameters_and_missing_libraries_are_reported(train_in_process, monkeypatch):
    with pytest.raises(EmotionError, match="LogisticRegression takes no alpha"):
        train_in_process(*SIMPLE, "+model.estimator.alpha=1", name="a")
    with pytest.raises(EmotionError, match=r"LogisticRegression: .*alpha"):
        train_in_process(*SIMPLE, "+model.grid.alpha=[1]", name="b")
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(EmotionError, match=r"pip install 'emotion\[xgboost\]'"):
        train_in_process("model=xgboost", "features=mfcc", name="c")
