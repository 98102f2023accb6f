"""Tests of `emotion train` and `emotion evaluate` from a checkout and from a wheel, and of a copied train.py."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from emotion import runs
from emotion.cli import main

TINY = ("trainer.max_epochs=1", "model.backbone.channels=[4,4,4,4]", "data.batch_size=64")


def run(*command, cwd, **environment):
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=600
    )


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Return a function that runs `emotion` in this process, in an empty folder; it returns exit status and output."""
    from hydra.core.global_hydra import GlobalHydra

    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["emotion", *map(str, arguments)])
        specification = sys.modules["__main__"].__spec__
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
        finally:
            sys.modules["__main__"].__spec__ = specification
            GlobalHydra.instance().clear()
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return call


@pytest.mark.slow
def test_train_and_evaluate_are_subcommands(cli, demo_root):
    status, printed = cli("train", *TINY, "run_dir=a b")
    assert status == 0, printed
    status, printed = cli("evaluate", "run=a b", "split=dev")
    assert status == 0, printed
    metrics = runs.load_metrics(Path("a b"))
    (again,) = Path("a b").glob("evaluations/*/metrics.json")
    assert json.loads(again.read_text())["dev/uar"] == metrics["dev/uar"]


@pytest.mark.slow
def test_sweeps_run_as_a_subcommand(cli, demo_root):
    status, printed = cli("train", "-m", *TINY, "seed=0,1", "run_dir=sweep")
    assert status == 0, printed
    assert [runs.load_metrics(Path("sweep", job))["seed"] for job in "01"] == [0, 1]


def test_errors_equal_those_of_train_py(cli):
    assert cli("train", "modle=mfcc_cnn") == (1, "error: unknown key modle: did you mean model?\n")
    status, printed = cli("evaluate")
    assert status == 1 and "needs run=RUN_DIR" in printed
    status, printed = cli("train", "--cfg", "job")
    assert status == 0 and "max_epochs: 60" in printed
    status, printed = cli("--help")
    assert status == 0 and "Train a model" in printed and "Evaluate a finished run" in printed


@pytest.mark.slow
def test_copied_train_py_finds_the_configuration(tmp_path, demo_root):
    shutil.copyfile(ROOT / "train.py", tmp_path / "my_train.py")
    result = run(sys.executable, "my_train.py", *TINY, "run_dir=r", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "r" / "metrics.json").exists()


@pytest.mark.slow
def test_an_installed_wheel_trains_and_evaluates(tmp_path, demo_root):
    build = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "dist", ROOT)
    built = run(*build, "--no-build-isolation", cwd=tmp_path)
    if built.returncode:  # hatchling is not installed
        built = run(*build, cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for command in (("train", *TINY, "run_dir=r"), ("evaluate", "run=r"), ("train", "-m", *TINY, "seed=0,1")):
        result = run(sys.executable, site / "bin" / "emotion", *command, cwd=elsewhere, PYTHONPATH=str(site))
        assert result.returncode == 0, result.stderr
    assert (elsewhere / "r" / "metrics.json").exists()
    assert len(list(elsewhere.glob("outputs/*/*/*/metrics.json"))) == 2
    shutil.copyfile(ROOT / "train.py", elsewhere / "train.py")
    result = run(sys.executable, "train.py", *TINY, "run_dir=s", cwd=elsewhere, PYTHONPATH=str(site))
    assert result.returncode == 0, result.stderr
    result = run(sys.executable, site / "bin" / "emotion", "demo-page", "page", cwd=elsewhere, PYTHONPATH=str(site))
    assert result.returncode == 0, result.stderr
    assert (elsewhere / "page" / "index.html").is_file()
