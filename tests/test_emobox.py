"""Tests of corpora by the metadata of EmoBox."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from omegaconf import OmegaConf

from conftest import build_datamodule
from emotion.corpora.emobox import EmoBox
from emotion.errors import EmotionError
from emotion.pipelines.evaluate import evaluate

LABELS = {"a": "Angry", "n": "Neutral", "h": "Happy", "x": "pain, groan"}


@pytest.fixture
def metadata(tmp_path):
    """Metadata of 60 files of six speakers of ASED, without a valid file; the last speaker is tested."""
    folder = tmp_path / "meta" / "ased"
    (folder / "fold_1").mkdir(parents=True)
    (folder / "label_map.json").write_text(json.dumps(LABELS))
    random = np.random.default_rng(0)
    entries = {"train": [], "test": []}
    for speaker in range(1, 7):
        for letter, prefix in (("a", "a5"), ("n", "n1"), ("h", "h3")):
            for statement in range(1, 4):
                name = f"{prefix}-{statement:02}-01-01-{speaker:02}"
                path = tmp_path / "root" / "downloads" / "ased" / prefix / f"{name}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, random.normal(0, 0.1, 8_000), 16_000)
                entry = {"key": f"ased-{name}", "dataset": "ased", "wav": f"downloads/ased/{prefix}/{name}.wav"}
                entry |= {"sample_rate": 16000, "length": 0.5, "task": "category", "emo": letter, "channel": 1}
                entries["test" if speaker == 6 else "train"].append(entry)
    write(folder / "ased.jsonl", entries["train"] + entries["test"])
    for split, own in entries.items():
        write(folder / "fold_1" / f"ased_{split}_fold_1.jsonl", own)
    return folder


def write(path, entries):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def overrides(metadata, *more):
    return ("data=emobox", f"data.metadata={metadata}", f"data.root={metadata.parents[1] / 'root'}", *more)


def test_a_fold_without_dev_is_divided_by_speaker(metadata, compose, caplog):
    caplog.set_level("INFO")
    datamodule = build_datamodule(compose(*overrides(metadata, "protocol.speaker_independent=true")))
    datamodule.setup()
    table = datamodule.table
    assert table["split"].value_counts().to_dict() == {"train": 36, "dev": 9, "test": 9}
    assert datamodule.classes == ("neutral", "happy", "angry")
    assert table.groupby("split")["speaker"].unique().loc["test"].tolist() == ["ased/06"]
    assert table.groupby("speaker")["split"].nunique().max() == 1
    assert "no dev split: 9 of 45 recordings of train are dev, of other speakers" in caplog.text
    assert "ased: 54 recordings of EmoBox's metadata, 6 speakers" in caplog.text


def test_unknown_speakers_are_divided_by_emotion(metadata, compose, caplog):
    caplog.set_level("INFO")
    folder = metadata.rename(metadata.with_name("other"))
    for path in [*folder.glob("*.jsonl"), *folder.glob("fold_1/*.jsonl")]:
        path.rename(path.with_name(path.name.replace("ased", "other")))
    datamodule = build_datamodule(compose(*overrides(folder)))
    datamodule.setup()
    dev = datamodule.table[datamodule.table["split"] == "dev"]
    assert dev["emotion"].value_counts().to_dict() == {"neutral": 3, "happy": 3, "angry": 3}
    assert "stratified by emotion" in caplog.text and "speakers unknown" in caplog.text


def test_a_valid_file_is_dev(metadata, compose, caplog):
    train = metadata / "fold_1" / "ased_train_fold_1.jsonl"
    entries = read(train)
    write(train, entries[:30])
    write(train.with_name("ased_valid_fold_1.jsonl"), entries[30:])
    datamodule = build_datamodule(compose(*overrides(metadata)))
    datamodule.setup()
    assert datamodule.table["split"].value_counts().to_dict() == {"train": 30, "dev": 15, "test": 9}
    assert "no dev split" not in caplog.text


def test_files_are_found_without_the_downloads_folder_and_with_another_suffix(metadata):
    root = metadata.parents[1] / "root"
    (root / "downloads" / "ased" / "a5").rename(root / "a5")
    moved = root / "a5" / "a5-01-01-01-01.wav"
    moved.rename(moved.with_suffix(".flac"))
    table = EmoBox(str(metadata)).scan(root)
    assert len(table) == 54
    assert {"a5/a5-01-01-01-01.flac", "a5/a5-01-01-01-02.wav"} < set(table["audio"])


def test_labels_that_are_no_emotion_are_skipped_and_counted(metadata, caplog):
    entries = read(metadata / "ased.jsonl")
    write(metadata / "ased.jsonl", [entry | {"emo": "x"} for entry in entries[:4]] + entries[4:])
    assert len(EmoBox(str(metadata)).scan(metadata.parents[1] / "root")) == 50
    assert "4 recordings with other labels are skipped (4 x)" in caplog.text


def test_missing_files_are_refused_or_skipped(metadata, caplog):
    root = metadata.parents[1] / "root"
    (root / "downloads" / "ased" / "a5" / "a5-01-01-01-01.wav").unlink()
    with pytest.raises(EmotionError, match=r"1 of 54 files of ased are not below .*a5-01-01-01-01\.wav; add them"):
        EmoBox(str(metadata)).scan(root)
    assert len(EmoBox(str(metadata), on_error="skip").scan(root)) == 53
    assert "1 files are missing and are skipped" in caplog.text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 55 is no entry of EmoBox"),
        ("[]", "line 55 is no entry of EmoBox"),
        ('{"key": "k", "wav": 1, "emo": "a"}', "key, wav and emo must be text"),
        ('{"key": "k", "wav": "a.wav"}', "line 55 is no entry of EmoBox"),
    ],
)
def test_damaged_metadata_are_refused(metadata, line, message):
    with (metadata / "ased.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(EmotionError, match=message):
        EmoBox(str(metadata)).scan(metadata.parents[1] / "root")


def test_wrong_arguments_are_refused(metadata, compose, tmp_path):
    with pytest.raises(EmotionError, match=r"data=emobox needs data\.metadata=DIR"):
        build_datamodule(compose("data=emobox", f"data.root={tmp_path}"))
    with pytest.raises(EmotionError, match=r"has no file NAME\.jsonl"):
        build_datamodule(compose("data=emobox", f"data.metadata={tmp_path}", f"data.root={tmp_path}"))
    with pytest.raises(EmotionError, match=r"protocol\.fold=3: the metadata in .* have the folds 1"):
        build_datamodule(compose(*overrides(metadata, "protocol.fold=3")))
    (metadata / "label_map.json").write_text("[]")
    with pytest.raises(EmotionError, match="label_map"):
        EmoBox(str(metadata)).scan(metadata.parents[1] / "root")


def test_a_run_keeps_its_paths_private_and_is_evaluated_again(metadata, train_in_process, compose):
    few = ("model=svm", "features=rms", "model.vector=means", "protocol.speaker_independent=true")
    run_dir = train_in_process(*overrides(metadata, *few))
    config = OmegaConf.to_container(OmegaConf.load(run_dir / "config.yaml"))
    assert config["data"]["metadata"] == "${data.root}/ased"
    assert str(metadata.parent) not in (run_dir / "overrides.yaml").read_text()
    assert json.loads((run_dir / "environment.json").read_text())["data_metadata"] == str(metadata)
    test = pd.read_csv(run_dir / "predictions.csv").query("split == 'test'")
    assert len(test) == 9
    typed = [f"run={run_dir}", "split=dev"]
    evaluate(compose(*typed, config_name="evaluate"), typed)
    assert list(Path(run_dir, "evaluations").iterdir())


def test_results_are_written_in_the_form_of_emobox(metadata, compose, command, tmp_path):
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

    given = overrides(metadata, "trainer.max_epochs=1", "model.backbone.channels=[4,4,4,4]", "data.on_error=skip")
    assert command("train", *given, "run_dir=run").returncode == 0
    result = command("report", "run", "--emobox", "results.json")
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "results.json").read_text())
    table = pd.read_csv(tmp_path / "run" / "predictions.csv").query("split == 'test'")
    assert found["num"] == len(table) == len(found["predictions"])
    assert found["predictions"][0]["key"].startswith("ased-")
    assert found["WA"] == pytest.approx(accuracy_score(table["emotion"], table["predicted"]))
    assert found["UA"] == pytest.approx(balanced_accuracy_score(table["emotion"], table["predicted"]))
    for average in ("micro", "macro"):
        expected = f1_score(table["emotion"], table["predicted"], average=average)
        assert found[f"{average}_f1"] == pytest.approx(expected)
    assert "--emobox takes one DIR" in command("report", "run", "run", "--emobox", "other.json").stderr
    assert "does not exist" in command("report", "nothing", "--emobox", "other.json").stderr
