"""Tests of the formats of predictions, read back by the libraries of each format, and of embeddings."""

import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import audformat
import av
import cv2
import numpy as np
import pandas as pd
import pympi
import pytest
import soundfile
import torch
from praatio import textgrid

from conftest import ROOT
from emotion import runs
from emotion.cli import predict
from emotion.corpora.audformat import Audformat
from emotion.inference import Predictor, Problem, embeddings, output_formats
from emotion.inference.annotations import to_elan, to_rttm, to_textgrid
from emotion.inference.intervals import parts_of, tracks_of
from emotion.inference.output import to_csv, to_frame, to_json, to_jsonl
from emotion.inference.overlay import write_overlay
from emotion.inference.predictions import NO_SPEECH, UNCERTAIN, Prediction
from emotion.inference.subtitles import subtitles, to_srt, to_vtt
from emotion.inference.timeline import Segment
from emotion.media.audio import read_audio
from scenes import scene, write_video

LABELS = ("happy", "sad")
RATE = 16_000
TIMES = ("textgrid", "elan", "srt", "vtt", "rttm")


def answer(emotion, confidence, name="talk.wav"):
    """Return a prediction; of several emotions, the first one is the most probable."""
    if emotion == NO_SPEECH:
        return Prediction(name, NO_SPEECH, {}, (), ("no speech was detected",))
    best = emotion if emotion in LABELS else LABELS[0]
    other = LABELS[1 - LABELS.index(best)]
    return Prediction(name, emotion, {best: confidence, other: 1 - confidence}, ("audio",), distance=1.25)


def timeline(*answers, window=3.0, hop=1.0, name="talk.wav", face=None):
    """Return the segments of a timeline, from pairs of emotion and confidence; None leaves a window out."""
    return [
        Segment(hop * number, hop * number + window, face, np.zeros((0, 5)), answer(*one, name=name))
        for number, one in enumerate(answers)
        if one
    ]


SPEECH = timeline(("happy", 0.9), ("happy", 0.7), ("sad", 0.6), (NO_SPEECH, 0), (UNCERTAIN, 0.51), ("sad", 0.8))
"""Windows from 0 s to 8 s, which stand for the parts 0-2, 2-3, 3-4, 4-5, 5-6 and 6-8 s."""
BOUNDS = [(0, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 8)]


def two_faces():
    """Return face 1 in four windows, face 2 in the second, and then two windows without a face."""
    first = timeline(("happy", 0.9), ("happy", 0.8), ("happy", 0.7), ("happy", 0.6), face=1)
    second = timeline(None, ("sad", 0.75), face=2)
    return sorted([*first, *second, *timeline(*[None] * 4, ("sad", 0.9), ("sad", 0.7))], key=lambda one: one.start)


def middle(segments):
    """Return the bounds of equally long windows by another formula than the package: centre ± half a hop."""
    centres = [(one.start + one.end) / 2 for one in segments]
    half = [(right - left) / 2 for left, right in pairwise(centres)]
    starts = [segments[0].start, *(centre - step for centre, step in zip(centres[1:], half, strict=True))]
    return list(zip(starts, [*starts[1:], segments[-1].end], strict=True))


# Intervals.


def test_windows_become_parts_that_do_not_overlap():
    parts = parts_of(SPEECH)
    assert [(part.start, part.end) for part in parts] == BOUNDS == middle(SPEECH)
    rows = json.loads(to_json(SPEECH))
    assert [row["emotion"] for row in rows] == [interval.emotion for interval in tracks_of(parts)[""]]


def test_a_short_last_window_ends_the_timeline_and_gaps_stay():
    segments = [*timeline(("happy", 0.9), ("sad", 0.9)), Segment(2, 4.4, None, np.zeros((0, 5)), answer("sad", 0.8))]
    assert [(part.start, part.end) for part in parts_of(segments)] == [(0, 2), (2, 2.85), (2.85, 4.4)]
    silent = timeline(("happy", 0.9), None, None, None, ("sad", 0.9), ("sad", 0.9))  # silence of 1 s
    assert [(part.start, part.end) for part in parts_of(silent)] == [(0, 3), (4, 6), (6, 8)]
    apart = timeline(("happy", 0.9), ("sad", 0.9), hop=3.00001)  # less than a sample
    assert [(part.start, part.end) for part in parts_of(apart)] == [(0, 3.00001), (3.00001, 6.00001)]
    assert parts_of([]) == []


