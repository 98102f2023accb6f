"""Tests of `task=regression` and `task=distribution`: metrics, losses, tables of ratings and votes, trained models."""

import json
from pathlib import Path

import audmetric
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from conftest import build_datamodule
from emotion.checks import check_corpus
from emotion.checks.page import render
from emotion.config.validate import validate
from emotion.corpora.folder import Folder
from emotion.corpora.huggingface import HuggingFace
from emotion.corpora.ravdess import Ravdess
from emotion.corpora.several import Several
from emotion.errors import EmotionError
from emotion.inference.predictor import Predictor
from emotion.metrics.agreement import alpha_of_ratings, alpha_of_votes
from emotion.metrics.distribution import distribution_metrics
from emotion.metrics.regression import concordance_correlation, regression_metrics
from emotion.models.heads import MlpHead, RatingHead
from emotion.training.regression import ccc_loss, squared_loss

# Four annotators of twelve units (Krippendorff, 2011, "Computing Krippendorff's Alpha-Reliability"); 0 is unknown.
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]
)
VALENCE = {"angry": 1.5, "calm": 3.5, "disgust": 1.0, "fearful": 1.5, "happy": 4.5, "neutral": 3.0, "sad": 1.5}
AROUSAL = {"angry": 4.5, "calm": 2.0, "disgust": 3.0, "fearful": 4.0, "happy": 4.0, "neutral": 2.5, "sad": 2.0}


def rated_pairs(size=300):
    random = np.random.default_rng(0)
    truth = random.normal(3, 1, size)
    return truth, 0.6 * truth + random.normal(0.7, 0.8, size)


def test_metrics_equal_those_of_audmetric():
    truth, predicted = rated_pairs()
    found = regression_metrics(truth[:, None], predicted[:, None], ["valence"])
    assert found["ccc/valence"] == pytest.approx(audmetric.concordance_cc(truth, predicted), abs=1e-9)
    assert found["pearson"] == pytest.approx(audmetric.pearson_cc(truth, predicted), abs=1e-9)
    assert found["mse"] == pytest.approx(audmetric.mean_squared_error(truth, predicted), abs=1e-9)
    assert found["mae"] == pytest.approx(audmetric.mean_absolute_error(truth, predicted), abs=1e-9)


def test_unknown_ratings_are_left_out_and_a_constant_has_no_correlation():
    truth, predicted = rated_pairs(20)
    with_gaps = np.concatenate([truth, [np.nan, np.nan]])
    assert concordance_correlation(with_gaps, np.concatenate([predicted, [9.0, -9.0]])) == pytest.approx(
        concordance_correlation(truth, predicted)
    )
    found = regression_metrics(
        np.stack([truth, np.full(20, np.nan)], axis=1), np.stack([np.full(20, 3.0)] * 2, axis=1), ["a", "b"]
    )
    assert found["ccc"] == found["ccc/a"] == 0
    assert not any(key.endswith("/b") for key in found)
    assert found["pearson"] == 0


def test_losses_equal_the_metrics_and_ignore_unknown_ratings():
    truth, predicted = rated_pairs(40)
    target = torch.tensor(np.stack([truth, truth[::-1]], axis=1))
    values = torch.tensor(np.stack([predicted, predicted], axis=1), requires_grad=True)
    known = target.clone()
    known[30:, 0] = np.nan
    expected = [concordance_correlation(truth[:30], predicted[:30]), concordance_correlation(truth[::-1], predicted)]
    loss = ccc_loss(values, known)
    assert float(loss.detach()) == pytest.approx(1 - np.mean(expected), abs=1e-6)
    loss.backward()
    assert values.grad[30:, 0].abs().max() == 0
    assert values.grad[:30].abs().min() > 0
    assert float(squared_loss(values, target).detach()) == pytest.approx(
        np.mean([np.square(truth - predicted).mean(), np.square(truth[::-1] - predicted).mean()])
    )
    empty = torch.full((4, 2), torch.nan)
    assert float(ccc_loss(torch.ones(4, 2), empty)) == float(squared_loss(torch.ones(4, 2), empty)) == 0


