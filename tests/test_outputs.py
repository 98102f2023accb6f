"""Tests of output files, which never replace inputs, and of output after interruptions."""

import csv
import io
import json
import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
import soundfile

from conftest import ROOT
from emotion.cli import main
from emotion.inference import Predictor
from emotion.inference.overlay import write_overlay

RATE = 16_000


@pytest.fixture
def cli(monkeypatch, capsys):
    """Return a function that runs `emotion` in this process; it returns exit status, standard output and error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["emotion", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


def assert_refused(result, *messages):
    status, _, errors = result
    assert status == 1 and errors.startswith("error: ") and errors.count("\n") == 1, errors
    assert all(message in errors for message in messages), errors


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.wav"
    time = np.arange(2 * RATE) / RATE
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 200 * time) * np.sin(5 * time) ** 2, RATE)
    return path


@pytest.fixture
def photo(face, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(cv2.imencode(".png", cv2.cvtColor(face, cv2.COLOR_RGB2BGR))[1].tobytes())
    return path


def aliases(path, tmp_path):
    """Return different paths of the same file."""
    (tmp_path / "symbolic.png").symlink_to(path)
    os.link(path, tmp_path / "hard.png")
    (tmp_path / "folder").mkdir()
    return [
        path,
        tmp_path / "symbolic.png",
        tmp_path / "hard.png",
        tmp_path / "folder" / ".." / path.name,
        os.path.relpath(path),
    ]


@pytest.mark.parametrize("flag", ["--plot", "--overlay"])
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_outputs_do_not_replace_the_input(cli, photo, tmp_path, flag, force):
    before = photo.read_bytes()
    for other in aliases(photo, tmp_path):
        assert_refused(cli("predict", photo, flag, other, *force), "is the input", "which would be lost")
    assert photo.read_bytes() == before


def test_outputs_do_not_replace_files_of_the_run(cli, clip, trained, tmp_path):
    (tmp_path / "link").symlink_to(trained)
    plot = tmp_path / "link" / "confusion_matrix.png"
    assert_refused(cli("predict", clip, "--run", trained, "--plot", plot, "--force"), "is the input")


def test_existing_outputs_need_force(cli, clip, trained, tmp_path):
    plot = tmp_path / "plot.png"
    plot.write_text("mine")
    assert_refused(cli("predict", clip, "--run", trained, "--plot", plot), f"{plot} exists; ", "with --force")
    assert plot.read_text() == "mine"
    assert cli("predict", clip, "--run", trained, "--plot", plot, "--force")[0] == 0
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert_refused(cli("predict", clip, "--plot", tmp_path / "a.mp4"), "the suffix of a figure must be .png")
    assert_refused(cli("predict", clip, "--plot", tmp_path), "is a folder; name a file in it")
    assert_refused(
        cli("predict", clip, "--plot", tmp_path / "x.png", "--overlay", tmp_path / "x.png"), "for two outputs"
    )


def test_reports_and_exports_replace_no_inputs(cli, trained, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("mine")
    for command in (
        ("report", trained, "--output", page),
        ("report", trained, "--csv", page),
        ("robustness", trained, "--csv", page),
        ("export", trained, "--output", page),
    ):
        assert_refused(cli(*command), "exists; ")
    assert page.read_text() == "mine"
    kept = ROOT / "results" / "mfcc_cnn_luna5"
    assert cli("report", kept, "--csv", page, "--force")[0] == 0 and page.read_text() != "mine"
    for name in ("metrics.json", "predictions.csv", "checkpoints/best.ckpt"):
        before = (trained / name).read_bytes()
        assert_refused(cli("report", trained, "--csv", trained / name, "--force"), "is the input")
        assert_refused(cli("report", trained.parent, "--csv", trained / name, "--force"), "is the input")
        assert_refused(cli("export", trained, "--output", trained / name, "--force"), "is the input")
        assert (trained / name).read_bytes() == before


def test_figures_do_not_replace_the_input(cli, photo):
    before = photo.read_bytes()
    assert_refused(cli("figures", photo, "--output", photo.parent), "is the input")
    assert photo.read_bytes() == before


def test_contact_sheets_do_not_replace_recordings(cli, tmp_path, clip, photo):
    (tmp_path / "happy").mkdir()
    inside = photo.rename(tmp_path / "happy" / "photo.png")
    before = inside.read_bytes()
    arguments = ("prepare", "data=folder", f"data.root={tmp_path}", "--contact-sheet", inside, "--force")
    assert_refused(cli(*arguments), "is the input")
    assert inside.read_bytes() == before


# Images.


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPG"])
def test_images_are_annotated(cli, photo, tmp_path, suffix):
    overlay = tmp_path / f"annotated{suffix}"
    status, _, errors = cli("predict", photo, "--overlay", overlay)
    assert status == 0 and f"wrote {overlay}" in errors and "Warning" not in errors
    drawn, original = cv2.imread(str(overlay)), cv2.imread(str(photo))
    assert drawn.shape == original.shape
    changed = np.abs(drawn.astype(int) - original).max(axis=2) > 60
    assert 0.005 < changed.mean() < 0.5


def test_overlays_with_the_wrong_suffix_are_refused(cli, photo, clip, tmp_path):
    assert_refused(cli("predict", photo, "--overlay", tmp_path / "a.mp4"), "is an image: name its overlay .jpg or .png")
    assert_refused(
        cli("predict", clip, "--overlay", tmp_path / "a.jpg"), "the suffix of an overlay of a video must be .mp4"
    )
    assert write_overlay


# Names, windows.


@pytest.mark.parametrize("name", ["", " ", "\t"])
def test_empty_file_names_are_refused(cli, name, clip, monkeypatch):
    monkeypatch.chdir(clip.parent)
    assert_refused(cli("predict", name), "a name is empty")
    assert_refused(cli("predict", clip, name), "a name is empty")


@pytest.mark.parametrize("flags", [["--window", "1"], ["--hop", "0.5"], ["--window", "1", "--hop", "0.5"]])
def test_window_options_imply_a_timeline(cli, clip, trained, flags):
    status, printed, _ = cli("predict", clip, "--run", trained, "--format", "json", *flags)
    again = cli("predict", clip, "--run", trained, "--format", "json", "--timeline", *flags)[1]
    assert status == 0 and printed == again and "start" in json.loads(printed)[0]


# Interruptions.


def interrupt_after(count):
    """Return a wrapper of `Predictor.predict` or `timeline` that is interrupted after `count` predictions."""

    def interrupt(original):
        def generate(*arguments):
            for number, prediction in enumerate(original(*arguments)):
                if number == count:
                    raise KeyboardInterrupt
                yield prediction

        return generate

    return interrupt


NAMES = {
    "json": lambda text: [row["name"] for row in json.loads(text)],
    "csv": lambda text: [row["name"] for row in csv.DictReader(io.StringIO(text))],
    "table": lambda text: [line.split()[0] for line in text.splitlines()[1:]],
}


@pytest.mark.parametrize("form", NAMES)
def test_predictions_are_printed_on_interruption(cli, clip, trained, monkeypatch, form):
    files = [clip.rename(clip.with_name("0.wav"))]
    for number in range(1, 5):
        files.append(files[0].with_name(f"{number}.wav"))
        files[-1].write_bytes(files[0].read_bytes())
    monkeypatch.chdir(clip.parent)
    monkeypatch.setattr(Predictor, "predict", interrupt_after(3)(Predictor.predict))
    status, printed, errors = cli("predict", *(file.name for file in files), "--run", trained, "--format", form)
    assert status == 130 and NAMES[form](printed) == ["0.wav", "1.wav", "2.wav"]
    assert errors == "interrupted: 3 of 5 recordings predicted\n"


def test_timelines_are_printed_on_interruption(cli, clip, trained, monkeypatch):
    monkeypatch.setattr(Predictor, "timeline", interrupt_after(2)(Predictor.timeline))
    status, printed, _ = cli("predict", clip, "--run", trained, "--format", "json", "--window", "0.5", "--hop", "0.5")
    assert status == 130 and [row["start"] for row in json.loads(printed)] == [0.0, 0.5]


def test_interruption_before_the_first_prediction_prints_an_empty_result(cli, clip, trained, monkeypatch):
    monkeypatch.setattr(Predictor, "predict", interrupt_after(0)(Predictor.predict))
    assert cli("predict", clip, "--run", trained, "--format", "json")[:2] == (130, "[]\n")
    assert cli("predict", clip, "--run", trained)[:2] == (130, "")


# Pipes.


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no such signal here")
@pytest.mark.parametrize("command", [["-m", "emotion.cli", "splits"], [str(ROOT / "train.py"), "--cfg", "job"]])
def test_closed_pipes_cause_no_error(command, tmp_path):
    """`| head -1` closes the pipe in this way."""
    reading, writing = os.pipe()
    process = subprocess.Popen([sys.executable, *command], stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path)
    os.close(writing)
    os.close(reading)
    errors = process.communicate(timeout=120)[1]
    assert (process.returncode, errors) == (141, b"")