def test_each_face_has_a_track():
    tracks = tracks_of(parts_of(two_faces()))
    found = {name: [(part.start, part.end, part.emotion) for part in track] for name, track in tracks.items()}
    assert list(found) == ["face 1", "face 2", "audio"]
    assert found["face 1"] == [(0, 2, "happy"), (2, 3, "happy"), (3, 4, "happy"), (4, 5, "happy")]
    assert found["face 2"] == [(2, 3, "sad")]
    assert found["audio"] == [(5, 6, "sad"), (6, 8, "sad")]
    one = [*timeline(("happy", 0.9), face=3), *timeline(None, ("sad", 0.9))]
    assert list(tracks_of(parts_of(one))) == [""]


# Praat, ELAN and RTTM.


def read_textgrid(text, path):
    path.write_text(text, encoding="utf-8")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
    tiers = {name: [tuple(entry) for entry in grid.getTier(name).entries] for name in grid.tierNames}
    return grid.maxTimestamp, tiers


def test_textgrids_are_read_by_praatio(tmp_path):
    end, tiers = read_textgrid(to_textgrid(SPEECH), tmp_path / "a.TextGrid")
    assert end == 8 and list(tiers) == ["emotion", "confidence"]
    labels = ["happy", "happy", "sad", "", "uncertain", "sad"]
    assert tiers["emotion"] == [(*bounds, label) for bounds, label in zip(BOUNDS, labels, strict=True)]
    assert [text for *_, text in tiers["confidence"]] == ["0.900", "0.700", "0.600", "", "0.510", "0.800"]


def test_textgrid_tiers_of_faces_are_filled(tmp_path):
    _, tiers = read_textgrid(to_textgrid(two_faces()), tmp_path / "a.TextGrid")
    assert list(tiers) == [
        f"{kind} {who}" for who in ("face 1", "face 2", "audio") for kind in ("emotion", "confidence")
    ]
    assert tiers["emotion face 2"] == [(0, 2, ""), (2, 3, "sad"), (3, 8, "")]
    assert tiers["confidence face 2"] == [(0, 2, ""), (2, 3, "0.750"), (3, 8, "")]
    assert tiers["emotion audio"][0] == (0, 5, "")


def test_elan_documents_are_read_by_pympi(tmp_path):
    path = tmp_path / "a.eaf"
    path.write_text(to_elan(SPEECH), encoding="utf-8")
    document = pympi.Elan.Eaf(str(path))
    assert list(document.get_tier_names()) == ["emotion", "confidence"]
    shown = [number for number in range(6) if number != 3]  # there is no speech in the fourth part
    expected = [(1000 * BOUNDS[number][0], 1000 * BOUNDS[number][1]) for number in shown]
    found = sorted(document.get_annotation_data_for_tier("emotion"))
    labels = ["happy", "happy", "sad", "uncertain", "sad"]
    assert found == [(*bounds, label) for bounds, label in zip(expected, labels, strict=True)]
    confidence = sorted(document.get_ref_annotation_data_for_tier("confidence"))
    texts = ["0.900", "0.700", "0.600", "0.510", "0.800"]
    assert [row[:3] for row in confidence] == [(*bounds, text) for bounds, text in zip(expected, texts, strict=True)]
    assert [row[3] for row in confidence] == labels  # each refers to its emotion
    (media,) = document.get_linked_files()
    assert media["MEDIA_URL"] == Path("talk.wav").absolute().as_uri() and media["MIME_TYPE"].startswith("audio/")


