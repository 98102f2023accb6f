"""Kill, fill the disk, take away the right to write: nothing is lost, and one line says what to do."""

import json
import os
import resource
import signal
import subprocess
import sys

import pytest

from conftest import ROOT

SMALL = ("model.backbone.channels=[8,8,8,8]", "scheduler=constant", "trainer.max_epochs=2")
KILOBYTES = 1024


def run(*command, cwd, largest_file=None, **environment):
    """A command whose files cannot become larger, in kilobytes, as if the disk were full then."""

    def limit():
        if largest_file:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file * KILOBYTES, largest_file * KILOBYTES))

    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=900,
        preexec_fn=limit,
    )


def one_line(result):
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    return result.stderr.strip().splitlines()[-1]


@pytest.fixture
def finished(tmp_path, demo_root):
    """A run of two epochs, which can go on."""
    result = run(ROOT / "train.py", *SMALL, "run_dir=finished", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    return tmp_path / "finished"


# Of a run: its tables, its curves, its checkpoints; each is the first to find no room.
@pytest.mark.slow
@pytest.mark.parametrize("room", [4, 40, 122])
def test_a_full_disk_leaves_what_was_there(finished, room):
    before = {path: path.read_bytes() for path in finished.rglob("*.ckpt")}
    full = run(ROOT / "train.py", f"resume={finished}", "trainer.max_epochs=6", cwd=finished.parent, largest_file=room)
    assert "free space" in one_line(full)
    for path, content in before.items():
        assert path.read_bytes()[:2] == b"PK"
        assert len(path.read_bytes()) >= len(content) * 0.9
    assert not list(finished.rglob("*.partial"))
    evaluated = run(ROOT / "evaluate.py", f"run={finished}", cwd=finished.parent)
    assert evaluated.returncode == 0, evaluated.stderr
    resumed = run(ROOT / "train.py", f"resume={finished}", "trainer.max_epochs=6", cwd=finished.parent)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads((finished / "metrics.json").read_text())["epochs"] == 6


@pytest.mark.slow
def test_a_full_disk_while_preparing(tmp_path):
    command = (ROOT / "train.py", *SMALL)
    cache = {"EMOTION_CACHE": str(tmp_path / "cache")}
    for room in (20, 300):
        full = run(*command, f"run_dir={room}", cwd=tmp_path, largest_file=room, **cache)
        assert "free space" in one_line(full)
        assert str(tmp_path / "cache") in one_line(full)
    assert run(*command, "run_dir=later", cwd=tmp_path, **cache).returncode == 0


@pytest.mark.slow
def test_a_folder_that_cannot_be_written(tmp_path, demo_root):
    # Root may write anywhere, but into this.
    assert "/sys/run" in one_line(run(ROOT / "train.py", "run_dir=/sys/run", cwd=tmp_path))
    assert "EMOTION_CACHE" in one_line(run(ROOT / "train.py", cwd=tmp_path, EMOTION_CACHE="/sys/cache"))
    assert "/sys/report.md" in one_line(
        run("-m", "emotion.cli", "report", ROOT / "results" / "mfcc_cnn_luna5", "--output", "/sys/x.md", cwd=tmp_path)
    ).replace("x.md", "report.md")


@pytest.mark.slow
def test_what_was_interrupted_before_its_first_epoch_begins_again(tmp_path, demo_root):
    command = [sys.executable, str(ROOT / "train.py"), *SMALL, "run_dir=early"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    while not (tmp_path / "early" / "splits.csv").exists():
        assert process.poll() is None
    process.kill()
    process.wait()
    assert "repeat the command" in one_line(run(ROOT / "train.py", "resume=early", cwd=tmp_path))
    again = run(*command[1:], cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "already holds a run" in one_line(run(*command[1:], cwd=tmp_path))


@pytest.mark.slow
def test_random_kills_change_nothing(tmp_path):
    result = run(ROOT / "tests" / "random_kills.py", "--kills", "3", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "3 kills" in result.stdout
