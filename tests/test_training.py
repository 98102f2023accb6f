"""Tests of training, resuming and evaluation on the demo corpus."""

import json
import re
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from conftest import build_classifier, build_datamodule
from emotion import runs
from emotion.composition import load_classifier
from emotion.data.table import class_weights
from emotion.errors import EmotionError
from emotion.labels import EMOTIONS
from emotion.pipelines.evaluate import evaluate
from emotion.pipelines.train import train
from emotion.training.module import EmotionModule

QUICK = ("data.batch_size=64", "trainer.max_epochs=4", "optimizer.lr=0.005")
TIMES = ("fit_seconds",)


def metrics_of(run_dir):
    return json.loads((run_dir / "metrics.json").read_text())


def epoch_of(run_dir, name):
    return torch.load(run_dir / "checkpoints" / f"{name}.ckpt", weights_only=True)["epoch"]


def predictions_of(run_dir, split):
    rows = pd.read_csv(run_dir / "predictions.csv")
    return rows[rows["split"] == split].reset_index(drop=True)


def assert_same_run(first, second):
    one, other = metrics_of(first), metrics_of(second)
    assert {k: v for k, v in one.items() if k not in TIMES} == {k: v for k, v in other.items() if k not in TIMES}
    assert (first / "predictions.csv").read_bytes() == (second / "predictions.csv").read_bytes()


def test_run_directory_is_complete(trained):
    files = {path.relative_to(trained).as_posix() for path in trained.rglob("*") if path.is_file()}
    assert {
        "config.yaml",
        "overrides.yaml",
        "environment.json",
        "splits.csv",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "metrics.json",
        "predictions.csv",
        "confusion_matrix.png",
    } <= files
    assert not [name for name in files if "partial" in name]
    metrics = metrics_of(trained)
    for split in ("train", "dev", "test"):
        assert {f"{split}/{key}" for key in ("uar", "war", "macro_f1", "loss")} <= set(metrics)
        assert {f"{split}/recall/{emotion}" for emotion in EMOTIONS} <= set(metrics)
    assert metrics["protocol"] == "actor6"
    assert metrics["speaker_independent"] is True
    assert metrics["transductive"] is False
    assert [metrics[key] for key in ("fold", "folds", "seed", "epochs")] == [0, 6, 0, 12]
    assert metrics["parameters"] > 100_000
    assert OmegaConf.load(trained / "overrides.yaml") == ["trainer.max_epochs=12", "optimizer.lr=0.005"]


def test_trained_model_exceeds_chance(trained):
    assert metrics_of(trained)["test/uar"] > 0.4


def test_predictions_contain_probabilities_of_dev_and_test(trained):
    table = pd.read_csv(trained / "predictions.csv")
    assert list(table.columns) == ["split", "recording", "speaker", "emotion", "predicted", *EMOTIONS]
    assert table["split"].value_counts().to_dict() == {"dev": 64, "test": 64}
    np.testing.assert_allclose(table[list(EMOTIONS)].sum(axis=1), 1, atol=1e-5)
    assert (table[list(EMOTIONS)].idxmax(axis=1) == table["predicted"]).all()
    test = table[table["split"] == "test"]
    recalls = (test["emotion"] == test["predicted"]).groupby(test["emotion"]).mean()
    assert recalls.mean() == pytest.approx(metrics_of(trained)["test/uar"])


def test_checkpoints_load_as_weights_only(trained):
    best, last = (epoch_of(trained, name) for name in ("best", "last"))
    assert best <= last == 11


def test_checkpoint_contains_the_normalisation_of_the_training_split(trained):
    config = runs.load_config(trained)
    classifier = load_classifier(trained, config)
    datamodule = build_datamodule(config)
    datamodule.setup()
    fresh = build_classifier(config, 8).encoder.front_end
    fresh.fit(datamodule.batches("train"))
    torch.testing.assert_close(classifier.encoder.front_end.mean, fresh.mean, atol=1e-3, rtol=1e-4)
    fresh.fit(datamodule.batches("train", "test"))
    assert not torch.allclose(classifier.encoder.front_end.mean, fresh.mean, atol=1e-3, rtol=1e-4)