def test_elan_documents_follow_the_schema():
    """The rules of EAFv3.0.xsd that a writer can break: order of elements, unique identifiers, references."""
    root = ElementTree.fromstring(to_elan(two_faces()).split("\n", 1)[1])
    order = list(dict.fromkeys(child.tag for child in root))
    assert order == ["HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "CONSTRAINT"]
    slots = [slot.get("TIME_SLOT_ID") for slot in root.iter("TIME_SLOT")]
    values = [int(slot.get("TIME_VALUE")) for slot in root.iter("TIME_SLOT")]
    aligned, referring = list(root.iter("ALIGNABLE_ANNOTATION")), list(root.iter("REF_ANNOTATION"))
    used = [one.get(f"TIME_SLOT_REF{end}") for one in aligned for end in (1, 2)]
    assert sorted(used) == sorted(slots) and len(set(slots)) == len(slots) and values == sorted(values)
    identifiers = [one.get("ANNOTATION_ID") for one in (*aligned, *referring)]
    assert len(set(identifiers)) == len(identifiers) == 14
    assert {one.get("ANNOTATION_REF") for one in referring} == {one.get("ANNOTATION_ID") for one in aligned}
    types = {one.get("LINGUISTIC_TYPE_ID") for one in root.iter("LINGUISTIC_TYPE")}
    assert {tier.get("LINGUISTIC_TYPE_REF") for tier in root.iter("TIER")} == types


def read_rttm(text):
    rows = [line.split(" ") for line in text.splitlines()]
    assert all(len(row) == 10 and row[0] == "SPEAKER" for row in rows)
    return [(row[1], int(row[2]), float(row[3]), float(row[3]) + float(row[4]), row[7], row[8]) for row in rows]


def test_rttm_merges_equal_answers():
    assert read_rttm(to_rttm(SPEECH)) == [
        ("talk", 1, 0, 3, "happy", f"{(2 * 0.9 + 0.7) / 3:.3f}"),
        ("talk", 1, 3, 4, "sad", "0.600"),
        ("talk", 1, 5, 6, "uncertain", "0.510"),
        ("talk", 1, 6, 8, "sad", "0.800"),
    ]
    found = read_rttm(to_rttm(two_faces()))
    assert [(channel, start, end) for _, channel, start, end, *_ in found] == [(1, 0, 5), (2, 2, 3), (0, 5, 8)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/my talk.wav"], ["my_talk"]),
        (["a/x.wav", "b/x.wav"], ["a/x", "b/x"]),
        (["a/x.wav", "a/x.mp4"], ["a/x.wav", "a/x.mp4"]),
        (["a b.wav", "a_b.wav"], ["a_b.wav_1", "a_b.wav_2"]),
    ],
)
def test_rttm_names_have_no_spaces_and_stay_distinct(names, expected):
    segments = [one for name in names for one in timeline(("happy", 0.9), name=name)]
    assert [row[0] for row in read_rttm(to_rttm(segments))] == expected


# Subtitles.


def read_subtitles(path):
    """Return start, end and text of each subtitle, as FFmpeg reads them."""
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        packets = [packet for packet in container.demux(stream) if packet.duration]
        return [(float(p.pts * p.time_base), float((p.pts + p.duration) * p.time_base), bytes(p)) for p in packets]


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_subtitles_are_read_by_ffmpeg(tmp_path, form):
    render = output_formats.FORMATS[form].render
    (tmp_path / f"a.{form}").write_text(render(SPEECH, LABELS), encoding="utf-8")
    assert read_subtitles(tmp_path / f"a.{form}") == [
        (0, 3, b"happy 83 %"),
        (3, 4, b"sad 60 %"),
        (5, 6, b"uncertain"),
        (6, 8, b"sad 80 %"),
    ]


def test_faces_share_a_subtitle():
    shown = [(one.start, one.end, one.lines) for one in subtitles(two_faces())]
    assert shown == [
        (0, 2, ("face 1: happy 90 %",)),
        (2, 3, ("face 1: happy 80 %", "face 2: sad 75 %")),
        (3, 5, ("face 1: happy 65 %",)),
        (5, 8, ("audio: sad 77 %",)),
    ]


