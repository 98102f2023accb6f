"""Tests of databases in audformat; the files are as audformat 1.4 writes them."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from conftest import build_datamodule
from emotion.corpora.audformat import Audformat
from emotion.errors import EmotionError
from emotion.prepare.waveforms import prepare_waveforms

HEADER = """\
name: emodb
source: x
usage: research
languages: [deu]
raters:
  gold: {type: human}
schemes:
  emotion:
    dtype: str
    labels: [anger, boredom, happiness, frustration]
  speaker:
    dtype: int
    labels:
      3: {gender: male}
      8: {gender: female}
tables:
  emotion:
    type: filewise
    columns:
      emotion: {scheme_id: emotion, rater_id: gold}
  files:
    type: filewise
    columns:
      speaker: {scheme_id: speaker}
  parts:
    type: segmented
    columns:
      emotion: {scheme_id: emotion}
"""
TABLES = {
    "emotion": "file,emotion\nwav/a.wav,anger\nwav/b.wav,happiness\nwav/c.wav,frustration\nwav/d.wav,\n",
    "files": "file,speaker\nwav/a.wav,3\nwav/b.wav,8\nwav/c.wav,8\nwav/d.wav,\nwav/e.wav,8\n",
    "parts": (
        "file,start,end,emotion\n"
        "wav/e.wav,0 days 00:00:00.000000,0 days 00:00:01.500000,anger\n"
        "wav/e.wav,0 days 00:00:01.500000,,boredom\n"
    ),
}


@pytest.fixture(params=["csv", "parquet"])
def database(tmp_path, request):
    (tmp_path / "db.yaml").write_text(HEADER)
    for name, text in TABLES.items():
        path = tmp_path / f"db.{name}.csv"
        path.write_text(text)
        if request.param == "parquet":
            table = pd.read_csv(path)
            for column in {"start", "end"} & set(table):
                table[column] = pd.to_timedelta(table[column])
            table.set_index([name for name in ("file", "start", "end") if name in table]).to_parquet(
                tmp_path / f"db.{name}.parquet"
            )
            path.unlink()
    for name in "abcde":
        path = tmp_path / "wav" / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(32_000), 16_000)
    return tmp_path


def test_filewise_and_segmented_tables_are_read(database, caplog):
    table = Audformat().scan(database).set_index("recording")
    assert table["emotion"].to_dict() == {
        "audformat/wav/a": "angry",
        "audformat/wav/b": "happy",
        "audformat/wav/e@-1.5": "angry",
        "audformat/wav/e@1.5-": "bored",
    }
    assert list(table["speaker"]) == ["audformat/3", "audformat/8", "audformat/8", "audformat/8"]
    assert list(table["gender"]) == ["male", "female", "female", "female"]
    assert "2 recordings with other labels are skipped (1 frustration, 1 without a label)" in caplog.text
    store = prepare_waveforms(table.reset_index(), database, 16_000, database / "cache")
    assert list(store.index["length"]) == [32_000, 32_000, 24_000, 8_000]
    assert len(Audformat(table="parts").scan(database)) == 2


def test_databases_are_trained_on(tmp_path, compose):
    files = [f"{number}.wav" for number in range(20)]
    for file in files:
        soundfile.write(tmp_path / file, 0.1 * np.random.default_rng(0).standard_normal(8_000), 16_000)
    (tmp_path / "db.yaml").write_text("tables:\n  all:\n    columns:\n      mood: {}\n      speaker: {}\n")
    rows = [f"{file},{('sad', 'happy')[number % 2]},{number % 5}" for number, file in enumerate(files)]
    (tmp_path / "db.all.csv").write_text("\n".join(("file,mood,speaker", *rows)))
    given = ("data=audformat", f"data.root={tmp_path}", "data.corpus.column=mood", "protocol=speakers5")
    datamodule = build_datamodule(compose(*given))
    datamodule.setup()
    assert datamodule.classes == ("happy", "sad")
    assert datamodule.table.groupby("speaker")["split"].nunique().max() == 1


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda root: (root / "db.yaml").write_text("- a\n"), {}, "db.yaml is not the header of a database"),
        (lambda root: (root / "db.yaml").write_text("tables: !!python/name:os.system ''\n"), {}, "is not the header"),
        (lambda root: (root / "db.yaml").unlink(), {}, "db.yaml is not the header of a database"),
        (lambda root: [path.unlink() for path in root.glob("db.emotion.*")], {}, "save the database as CSV or Parquet"),
        (lambda root: None, {"table": "partz"}, "data.corpus.table=partz: did you mean parts"),
        (lambda root: None, {"column": "emotions"}, "data.corpus.column=emotions: did you mean emotion"),
    ],
)
def test_damaged_databases_are_refused(database, change, settings, message):
    change(database)
    with pytest.raises(EmotionError, match=message):
        Audformat(**settings).scan(database)


@pytest.mark.parametrize("file", ["/etc/passwd", "../x.wav", ""])
def test_files_outside_of_the_database_are_refused(tmp_path, file):
    (tmp_path / "db.yaml").write_text(HEADER)
    for name, text in TABLES.items():
        (tmp_path / f"db.{name}.csv").write_text(text.replace("wav/a.wav", file))
    with pytest.raises(EmotionError, match=r"line 2: .* is not a path below the directory of the database"):
        Audformat().scan(tmp_path)


def test_contradictory_labels_are_refused(tmp_path):
    (tmp_path / "db.yaml").write_text(HEADER)
    for name, text in TABLES.items():
        (tmp_path / f"db.{name}.csv").write_text(text + ("wav/a.wav,happiness\n" if name == "emotion" else ""))
    with pytest.raises(EmotionError, match=r"wav/a\.wav is angry and happy; choose a table"):
        Audformat().scan(tmp_path)
