"""Outputs never replace inputs, nor other files without --force; what is predicted is printed, whatever interrupts."""

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
    """The `emotion` command in this process; returns its exit status, standard output and standard errors."""

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


def refused(result, *words):
    status, _, errors = result
    assert status == 1 and errors.startswith("error: ") and errors.count("\n") == 1, errors
    assert all(word in errors for word in words), errors


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


def same(path, tmp_path):
    """Other names of a file."""
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
def test_an_output_is_not_the_input(cli, photo, tmp_path, flag, force):
    before = photo.read_bytes()
    for other in same(photo, tmp_path):
        refused(cli("predict", photo, flag, other, *force), "is the input", "which would be lost")
    assert photo.read_bytes() == before


def test_an_output_is_not_the_model(cli, clip, trained, tmp_path):
    (tmp_path / "link").symlink_to(trained)
    plot = tmp_path / "link" / "confusion_matrix.png"
    refused(cli("predict", clip, "--run", trained, "--plot", plot, "--force"), "is the input")


def test_outputs_that_exist_need_force(cli, clip, trained, tmp_path):
    plot = tmp_path / "plot.png"
    plot.write_text("mine")
    refused(cli("predict", clip, "--run", trained, "--plot", plot), f"{plot} exists; ", "with --force")
    assert plot.read_text() == "mine"
    assert cli("predict", clip, "--run", trained, "--plot", plot, "--force")[0] == 0
    assert plot.read_bytes().startswith(b"\x89PNG")
    refused(cli("predict", clip, "--plot", tmp_path / "a.mp4"), "the suffix of a figure must be .png")
    refused(cli("predict", clip, "--plot", tmp_path), "is a folder; name a file in it")
    refused(cli("predict", clip, "--plot", tmp_path / "x.png", "--overlay", tmp_path / "x.png"), "for two outputs")