def test_times_beyond_an_hour_and_rounding():
    segments = [Segment(3599.9996, 3603.25, None, np.zeros((0, 5)), answer("happy", 0.9))]
    assert "01:00:00,000 --> 01:00:03,250" in to_srt(segments)
    assert "01:00:00.000 --> 01:00:03.250" in to_vtt(segments)


def test_special_characters_are_escaped(tmp_path):
    """A label may hold any characters, since labels=from_data uses those of the data."""
    label, name = 'a "b" <i>&-->\n\x1b', "ta lk\n&.wav"
    prediction = Prediction(name, label, {label: 0.875, "sad": 0.125}, ("audio",))
    segments = [Segment(0, 3, None, np.zeros((0, 5)), prediction)]
    safe = 'a "b" <i>&-->\\n\\x1b'
    assert read_textgrid(to_textgrid(segments), tmp_path / "a.TextGrid")[1]["emotion"] == [(0, 3, safe)]
    root = ElementTree.fromstring(to_elan(segments).split("\n", 1)[1])
    assert [value.text for value in root.iter("ANNOTATION_VALUE")] == [safe, "0.875"]
    vtt = to_vtt(segments)
    assert vtt.count("-->") == 1 and "<i>" not in vtt
    assert r'a "b" &lt;i&gt;&amp;--&gt;\n\x1b 88 %' in vtt
    ((recording, *_, emotion, _),) = read_rttm(to_rttm(segments))
    assert (recording, emotion) == (r"ta_lk\n&", r'a_"b"_<i>&-->\n\x1b')


# Tables.


OUTCOMES = [*SPEECH, Problem("bad.wav", "cannot be decoded")]


def test_json_lines_equal_json():
    lines = to_jsonl(OUTCOMES).splitlines()
    assert [json.loads(line) for line in lines] == json.loads(to_json(OUTCOMES))
    assert to_jsonl([]) == ""


@pytest.mark.parametrize("outcomes", [OUTCOMES, [one.prediction for one in SPEECH], OUTCOMES[-1:], []])
def test_data_frames_and_parquet_equal_csv(tmp_path, outcomes):
    (tmp_path / "a.csv").write_text(to_csv(outcomes, LABELS))
    (tmp_path / "a.parquet").write_bytes(output_formats.to_parquet(outcomes, LABELS))
    expected = pd.read_csv(tmp_path / "a.csv")
    for frame in (to_frame(outcomes, LABELS), pd.read_parquet(tmp_path / "a.parquet")):
        assert list(frame) == list(expected) and len(frame) == len(outcomes)
        for name in expected:
            numeric = name in (*LABELS, "distance", "start", "end")
            assert (frame[name].dtype.kind == "f") == numeric
            if numeric:
                np.testing.assert_allclose(frame[name].to_numpy(float), expected[name].to_numpy(float), atol=1e-6)
            else:
                given = frame[name].astype(object)
                assert given.where(given.notna(), "").tolist() == expected[name].astype(object).fillna("").tolist()


def test_file_names_that_are_no_text_are_escaped(tmp_path):
    name = "caf\udce9.wav"
    segments = timeline(("happy", 0.9), name=name)
    for form in output_formats.FORMATS:
        target = tmp_path / form
        destination = output_formats.plan(form, target, [Path(name)])
        assert output_formats.write(destination, segments, LABELS)
    table = pd.read_parquet(tmp_path / "parquet")
    assert table["name"].tolist() == [r"caf\udce9.wav"] and json.loads((tmp_path / "json").read_bytes())[0]["end"] == 3