def test_tensorboard_contains_curves_figures_and_hyperparameters(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained / "tensorboard"), size_guidance={"images": 0}).Reload()
    scalars = set(events.Tags()["scalars"])
    assert {"train/loss", "train/uar", "train/war", "dev/loss", "dev/uar", "dev/war", "learning_rate"} <= scalars
    assert {f"dev_by_emotion/recall/{emotion}" for emotion in EMOTIONS} <= scalars
    assert {"final/test/uar", "final/dev/uar"} <= scalars
    assert len(events.Scalars("dev/uar")) == 12
    assert events.Scalars("final/test/uar")[-1].value == pytest.approx(metrics_of(trained)["test/uar"])
    assert {"figures/confusion_matrix_dev", "figures/confusion_matrix_test", "figures/features_dev"} == set(
        events.Tags()["images"]
    )
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_projector_contains_every_dev_recording(trained):
    (folder,) = (trained / "tensorboard").glob("*/dev")
    metadata = pd.read_csv(folder / "metadata.tsv", sep="\t")
    dev = pd.read_csv(trained / "predictions.csv").query("split == 'dev'")
    assert metadata[["recording", "emotion", "speaker"]].to_numpy().tolist() == (
        dev[["recording", "emotion", "speaker"]].to_numpy().tolist()
    )
    assert np.loadtxt(folder / "tensors.tsv").shape[0] == len(dev)
    assert cv2.imread(str(folder / "sprite.png")).shape[:2] == (8 * 32, 8 * 32)
    assert f"{folder.parent.name}/dev/sprite.png" in (trained / "tensorboard" / "projector_config.pbtxt").read_text()


@pytest.mark.parametrize("split", ["dev", "test"])
def test_evaluation_equals_the_metrics_of_the_run(trained, compose, split):
    before = (trained / "metrics.json").read_bytes()
    overrides = [f"run={trained}", f"split={split}"]
    metrics = evaluate(compose(*overrides, config_name="evaluate"), overrides)
    saved = metrics_of(trained)
    assert {key: saved[key] for key in metrics} == metrics
    folder = trained / "evaluations" / f"demo-actor6-0-{split}"
    assert {path.name for path in folder.iterdir()} == {
        "metrics.json",
        "predictions.csv",
        "confusion_matrix.png",
        "calibration.png",
        "config.yaml",
        "by_emotion.csv",
        "by_group.csv",
    }
    groups = pd.read_csv(folder / "by_group.csv").set_index("group")
    assert groups.loc["all", "uar"] == pytest.approx(saved[f"{split}/uar"])
    assert groups.loc["all", "uar_low"] == pytest.approx(saved[f"{split}/uar_low"])
    assert groups.loc["gender female", "recordings"] == len(predictions_of(trained, split)) / 2
    assert (trained / "metrics.json").read_bytes() == before
    expected = predictions_of(trained, split)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "predictions.csv"), expected, atol=1e-5)


def test_evaluation_on_training_data_is_refused(trained, compose):
    overrides = [f"run={trained}", "protocol.fold=3"]
    with pytest.raises(EmotionError, match="used to train"):
        evaluate(compose(*overrides, config_name="evaluate"), overrides)


def test_evaluation_cannot_change_the_model_or_its_input(trained, compose, monkeypatch):
    def compute(*_):
        raise AssertionError("other features than those of training are computed")

    monkeypatch.setattr("emotion.data.feature_cache._compute", compute)
    for change in ("features.trim_db=null", "model.head.hidden=[]", "labels=happy_sad"):
        overrides = [f"run={trained}", change]
        with pytest.raises(EmotionError, match="cannot be changed"):
            evaluate(compose(*overrides, config_name="evaluate"), overrides)
    overrides = [f"run={trained}", "data=demo", "data.sample_rate=8000"]
    metrics = evaluate(compose(*overrides, config_name="evaluate"), overrides)
    assert metrics["test/uar"] == metrics_of(trained)["test/uar"]