def test_agreement_equals_the_published_example():
    votes = np.stack([(value == PUBLISHED).sum(axis=0) for value in range(1, 6)], axis=1)
    assert alpha_of_votes(votes) == pytest.approx(0.743, abs=5e-4)
    units = pd.Series(PUBLISHED.T.ravel(), index=np.repeat(np.arange(12), 4), dtype=float).replace(0, np.nan)
    assert alpha_of_ratings(units) == pytest.approx(0.849, abs=5e-4)
    assert np.isnan(alpha_of_votes(np.array([[1, 0], [0, 1]])))
    assert np.isnan(alpha_of_ratings(pd.Series([1.0, 2.0], index=["a", "b"])))


def test_distances_of_distributions_equal_those_of_scipy():
    random = np.random.default_rng(0)
    votes, predicted = random.dirichlet(np.ones(8), 50), random.dirichlet(np.ones(8), 50)
    votes[0] = np.eye(8)[0]
    found = distribution_metrics(votes, predicted)
    assert found["kl_divergence"] == pytest.approx(entropy(votes, predicted, axis=1).mean())
    assert found["js_divergence"] == pytest.approx(np.square(jensenshannon(votes, predicted, axis=1)).mean())
    assert distribution_metrics(votes, votes)["cosine_similarity"] == pytest.approx(1)


def test_a_head_of_ratings_has_the_scale_of_its_ratings():
    head = RatingHead(MlpHead(4, 2), 2)
    head.fit(torch.tensor([[1.0, 10.0], [3.0, torch.nan], [5.0, 10.0]]))
    assert head.mean.tolist() == [3.0, 10.0]
    assert head.std.tolist() == pytest.approx([np.sqrt(8 / 3), 1.0])  # a constant rating is not divided by zero
    embedding = torch.randn(3, 4)
    torch.testing.assert_close(head(embedding), head.layers(embedding) * head.std + head.mean)


# Tables.


def write_table(root, text, name="ratings.csv"):
    for path in ("a/1.wav", "a/2.wav", "b/3.wav"):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).touch()
    (root / name).write_text(text)
    return root


def test_ratings_are_read_from_a_table_without_emotions(tmp_path):
    root = write_table(
        tmp_path, "FileName;EmoVal;Activation;comment\na/1.wav;2,5;4;x\na/2.wav;n/a;3;y\nb/3.wav;;;\na/1.wav;3,5;4;z\n"
    )
    corpus = Folder("ratings.csv", columns={"path": "FileName", "valence": "EmoVal"}, needs_emotions=False)
    assert list(corpus.scan(root)["recording"]) == ["folder/a/1", "folder/a/2", "folder/b/3"]
    ratings = corpus.ratings(root, None)
    assert list(ratings) == ["valence", "arousal"]
    assert ratings.loc["folder/a/1"].tolist() == [3.0, 4.0]  # the mean of two annotators
    assert np.isnan(ratings.loc["folder/a/2", "valence"])
    assert ratings.loc["folder/b/3"].isna().all()
    with pytest.raises(EmotionError, match=r"ratings.csv, comment of folder/a/1: 'x' is not a number"):
        corpus.ratings(root, ["comment"])
    with pytest.raises(EmotionError, match=r"has no column valense: did you mean valence\?"):
        corpus.ratings(root, ["valense"])
    with pytest.raises(EmotionError, match=r"lacks the column emotion; .*train on valence and arousal with task=regr"):
        Folder("ratings.csv", columns={"path": "FileName", "valence": "EmoVal"}).scan(root)


def test_votes_are_read_from_columns_named_after_emotions(tmp_path, caplog):
    root = write_table(tmp_path, "path,anger,happiness,valence\na/1.wav,3,1,1\na/2.wav,0,2,4\nb/3.wav,1,1,2\n")
    corpus = Folder("ratings.csv")
    table = corpus.scan(root).set_index("recording")
    assert table["emotion"].tolist() == ["angry", "happy", "angry"]
    assert "1 rows have a tie of votes" in caplog.text
    votes = corpus.votes(root)
    assert votes.loc["folder/a/1"].to_dict() == {"angry": 3.0, "happy": 1.0}


