"""Tests of data sets of the Hugging Face Hub and of WebDataset shards, read and written."""

import io
import json
import sys
import tarfile

import numpy as np
import pandas as pd
import pytest
import soundfile

from conftest import build_datamodule
from emotion.corpora.huggingface import HuggingFace
from emotion.errors import EmotionError
from emotion.notebook import configure
from emotion.pipelines.export_dataset import export_dataset

WORDS = ("Happy", "sadness", "other")


def sound(seed):
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(seed).uniform(-0.1, 0.1, 4_000), 16_000, format="WAV")
    return file.getvalue()


def items(count=9):
    return [
        {"sound": {"path": "a.wav", "bytes": sound(index)}, "feeling": index % 3, "who": f"s{index // 3}"}
        for index in range(count)
    ]


@pytest.fixture
def parquet(tmp_path):
    """Return the folder of a data set with the splits train and test, and columns of other names."""
    import datasets
    import pyarrow
    from pyarrow import parquet

    kinds = {"sound": datasets.Audio(), "feeling": datasets.ClassLabel(names=list(WORDS))}
    schema = datasets.Features(kinds | {"who": datasets.Value("string")}).arrow_schema
    for split in ("train", "test"):
        table = pyarrow.Table.from_pylist(items(), schema=schema)
        parquet.write_table(table, tmp_path / f"{split}-00000-of-00001.parquet")
    return tmp_path


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_what_is_exported_is_read_again(cache, compose, demo_root, tmp_path, form):
    chosen = ("data=demo", "protocol=actor6", "protocol.fold=2", "labels=[happy,sad]")
    table = export_dataset(configure(*chosen), tmp_path / "set", form, without="video")
    read = ("data=huggingface", f"data.path={tmp_path / 'set'}", "protocol=official", "labels=[happy,sad]")
    found = build_datamodule(compose(*read))
    found.setup()
    expected = table.set_index("recording").sort_index()
    own = found.table.assign(recording=found.table["recording"].str.removeprefix("huggingface/"))
    own = own.set_index("recording").sort_index()
    for column in ("split", "emotion", "intensity", "gender", "channel"):
        assert own[column].tolist() == expected[column].tolist()
    assert own["speaker"].str.removeprefix("huggingface/").tolist() == expected["speaker"].tolist()
    directory = found.corpus.locate(None)
    for key in own.index[:5]:
        written = (directory / own.loc[key, "audio"]).read_bytes()
        assert written == (demo_root / expected.loc[key, "audio"]).read_bytes()
    card = (tmp_path / "set" / "README.md").read_text()
    assert "| happy |" in card and "speaker-independent" in card


def test_columns_are_named_by_the_configuration(cache, parquet):
    corpus = HuggingFace(str(parquet), emotion="feeling", speaker="who")
    table = corpus.scan(corpus.locate(None))
    assert table["emotion"].value_counts().to_dict() == {"happy": 6, "sad": 6}  # others are skipped
    assert set(table["speaker"]) == {f"huggingface/s{number}" for number in range(3)}
    splits, folds = corpus.own_splits(corpus.locate(None), 0)
    assert splits["split"].value_counts().to_dict() == {"train": 6, "test": 6} and folds == 1


def test_recordings_are_written_once(cache, parquet):
    corpus = HuggingFace(str(parquet), emotion="feeling")
    directory = corpus.locate(None)
    first = next(directory.rglob("*.wav"))
    time = first.stat().st_mtime_ns
    assert HuggingFace(str(parquet), emotion="feeling").locate(None) == directory
    assert first.stat().st_mtime_ns == time
    (directory / "recordings.json").unlink()  # as if the process had been killed
    first.write_bytes(b"half")
    HuggingFace(str(parquet), emotion="feeling").locate(None)
    assert first.read_bytes() != b"half"


def test_saved_data_sets_are_read(cache, parquet, tmp_path):
    import datasets

    datasets.load_dataset(str(parquet)).save_to_disk(str(tmp_path / "saved"))
    corpus = HuggingFace(str(tmp_path / "saved"), emotion="feeling")
    assert len(corpus.scan(corpus.locate(None))) == 12