@pytest.mark.slow
def test_runs_are_evaluated_on_another_corpus(trained, compose, real_data):
    overrides = [f"run={trained}", "data=tess", f"data.root={real_data}", "protocol=oaf_yaf"]
    metrics = evaluate(compose(*overrides, config_name="evaluate"), overrides)
    assert metrics["labels"] == "emotions"
    assert metrics["speaker_independent"] is True
    rows = pd.read_csv(trained / "evaluations" / "tess-oaf_yaf-0-test" / "predictions.csv")
    assert len(rows) == 350
    assert "calm" in rows.columns
    assert "calm" not in set(rows["emotion"])
    assert "test/recall/calm" not in metrics


def test_runs_without_splits_are_not_evaluated(trained, compose, tmp_path):
    import shutil

    copy = shutil.copytree(trained, tmp_path / "copy")
    for text in (None, "a,b\n1,2\n"):
        (copy / "splits.csv").unlink() if text is None else (copy / "splits.csv").write_text(text)
        overrides = [f"run={copy}"]
        with pytest.raises(EmotionError, match=r"splits\.csv"):
            evaluate(compose(*overrides, config_name="evaluate"), overrides)


@pytest.fixture
def own_folder(demo_root, tmp_path):
    """Return a folder of the demo recordings, sorted by emotion."""
    import shutil

    from emotion.corpora.demo import Demo

    for row in Demo().scan(demo_root).itertuples():
        folder = tmp_path / "own" / row.emotion
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(demo_root / row.audio, folder / f"{row.speaker[-2:]}_{row.statement}.wav")
    return tmp_path / "own"


@pytest.mark.slow
def test_folder_corpora_are_split_by_speaker(train_in_process, own_folder):
    data = ("data=folder", f"data.root={own_folder}", "trainer.max_epochs=1", "data.batch_size=64")
    speaker_independent = train_in_process(
        *data, r"data.corpus.speaker='(\d\d)_\d\d.wav'", "protocol=speakers5", "protocol.fold=2", name="speakers"
    )
    assert metrics_of(speaker_independent)["speaker_independent"] is True
    assert [metrics_of(speaker_independent)[key] for key in ("fold", "folds")] == [2, 5]
    splits = runs.load_splits(speaker_independent)
    assert len(splits) == 384
    speakers = [set(rows["speaker"]) for _, rows in splits.groupby("split")]
    assert len(set.union(*speakers)) == sum(map(len, speakers)) == 24
    with pytest.raises(EmotionError, match="0 are known"):
        train_in_process(*data, "protocol=speakers5", name="unknown")
    assert metrics_of(train_in_process(*data, name="random"))["speaker_independent"] is False


def test_runs_are_evaluated_on_folder_corpora(trained, compose, own_folder):
    overrides = [f"run={trained}", "data=folder", f"data.root={own_folder}", "protocol=all_test"]
    metrics = evaluate(compose(*overrides, config_name="evaluate"), overrides)
    assert len(pd.read_csv(trained / "evaluations" / "folder-all_test-0-test" / "predictions.csv")) == 384
    assert metrics["test/uar"] > 0.4


@pytest.mark.slow
def test_combined_corpora_have_separate_metrics(train_in_process, real_data):
    run_dir = train_in_process(
        "data=ravdess_tess", f"data.root={real_data}", "trainer.max_epochs=1", "trainer.limit_train_batches=2"
    )
    metrics = metrics_of(run_dir)
    rows = pd.read_csv(run_dir / "predictions.csv").query("split == 'test'")
    for corpus in ("ravdess", "tess"):
        part = rows[rows["recording"].str.startswith(f"{corpus}/")]
        assert metrics[f"test/{corpus}/war"] == pytest.approx((part["emotion"] == part["predicted"]).mean())
    assert "test/tess/recall/calm" not in metrics
    assert "test/ravdess/recall/calm" in metrics


