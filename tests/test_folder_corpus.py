"""Tests of the folder corpus: found files, labels, speakers, copies and tables."""

import logging
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from conftest import build_datamodule
from emotion.corpora.base import SkippedFiles, media_files
from emotion.corpora.copies import find_copies
from emotion.corpora.folder import Folder
from emotion.errors import EmotionError
from emotion.inference import recordings
from emotion.media.suffixes import AUDIO_SUFFIXES, IMAGE_SUFFIXES, SILENT_SUFFIXES, VIDEO_SUFFIXES, media_kind
from emotion.prepare.waveforms import prepare_waveforms

RATE = 16_000


@pytest.fixture(autouse=True)
def all_messages(caplog):
    caplog.set_level(logging.INFO)


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(str(path).encode())


def tone(path, hertz):
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(RATE // 4) / RATE
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * time), RATE)


def scan(root, **settings):
    return Folder(**settings).scan(root).set_index("recording")


# Which files are found.


def test_suffixes_belong_to_one_kind_and_are_in_lower_case():
    kinds = (AUDIO_SUFFIXES, VIDEO_SUFFIXES, IMAGE_SUFFIXES)
    all_suffixes = [suffix for kind in kinds for suffix in kind]
    assert len(all_suffixes) == len(set(all_suffixes))
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in all_suffixes)
    assert set(SILENT_SUFFIXES) <= set(VIDEO_SUFFIXES)
    for kind, suffixes in zip(("audio", "video", "image"), kinds, strict=True):
        assert {media_kind(f"a{suffix}") for suffix in suffixes} == {kind}


@pytest.mark.parametrize("change", [str, str.upper])
def test_every_suffix_is_found(tmp_path, change):
    all_suffixes = (*AUDIO_SUFFIXES, *VIDEO_SUFFIXES, *IMAGE_SUFFIXES)
    touch(*(tmp_path / "happy" / f"{number}{change(suffix)}" for number, suffix in enumerate(all_suffixes)))
    table = scan(tmp_path)
    assert len(table) == len(all_suffixes) == len(recordings.find_media([str(tmp_path)]).files)
    for number, suffix in enumerate(all_suffixes):
        row = table.loc[f"folder/happy/{number}"]
        assert bool(row["audio"]) == (suffix not in IMAGE_SUFFIXES + SILENT_SUFFIXES)
        assert bool(row["video"]) == (suffix not in AUDIO_SUFFIXES)


def test_other_files_are_counted_and_hidden_ones_are_not(tmp_path, caplog):
    touch(*(tmp_path / "happy" / name for name in ("a.wav", "notes.txt", "b.xyz", "c", ".d.wav", ".DS_Store")))
    assert list(scan(tmp_path).index) == ["folder/happy/a"]
    expected = "3 files of other kinds left out (1 .xyz, 1 no suffix, 1 .txt), such as happy/b.xyz"
    assert expected in caplog.text
    assert recordings.find_media([str(tmp_path)]).notes == (f"{tmp_path}: {expected}",)


def test_messages_are_reported_once(tmp_path, caplog):
    touch(tmp_path / "happy" / "a.wav", tmp_path / "happy" / "notes.txt", tmp_path / "misc" / "b.wav")
    corpus = Folder()
    corpus.scan(tmp_path)
    corpus.scan(tmp_path)
    assert caplog.text.count("1 file of other kinds left out") == 1
    assert caplog.text.count("are in no directory named after an emotion") == 1


def test_linked_folders_are_searched_once(tmp_path):
    touch(tmp_path / "real" / "happy" / "a.wav", tmp_path / "corpus" / "sad" / "b.wav")
    corpus = tmp_path / "corpus"
    (corpus / "happy").symlink_to(tmp_path / "real" / "happy")
    (corpus / "above").symlink_to(tmp_path)
    (corpus / "sad" / "again").symlink_to(corpus)
    (corpus / "angry").symlink_to("sad")
    (tmp_path / "real" / "happy" / "loop").symlink_to(corpus / "happy")
    table = scan(corpus)
    assert table["emotion"].to_dict() == {"folder/happy/a": "happy", "folder/sad/b": "sad"}
    skipped_files = SkippedFiles()
    assert sorted(media_files(corpus, (".wav",), skipped_files)) == ["happy/a.wav", "sad/b.wav"]
    assert sorted(skipped_files.links) == ["above", "angry", "happy/loop", "sad/again"]
    assert skipped_files.messages() == ["4 links to folders that are searched anyway left out, such as above"]
    assert len(recordings.find_media([str(corpus)]).files) == 2