def test_wrong_cells_and_columns_are_named(tmp_path):
    start = "path,angry,happy,valence\n"
    for rows, settings, error in (
        ("a/1.wav,-1,2,3\n", {}, r"ratings\.csv line 2, angry: '-1' is not a number of votes"),
        ("a/1.wav,many,2,3\n", {}, r"ratings\.csv line 2, angry: 'many' is not a number"),
        ("a/1.wav,1,2,3\na/2.wav,0,,3\n", {}, r"line 3 has no votes; 1 rows are left out with data\.on_error=skip"),
        ("a/1.wav,1,2,3\n", {"columns": {"valence": "Foo"}}, r"ratings\.csv lacks the column foo; its columns"),
        ("a/1.wav,1,2,3\n", {"columns": {"valence": "happy"}}, r"columns\.valence=happy: .* has a column valence too"),
    ):
        root = write_table(tmp_path, start + rows)
        with pytest.raises(EmotionError, match=error):
            Folder("ratings.csv", **settings).scan(root)
    with pytest.raises(EmotionError, match="task=regression needs ratings: name a table"):
        Folder(needs_emotions=False).scan(root)


def test_votes_and_ratings_of_a_data_set_of_the_hub(cache, tmp_path):
    datasets = pytest.importorskip("datasets")
    from pyarrow import Table, parquet

    kinds = {"audio": datasets.Audio(), "valence": datasets.Value("float32"), "angry": datasets.Value("int64")}
    schema = datasets.Features(kinds | {"happy": datasets.Value("int64")}).arrow_schema
    sound = {"path": "a.wav", "bytes": b"RIFF"}
    rows = [{"audio": sound, "valence": 1.0 + n, "angry": n % 2, "happy": 2 + n % 2} for n in range(4)]
    parquet.write_table(Table.from_pylist(rows, schema=schema), tmp_path / "train.parquet")
    corpus = HuggingFace(str(tmp_path), needs_emotions=False)
    directory = corpus.locate(None)
    assert len(corpus.scan(directory)) == 4
    assert corpus.ratings(directory, None)["valence"].tolist() == [1.0, 2.0, 3.0, 4.0]
    votes = corpus.votes(directory)
    assert votes is not None
    assert votes.loc["huggingface/train/000001"].to_dict() == {"angry": 1.0, "happy": 3.0}