def test_audformat_databases_are_read_by_audformat(tmp_path):
    segments = [*timeline(("happy", 0.9), (NO_SPEECH, 0), name=str(tmp_path / "clips" / "a b.wav"))]
    faces = [Segment(one.start, one.end, one.face, one.boxes, one.prediction) for one in two_faces()]
    destination = output_formats.plan("audformat", tmp_path / "db", [])
    output_formats.write(destination, [*segments, *faces, OUTCOMES[-1]], LABELS)
    database = audformat.Database.load(str(tmp_path / "db"))
    assert sorted(database.tables) == ["audio", "emotion", "face_1", "face_2"]
    table = database["emotion"].get()
    assert list(table.index) == [
        ("../clips/a b.wav", pd.Timedelta(seconds=start), pd.Timedelta(seconds=start + 3)) for start in (0, 1)
    ]
    assert table["emotion"].tolist() == ["happy", NO_SPEECH]
    assert table["probability.sad"].tolist()[0] == pytest.approx(0.1) and table["confidence"].isna().tolist()[1]
    assert database["face_1"].get()["confidence"].tolist() == [0.9, 0.8, 0.7, 0.6]
    assert database["audio"].get()["emotion"].tolist() == ["sad", "sad"]
    output_formats.write(destination, [one.prediction for one in segments], LABELS)
    assert sorted(file.name for file in (tmp_path / "db").iterdir()) == ["db.emotion.csv", "db.yaml"]
    assert audformat.Database.load(str(tmp_path / "db"))["emotion"].get().index.tolist() == ["../clips/a b.wav"]