def test_linked_folders_have_the_label_of_their_target(tmp_path):
    """The label is not that of the link, although its name sorts first."""
    touch(tmp_path / "sad" / "x" / "a.wav", tmp_path / "happy" / "b.wav")
    (tmp_path / "happy" / "favourites").symlink_to(tmp_path / "sad" / "x")
    assert scan(tmp_path)["emotion"].to_dict() == {"folder/happy/b": "happy", "folder/sad/x/a": "sad"}


def test_only_an_audio_file_and_a_video_are_merged(tmp_path):
    names = (
        "1.jpg",
        "1.png",
        "2.wav",
        "2.mp4",
        "3.wav",
        "3.mp3",
        "4.heic",
        "4.wav",
        "5.mts",
        "5.aac",
        "6.jpg",
        "6.gif",
    )
    touch(*(tmp_path / "happy" / name for name in (*names, "7.jpg", "7.png", "7.jpg.wav")))
    table = scan(tmp_path)
    assert [key.removeprefix("folder/happy/") for key in table.index] == [
        *("1.jpg", "1.png", "2", "3.mp3", "3.wav", "4.heic", "4.wav", "5", "6.gif", "6.jpg"),
        *("7.jpg", "7.jpg.wav", "7.png"),
    ]
    assert table.loc["folder/happy/2", ["audio", "video"]].tolist() == ["happy/2.wav", "happy/2.mp4"]
    assert table.loc["folder/happy/5", ["audio", "video"]].tolist() == ["happy/5.aac", "happy/5.mts"]
    assert table.loc["folder/happy/6.gif", ["audio", "video"]].tolist() == ["", "happy/6.gif"]


def test_text_with_a_video_suffix_is_reported_as_one_unusable_file(tmp_path, compose):
    tone(tmp_path / "happy" / "a.wav", 200)
    (tmp_path / "happy" / "index.ts").write_text("export const answer = 42;\n")
    assert len(scan(tmp_path)) == 2
    overrides = ("data=folder", f"data.root={tmp_path}", "protocol=all_test")
    with pytest.raises(EmotionError, match=r"1 of the folder files cannot be used, such as .*happy/index\.ts"):
        build_datamodule(compose(*overrides)).setup()
    datamodule = build_datamodule(compose(*overrides, "data.on_error=skip"))
    datamodule.setup()
    assert list(datamodule.table["recording"]) == ["folder/happy/a"]


# Folders named after speakers.

TREES = {
    "speakers below emotions": (("sad/Joy/a.wav", "sad/Anna/b.wav", "happy/Anna/c.wav"), ("sad", "sad", "happy")),
    "speakers above emotions": (("Joy/sad/a.wav", "Anna/happy/b.wav", "Anna/angry/c.wav"), ("sad", "happy", "angry")),
    "one speaker": (("sad/Joy/a.wav", "angry/Joy/b.wav", "happy/Joy/c.wav"), ("sad", "angry", "happy")),
    "any nesting": (("happy/a.wav", "session/sad/b.wav", "session/x/y/angry/c.wav"), ("happy", "sad", "angry")),
}


@pytest.mark.parametrize("tree", TREES)
def test_emotions_are_read_from_the_level_where_all_folders_are_emotions(tmp_path, tree, caplog):
    paths, emotions = TREES[tree]
    touch(*(tmp_path / path for path in paths))
    table = scan(tmp_path).set_index("audio")
    assert tuple(table.loc[list(paths), "emotion"]) == emotions
    ambiguous = "are in directories named after two emotions, such as" in caplog.text
    assert ambiguous == (tree != "any nesting")


# Speakers.


def write_table(root, rows, header="path,emotion,speaker"):
    for number, (path, *_) in enumerate(rows):
        tone(root / path, 200 + number)
    (root / "list.csv").write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")


def test_speaker_cells_are_stripped_and_normalised(tmp_path, caplog):
    names = ["04", "04 ", "\u00a004", " 04\u200b", "\uff10\uff14", "4", "Anna  B", "anna b"]
    write_table(tmp_path, [(f"{number}.wav", "happy", name) for number, name in enumerate(names)])
    assert scan(tmp_path, table="list.csv")["speaker"].tolist() == ["04"] * 6 + ["Anna B"] * 2
    assert "2 speakers are written in several ways and count as one each, such as 04 and 4" in caplog.text


def rows_of(speakers):
    emotions = ("happy", "sad")
    return [(f"{e}/{number}.wav", e, speaker) for e in emotions for number, speaker in enumerate(speakers)]