def test_votes_and_ratings_of_several_corpora(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write_table(tmp_path / name, "path,valence,happy,sad\na/1.wav,1,3,0\nb/3.wav,2,0,2\n")
    folder = {"_target_": "emotion.corpora.folder.Folder", "table": "ratings.csv"}
    corpus = Several({name: folder | {"root": str(tmp_path / name)} for name in ("one", "other")})
    directory = corpus.locate(None)
    keys = ["one/a/1", "one/b/3", "other/a/1", "other/b/3"]
    assert corpus.scan(directory)["recording"].tolist() == keys
    assert corpus.ratings(directory, None)["valence"].to_dict() == dict(zip(keys, (1.0, 2.0) * 2, strict=True))
    assert corpus.votes(directory)["sad"].to_dict() == dict(zip(keys, (0.0, 2.0) * 2, strict=True))


# Trained models, on real speech.


@pytest.fixture(scope="module")
def rated(real_data, tmp_path_factory):
    """Return a folder with speech of five actors, and tables of ratings and votes that follow from its emotions."""
    root, corpus = tmp_path_factory.mktemp("rated"), Ravdess()
    directory = corpus.locate(str(real_data))
    table = corpus.scan(directory, "speech")
    table = table[table["speaker"].isin([f"ravdess/{n:02}" for n in range(1, 6)]) & table["emotion"].isin(VALENCE)]
    table = table[(table["statement"] == "01") & (table["repetition"] == "01")]
    rows, votes = [], []
    for row in table.to_dict("records"):
        file, emotion = Path(str(row["audio"])).name, str(row["emotion"])
        (root / file).symlink_to(directory / str(row["audio"]))
        known = {"file": file, "speaker": row["speaker"]}
        rows.append(known | {"valence": VALENCE[emotion], "arousal": AROUSAL[emotion]})
        votes.append(known | {"sad": 1, "happy": 1, "angry": 0} | {emotion: 8})
    pd.DataFrame(rows).to_csv(root / "ratings.csv", index=False)
    pd.DataFrame(votes).fillna(0).to_csv(root / "votes.csv", index=False)
    return root


def overrides(root, table="ratings.csv"):
    return ("data=folder", f"data.root={root}", f"data.corpus.table={table}", "protocol=speakers5", "augment=none")


@pytest.fixture(scope="module")
def rated_overrides(rated):
    return (*overrides(rated), "task=regression")


def test_ratings_are_the_targets_of_batches(rated, rated_overrides, compose):
    datamodule = build_datamodule(compose(*rated_overrides))
    datamodule.setup()
    assert datamodule.ratings == datamodule.outputs == ("valence", "arousal")
    assert datamodule.classes == ()
    batch = next(datamodule.batches("train"))
    table = pd.read_csv(rated / "ratings.csv").set_index("file")
    for recording, target in zip(batch["recording"], batch["target"], strict=True):
        file = next(name for name in table.index if name.startswith(recording.removeprefix("folder/")))
        assert target.tolist() == pytest.approx(table.loc[file, ["valence", "arousal"]].tolist())


@pytest.mark.slow
def test_a_model_of_ratings_is_trained_evaluated_and_used(rated, rated_overrides, command, train_in_process, tmp_path):
    run_dir = train_in_process(*rated_overrides, "trainer.max_epochs=3", "logger=csv")
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert metrics["task"] == "regression"
    assert metrics["objective"] == "dev/ccc"
    assert metrics["labels"] == "valence,arousal"
    table = pd.read_csv(run_dir / "predictions.csv", dtype={"speaker": str})
    test = table[table["split"] == "test"]
    for name in ("valence", "arousal"):
        own = concordance_correlation(test[name].to_numpy(), test[f"{name}_predicted"].to_numpy())
        assert metrics[f"test/ccc/{name}"] == pytest.approx(own, abs=1e-5)
    assert metrics["test/ccc"] == pytest.approx((metrics["test/ccc/valence"] + metrics["test/ccc/arousal"]) / 2)
    assert (run_dir / "ratings.png").stat().st_size > 10_000
    curves = pd.read_csv(run_dir / "csv" / "metrics.csv")
    assert {"dev/ccc", "train/ccc", "dev/loss", "dev_by_rating/ccc/valence"} <= set(curves)

    ended = command("evaluate", f"run={run_dir}")
    assert ended.returncode == 0, ended.stderr
    folder = run_dir / "evaluations" / "folder-speakers5-0-test"
    again = json.loads((folder / "metrics.json").read_text())
    assert again["test/ccc"] == pytest.approx(metrics["test/ccc"], abs=1e-6)
    assert pd.read_csv(folder / "by_rating.csv")["rating"].tolist() == ["valence", "arousal"]

    row = test.iloc[0]
    file = next(rated.glob(f"{row['recording'].removeprefix('folder/')}.*"))
    prediction = Predictor.from_run(run_dir).predict(file)
    assert prediction.ratings == pytest.approx(
        {name: row[f"{name}_predicted"] for name in ("valence", "arousal")}, abs=1e-3
    )
    assert (prediction.emotion, prediction.probabilities, prediction.confidence) == ("", {}, None)
    for form, output in (("onnx", "model.onnx"), ("hub", "model")):
        ended = command("export", run_dir, "--format", form, "--output", tmp_path / output)
        assert ended.returncode == 0, ended.stderr
        found = Predictor.from_pretrained(str(tmp_path / output)).predict(file)
        assert found.ratings == pytest.approx(prediction.ratings, abs=1e-3)

    printed = command("predict", "--run", run_dir, file, "--format", "json").stdout
    assert json.loads(printed)[0]["ratings"] == pytest.approx(prediction.ratings, abs=1e-6)
    assert "probabilities" not in json.loads(printed)[0]
    header = command("predict", "--run", run_dir, file, "--format", "csv").stdout.splitlines()[0]
    assert header == "name,emotion,valence,arousal,modalities,distance,adapted_to,notes,problem"
    segments = command("predict", "--run", run_dir, file, "--timeline", "--window", "1", "--format", "jsonl").stdout
    assert all("valence" in json.loads(line)["ratings"] for line in segments.splitlines())

    report = command("report", run_dir).stdout
    assert f"{metrics['test/ccc']:.3f}" in report
    for arguments, error in (
        (
            ("predict", "--run", run_dir, file, "--format", "srt"),
            "--format srt is of emotions, and this",
        ),
        (("predict", "--run", run_dir, file, "--min-confidence=0.5"), "--min-confidence is of emotions"),
        (("robustness", run_dir), "predicts valence,arousal; give runs of models of emotions"),
        (("figures", run_dir), "predicts valence, arousal; name the run of a model of emotions"),
        (("live", file, "--run", run_dir), "emotion live shows emotions, and this model predicts valence, arousal"),
        (("demo", "--run", run_dir), "emotion demo shows emotions"),
        (("export-dataset", *rated_overrides, "--output", tmp_path / "set"), "writes one emotion for each recording"),
        (("report", run_dir, "--group-by", "model"), "model is a group of keys; name one of them, such as model.name"),
        (("report", run_dir, "--ensemble"), "--ensemble is of models of emotions"),
    ):
        ended = command(*arguments)
        assert ended.returncode == 1
        assert error in ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["ccc", "mse"])