def test_audformat_databases_next_to_recordings_are_a_corpus(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    outcomes = [answer("happy", 0.9, str(tmp_path / "a.wav")), answer("happy", 0.8, str(tmp_path / "." / "a.wav"))]
    output_formats.write(output_formats.plan("audformat", tmp_path, []), outcomes, LABELS)
    table = Audformat().scan(tmp_path)
    assert table[["audio", "emotion"]].to_numpy().tolist() == [["a.wav", "happy"]]


# The command.


@pytest.fixture(scope="module")
def speech(demo_root, tmp_path_factory):
    """Return the path of six seconds of speech at 16 kHz."""
    path = tmp_path_factory.mktemp("speech") / "talk.wav"
    clips = [read_audio(clip, RATE) for clip in sorted((demo_root / "Actor_01").glob("*.wav"))]
    soundfile.write(path, np.concatenate(clips)[: 6 * RATE], RATE)
    return path


def refusal(result):
    assert result.returncode == 1 and result.stdout == "", result.stdout
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def test_outputs_equal_the_json_answer(command, trained, speech, tmp_path):
    """Each format is written to a file and printed; times and labels are those of the JSON answer."""
    base = ("predict", speech, "--run", trained)
    windows = ("--window", "2", "--hop", "1")
    rows = json.loads(command(*base, *windows, "--format", "json").stdout)
    bounds = [(0, 1.5), (1.5, 2.5), (2.5, 3.5), (3.5, 4.5), (4.5, 6)]
    assert [row["start"] for row in rows] == [0, 1, 2, 3, 4]
    expected = [(*span, row["emotion"]) for span, row in zip(bounds, rows, strict=True)]
    for suffix in ("json", "jsonl", "csv", "TextGrid", "eaf", "srt", "vtt", "rttm"):
        done = command(*base, *windows, "--output", f"new/out.{suffix}")
        assert (done.returncode, done.stdout) == (0, "") and f"wrote new/out.{suffix}\n" in done.stderr
        name = output_formats.choose_format(None, Path(f"out.{suffix}"))
        printed = command(*base, *windows, "--format", name).stdout
        written = (tmp_path / "new" / f"out.{suffix}").read_text(encoding="utf-8")
        assert name == "elan" or written == printed  # the date of an ELAN document differs
    _, tiers = read_textgrid(written_text(tmp_path / "new" / "out.TextGrid"), tmp_path / "again.TextGrid")
    assert tiers["emotion"] == expected
    assert [float(text) for *_, text in tiers["confidence"]] == pytest.approx(
        [max(row["probabilities"].values()) for row in rows], abs=5e-4
    )
    covered = sum(end - start for *_, start, end, _, _ in read_rttm(written_text(tmp_path / "new" / "out.rttm")))
    assert covered == pytest.approx(6)
    assert read_subtitles(tmp_path / "new" / "out.srt") == read_subtitles(tmp_path / "new" / "out.vtt")
    assert command(*base, "--output", "whole.parquet").returncode == 0
    (whole,) = json.loads(command(*base, "--format", "json").stdout)
    table = pd.read_parquet(tmp_path / "whole.parquet")
    assert table["emotion"].tolist() == [whole["emotion"]] and "start" not in table
    assert table[list(whole["probabilities"])].iloc[0].to_dict() == whole["probabilities"]


def written_text(path):
    return path.read_text(encoding="utf-8")


def test_formats_of_time_imply_a_timeline(command, trained, speech):
    implied = command("predict", speech, "--run", trained, "--format", "vtt").stdout
    assert implied == command("predict", speech, "--run", trained, "--format", "vtt", "--timeline").stdout
    assert implied.startswith("WEBVTT\n\n00:00:00.000 --> ") and "00:00:06.000\n" in implied


def test_several_recordings_are_written_to_a_folder(command, trained, speech, tmp_path):
    for name in ("a/one.wav", "b/one.wav", "b/two.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        waveform, rate = soundfile.read(speech)
        soundfile.write(tmp_path / name, waveform[: 2 * rate], rate)
    (tmp_path / "b" / "bad.wav").write_text("no audio")
    (tmp_path / "b" / "photo.png").write_bytes(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    base = ("predict", "a", "b", "--run", trained, "--format", "srt")
    assert "writes one file for each recording, and 5 were given; name a folder" in refusal(command(*base))
    assert "name a folder with --output" in refusal(command(*base, "--output", "all.srt"))
    done = command(*base, "--output", "subtitles/")
    assert done.returncode == 1 and done.stderr.count("wrote subtitles") == 3
    assert "bad.wav: " in done.stderr and "photo.png is an image and has no timeline" in done.stderr
    written = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "subtitles").rglob("*.srt"))
    assert written == ["subtitles/a/one.srt", "subtitles/b/one.srt", "subtitles/b/two.srt"]
    assert "subtitles/a/one.srt exists; " in refusal(command(*base, "--output", "subtitles"))
    done = command("predict", "b/two.flac", "--run", trained, "--format", "rttm", "--output", "all.rttm")
    assert done.returncode == 0 and [row[0] for row in read_rttm(written_text(tmp_path / "all.rttm"))] == ["two"]


def test_folders_of_files_mirror_recordings_of_one_name():
    def files(*recordings):
        planned = output_formats.plan("srt", Path("out"), [Path(one) for one in recordings])
        return [str(path.relative_to("out")) for path in planned.files.values()]

    assert files("x/a.wav", "y/b.wav") == ["a.srt", "b.srt"]
    assert files("x/a.wav", "y/a.wav") == ["x/a.srt", "y/a.srt"]
    assert files("x/a.wav", "../y/a.wav")[1].endswith("y/a.srt") and ".." not in files("x/a.wav", "../y/a.wav")[1]
    assert files("x/a.wav", "x/a.mp4") == ["a.wav.srt", "a.mp4.srt"]
    assert files("x/a.wav", "x/a.mp4", "y/a.wav") == ["x/a.wav.srt", "x/a.mp4.srt", "y/a.wav.srt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "text"], "unknown format text: did you mean textgrid"),
        (["--output", "a.xml"], "a.xml: its suffix names no format; use one of .json, "),
        (["--output", "a"], "a has no suffix; name a format with --format"),
        (["--format", "parquet"], "--format parquet writes a binary file; name it with --output PATH.parquet"),
        (["--format", "audformat"], "--format audformat writes a folder; name it with --output PATH"),
        (["--format", "audformat", "--output", "mine.csv"], "mine.csv is a file; name a folder"),
        (["--format", "srt", "--output", "mine"], "mine is a file; name a folder"),
        (["--output", "mine.csv"], "mine.csv exists; "),
        (["--format", "json", "--output", "talk.wav"], "talk.wav is the input talk.wav, which would be lost"),
        (["--format", "json", "--output", "talk.wav", "--force"], "is the input"),
        (["--output", "mine.csv", "--speakers", "mine.csv", "--force"], "mine.csv is the input mine.csv"),
        (["--output", "x.csv", "--plot", "x.csv"], "is named for two outputs"),
        (["--subtitle-track"], "--subtitle-track needs a video to write; name it with --overlay"),
    ],
)
def test_wrong_outputs_are_refused_before_the_model_is_loaded(command, speech, tmp_path, monkeypatch, options, message):
    shutil.copyfile(speech, tmp_path / "talk.wav")
    for name in ("mine", "mine.csv"):
        (tmp_path / name).write_text("mine")
    before = (tmp_path / "talk.wav").read_bytes()
    monkeypatch.setattr(predict, "load_predictor", lambda _: pytest.fail("the model was loaded"))
    assert message in refusal(command("predict", "talk.wav", *options))
    assert written_text(tmp_path / "mine.csv") == "mine" and (tmp_path / "talk.wav").read_bytes() == before


