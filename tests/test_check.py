"""Tests of the check of a corpus before training."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from conftest import ROOT
from emotion import labels
from emotion.checks.labels import label_findings
from emotion.checks.measures import measure
from emotion.media.audio import read_audio
from emotion.reports.runs import find_runs

RATE = 16_000
EMOTIONS = ("happy", "sad")
WHISPER = ROOT / "results" / "whisper_luna5"  # stored runs on RAVDESS


@pytest.fixture(scope="module")
def clips(demo_root):
    """Return recordings of the demo corpus by speaker and emotion, two of each."""
    codes = {"happy": "03", "sad": "04"}
    return {
        (speaker, emotion, take): demo_root / f"Actor_{speaker:02}" / f"03-01-{code}-01-0{take}-01-{speaker:02}.wav"
        for speaker in range(1, 13)
        for emotion, code in codes.items()
        for take in (1, 2)
    }


@pytest.fixture
def folder(clips, tmp_path):
    """Return a folder of 48 recordings of twelve speakers in two emotions."""
    for (speaker, emotion, take), clip in clips.items():
        (tmp_path / "own" / emotion).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(clip, tmp_path / "own" / emotion / f"person{speaker:02}_{take}.wav")
    return tmp_path / "own"


SPEAKER = "data.corpus.speaker='person..'"


def lines(done, level):
    return [line.removeprefix(f"{level}: ") for line in done.stdout.splitlines() if line.startswith(f"{level}: ")]


def test_a_sound_folder_passes(folder, command):
    done = command("check", folder, SPEAKER, "protocol=speakers5")
    assert done.returncode == 0, done.stdout
    assert "folder: 48 recordings" in done.stdout and "speakers5, fold 0 of 5 (speaker-independent)" in done.stdout
    assert not lines(done, "error") and "a training would be sound" in done.stdout.splitlines()[-1]
    counts = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.split()}
    assert sum(map(int, counts["all"])) == 48 and sum(map(int, counts["speakers"])) == 12


def test_what_is_wrong_with_recordings_is_found(folder, clips, command, tmp_path):
    first, rate = soundfile.read(clips[1, "happy", 1])
    soundfile.write(folder / "happy" / "person01_3.wav", np.zeros(RATE), RATE)
    soundfile.write(folder / "happy" / "person02_3.wav", np.clip(20 * first, -1, 1) / 2, rate)
    soundfile.write(folder / "happy" / "person03_3.wav", 0.5 * first + 0.1, rate)
    soundfile.write(folder / "sad" / "person04_3.wav", np.sin(np.arange(2 * RATE) / 8) / 4, RATE)
    (folder / "sad" / "person05_3.wav").write_bytes(b"RIFF")
    done = command("check", folder, SPEAKER, "protocol=speakers5", "--csv", "measures.csv")
    assert done.returncode == 1
    errors, warnings = lines(done, "error"), lines(done, "warning")
    assert any("1 file cannot be read, such as sad/person05_3.wav" in line for line in errors)
    assert any("1 recording silent, such as folder/happy/person01_3" in line for line in errors)
    for text in ("clipped in more than 0.1 % of the samples, such as folder/happy/person02_3", "without speech"):
        assert any(text in line for line in warnings), text
    assert any("with a constant offset, such as folder/happy/person0" in line for line in warnings)
    table = pd.read_csv(tmp_path / "measures.csv").set_index("recording")
    assert len(table) == 53 and table["duration_s"].isna().sum() == 1
    assert table["problem"].dropna().index.tolist() == ["folder/sad/person05_3"]
    assert table.loc["folder/happy/person03_3", "offset"] == pytest.approx(0.1, abs=0.01)


def test_copies_are_found_with_another_name_level_and_rate(folder, clips, command):
    clip, rate = soundfile.read(clips[1, "happy", 1])
    soundfile.write(folder / "sad" / "person01_3.flac", clip, rate)  # the same samples in another format
    quiet, rate = soundfile.read(clips[2, "sad", 1])
    soundfile.write(folder / "sad" / "person13_1.wav", np.concatenate([np.zeros(rate // 3), quiet * 0.4]), rate)
    done = command("check", folder, SPEAKER, "protocol=random")
    assert done.returncode == 1
    (error,) = [line for line in lines(done, "error") if "different emotions" in line]
    assert error.startswith("1 group of recordings with the same audio with different emotions")
    assert "folder/happy/person01_1, folder/sad/person01_3" in error
    (near,) = [line for line in lines(done, "warning") if "under two speaker names" in line]
    assert "nearly the same audio" in near and "folder/sad/person02_1, folder/sad/person13_1" in near


def test_takes_of_a_sentence_are_no_copies(folder, command):
    assert "same audio" not in command("check", folder, SPEAKER).stdout


def test_what_is_wrong_with_splits_is_found(folder, command):
    (folder / "angry").mkdir()
    shutil.copyfile(folder / "happy" / "person01_1.wav", folder / "angry" / "person12_9.wav")
    done = command("check", folder, "protocol=random")
    warnings = lines(done, "warning")
    assert any("the speaker of 49 recordings is unknown" in line for line in warnings)
    assert "speakers unknown unknown unknown" in " ".join(done.stdout.split())
    assert any("of angry" in line and "few recordings" in line for line in warnings)
    done = command("check", folder, SPEAKER, "protocol=luna5")
    assert done.returncode == 1 and lines(done, "error")
    done = command("check", folder, SPEAKER, "labels=happy_sad")
    assert any("1 recording are left out" in line or "1 recording is left out" in line for line in lines(done, "note"))


@pytest.mark.slow
def test_page_has_findings_and_players(folder, command, tmp_path, browser):
    (folder / "sad" / "person01_3<b>.wav").write_bytes((folder / "happy" / "person01_1.wav").read_bytes())
    done = command("check", folder, SPEAKER, "--html", "check.html")
    assert done.returncode == 1 and "wrote check.html" in done.stderr
    page = browser.new_page()
    page.goto((tmp_path / "check.html").as_uri())
    assert (
        page.locator(".finding.error").first.inner_text().startswith("error: 1 group of recordings with the same audio")
    )
    page.wait_for_function("[...document.querySelectorAll('audio')].every(audio => audio.duration > 1)")
    assert page.locator("audio").count() >= 4 and page.locator("img").count() == 3
    assert "person01_3<b>" in page.inner_text("body")
    page.close()
    assert command("check", folder, "--html", "check.html").returncode == 1  # it exists


def test_recordings_and_tables_are_never_overwritten(folder, command):
    clip, table = folder / "happy" / "person01_1.wav", folder.parent / "list.csv"
    table.write_text(f"path,emotion\n{clip},happy\n")
    before = clip.read_bytes()
    for arguments in ([folder, "--html", clip], [folder, f"data.corpus.table={table}", "--csv", table]):
        done = command("check", *arguments, "--force")
        assert done.returncode == 1 and "is the input" in done.stderr
    assert clip.read_bytes() == before and table.read_text().startswith("path,emotion")
    os.mkfifo(folder.parent / "pipe")
    done = command("check", folder, "--html", folder.parent / "pipe", "--force")
    assert done.returncode == 1 and "is a device or a pipe" in done.stderr


def test_images_are_opened_and_their_copies_found(face, command, tmp_path):
    import cv2

    for number in range(6):
        for emotion in EMOTIONS:
            path = tmp_path / "faces" / emotion / f"person{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.roll(face, 7 * number + len(emotion), axis=1))
    shutil.copyfile(tmp_path / "faces" / "happy" / "person00.png", tmp_path / "faces" / "sad" / "person00.png")
    (tmp_path / "faces" / "sad" / "person05.png").write_bytes(b"")
    done = command("check", "faces", SPEAKER, "protocol=random")
    errors = lines(done, "error")
    assert any("1 file cannot be read, such as sad/person05.png" in line for line in errors), done.stdout
    assert any("the same file with different emotions" in line for line in errors)
    done = command("check", "faces", SPEAKER, "protocol=random", "data.on_error=skip")
    assert any("cannot be read" in line for line in lines(done, "note"))


def test_mistakes_have_one_line(command, folder):
    for arguments, message in (
        (["nowhere"], "nowhere: no such folder"),
        ([folder, folder], "one folder at a time"),
        (["data=ravdess", "data.root=nowhere"], "nowhere"),
        (["modl=x"], "did you mean model"),
    ):
        done = command("check", *arguments)
        assert done.returncode == 1 and message in done.stderr.splitlines()[-1], done.stderr


def test_measures_equal_a_reference(tmp_path):
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.1, RATE)
    quiet = random.normal(0, 0.0002, RATE)
    soundfile.write(tmp_path / "a.wav", np.stack([np.concatenate([quiet, noise])] * 2, axis=1), RATE, subtype="FLOAT")
    found = measure(tmp_path / "a.wav")
    assert (found.rate, found.channels, found.duration_s) == (RATE, 2, 2.0)
    expected = 10 * np.log10(np.mean(read_audio(tmp_path / "a.wav", RATE)[RATE:] ** 2))
    assert found.level_db == pytest.approx(expected, abs=0.2)
    assert found.noise_db == pytest.approx(-74, abs=2.5) and found.silent == pytest.approx(0.5, abs=0.02)
    assert found.clipped == 0 and found.speech == 0 and abs(found.offset) < 0.01


@pytest.mark.slow
def test_the_identical_pair_of_ravdess_is_found(real_data, command):
    done = command("check", "data=ravdess", f"data.root={real_data}", "protocol=luna5", "--runs", WHISPER)
    assert done.returncode == 0
    assert any("of 1,440 with a label that models doubt" in line for line in lines(done, "note"))
    (pair,) = [line for line in lines(done, "note") if "the same audio" in line]
    assert pair.startswith("1 group") and "01-03-01-02-01-07, ravdess/01-03-01-02-02-07" in pair


def test_parts_of_a_file_are_measured_alone(clips, command, tmp_path):
    waveforms = [soundfile.read(clips[speaker, "happy", 1])[0][:RATE] for speaker in (1, 2)]
    (tmp_path / "talk").mkdir()
    soundfile.write(tmp_path / "talk" / "all.wav", np.concatenate([waveforms[0], np.zeros(RATE), waveforms[1]]), RATE)
    parts = (("happy", 1, 0), ("sad", 2, 1), ("sad", 1, 2), ("sad", 2, 9))
    rows = [f"all.wav,{emotion},{speaker},{start},{start + 1}" for emotion, speaker, start in parts]
    (tmp_path / "talk" / "list.csv").write_text("\n".join(["path,emotion,speaker,start,end", *rows]) + "\n")
    done = command("check", "talk", "data.corpus.table=list.csv", "--csv", "measures.csv")
    errors = lines(done, "error")
    assert any("1 recording silent" in line for line in errors), done.stdout + done.stderr
    assert any("ends before 9 s" in line for line in errors) and "same audio" not in done.stdout
    assert pd.read_csv(tmp_path / "measures.csv")["duration_s"].tolist()[:3] == [1.0, 1.0, 1.0]


@pytest.mark.slow
def test_swapped_labels_are_among_the_doubtful_ones():
    runs = find_runs([WHISPER])
    tables = [run.predictions[run.predictions["split"] == "test"] for run in runs]
    recordings = pd.Series(sorted({key for table in tables for key in table["recording"]}))
    (before,) = label_findings(tables, labels.EMOTIONS, recordings)
    right = set(recordings) - set(before.recordings)
    swapped = sorted(right)[:: len(right) // 40][:40]
    tables = [
        table.assign(emotion=table["emotion"].where(~table["recording"].isin(swapped), "disgust")) for table in tables
    ]
    (found,) = label_findings(tables, labels.EMOTIONS, recordings)
    assert len(set(swapped) & set(found.recordings)) >= 25  # some were labelled disgust before
    assert found.level == "note"
    assert found.details[0].startswith(f"{found.recordings[0]}: labelled ")


@pytest.mark.slow
def test_runs_on_other_recordings_show_no_labels(command):
    ended = command("check", "data=demo", "--runs", WHISPER)
    assert ended.returncode == 1
    assert ended.stderr.endswith(
        "error: --runs: the runs predicted none of these recordings in test; give runs on them\n"
    )