def test_training_on_ratings_is_resumed_as_if_uninterrupted(rated_overrides, train_in_process, loss):
    changes = (*rated_overrides, "trainer.max_epochs=3", "scheduler=constant", f"training.loss={loss}", "augment=mixup")
    whole = train_in_process(*changes, name="whole")
    part = train_in_process(*changes, "trainer.max_epochs=1", name="part")
    train_in_process(f"resume={part}", "trainer.max_epochs=3", name="part")
    first, second = (json.loads((run / "metrics.json").read_text()) for run in (whole, part))
    assert first["test/ccc"] == second["test/ccc"]


@pytest.mark.slow
def test_a_model_learns_the_ratings_of_its_training_recordings(rated_overrides, train_in_process):
    run_dir = train_in_process(*rated_overrides, "trainer.max_epochs=25", "model.head.dropout=0", "optimizer.lr=0.003")
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert metrics["train/ccc"] > 0.6
    assert metrics["test/ccc/arousal"] > 0.2  # of an unseen speaker


@pytest.mark.slow
def test_a_model_of_distributions_is_trained_on_votes(rated, command, train_in_process):
    run_dir = train_in_process(*overrides(rated, "votes.csv"), "task=distribution", "trainer.max_epochs=2")
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert {"test/uar", "test/kl_divergence", "test/js_divergence", "test/cosine_similarity"} <= set(metrics)
    assert metrics["test/kl_divergence"] > 0
    assert metrics["task"] == "distribution"
    other = command("evaluate", f"run={run_dir}", "data=demo", "protocol=actor6")  # which has no votes
    assert other.returncode == 0, other.stderr
    assert "test/kl_divergence" not in json.loads(next(run_dir.glob("evaluations/demo-*/metrics.json")).read_text())


def test_votes_are_targets_of_distributions_only(rated, compose):
    soft = build_datamodule(compose(*overrides(rated, "votes.csv"), "task=distribution"))
    hard = build_datamodule(compose(*overrides(rated, "votes.csv")))
    soft.setup()
    hard.setup()
    batch = next(soft.batches("train"))
    assert sorted(set(batch["target"].sum(dim=1).tolist())) == pytest.approx([1.0])
    assert batch["target"].max() == pytest.approx(0.8, abs=0.1)
    assert "target" not in next(hard.batches("train"))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["model=svm"], "task=regression needs a model that is trained by gradient"),
        (["training.monitor=dev/uar"], "training.monitor=dev/uar: task=regression has dev/ccc and dev/loss"),
        (["training.class_weights=true"], "training.class_weights is of models of classes"),
        (["metrics=top_2_accuracy"], "metrics is of models of classes"),
    ],
)
def test_what_only_classes_have_is_refused(compose, arguments, error):
    with pytest.raises(EmotionError, match=error):
        validate(compose("task=regression", *arguments))