@pytest.mark.slow
def test_label_scheme_determines_the_outputs(train_in_process):
    run_dir = train_in_process(*QUICK, "trainer.max_epochs=1", "labels=valence")
    table = pd.read_csv(run_dir / "predictions.csv")
    assert list(table.columns[5:]) == ["negative", "neutral", "positive"]
    assert table["emotion"].value_counts().to_dict() == {"negative": 64, "neutral": 32, "positive": 16}


def test_moved_runs_are_evaluated(trained, compose, tmp_path):
    moved = trained.rename(tmp_path / "moved")
    try:
        overrides = [f"run={moved}"]
        metrics = evaluate(compose(*overrides, config_name="evaluate"), overrides)
        assert metrics["test/uar"] == metrics_of(moved)["test/uar"]
    finally:
        moved.rename(trained)


@pytest.mark.slow
def test_a_single_batch_is_overfitted(compose):
    config = compose("augment=none", "model.backbone.dropout=0", "model.head.dropout=0", "data.batch_size=16")
    datamodule = build_datamodule(config)
    datamodule.setup()
    torch.manual_seed(0)
    classifier = build_classifier(config, 8)
    classifier.encoder.front_end.fit(datamodule.batches("train"))
    batch = next(iter(datamodule.train_dataloader()))
    assert len(batch["label"].unique()) > 3
    module = EmotionModule(classifier, datamodule.classes, config.optimizer, config.scheduler)
    optimizer = torch.optim.AdamW(classifier.parameters(), 0.003)
    for _ in range(60):
        optimizer.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert (classifier.predict(batch).argmax(dim=1) == batch["label"]).float().mean() > 0.9


@pytest.mark.slow
def test_results_depend_only_on_the_seed(train_in_process):
    first, second = (train_in_process(*QUICK, "trainer.max_epochs=2", name=name) for name in "ab")
    assert_same_run(first, second)
    third = train_in_process(*QUICK, "trainer.max_epochs=2", "seed=1", name="c")
    assert metrics_of(third)["test/loss"] != metrics_of(first)["test/loss"]


RECIPES = {
    "one cycle": (),
    "averaged": ("scheduler=cosine", "training.ema_decay=0.9", "features.cache=false"),
    "averaged equally": ("scheduler=constant", "training.swa_first_epoch=2"),
    "augmented": ("model=audio_lstm", "augment=[speed,noise,vtlp,spec_augment,mixup]"),
    "patient": ("scheduler=constant", "optimizer=sgd", "optimizer.lr=0.1", "training.patience=2"),
}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_resumed_training_equals_uninterrupted_training(train_in_process, monkeypatch, recipe):
    overrides = (*QUICK, *RECIPES[recipe])
    uninterrupted = train_in_process(*overrides, name="uninterrupted")

    def interrupt(module):
        if module.current_epoch == 2:
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(EmotionModule, "on_train_epoch_start", interrupt)
        with pytest.raises(RuntimeError, match="power cut"):
            train_in_process(*overrides, name="broken")
    assert not (uninterrupted.parent / "broken" / "metrics.json").exists()
    assert epoch_of(uninterrupted.parent / "broken", "last") == 1  # also if another epoch is the best
    resumed = train_in_process(f"resume={uninterrupted.parent / 'broken'}", name="broken")
    assert_same_run(uninterrupted, resumed)


@pytest.mark.slow
def test_averaged_weights_are_the_mean_of_those_after_each_epoch(train_in_process, monkeypatch):
    kept = []

    def keep(self, trainer, pl_module, *_):
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            kept.append({name: value.clone() for name, value in pl_module.classifier.named_parameters()})

    monkeypatch.setattr("emotion.training.callbacks.ReseedEachEpoch.on_train_batch_end", keep, raising=False)
    changes = ("scheduler=constant", "trainer.max_epochs=4", "training.swa_first_epoch=2", "training.calibrate=false")
    run_dir = train_in_process(*QUICK, *changes, "training.monitor=dev/loss")
    found, epoch = runs.load_weights(run_dir), epoch_of(run_dir, "best")
    used = kept[1 : epoch + 1] if epoch else kept[:1]  # of epochs 2 to the best one
    for name, value in kept[0].items():
        expected = torch.stack([own[name] for own in used]).mean(dim=0)
        torch.testing.assert_close(found[name], expected, atol=1e-6, rtol=1e-5, msg=f"{name} {value.shape}")