@pytest.mark.parametrize("blank", ["", " ", "\u00a0", "?", "NA", "unknown", "nan"])
@pytest.mark.parametrize("protocol", ["speakers5", "loso"])
def test_unknown_speakers_are_in_no_speaker_independent_split(tmp_path, compose, blank, protocol, caplog):
    write_table(tmp_path, rows_of(["a", blank, "b", "c", blank, "d", "e"]))
    overrides = ("data=folder", f"data.root={tmp_path}", "data.corpus.table=list.csv", f"protocol={protocol}")
    message = (
        "the speakers of 4 of 14 recordings are unknown, such as folder/happy/1, and protocol "
        f"{protocol} separates speakers"
    )
    with pytest.raises(EmotionError, match=f"{message}; name them, or leave those recordings out"):
        build_datamodule(compose(*overrides))
    protocol = build_datamodule(compose(*overrides, "data.on_error=skip")).protocol
    assert f"{message}: they are left out" in caplog.text
    assert set(protocol.table["speaker"]) == set("abcde") and len(protocol.table) == 10
    assert protocol.table.groupby("speaker")["split"].nunique().max() == 1


def test_speaker_protocols_without_known_speakers_are_refused(tmp_path, compose):
    write_table(tmp_path, rows_of([""] * 7))
    with pytest.raises(EmotionError, match="needs 5 speakers and 0 are known"):
        build_datamodule(
            compose("data=folder", f"data.root={tmp_path}", "data.corpus.table=list.csv", "protocol=speakers5")
        )


def test_unknown_speakers_are_counted_separately(tmp_path):
    write_table(tmp_path, rows_of(["a", "b", ""]))
    corpus = Folder("list.csv")
    described = corpus.describe(corpus.scan(tmp_path), "speech")
    assert described.startswith("folder: 6 recordings, 2 speakers and 2 recordings of unknown speakers: ")


# Copies.


def test_duplicate_files_are_found_by_content(tmp_path):
    tone(tmp_path / "a.wav", 200)
    tone(tmp_path / "b.wav", 201)
    shutil.copyfile(tmp_path / "a.wav", tmp_path / "c.wav")
    rows = [{"recording": name, "audio": f"{name}.wav", "video": ""} for name in "abc"]
    rows.append({"recording": "d", "audio": "missing.wav", "video": "c.wav"})
    assert find_copies(tmp_path, rows) == [["a", "c", "d"]]


@pytest.mark.parametrize("protocol", ["random", "speakers5"])
def test_duplicate_files_stay_in_one_split(tmp_path, compose, protocol, caplog):
    for number in range(60):
        tone(tmp_path / ("happy", "sad", "angry")[number % 3] / f"s{number % 20:02}_{number}.wav", 100 + 3 * number)
    pairs = [(number, number + 3) for number in range(0, 60, 6)]
    for one, other in pairs:
        first, second = (next(tmp_path.rglob(f"s??_{number}.wav")) for number in (one, other))
        shutil.copyfile(first, second)
    shutil.copyfile(next(tmp_path.rglob("s??_1.wav")), next(tmp_path.rglob("s??_2.wav")))  # of another emotion
    overrides = ("data=folder", f"data.root={tmp_path}", "data.corpus.speaker=s..", f"protocol={protocol}")
    table = build_datamodule(compose(*overrides)).protocol.table
    split = {int(key.rpartition("_")[2]): value for key, value in zip(table["recording"], table["split"], strict=True)}
    assert len(split) == 60 and set(split.values()) == {"train", "dev", "test"}
    assert all(split[one] == split[other] for one, other in [*pairs, (1, 2)])
    assert "22 recordings are byte-identical to others and stay in one split with them, such as" in caplog.text
    assert "1 group of byte-identical files with different emotions, such as folder/happy/" not in caplog.text
    assert "1 group of byte-identical files with different emotions, such as folder/angry/s02_2 (angry)" in caplog.text
    if protocol == "speakers5":
        assert table.groupby("speaker")["split"].nunique().max() == 1


def test_duplicates_across_all_speakers_are_left_out(tmp_path, compose, caplog):
    """One file of each content is kept, so that speakers can be separated."""
    rows = [(f"{number}.wav", "happy", f"s{number}") for number in range(6)]
    write_table(tmp_path, [*rows, *((f"own{number}.wav", "sad", f"s{number}") for number in range(6))])
    for number in range(1, 6):
        shutil.copyfile(tmp_path / "0.wav", tmp_path / f"{number}.wav")
    overrides = ("data=folder", f"data.root={tmp_path}", "data.corpus.table=list.csv", "protocol=speakers5")
    table = build_datamodule(compose(*overrides)).protocol.table
    assert len(table) == 7 and table.groupby("speaker")["split"].nunique().max() == 1
    assert "5 byte-identical copies are left out, since with them protocol" in caplog.text