def test_reports_and_exports(cli, trained, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("mine")
    for command in (
        ("report", trained, "--output", page),
        ("report", trained, "--csv", page),
        ("robustness", trained, "--csv", page),
        ("export", trained, "--output", page),
    ):
        refused(cli(*command), "exists; ")
    assert page.read_text() == "mine"
    kept = ROOT / "results" / "mfcc_cnn_luna5"
    assert cli("report", kept, "--csv", page, "--force")[0] == 0 and page.read_text() != "mine"
    for name in ("metrics.json", "predictions.csv", "checkpoints/best.ckpt"):
        before = (trained / name).read_bytes()
        refused(cli("report", trained, "--csv", trained / name, "--force"), "is the input")
        refused(cli("report", trained.parent, "--csv", trained / name, "--force"), "is the input")
        refused(cli("export", trained, "--output", trained / name, "--force"), "is the input")
        assert (trained / name).read_bytes() == before


def test_figures_of_files_do_not_replace_them(cli, photo):
    before = photo.read_bytes()
    refused(cli("figures", photo, "--output", photo.parent), "is the input")
    assert photo.read_bytes() == before


def test_a_contact_sheet_is_not_a_recording(cli, tmp_path, clip, photo):
    (tmp_path / "happy").mkdir()
    inside = photo.rename(tmp_path / "happy" / "photo.png")
    before = inside.read_bytes()
    typed = ("prepare", "data=folder", f"data.root={tmp_path}", "--contact-sheet", inside, "--force")
    refused(cli(*typed), "is the input")
    assert inside.read_bytes() == before


# Images.


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPG"])
def test_an_image_is_annotated(cli, photo, tmp_path, suffix):
    overlay = tmp_path / f"annotated{suffix}"
    status, _, errors = cli("predict", photo, "--overlay", overlay)
    assert status == 0 and f"wrote {overlay}" in errors and "Warning" not in errors
    drawn, original = cv2.imread(str(overlay)), cv2.imread(str(photo))
    assert drawn.shape == original.shape
    changed = np.abs(drawn.astype(int) - original).max(axis=2) > 60
    assert 0.005 < changed.mean() < 0.5


def test_overlays_of_the_wrong_kind(cli, photo, clip, tmp_path):
    refused(cli("predict", photo, "--overlay", tmp_path / "a.mp4"), "is an image: name its overlay .jpg or .png")
    refused(cli("predict", clip, "--overlay", tmp_path / "a.jpg"), "the suffix of an overlay of a video must be .mp4")
    assert write_overlay


# Names, windows.


@pytest.mark.parametrize("name", ["", " ", "\t"])
def test_an_empty_name_is_no_file(cli, name, clip, monkeypatch):
    monkeypatch.chdir(clip.parent)
    refused(cli("predict", name), "a name is empty")
    refused(cli("predict", clip, name), "a name is empty")


@pytest.mark.parametrize("flags", [["--window", "1"], ["--hop", "0.5"], ["--window", "1", "--hop", "0.5"]])
def test_windows_make_a_timeline(cli, clip, trained, flags):
    status, printed, _ = cli("predict", clip, "--run", trained, "--format", "json", *flags)
    again = cli("predict", clip, "--run", trained, "--format", "json", "--timeline", *flags)[1]
    assert status == 0 and printed == again and "start" in json.loads(printed)[0]


# Interruptions.


def interrupted_after(count):
    """`Predictor.predict` and `timeline`, interrupted when some recordings or windows are predicted."""

    def interrupt(original):
        def generate(*arguments):
            for number, prediction in enumerate(original(*arguments)):
                if number == count:
                    raise KeyboardInterrupt
                yield prediction

        return generate

    return interrupt


READERS = {
    "json": lambda text: [row["name"] for row in json.loads(text)],
    "csv": lambda text: [row["name"] for row in csv.DictReader(io.StringIO(text))],
    "table": lambda text: [line.split()[0] for line in text.splitlines()[1:]],
}


@pytest.mark.parametrize("form", READERS)
def test_what_is_predicted_is_printed_when_interrupted(cli, clip, trained, monkeypatch, form):
    files = [clip.rename(clip.with_name("0.wav"))]
    for number in range(1, 5):
        files.append(files[0].with_name(f"{number}.wav"))
        files[-1].write_bytes(files[0].read_bytes())
    monkeypatch.chdir(clip.parent)
    monkeypatch.setattr(Predictor, "predict", interrupted_after(3)(Predictor.predict))
    status, printed, errors = cli("predict", *(file.name for file in files), "--run", trained, "--format", form)
    assert status == 130 and READERS[form](printed) == ["0.wav", "1.wav", "2.wav"]
    assert errors == "interrupted: 3 of 5 recordings are predicted\n"


def test_windows_are_printed_when_interrupted(cli, clip, trained, monkeypatch):
    monkeypatch.setattr(Predictor, "timeline", interrupted_after(2)(Predictor.timeline))
    status, printed, _ = cli("predict", clip, "--run", trained, "--format", "json", "--window", "0.5", "--hop", "0.5")
    assert status == 130 and [row["start"] for row in json.loads(printed)] == [0.0, 0.5]


def test_nothing_predicted_yet(cli, clip, trained, monkeypatch):
    monkeypatch.setattr(Predictor, "predict", interrupted_after(0)(Predictor.predict))
    assert cli("predict", clip, "--run", trained, "--format", "json")[:2] == (130, "[]\n")
    assert cli("predict", clip, "--run", trained)[:2] == (130, "")


# Pipes.


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no such signal here")
@pytest.mark.parametrize("command", [["-m", "emotion.cli", "splits"], [str(ROOT / "train.py"), "--cfg", "job"]])
def test_a_reader_that_has_seen_enough(command, tmp_path):
    """As `| head -1`, which closes the pipe."""
    reading, writing = os.pipe()
    process = subprocess.Popen([sys.executable, *command], stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path)
    os.close(writing)
    os.close(reading)
    errors = process.communicate(timeout=120)[1]
    assert (process.returncode, errors) == (141, b"")
