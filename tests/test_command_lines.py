"""Tests of train.py, evaluate.py and `emotion` in subprocesses."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

import emotion
from conftest import ROOT

FAST = ("trainer.max_epochs=2", "data.batch_size=64")


def run(*command, cwd, **environment):
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=os.environ | {"PYTHONWARNINGS": "default"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def train(tmp_path, demo_root):
    return lambda *arguments, **environment: run(ROOT / "train.py", *arguments, cwd=tmp_path, **environment)


@pytest.fixture
def evaluate(tmp_path):
    return lambda *arguments, **environment: run(ROOT / "evaluate.py", *arguments, cwd=tmp_path, **environment)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, demo_root):
    """Return the standard output and the run directory of a short `python train.py`."""
    folder = tmp_path_factory.mktemp("user")
    result = run(ROOT / "train.py", *FAST, cwd=folder)
    assert result.returncode == 0, result.stderr
    (run_dir,) = (folder / "outputs" / "demo-mfcc_cnn").iterdir()
    return result.stdout, run_dir


def error_line(result):
    assert result.returncode == 1, result.stdout + result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def test_training_prints_a_summary_and_the_next_commands(finished):
    printed, run_dir = finished
    assert "demo: 384 speech recordings, complete" in printed
    assert "actor6, fold 0 (speaker-independent): 256 train, 64 dev, 64 test" in printed
    assert re.search(r"test UAR 0\.\d{3}", printed)
    relative = run_dir.relative_to(run_dir.parents[2])
    assert f"python evaluate.py run={relative}" in printed
    assert "tensorboard --logdir outputs" in printed
    assert "Warning" not in printed
    log = (run_dir / "train.log").read_text()
    assert "epoch 2/2" in log


def test_saved_files_hold_no_absolute_paths(finished):
    _, run_dir = finished
    for name in ("config.yaml", "overrides.yaml", "metrics.json", "predictions.csv"):
        assert str(run_dir.parents[2]) not in (run_dir / name).read_text()


def test_evaluation_equals_the_metrics_of_the_run(finished, command):
    _, run_dir = finished
    result = command("evaluate", f"run={run_dir}")
    assert result.returncode == 0, result.stderr
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert f"UAR {metrics['test/uar']:.3f}" in result.stdout
    folder = run_dir / "evaluations" / "demo-actor6-0-test"
    assert json.loads((folder / "metrics.json").read_text())["test/uar"] == metrics["test/uar"]


@pytest.mark.slow
def test_real_speech_is_trained_on_evaluated_and_reported(real_data, train, evaluate, tmp_path):
    overrides = ("data=ravdess", f"data.root={real_data}", "protocol=luna5", "protocol.fold=2")
    result = train(*overrides, "trainer.max_epochs=1", "run_dir=mine")
    assert result.returncode == 0, result.stderr
    assert "1,440 speech recordings, complete" in result.stdout
    assert "luna5, fold 2 (speaker-independent): 1,020 train, 120 dev, 300 test" in result.stdout
    assert str(real_data) not in (tmp_path / "mine" / "config.yaml").read_text()
    # The data root is remembered on the same machine.
    result = evaluate("run=mine", "split=dev", EMOTION_DATA="")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "mine/evaluations/ravdess-luna5-2-dev/metrics.json").exists()
    report = run("-m", "emotion.cli", "report", "mine", cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    assert "**only 1 of 5**" in report.stdout


@pytest.mark.slow
def test_sweeps_create_a_run_per_job(train, tmp_path):
    result = train("-m", "protocol.fold=0,1", "debug=fast", "run_dir=sweep")
    assert result.returncode == 0, result.stderr
    folds = [json.loads((tmp_path / "sweep" / job / "metrics.json").read_text())["fold"] for job in ("0", "1")]
    assert folds == [0, 1]


@pytest.mark.slow
def test_killed_runs_are_resumed_in_place(train, tmp_path):
    command = [sys.executable, str(ROOT / "train.py"), *FAST, "trainer.max_epochs=40", "run_dir=killed"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "epoch 4/40" in line:
                process.kill()
    assert not (tmp_path / "killed" / "metrics.json").exists()
    result = train("resume=killed", "trainer.max_epochs=8")
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "killed" / "metrics.json").read_text())["epochs"] == 8
    assert not (tmp_path / "outputs").exists()


MISTAKES = {
    "misspelt group": (["modle=mfcc_cnn"], "did you mean model?"),
    "misspelt choice": (["model=mfcc_cn"], "did you mean mfcc_cnn?"),
    "misspelt choice in a sweep": (["-m", "model=mfcc_cnn,mfc"], "model=mfc: "),
    "misspelt key": (["trainer.max_epoch=3"], "did you mean max_epochs"),
    "added key": (["+sed=3"], "did you mean seed?"),
    "key below a value": (["seed.x=3"], "there is no seed"),
    "unreadable override": (["model=(a"], "quote values"),
    "part of no fusion": (["model.branches.audio=audio_lstm"], "add model=late_fusion"),
    "misspelt branch": (["model=late_fusion", "model.branches.audio=audio_lstmm"], "did you mean audio_lstm?"),
    "missing plugin": (["-m", "hydra/launcher=jobs"], "pip install 'emotion[sweep]'"),
    "missing corpus": (["data=ravdess", "data.root=nowhere"], "neither exists"),
    "resume of nothing": (["resume=nowhere"], "is not a run directory"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line_with_a_remedy(command, tmp_path, mistake):
    arguments, message = MISTAKES[mistake]
    assert message in error_line(command("train", *arguments))
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.slow
def test_traceback_is_shown_on_request(train):
    result = train("protocol.fold=9", EMOTION_TRACEBACK="1")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


@pytest.mark.slow
def test_evaluation_refuses_missing_runs_and_wrong_arguments(evaluate, finished, tmp_path):
    assert "needs run=RUN_DIR" in error_line(evaluate())
    assert "does not exist" in error_line(evaluate("run=nowhere"))
    (tmp_path / "empty").mkdir()
    assert "holds no config.yaml" in error_line(evaluate("run=empty"))
    assert "neither dev nor test" in error_line(evaluate(f"run={finished[1]}", "split=train"))
    unknown_key = error_line(evaluate(f"run={finished[1]}", "model.images.mirror=true"))
    assert unknown_key.endswith("change it with +model.images.mirror=true")


@pytest.mark.slow
def test_evaluation_refuses_damaged_runs(evaluate, finished, tmp_path):
    def copy(name):
        return shutil.copytree(finished[1], tmp_path / name)

    unfinished = copy("unfinished")
    (unfinished / "checkpoints" / "best.ckpt").unlink()
    assert "train.py resume=unfinished" in error_line(evaluate("run=unfinished"))
    damaged = copy("damaged")
    (damaged / "checkpoints" / "best.ckpt").write_bytes(b"not a checkpoint")
    assert "it is damaged, or holds more than weights" in error_line(evaluate("run=damaged"))
    other = copy("other")
    config = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(config.replace("- 96", "- 80"))
    assert "is of another model than" in error_line(evaluate("run=other"))
    untrusted = copy("untrusted")
    (untrusted / "config.yaml").write_text(config.replace("emotion.models.mfcc_cnn.MfccCnn", "os.system"))
    assert "refused" in error_line(evaluate("run=untrusted"))


@pytest.mark.slow
def test_prepare_splits_and_report_commands(tmp_path, demo_root):
    result = run("-m", "emotion.cli", "prepare", "data=demo", "--contact-sheet", "sheet.png", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "prepared 384 recordings" in result.stdout
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    result = run("-m", "emotion.cli", "splits", cwd=tmp_path)
    assert re.search(r"ravdess +loso24 +24 folds", result.stdout)
    result = run("-m", "emotion.cli", "report", "nowhere", cwd=tmp_path)
    assert "no finished run" in error_line(result)


def test_help_and_version_are_short():
    for script, example in (("train.py", "emotion train -m protocol.fold"), ("evaluate.py", "emotion evaluate run=")):
        result = run(script, "--help", cwd=ROOT)
        assert result.returncode == 0
        assert example in result.stdout
        assert "_target_" not in result.stdout
    assert run("-m", "emotion.cli", "--version", cwd=ROOT).stdout == f"emotion {emotion.__version__}\n"