@pytest.mark.parametrize(("form", "package"), [("parquet", "pyarrow"), ("audformat", "audformat")])
def test_missing_packages_are_named_with_their_extra(command, speech, monkeypatch, form, package):
    monkeypatch.setattr(output_formats, "find_spec", lambda name: pytest.fail(name) if name != package else None)
    expected = f"--format {form} needs {package}: pip install 'emotion[{form}]'"
    assert expected in refusal(command("predict", speech, "--format", form, "--output", "out"))


def test_images_have_no_timeline(command, tmp_path):
    (tmp_path / "photo.png").write_bytes(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    message = refusal(command("predict", "photo.png", "--output", "photo.TextGrid"))
    assert "photo.png is an image and has no timeline; use another --format" in message


def test_existing_outputs_are_replaced_with_force(command, trained, speech, tmp_path):
    (tmp_path / "out.json").write_text("mine")
    assert command("predict", speech, "--run", trained, "--output", "out.json", "--force").returncode == 0
    assert json.loads(written_text(tmp_path / "out.json"))[0]["name"] == str(speech)


def test_interruptions_keep_earlier_outcomes(command, trained, speech, tmp_path, monkeypatch):
    original = Predictor.timeline

    def interrupted(*arguments):
        for number, segment in enumerate(original(*arguments)):
            if number == 2:
                raise KeyboardInterrupt
            yield segment

    monkeypatch.setattr(Predictor, "timeline", interrupted)
    for name in ("out.TextGrid", "out.csv"):
        done = command("predict", speech, "--run", trained, "--timeline", "--output", name)
        assert done.returncode == 130 and f"wrote {name}\ninterrupted: 1 of 1 recording predicted\n" in done.stderr
    _, tiers = read_textgrid(written_text(tmp_path / "out.TextGrid"), tmp_path / "again.TextGrid")
    assert [entry[:2] for entry in tiers["emotion"]] == [(0, 2), (2, 4)]
    assert pd.read_csv(tmp_path / "out.csv")["start"].tolist() == [0, 1]


def test_tables_of_the_terminal_are_written_as_text(command, trained, speech, tmp_path):
    printed = command("predict", speech, "--run", trained).stdout
    assert command("predict", speech, "--run", trained, "--format", "table", "--output", "a.txt").returncode == 0
    assert written_text(tmp_path / "a.txt") == printed


def test_help_lists_the_formats(command):
    shown = command("predict", "--help").stdout
    assert all(name in shown for name in output_formats.FORMATS)
    assert all(name in command("embed", "--help").stdout for name in embeddings.FORMATS)


def test_help_imports_no_library():
    """The formats must not make the start of a command slower."""
    script = (
        "import sys, emotion.cli; print({'numpy', 'pandas', 'pyarrow', 'av', 'emotion.inference'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "set()\n", done.stderr


# The subtitle track.


def test_overlays_carry_the_timeline_as_subtitles(tmp_path):
    video = tmp_path / "video.mp4"
    write_video(video, [scene(height=240, width=426)] * 40, rate=5, tone_seconds=8.0)
    write_overlay(video, SPEECH, LABELS, tmp_path / "overlay.mp4", subtitle_track=True)
    write_overlay(video, SPEECH, LABELS, tmp_path / "plain.mp4")
    with av.open(str(tmp_path / "overlay.mp4")) as written:
        assert [stream.type for stream in written.streams] == ["video", "audio", "subtitle"]
        assert written.streams[2].codec_context.name == "mov_text"
        assert len(list(written.decode(video=0))) == 40
    texts = [(start, end, text[2:].decode()) for start, end, text in read_subtitles(tmp_path / "overlay.mp4")]
    expected = [(one.start, one.end, "\n".join(one.lines)) for one in subtitles(SPEECH)]
    assert [one for one in texts if one[2]] == expected
    with av.open(str(tmp_path / "plain.mp4")) as plain:
        assert not plain.streams.subtitles


# Embeddings.


def test_embeddings_are_the_input_of_the_head(command, trained, speech, tmp_path):
    (tmp_path / "bad.wav").write_text("no audio")
    shutil.copyfile(speech, tmp_path / "again.wav")
    base = ("embed", speech, "bad.wav", "again.wav", "--run", trained)
    for name in ("out.parquet", "out.npy"):
        done = command(*base, "--output", name)
        assert done.returncode == 1 and "error: bad.wav: " in done.stderr, done.stderr
        assert f"wrote {name}" in done.stderr and "2 embeddings of " in done.stderr
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert list(table) == ["name", "embedding", "model", "version"]
    assert table["name"].tolist() == [str(speech), "again.wav"]
    model, version = runs.load_config(trained).name, table["version"].unique()
    assert table["model"].unique().tolist() == [str(model)] and len(version) == 1
    values = np.stack(list(table["embedding"]))
    assert values.dtype == np.float32 and np.allclose(values[0], values[1], atol=1e-4)
    array = np.load(tmp_path / "out.npy")
    assert array.dtype == np.float32 and np.array_equal(array, values)
    named = pd.read_csv(tmp_path / "out.csv")
    assert named.to_dict("list") == table.drop(columns="embedding").to_dict("list")
    predictor = Predictor.from_run(trained)
    head = predictor.model.classifier.eval().head
    with torch.no_grad():
        probabilities = head(torch.from_numpy(array)).softmax(dim=1).numpy()
    expected = [list(predictor.predict(path).probabilities.values()) for path in (speech, tmp_path / "again.wav")]
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)


def test_the_version_of_embeddings_is_that_of_the_weights(trained, tmp_path):
    first = embeddings.Embedder(trained)
    assert first.version.startswith(f"{runs.load_metrics(trained)['version']}+")
    assert embeddings.Embedder(trained).version == first.version
    assert embeddings.Embedder().version != first.version and embeddings.Embedder().model == "shipped_audio"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "a.npz"], "a.npz: its suffix names no format; use .parquet or .npy"),
        (["--output", "a.csv", "--format", "npy"], "the suffix of a NumPy array must be .npy"),
        (["--output", "a.npy", "--format", "json"], "unknown format json: known: npy, parquet"),
        (["--output", "mine.npy"], "mine.csv exists; "),
        (["--output", "talk.parquet", "--run", "nothing"], "nothing"),
    ],
)
def test_wrong_embeddings_are_refused(command, speech, tmp_path, options, message):
    (tmp_path / "mine.csv").write_text("mine")
    assert message in refusal(command("embed", speech, *options))
    assert written_text(tmp_path / "mine.csv") == "mine" and not list(tmp_path.glob("*.npy"))


def test_recordings_without_speech_have_no_embedding(command, tmp_path):
    soundfile.write(tmp_path / "tone.wav", 0.2 * np.sin(np.arange(2 * RATE) / 8), RATE)
    done = command("embed", "tone.wav", "--output", "a.npy")
    assert done.returncode == 1 and done.stderr.endswith("error: tone.wav: no speech was detected\n")
    assert not (tmp_path / "a.npy").exists()