@pytest.mark.slow
def test_moved_runs_are_resumed_with_more_epochs(train_in_process):
    run_dir = train_in_process(*QUICK, "scheduler=constant", "trainer.max_epochs=2", name="short")
    moved = run_dir.rename(run_dir.parent / "long")
    before = metrics_of(moved)
    train_in_process(f"resume={moved}", "trainer.max_epochs=3", name="long")
    after = metrics_of(moved)
    assert (before["epochs"], after["epochs"]) == (2, 3)
    assert list(OmegaConf.load(moved / "overrides.yaml"))[-2:] == ["trainer.max_epochs=2", "trainer.max_epochs=3"]
    assert sorted(path.name for path in (moved / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert after["dev/uar"] >= before["dev/uar"]


def test_saved_overrides_omit_local_paths(tmp_path, compose):
    overrides = ["+data.root=/home/me/corpus", "data.root=/home/me", "+model.init_from=/home/me/run", "seed=3"]
    runs.describe(
        tmp_path, compose(), overrides, pd.DataFrame(columns=["split", "recording", "speaker", "emotion"]), {}
    )
    assert OmegaConf.load(tmp_path / "overrides.yaml") == ["seed=3"]


@pytest.mark.slow
def test_scheduled_runs_cannot_be_extended(train_in_process, trained):
    with pytest.raises(EmotionError, match="planned for"):
        train_in_process(f"resume={trained}", "trainer.max_epochs=99", name=str(trained))


def test_existing_runs_are_not_overwritten(train_in_process, trained):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    with pytest.raises(EmotionError, match="already holds a run"):
        train_in_process(*QUICK, name=str(trained))
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_compiled_networks_give_the_same_loss(train_in_process):
    recipe = ("trainer.max_epochs=2", "model=audio_lstm")
    plain = runs.load_metrics(train_in_process(*recipe, name="plain"))
    run_dir = train_in_process(*recipe, "training.compile=true", name="compiled")
    compiled = runs.load_metrics(run_dir)
    assert compiled["dev/loss"] == pytest.approx(plain["dev/loss"], abs=1e-3)
    # The checkpoint holds the network without the compilation.
    assert set(runs.load_weights(run_dir)) == set(runs.load_weights(run_dir.parent / "plain"))


@pytest.mark.slow
def test_speaker_normalisation_is_marked_transductive(train_in_process):
    run_dir = train_in_process(*QUICK, "trainer.max_epochs=1", "features.normalize=speaker")
    assert metrics_of(run_dir)["transductive"] is True


@pytest.mark.slow
def test_training_with_and_without_cached_features_is_equal(train_in_process):
    runs_ = [
        train_in_process(*QUICK, "trainer.max_epochs=2", "augment=none", f"features.cache={cached}", name=cached)
        for cached in ("true", "false")
    ]
    losses = [metrics_of(run_dir)["test/loss"] for run_dir in runs_]
    assert losses[0] == pytest.approx(losses[1], abs=0.02)


MISTAKES = {
    "protocol.fold=9": "from 0 to 5",
    "protocol=happy_sad": "no splits of the demo corpus",
    "trainer=gpu": "use trainer=cpu",
    "labels=hapy_sad": "did you mean happy_sad?",
    "model.backbone._target_=joblib.load": "refused",
    "+model.backbone.chanels=3": "did you mean channels",
    "data.batch_size=0": "at least 2",
    "data.on_error=ignore": "raise, skip",
    "features.normalize=batch": "train, clip, speaker, corpus or none",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_reported_before_training(train_in_process, tmp_path, mistake):
    if mistake == "trainer=gpu" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(EmotionError, match=re.escape(MISTAKES[mistake])):
        train_in_process(mistake)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_more_gpus_than_available_are_refused(train_in_process, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(EmotionError, match="devices=3: torch finds only 1 GPUs"):
        train_in_process("trainer=gpu", "trainer.devices=3")


def test_empty_splits_are_refused(train_in_process, monkeypatch):
    from emotion.corpora.demo import Demo

    scan = Demo.scan

    def without_test_actors(self, directory, channel="both"):
        table = scan(self, directory, channel)
        return table[table["speaker"] > "demo/04"]

    monkeypatch.setattr(Demo, "scan", without_test_actors)
    with pytest.raises(EmotionError, match="the test split of protocol actor6 fold 0 is empty"):
        train_in_process(*QUICK)


@pytest.mark.slow
def test_unusable_files_are_refused_or_skipped(train_in_process, demo_root, tmp_path, monkeypatch):
    import shutil

    from emotion.corpora.demo import Demo

    broken = tmp_path / "demo"
    shutil.copytree(demo_root, broken)
    (broken / "Actor_01" / "03-01-05-01-01-01-01.wav").write_bytes(b"")
    monkeypatch.setattr(Demo, "locate", lambda self, root: broken)
    with pytest.raises(EmotionError, match=r"1 of the demo files.*03-01-05-01-01-01-01\.wav.*on_error=skip"):
        train_in_process(*QUICK, name="stopped")
    run_dir = train_in_process(*QUICK, "trainer.max_epochs=1", "data.on_error=skip", name="skipped")
    table = pd.read_csv(run_dir / "predictions.csv")
    assert len(table[table["split"] == "test"]) == 63


@pytest.mark.slow
def test_classes_have_equal_weight_in_the_loss(real_data, compose):
    datamodule = build_datamodule(compose("data=ravdess", f"data.root={real_data}"))
    datamodule.setup()
    labels = datamodule.table.loc[datamodule.table["split"] == "train", "label"]
    weights = class_weights(datamodule.table, len(EMOTIONS)).numpy()
    totals = np.bincount(labels) * weights
    np.testing.assert_allclose(totals, totals[0], rtol=1e-6)
    assert weights[EMOTIONS.index("neutral")] == pytest.approx(2 * weights[EMOTIONS.index("calm")])


@pytest.mark.slow
def test_a_network_is_trained_anew_on_train_and_dev(train_in_process, compose):
    overrides = ("trainer.max_epochs=2", "data.batch_size=64", "model.backbone.channels=[4]")
    before = train_in_process(*overrides, name="before")
    refitted = train_in_process(*overrides, "training.refit=true", name="refitted")
    old, new = (runs.load_metrics(path) for path in (before, refitted))
    assert {key: old[key] for key in old if key.startswith("dev/")} == {
        key: new[key] for key in new if key.startswith("dev/")
    }
    assert old["test/loss"] != new["test/loss"]
    assert new["temperature"] == old["temperature"]
    splits = runs.load_splits(refitted)
    assert set(splits.loc[splits["split"] == "refit", "recording"]) == set(
        splits.loc[splits["split"] == "dev", "recording"]
    )

    def evaluate_split(split):
        overrides = [f"run={refitted}", f"split={split}"]
        return evaluate(compose(*overrides, config_name="evaluate"), overrides)

    assert evaluate_split("test")["test/uar"] == new["test/uar"]
    with pytest.raises(EmotionError, match="64 of the 64 recordings of this dev split were used to train"):
        evaluate_split("dev")


@pytest.mark.slow
def test_a_network_trained_anew_is_resumed_as_others_are(train_in_process, compose):
    overrides = ("trainer.max_epochs=3", "data.batch_size=64", "model.backbone.channels=[4]", "scheduler=constant")
    whole = train_in_process(*overrides, "training.refit=true", name="whole")
    part = train_in_process(*overrides, "training.refit=true", "trainer.max_epochs=1", name="part")
    resumed = [f"resume={part}", "trainer.max_epochs=3"]
    train(compose(*resumed), part, resumed)
    one, other = (runs.load_metrics(path) for path in (whole, part))
    assert {key: one[key] for key in one if key.startswith(("dev/", "test/"))} == {
        key: other[key] for key in other if key.startswith(("dev/", "test/"))
    }
