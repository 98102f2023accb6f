"""Tests of unusual environments: other machines and locales, old caches, changed corpora, no home directory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from emotion import runs
from emotion.corpora.folder import Folder
from emotion.corpora.ravdess import Ravdess
from emotion.errors import EmotionError
from emotion.media.audio import read_audio
from emotion.prepare import waveforms
from emotion.prepare.action_units import INTENSITIES, read_action_units
from emotion.prepare.waveforms import prepare_waveforms
from emotion.protocols.protocol import load

ROOT = Path(__file__).parent.parent
SHORT = ("trainer.max_epochs=1", "trainer.accelerator=cpu")


def train(*arguments, python=(), without=(), **environment):
    """Run `python train.py` in a subprocess with a changed environment; `without` names removed variables."""
    kept = {name: value for name, value in os.environ.items() if name not in without}
    command = [sys.executable, *python, str(ROOT / "train.py"), *SHORT, *arguments]
    return subprocess.run(command, capture_output=True, cwd=ROOT, env=kept | environment)


@pytest.fixture
def corpus(demo_root, tmp_path):
    """Return a copy of the demo corpus in the layout of RAVDESS."""
    folder = tmp_path / "corpora" / "ravdess"
    shutil.copytree(demo_root, folder, ignore=shutil.ignore_patterns("*.mp4", ".*"))
    return folder


@pytest.mark.slow
def test_changed_corpora_are_prepared_again(corpus, tmp_path, record_robustness):
    table = Ravdess().scan(corpus)
    before = prepare_waveforms(table, corpus, 16_000, tmp_path / "cache")
    changed = corpus / table["audio"].iloc[3]
    samples, rate = soundfile.read(changed)
    soundfile.write(changed, samples[::-1] * 0.5, rate)
    after = prepare_waveforms(table, corpus, 16_000, tmp_path / "cache")
    assert after.key != before.key
    rows = after.index.iloc[3]
    fresh = after.columns["waveforms"][rows["offset"] : rows["offset"] + rows["length"]]
    np.testing.assert_array_equal(fresh, waveforms.to_int16(read_audio(changed, 16_000)))
    record_robustness(
        "Environments", "a replaced file of the corpus", "is detected by its size and time, and prepared again"
    )


def test_caches_of_older_versions_are_not_used(corpus, tmp_path, monkeypatch, record_robustness):
    table = Ravdess().scan(corpus).head(4)
    with monkeypatch.context() as patched:
        patched.setattr(waveforms, "FORMAT", waveforms.FORMAT - 1)
        old = prepare_waveforms(table, corpus, 16_000, tmp_path / "cache")
    new = prepare_waveforms(table, corpus, 16_000, tmp_path / "cache")
    assert old.key != new.key and (tmp_path / "cache" / "waveforms" / old.key).is_dir()
    record_robustness("Environments", "a cache of an older version", "is not read; a new one is created")


@pytest.mark.slow
def test_concurrent_runs_prepare_a_corpus_once(corpus, tmp_path, record_robustness):
    arguments = ["data=ravdess", f"data.root={corpus.parent}"]
    command = [sys.executable, str(ROOT / "train.py"), *SHORT, *arguments]
    environment = os.environ | {"EMOTION_CACHE": str(tmp_path / "cache")}
    commands = [[*command, f"run_dir={tmp_path / str(number)}"] for number in range(2)]
    started = [subprocess.Popen(each, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL) for each in commands]
    assert [process.wait() for process in started] == [0, 0]
    metrics = [runs.load_metrics(tmp_path / str(number)) for number in range(2)]
    assert metrics[0]["test/uar"] == metrics[1]["test/uar"]
    assert len([path for path in (tmp_path / "cache" / "waveforms").iterdir() if path.is_dir()]) == 1
    record_robustness(
        "Environments",
        "two runs that prepare the same corpus at once",
        "one prepares and the other waits; equal results",
    )


@pytest.mark.slow
def test_moved_runs_are_evaluated(trained, corpus, tmp_path, record_robustness):
    """The run and the corpus have new paths, and environment.json of the first machine is missing."""
    moved = tmp_path / "moved" / "run"
    shutil.copytree(trained, moved, ignore=shutil.ignore_patterns("evaluations"))
    (moved / "environment.json").unlink()
    command = [sys.executable, ROOT / "evaluate.py", f"run={moved}", "split=test"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (again,) = (moved / "evaluations").glob("*/predictions.csv")
    first = pd.read_csv(trained / "predictions.csv").query("split == 'test'").set_index("recording")
    second = pd.read_csv(again).set_index("recording").loc[first.index]
    np.testing.assert_allclose(second["happy"], first["happy"], atol=1e-5)
    record_robustness(
        "Environments", "a run directory moved to another machine", "`evaluate.py` gives the same metrics"
    )


def test_windows_line_endings_are_read(trained, tmp_path, record_robustness):
    shutil.copytree(trained, tmp_path / "run")
    for path in (tmp_path / "run").glob("*.[cyj][sas][vmo]*"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert runs.load_config(tmp_path / "run") == runs.load_config(trained)
    pd.testing.assert_frame_equal(runs.load_splits(tmp_path / "run"), runs.load_splits(trained))

    fold = tmp_path / "corpus" / "protocol" / "0"
    fold.mkdir(parents=True)
    for number, split in enumerate(("train", "dev", "test")):
        row = f"corpus/{number},corpus/{number},happy"
        (fold / f"{split}.csv").write_bytes(f"recording,speaker,emotion\r\n{row}\r\n".encode())
    assert load("corpus", "protocol", 0, True, directory=tmp_path).table["emotion"].tolist() == ["happy"] * 3

    csv_with_bom = b"\xef\xbb\xbfpath,emotion,speaker\r\na.wav,sadness,anna\r\n"
    (tmp_path / "list.csv").write_bytes(csv_with_bom)
    table = Folder("list.csv").scan(tmp_path)
    assert table[["audio", "emotion", "speaker"]].to_numpy().tolist() == [["a.wav", "sad", "anna"]]
    record_robustness("Environments", "Windows line endings, and the byte order mark of Excel", "are read")


@pytest.mark.slow
def test_ascii_locale_is_supported(demo_root, tmp_path, record_robustness):
    locale = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = train(f"run_dir={tmp_path / 'run'}", without=("PYTHONIOENCODING",), **locale)
    assert done.returncode == 0, done.stderr.decode()
    assert runs.load_metrics(tmp_path / "run")["test/uar"] > 0
    clip = tmp_path / "грусть.wav"
    shutil.copyfile(next(demo_root.rglob("*.wav")), clip)
    command = [sys.executable, "-m", "emotion.cli", "predict", str(clip)]
    done = subprocess.run(command, capture_output=True, env=os.environ | locale)
    assert done.returncode == 1 and b"set PYTHONUTF8=1 if the locale is the cause" in done.stderr
    done = subprocess.run(command, capture_output=True, env=os.environ | locale | {"PYTHONUTF8": "1"})
    assert done.returncode == 0, done.stderr.decode()
    record_robustness(
        "Environments",
        "locale C",
        "training works; a file called грусть.wav is refused with a hint to set PYTHONUTF8=1",
    )


@pytest.mark.slow
def test_missing_home_directory_is_handled(tmp_path, record_robustness):
    done = train(f"run_dir={tmp_path / 'run'}", without=("EMOTION_CACHE", "XDG_CACHE_HOME"), HOME="/nonexistent/home")
    if os.geteuid():
        assert done.returncode == 1 and b"set EMOTION_CACHE to another folder" in done.stderr, done.stderr.decode()
    else:  # root can create that folder
        shutil.rmtree("/nonexistent", ignore_errors=True)
        assert done.returncode == 0, done.stderr.decode()
    done = train(
        f"run_dir={tmp_path / 'again'}",
        without=("HOME", "XDG_CACHE_HOME"),
        EMOTION_CACHE=os.environ["EMOTION_CACHE"],
    )
    assert done.returncode == 0, done.stderr.decode()
    record_robustness(
        "Environments",
        "no home directory",
        "training works if EMOTION_CACHE names a folder; otherwise one line asks for it",
    )


@pytest.mark.slow
def test_read_only_corpora_are_not_written(corpus, tmp_path, record_robustness):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    for path in (*corpus.rglob("*"), corpus):
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = train("data=ravdess", f"data.root={corpus.parent}", f"run_dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr.decode()
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before
    for path in (*corpus.rglob("*"), corpus):
        path.chmod(0o755 if path.is_dir() else 0o644)
    record_robustness("Environments", "a read-only corpus", "training works; no file was modified")


@pytest.mark.slow
def test_checks_are_kept_by_python_optimisation(tmp_path, record_robustness):
    """No check of the package is an `assert`."""
    done = train(f"run_dir={tmp_path / 'run'}", python=("-O",))
    assert done.returncode == 0, done.stderr.decode()
    done = train(f"run_dir={tmp_path / 'run'}", python=("-O",))
    assert done.returncode == 1 and b"already holds a run" in done.stderr
    done = train("model=mfcc_cn", python=("-O",))
    assert done.returncode == 1 and b"did you mean mfcc_cnn" in done.stderr
    record_robustness("Environments", "python -O", "the same results and error messages")


def test_invalid_action_unit_tables_are_refused(tmp_path, record_robustness):
    (tmp_path / "units.csv").write_text("name;AU01_r\r\nclip;1,5\r\n")
    with pytest.raises(EmotionError) as error:
        read_action_units(tmp_path / "units.csv", ("intensity",), "mean", str)
    record_robustness("Tables", "action units with a column missing", str(error.value), {str(tmp_path): "DIR"})
    for cell in ("much", "1e99", "nan", ""):  # the first two were found by fuzzing
        row = ",".join([cell, *["0"] * (len(INTENSITIES) - 1)])
        (tmp_path / "units.csv").write_text(f"name,{','.join(INTENSITIES)}\nclip,{row}\n")
        with pytest.raises(EmotionError, match="has action units that are not finite numbers") as error:
            read_action_units(tmp_path / "units.csv", ("intensity",), "mean", str)
    record_robustness(
        "Tables", "action units that are words, infinite or missing", str(error.value), {str(tmp_path): "DIR"}
    )