# Tables.

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", ", ", " ; "])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_tables_may_have_any_separator_and_encoding(tmp_path, separator, encoding):
    rows = [("Path", " EMOTION", "Speaker "), ("happy/größe.wav", "Joy", "Jürgen"), ("sad\\b.wav", " sadness ", "2")]
    text = "\r\n".join(separator.join(row) for row in rows) + "\r\n"
    (tmp_path / "list.csv").write_bytes(text.encode(encoding))
    touch(tmp_path / "happy" / "größe.wav", tmp_path / "sad" / "b.wav")
    table = scan(tmp_path, table="list.csv")
    assert table[["audio", "emotion", "speaker"]].to_numpy().tolist() == [
        ["happy/größe.wav", "happy", "Jürgen"],
        ["sad/b.wav", "sad", "2"],
    ]


def test_excel_tables_are_read(tmp_path):
    (tmp_path / "list.csv").write_text('sep=;\n"path";"emotion";"note";\n"a;b.wav";"happy";"x";\n;;;\n\nc.wav;sad\n')
    assert scan(tmp_path, table="list.csv")["audio"].tolist() == ["a;b.wav", "c.wav"]
    (tmp_path / "list.csv").write_text("path,emotion\na,b.wav,happy\n")
    with pytest.raises(EmotionError, match=r"list\.csv line 2 has 3 cells, and the first line 2; quote cells"):
        scan(tmp_path, table="list.csv")


def test_absolute_paths_must_be_below_the_folder(tmp_path):
    root = tmp_path / "corpus"
    touch(root / "happy" / "a.wav", tmp_path / "b.wav")
    (tmp_path / "link").symlink_to(root)
    (root / "happy" / "b.wav").symlink_to(tmp_path / "b.wav")
    for start in (root, tmp_path / "link"):
        (root / "list.csv").write_text(
            f"path,emotion\n{start}/happy/a.wav,happy\n{start}/./happy/b.wav,sad\n./c.wav,sad"
        )
        for base in (root, tmp_path / "link"):
            assert scan(base, table="list.csv")["audio"].tolist() == ["c.wav", "happy/a.wav", "happy/b.wav"]
    (root / "list.csv").write_text(f"path,emotion\n{tmp_path}/b.wav,happy\n")
    with pytest.raises(EmotionError, match="is not below the directory of the corpus"):
        scan(root, table="list.csv")


def test_decomposed_unicode_names_are_found(tmp_path):
    touch(tmp_path / "gro\u0308\u00dfe.wav")
    (tmp_path / "list.csv").write_text("path,emotion\ngr\u00f6\u00dfe.wav,happy\n", encoding="utf-8")
    assert scan(tmp_path, table="list.csv")["audio"].tolist() == ["gro\u0308\u00dfe.wav"]


@pytest.mark.parametrize("label", ["other", "xxx", "", "frustrated"])
def test_unknown_labels_are_refused_or_skipped(tmp_path, label, caplog):
    rows = [("a.wav", "happy", "1"), ("b.wav", label, "2"), ("c.wav", label, "3")]
    write_table(tmp_path, rows)
    message = r"line 3: .* is not a known emotion: .*; 2 rows are left out with data.on_error=skip"
    with pytest.raises(EmotionError, match=message):
        scan(tmp_path, table="list.csv")
    assert list(scan(tmp_path, table="list.csv", on_error="skip").index) == ["folder/a"]
    assert f"2 rows are left out, such as {tmp_path}/list.csv line 3: {label!r} is not a known emotion" in caplog.text


CONFLICTS = {
    "two emotions": (["a.wav,happy,1", "b.wav,sad,1", "a.wav,sad,1"], "happy and sad"),
    "two speakers": (["a.wav,happy,1", "b.wav,sad,1", "./a.wav,happy,2"], "1 and 2"),
    "the audio and the video of a recording": (["a.wav,happy,1", "b.wav,sad,1", "a.mp4,sad,1"], "happy and sad"),
}


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_contradictory_rows_are_refused_or_skipped(tmp_path, conflict, caplog):
    rows, values = CONFLICTS[conflict]
    (tmp_path / "list.csv").write_text("\n".join(["path,emotion,speaker", *rows]))
    text = rf"1 recordings are listed under two emotions or speakers, such as a.wav \({values}\)"
    with pytest.raises(EmotionError, match=f"{text}; correct list.csv, or leave them out with data.on_error=skip"):
        scan(tmp_path, table="list.csv")
    assert list(scan(tmp_path, table="list.csv", on_error="skip").index) == ["folder/b"]
    assert "and left out" in caplog.text