def test_estimators_are_not_trained_on_votes(compose):
    with pytest.raises(EmotionError, match="task=distribution needs a model that is trained by gradient"):
        validate(compose("task=distribution", "model=svm"))


@pytest.mark.slow
def test_ratings_that_cannot_be_learnt_or_measured_are_reported(rated, train_in_process, caplog):
    table = pd.read_csv(rated / "ratings.csv")
    table.assign(valence=3.0).to_csv(rated / "constant.csv", index=False)
    changes = ("task=regression", "trainer.max_epochs=1")
    with pytest.raises(EmotionError, match="the train split has no two different ratings of valence"):
        train_in_process(*overrides(rated, "constant.csv"), *changes, name="constant")
    with pytest.raises(EmotionError, match="labels are of models of emotions"):
        train_in_process(*overrides(rated), *changes, "labels=[happy,sad]", name="labels")
    run_dir = train_in_process(*overrides(rated), *changes, name="whole")
    splits = pd.read_csv(run_dir / "splits.csv")
    of_dev = set(splits.loc[splits["split"] == "dev", "recording"].str.removeprefix("folder/"))
    stems = table["file"].str.rpartition(".")[0]
    table.assign(valence=table["valence"].where(~stems.isin(of_dev))).to_csv(rated / "no_dev.csv", index=False)
    run_dir = train_in_process(*overrides(rated, "no_dev.csv"), *changes, name="no_dev")
    assert "dev has no rating of valence" in caplog.text
    assert "dev/ccc/valence" not in json.loads((run_dir / "metrics.json").read_text())


def test_ratings_are_not_losses_of_classes(compose):
    with pytest.raises(EmotionError, match=r"training.loss=mse .*use task=regression"):
        validate(compose("training.loss=mse"))


@pytest.mark.slow
def test_a_corpus_without_ratings_or_votes_is_refused(compose, demo_root, train_in_process):
    with pytest.raises(EmotionError, match="task=regression: the demo corpus has no ratings"):
        build_datamodule(compose("task=regression"))
    with pytest.raises(EmotionError, match="task=distribution: the demo corpus has no votes"):
        train_in_process("task=distribution")


@pytest.mark.parametrize("targets", ["[speaker]", "[valence,valence]", "['a,b']"])
def test_names_of_ratings_are_those_of_columns_of_results(compose, targets):
    with pytest.raises(EmotionError, match=r"task\.targets: .* cannot name a rating"):
        validate(compose("task=regression", f"task.targets={targets}"))


@pytest.mark.slow
def test_a_check_reports_ratings_and_agreement(rated, compose):
    annotated = pd.read_csv(rated / "ratings.csv")
    twice = pd.concat([annotated, annotated.assign(valence=annotated["valence"] + 0.5)])
    twice.loc[twice["speaker"] == 5, "arousal"] = np.nan
    twice.to_csv(rated / "twice.csv", index=False)
    config = validate(compose(*overrides(rated, "twice.csv"), "task=regression"))
    found = check_corpus(config.data, config.protocol, config.labels, config.task)
    texts = [finding.text for finding in found.findings]
    assert any("agree on valence with Krippendorff's alpha 0.9" in text for text in texts)
    assert any("agree on arousal with Krippendorff's alpha 1.00" in text for text in texts)
    assert list(found.counts.index) == ["valence", "arousal"]
    assert found.counts.loc["valence"].sum() == len(annotated)
    assert found.table["rated_valence"].notna().all()
    page = render(found)
    assert "Histogram of valence" in page
    assert "<th>arousal</th>" in page and "<th>emotion</th>" not in page
