"""Tests of killed processes, full disks and missing write permissions: no data are lost, and the error is one line."""

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
    """Run a command whose files are limited to `largest_file` kB, which simulates a full disk."""

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


def error_line(result):
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    return result.stderr.strip().splitlines()[-1]


@pytest.fixture
def finished(tmp_path, demo_root):
    """Return a run of two epochs that can be resumed."""
    result = run(ROOT / "train.py", *SMALL, "run_dir=finished", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    return tmp_path / "finished"


# The limits make writing fail first for tables, for curves and for checkpoints.
@pytest.mark.slow
@pytest.mark.parametrize("limit_kb", [4, 40, 122])
def test_a_full_disk_keeps_existing_checkpoints(finished, limit_kb):
    before = {path: path.read_bytes() for path in finished.rglob("*.ckpt")}
    full = run(
        ROOT / "train.py", f"resume={finished}", "trainer.max_epochs=6", cwd=finished.parent, largest_file=limit_kb
    )
    assert "free space" in error_line(full)
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
def test_a_full_disk_during_preparation_is_reported(tmp_path):
    command = (ROOT / "train.py", *SMALL)
    cache = {"EMOTION_CACHE": str(tmp_path / "cache")}
    for limit_kb in (20, 300):
        full = run(*command, f"run_dir={limit_kb}", cwd=tmp_path, largest_file=limit_kb, **cache)
        assert "free space" in error_line(full)
        assert str(tmp_path / "cache") in error_line(full)
    assert run(*command, "run_dir=later", cwd=tmp_path, **cache).returncode == 0


@pytest.mark.slow
def test_folders_without_write_permission_are_reported(tmp_path, demo_root):
    # Not even root may write here.
    assert "/sys/run" in error_line(run(ROOT / "train.py", "run_dir=/sys/run", cwd=tmp_path))
    assert "EMOTION_CACHE" in error_line(run(ROOT / "train.py", cwd=tmp_path, EMOTION_CACHE="/sys/cache"))
    assert "/sys/report.md" in error_line(
        run("-m", "emotion.cli", "report", ROOT / "results" / "mfcc_cnn_luna5", "--output", "/sys/x.md", cwd=tmp_path)
    ).replace("x.md", "report.md")


@pytest.mark.slow
def test_runs_killed_before_their_first_epoch_start_again(tmp_path, demo_root):
    command = [sys.executable, str(ROOT / "train.py"), *SMALL, "run_dir=early"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    while not (tmp_path / "early" / "splits.csv").exists():
        assert process.poll() is None
    process.kill()
    process.wait()
    assert "repeat the command" in error_line(run(ROOT / "train.py", "resume=early", cwd=tmp_path))
    again = run(*command[1:], cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "already holds a run" in error_line(run(*command[1:], cwd=tmp_path))


@pytest.mark.slow
def test_random_kills_do_not_change_results(tmp_path):
    result = run(ROOT / "tests" / "random_kills.py", "--kills", "3", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "3 kills" in result.stdout