def test_names_in_shards_lead_nowhere(cache, tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    with tarfile.open(folder / "train-000.tar", "w") as shard:
        for name, content in {"../../x.wav": sound(0), "../../x.json": b'{"emotion": "angry"}'}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            shard.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("y.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        shard.addfile(link)
    corpus = HuggingFace(str(folder))
    directory = corpus.locate(None)
    assert [path.relative_to(directory).as_posix() for path in directory.rglob("*.wav")] == ["train/000000-0.wav"]
    assert corpus.scan(directory)["emotion"].tolist() == ["angry"]
    with pytest.raises(EmotionError, match="has no test split; use protocol=speakers5 or random"):
        corpus.own_splits(directory, 0)
    with tarfile.open(folder / "train-000.tar", "w") as shard:
        for name, content in {"1.wav": sound(0), "1.cls": b"3"}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            shard.addfile(entry, io.BytesIO(content))
    with pytest.raises(EmotionError, match="no label in the column emotion is a known emotion; they are 3"):
        HuggingFace(str(folder)).locate(None)
    (folder / "train-000.tar").write_bytes(b"nothing")
    with pytest.raises(EmotionError, match=r"train-000\.tar is damaged"):
        HuggingFace(str(folder)).locate(None)


def test_rows_without_a_recording_are_refused_or_skipped(cache, tmp_path, caplog):
    folder = tmp_path / "shards"
    folder.mkdir()
    with tarfile.open(folder / "train-0.tar", "w") as shard:
        for name, content in {"1.wav": sound(0), "1.cls": b"sad", "2.cls": b"sad"}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            shard.addfile(entry, io.BytesIO(content))
    with pytest.raises(
        EmotionError, match=r"row 1 of train has no audio.*leave such rows out with data\.on_error=skip"
    ):
        HuggingFace(str(folder)).locate(None)
    corpus = HuggingFace(str(folder), on_error="skip")
    assert len(corpus.scan(corpus.locate(None))) == 1
    assert "row 1 of train has no audio, video or image, and is skipped" in caplog.text


def test_members_of_shards_are_named_where_they_are_wrong(cache, tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    for content, error in (
        ({"1.wav": sound(0)}, r"the recording 1 has no emotion; add 1\.json with it, or 1\.cls"),
        ({"1.wav": sound(0), "1.json": b"{emotion"}, r"train-0\.tar is damaged: 1\.json: Expecting property name"),
    ):
        with tarfile.open(folder / "train-0.tar", "w") as shard:
            for name, data in content.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                shard.addfile(entry, io.BytesIO(data))
        with pytest.raises(EmotionError, match=error):
            HuggingFace(str(folder)).locate(None)


def test_plain_binary_columns_hold_files(cache, tmp_path):
    table = pd.DataFrame({"recording_bytes": [sound(0), sound(1)], "emotion": ["happy", "sad"], "speaker": ["a", "b"]})
    table.iloc[:1].to_parquet(tmp_path / "train.parquet")
    table.iloc[1:].to_parquet(tmp_path / "test.parquet")
    corpus = HuggingFace(str(tmp_path))
    directory = corpus.locate(None)
    rows = corpus.scan(directory).set_index("emotion")
    assert (directory / rows.loc["happy", "audio"]).read_bytes() == sound(0)
    assert rows.loc["sad", "audio"].endswith(".wav")


def test_official_splits_without_common_speakers_are_speaker_independent(cache, compose, parquet):
    from pyarrow.parquet import read_table, write_table

    chosen = ("data=huggingface", f"data.path={parquet}", "protocol=official", "data.corpus.emotion=feeling")
    shared = build_datamodule(compose(*chosen, "data.corpus.speaker=who"))
    assert not shared.protocol.is_speaker_independent  # the same speakers in train and test
    path = parquet / "test-00000-of-00001.parquet"
    table = read_table(path)
    names = [[f"other {name}" for name in table["who"].to_pylist()]]
    write_table(table.set_column(table.schema.get_field_index("who"), table.schema.field("who"), names), path)
    own = build_datamodule(compose(*chosen, "data.corpus.speaker=who"))
    assert own.protocol.is_speaker_independent


def test_what_cannot_be_used_is_refused(cache, parquet, tmp_path, monkeypatch):
    with pytest.raises(EmotionError, match=r"needs data\.path=DIR"):
        HuggingFace()
    with pytest.raises(EmotionError, match=r"has no column emotion: known: feeling, who; set data\.corpus\.emotion"):
        HuggingFace(str(parquet)).locate(None)
    texts = tmp_path / "texts"
    texts.mkdir()
    pd.DataFrame({"emotion": ["happy"], "text": ["a"]}).to_parquet(texts / "train.parquet")
    with pytest.raises(EmotionError, match="has no column of audio, video or images; its columns are emotion, text"):
        HuggingFace(str(texts)).locate(None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmotionError, match="cannot be loaded"):
        HuggingFace(str(tmp_path / "empty")).locate(None)
    with pytest.raises(EmotionError, match="is not an empty folder"):
        export_dataset(configure("data=demo"), parquet, "parquet")
    with pytest.raises(EmotionError, match="cannot write"):
        export_dataset(configure("data=demo"), texts / "train.parquet" / "below", "parquet")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(EmotionError, match=r"datasets is not installed: pip install 'emotion\[datasets\]'"):
        HuggingFace(str(parquet)).locate(None)


def test_tables_may_be_parquet_files(cache, compose, demo_root, tmp_path):
    names = sorted(path.name for path in (demo_root / "Actor_01").glob("*.wav"))[:4]
    for name in names:
        (tmp_path / name).symlink_to(demo_root / "Actor_01" / name)
    rows = {"file": names, "emotion": ["happy", "sad", "happy", None], "speaker": [1, 2, 1, 2]}
    pd.DataFrame(rows).to_parquet(tmp_path / "list.parquet")
    overrides = ("data=folder", f"data.root={tmp_path}", "data.corpus.table=list.parquet")
    with pytest.raises(EmotionError, match="line 4"):
        build_datamodule(compose(*overrides, "protocol=all_test"))
    pd.DataFrame(rows).dropna().to_parquet(tmp_path / "list.parquet")
    corpus = build_datamodule(compose(*overrides, "protocol=all_test")).corpus
    assert corpus.scan(tmp_path)["emotion"].tolist() == ["happy", "sad", "happy"]


def test_a_run_is_evaluated_from_the_same_folder(cache, train_in_process, parquet):
    from emotion import runs

    chosen = ("data=huggingface", f"data.path={parquet}", "data.corpus.emotion=feeling", "protocol=official")
    run = train_in_process(*chosen, "features=rms", "model=audio_lstm", "trainer.max_epochs=1")
    assert str(parquet) not in (run / "config.yaml").read_text() + (run / "overrides.yaml").read_text()
    assert runs.load_config(run).data.path == str(parquet)
    assert json.loads((run / "metrics.json").read_text())["protocol"] == "official"
