"""What commands write and print: nothing over an input, nothing lost, nothing ignored."""

import csv
import io
import json
import os
import signal
import subprocess
import sys

import cv2
import pytest
import soundfile
from recordings import voice

from conftest import ROOT
from emotion import cli
from scenes import scene, write_video


@pytest.fixture
def emotion(monkeypatch, capsys):
    """Run the `emotion` command in this process; returns its exit status, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["emotion", *map(str, arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def clip(tmp_path):
    soundfile.write(tmp_path / "clip.wav", voice(16_000), 16_000)
    return tmp_path / "clip.wav"


@pytest.fixture
def video(tmp_path, face):
    write_video(tmp_path / "clip.mp4", [scene((face, 200, 100))] * 10, tone_seconds=1)
    return tmp_path / "clip.mp4"


@pytest.mark.parametrize("how", ["itself", "link", "hard link", "another spelling"])
@pytest.mark.parametrize("flag", ["--overlay", "--plot"])
@pytest.mark.parametrize("force", [(), ("--force",)])
def test_an_output_never_replaces_an_input(emotion, clip, tmp_path, how, flag, force):
    before, output = clip.read_bytes(), tmp_path / "other.mp4"
    if how == "itself":
        output = clip
    elif how == "link":
        output.symlink_to(clip)
    elif how == "hard link":
        output.hardlink_to(clip)
    else:
        (tmp_path / "folder").mkdir()
        output = tmp_path / "folder" / ".." / "clip.wav"
    status, _, error = emotion("predict", clip, flag, output, *force)
    assert (status, error) == (1, f"error: {output} is an input and would be overwritten; choose another name\n")
    assert clip.read_bytes() == before


def test_other_files_are_overwritten_only_with_force(emotion, clip, tmp_path):
    plot = tmp_path / "plot.png"
    plot.write_text("mine")
    status, _, error = emotion("predict", clip, "--plot", plot)
    assert (status, error) == (1, f"error: {plot} exists; choose another name, or overwrite it with --force\n")
    assert plot.read_text() == "mine"
    status, *_ = emotion("predict", clip, "--plot", plot, "--force")
    assert status == 0
    assert cv2.imread(str(plot)) is not None


@pytest.mark.parametrize(
    "command",
    [
        ("export", "run", "--output", "{}"),
        ("report", "run", "--output", "{}"),
        ("report", "run", "--csv", "{}"),
        ("report", "run", "--figure", "{}"),
        ("robustness", "run", "--csv", "{}"),
        ("prepare", "--contact-sheet", "{}"),
    ],
)
def test_every_command_that_writes_a_file_asks_first(emotion, tmp_path, command):
    (tmp_path / "taken").write_text("mine")
    status, _, error = emotion(*(part.format(tmp_path / "taken") for part in command))
    assert status == 1
    assert "exists; choose another name, or overwrite it with --force" in error
    assert (tmp_path / "taken").read_text() == "mine"


def test_two_outputs_need_two_names(emotion, clip, tmp_path):
    status, _, error = emotion("predict", clip, "--plot", tmp_path / "a.mp4", "--overlay", tmp_path / "a.mp4")
    assert status == 1
    assert "is named for two outputs" in error


def test_an_image_is_drawn_on(emotion, face, tmp_path):
    cv2.imwrite(str(tmp_path / "photo.jpg"), cv2.cvtColor(scene((face, 200, 100)), cv2.COLOR_RGB2BGR))
    status, _, error = emotion("predict", tmp_path / "photo.jpg", "--overlay", tmp_path / "out.mp4")
    message = f"{tmp_path}/out.mp4: photo.jpg is an image, whose overlay is written as .png or .jpg or .jpeg"
    assert (status, error) == (1, f"error: {message}\n")
    status, *_ = emotion("predict", tmp_path / "photo.jpg", "--overlay", tmp_path / "out.png")
    assert status == 0
    drawn, plain = (cv2.imread(str(tmp_path / name)) for name in ("out.png", "photo.jpg"))
    assert drawn.shape == plain.shape
    assert 0.002 < (abs(drawn.astype(int) - plain) > 60).mean() < 0.2  # a box and a label
    status, _, error = emotion("predict", tmp_path / "photo.jpg", "--plot", tmp_path / "plot.png")
    assert status == 1
    assert "is an image and has no timeline to plot" in error


def test_the_overlay_of_a_video_is_an_mp4(emotion, video, tmp_path):
    status, _, error = emotion("predict", video, "--overlay", tmp_path / "out.png")
    assert (status, error) == (1, f"error: {tmp_path}/out.png: clip.mp4 is a video, whose overlay is written as .mp4\n")


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_no_folder(emotion, clip, monkeypatch, name):
    monkeypatch.chdir(clip.parent)
    status, printed, error = emotion("predict", name, "--format", "csv")
    assert (status, len(printed.splitlines())) == (1, 1)
    assert error.startswith("error: an empty file name was given")


@pytest.mark.parametrize(
    ("flags", "ends"), [(("--window", "1"), ["1.0", "2.0", "2.5"]), (("--hop", "0.5", "--window", "2"), ["2.0", "2.5"])]
)
def test_a_window_makes_a_timeline(emotion, clip, flags, ends):
    status, printed, _ = emotion("predict", clip, "--format", "csv", *flags)
    assert status == 0
    assert [row["end"] for row in csv.DictReader(io.StringIO(printed))] == ends


def test_a_name_that_begins_with_a_tilde_is_at_home(emotion, clip, monkeypatch):
    monkeypatch.setenv("HOME", str(clip.parent))
    status, printed, _ = emotion("predict", "~/clip.wav", "--format", "json")
    assert (status, json.loads(printed)[0]["name"]) == (0, str(clip))


@pytest.mark.parametrize("form", ["table", "json", "csv"])
@pytest.mark.parametrize("flags", [(), ("--timeline",)])
def test_what_is_predicted_when_interrupted_is_printed(emotion, clip, monkeypatch, form, flags):
    from emotion.inference import Predictor

    method = "timeline" if flags else "predict"
    whole = getattr(Predictor, method)

    def interrupted(self, *arguments):
        yield next(iter(whole(self, *arguments)))
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, method, interrupted)
    status, printed, error = emotion("predict", clip, clip.parent / "clip.wav", "--format", form, *flags)
    assert (status, error.splitlines()[-1]) == (130, "interrupted: the first 1 predictions are above")
    if form == "json":
        assert [row["name"] for row in json.loads(printed)] == [str(clip)]
    else:
        assert "clip.wav" in printed


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_no_error(unbuffered):
    command = [sys.executable, "-m", "emotion.cli", "splits"]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE, env=environment, cwd=ROOT) as process:
        os.close(writing)
        assert process.stderr.read() == b""
        assert process.wait() == 128 + signal.SIGPIPE


def test_levels_of_arrays_do_not_depend_on_who_reads_them(clip):
    from emotion.inference import Predictor

    samples, rate = soundfile.read(clip, dtype="int16")
    predictor = Predictor.shipped()
    assert predictor(samples, rate).probabilities == pytest.approx(predictor(clip).probabilities, abs=1e-4)