def test_repeated_rows_count_once(tmp_path, caplog):
    (tmp_path / "list.csv").write_text("path,emotion,speaker\na.wav,happy,1\n./a.wav,Joy,1 \nb.wav,sad,1\n")
    assert len(scan(tmp_path, table="list.csv")) == 2
    assert "lists 1 files more than once, such as a.wav" in caplog.text


def test_paths_without_a_speaker_are_refused_or_unknown(tmp_path):
    touch(tmp_path / "happy" / "person07.wav", tmp_path / "happy" / "a.wav")
    with pytest.raises(EmotionError, match=r"matches no speaker in happy/a\.wav"):
        scan(tmp_path, speaker="person..")
    table = scan(tmp_path, speaker="person..", on_error="skip")
    assert table["speaker"].to_dict() == {"folder/happy/a": "unknown", "folder/happy/person07": "person07"}


def test_unknown_speakers_have_no_interval():
    from emotion.statistics.intervals import speaker_jackknife_ci

    rows = pd.DataFrame({"speaker": ["a", "b", "unknown"]})
    assert np.isnan(speaker_jackknife_ci([rows], len).low)


def test_parts_of_files_are_recordings_of_their_own(tmp_path):
    """The table is one of nkululeko's, whose times are pandas timedeltas, and empty for whole files."""
    samples = np.concatenate([np.full(8_000, level, np.int16) for level in (1_000, 2_000, 3_000, 4_000)])
    for name in ("long.wav", "whole.wav"):
        soundfile.write(tmp_path / name, samples, 8_000)
    rows = (
        "long.wav,0 days 00:00:00,0 days 00:00:01,happy,anna,female",
        "long.wav,0 days 00:00:01,0 days 00:00:03,sad,anna,female",
        "long.wav,3,NaT,happy,bo,male",
        "whole.wav,,,sad,bo,m",
        "whole.wav,12345.678,1e5,sad,bo,m",
    )
    (tmp_path / "list.csv").write_text("\n".join(("file,start,end,emotion,speaker,gender", *rows)))
    corpus = Folder("list.csv", on_error="skip")
    table = corpus.scan(tmp_path)
    keys = ("long@-1", "long@1-3", "long@3-", "whole", "whole@12345.678-100000")
    assert list(table["recording"]) == [f"folder/{key}" for key in keys]
    assert list(table["gender"]) == ["female", "female", "male", "male", "male"]
    store = prepare_waveforms(table, tmp_path, 8_000, tmp_path / "cache")
    assert list(store.index["length"]) == [8_000, 16_000, 8_000, 32_000, 0]
    assert store.index["problem"].iloc[4] == "whole.wav: ends before 12345.7 s"
    decoded = samples_of(store, "folder/long@3-")
    whole = samples_of(store, "folder/whole")
    np.testing.assert_array_equal(decoded, whole[24_000:])


def samples_of(store, recording):
    offset, length = store.index.loc[recording, ["offset", "length"]]
    return store.columns["waveforms"][offset : offset + length]


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2", "1", "line 2: there is nothing from 2 to 1"),
        ("-1", "1", "line 2: there is nothing from -1 to 1"),
        ("1", "1", "line 2: there is nothing from 1 to 1"),
        ("soon", "1", "line 2: start='soon' is not a number of seconds or a time"),
        ("1", "1.2.3", "line 2: end='1.2.3' is not a number of seconds or a time"),
    ],
)
def test_parts_that_cannot_be_are_refused(tmp_path, start, end, message):
    (tmp_path / "a.wav").touch()
    (tmp_path / "list.csv").write_text(f"file,start,end,emotion\na.wav,{start},{end},happy\n")
    with pytest.raises(EmotionError, match=message):
        Folder("list.csv").scan(tmp_path)


def test_a_file_is_decoded_once_for_all_of_its_parts(tmp_path, monkeypatch):
    from emotion.prepare import waveforms

    soundfile.write(tmp_path / "long.wav", np.ones(80_000, np.int16), 8_000)
    rows = [f"long.wav,{number},{number + 1},happy" for number in range(10)]
    (tmp_path / "list.csv").write_text("\n".join(("file,start,end,emotion", *rows)))
    read, calls = waveforms.read_audio, []
    monkeypatch.setattr(waveforms, "read_audio", lambda *given: calls.append(given) or read(*given))
    store = prepare_waveforms(Folder("list.csv").scan(tmp_path), tmp_path, 8_000, tmp_path / "cache")
    assert len(store.index) == 10
    assert len(calls) <= (os.cpu_count() or 1)
