"""Tests of sweeps: grids, searches and launchers, the table of trials and hyperparameter importance."""

import json
import os
import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from conftest import ROOT
from emotion.errors import EmotionError
from emotion.plots.trials import axis_positions
from emotion.reports import trials

SHORT = ("trainer.max_epochs=1", "data.batch_size=64")
TOO_FAST = "optimizer.lr=1e30"


@pytest.fixture
def sweep(tmp_path, demo_root):
    def run(*arguments, **environment):
        command = [sys.executable, str(ROOT / "train.py"), "-m", *SHORT, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True, timeout=600
        )

    return run


def best_command(printed):
    (line,) = [line for line in printed.splitlines() if line.startswith("best: ")]
    return shlex.split(line.removeprefix("best: "))


@pytest.mark.slow
def test_failed_jobs_are_recorded_and_the_others_continue(sweep, tmp_path):
    result = sweep("optimizer.lr=1e30,0.001", "run_dir=grid")
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith("error: training diverged")
    assert "2 jobs: 1 failed, 1 finished" in result.stdout
    assert "lower optimizer.lr=1e+30" in (tmp_path / "grid/0/error.txt").read_text()
    assert "test/uar" in json.loads((tmp_path / "grid/1/metrics.json").read_text())
    table = pd.read_csv(tmp_path / "grid/trials.csv")
    assert table["status"].tolist() == ["failed", "finished"]
    assert np.isnan(table["value"][0])
    # The printed best command runs.
    command = best_command(result.stdout)
    assert command[:2] == ["python", "train.py"]
    assert "optimizer.lr=0.001" in command
    again = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *command[2:], "run_dir=best"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert again.returncode == 0, again.stderr
    repeated, original = (json.loads((tmp_path / run / "metrics.json").read_text()) for run in ("best", "grid/1"))
    assert repeated["dev/loss"] == original["dev/loss"]


@pytest.mark.slow
def test_sweeps_without_a_finished_job_report_it(sweep):
    result = sweep(f"{TOO_FAST},2e30", "seed=0")
    assert result.returncode == 1
    assert "2 jobs: 2 failed" in result.stdout
    assert "no job finished" in result.stdout


@pytest.mark.slow
def test_searches_continue_and_do_not_evaluate_on_test(sweep, tmp_path):
    search = ("hparams_search=mfcc_cnn", "hydra.sweeper.n_trials=2", "model.backbone.channels=[4,4,4,4]")
    first = sweep(*search, "optimizer.lr=tag(log, interval(1e29, 1e30))")
    assert "2 jobs: 2 failed" in first.stdout, first.stderr
    assert "no job of this sweep finished" in first.stderr.splitlines()[-1]
    # The search continues after failed trials and succeeds if any trial finishes.
    second = sweep(*search)
    assert second.returncode == 0, second.stderr
    folder = tmp_path / "outputs/search-demo-mfcc_cnn"
    assert "4 jobs: 2 failed, 2 finished" in second.stdout or "4 jobs: 2 finished, 2 failed" in second.stdout
    import optuna

    (study,) = optuna.get_all_study_summaries(f"sqlite:///{folder}/study.db")
    assert (study.study_name, study.n_trials) == ("actor6-0", 4)
    assert study.direction.name == "MAXIMIZE"
    for path in folder.glob("*/*/metrics.json"):
        assert not [key for key in json.loads(path.read_text()) if key.startswith("test/")]
    assert "hparams_search" not in " ".join(best_command(second.stdout))
    report = subprocess.run(
        [sys.executable, "-m", "emotion.cli", "report", str(folder)], capture_output=True, text=True, timeout=600
    )
    assert report.returncode == 1
    assert "emotion trials" in report.stderr


LAUNCHERS = {
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit": ("hydra/launcher=submitit_local",),
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_parallel_jobs_equal_sequential_jobs(sweep, tmp_path, launcher):
    jobs = (f"optimizer.lr=0.001,{TOO_FAST.split('=')[1]},0.003", "model.backbone.channels=[4,4,4,4]")
    assert sweep(*jobs, "run_dir=sequential").returncode == 1
    result = sweep(*jobs, "run_dir=parallel", *LAUNCHERS[launcher])
    assert result.returncode == 1
    assert "3 jobs: 2 finished, 1 failed" in result.stdout
    for job in ("0", "2"):
        sequential, parallel = (
            json.loads((tmp_path / run / job / "metrics.json").read_text()) for run in ("sequential", "parallel")
        )
        assert sequential["dev/loss"] == pytest.approx(parallel["dev/loss"], rel=1e-3)


def write_jobs(folder, jobs):
    """Write the files of sweep jobs (overrides, value); a value of None is a failed job."""
    for number, (overrides, value) in enumerate(jobs):
        directory = folder / str(number)
        directory.mkdir(parents=True)
        (directory / "overrides.yaml").write_text(OmegaConf.to_yaml(overrides))
        if value is None:
            (directory / "error.txt").write_text("Traceback\nRuntimeError: out of memory\n")
            continue
        config = {
            "model": {"name": "mfcc_cnn", "kind": "neural"},
            "training": {"monitor": "dev/uar"},
            "data": {"root": None},
        }
        (directory / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
        (directory / "metrics.json").write_text(
            json.dumps({"dev/uar": value, "objective": "dev/uar", "fit_seconds": 60})
        )
    return folder


def test_folds_and_seeds_belong_to_one_configuration(tmp_path):
    jobs = [
        (["optimizer.lr=0.01", "seed=0"], 0.5),
        (["optimizer.lr=0.01", "seed=1"], 0.6),
        (["optimizer.lr=0.1", "seed=0"], 0.7),
        (["optimizer.lr=0.1", "seed=1"], None),
    ]
    table = trials.read_trials([write_jobs(tmp_path, jobs)])
    best = trials.configurations(table)
    assert best["optimizer.lr"].tolist() == ["0.1", "0.01"]
    assert best["value"].tolist() == pytest.approx([0.7, 0.55])
    assert best["finished"].tolist() == [1, 2]
    assert best["failed"].tolist() == [1, 0]
    assert trials.best_command(table) == "python train.py model=mfcc_cnn optimizer.lr=0.1 seed=0"
    printed = trials.summarise([tmp_path])
    assert "RuntimeError: out of memory" in printed
    assert "Traceback" not in printed


def test_importance_is_highest_for_the_decisive_hyperparameter(tmp_path):
    random = np.random.default_rng(0)
    points = [(10 ** random.uniform(-4, -1), random.uniform(0, 0.5), random.choice(["a", "b"])) for _ in range(40)]
    jobs = [
        ([f"optimizer.lr={lr}", f"model.dropout={dropout}", f"model.kind={kind}"], 0.5 - abs(np.log10(lr) + 2.5) / 5)
        for lr, dropout, kind in points
    ]
    importance = trials.hyperparameter_importance(trials.read_trials([write_jobs(tmp_path, jobs)]))
    assert importance.index[0] == "optimizer.lr"
    assert importance["optimizer.lr"] > 0.9
    assert importance.sum() == pytest.approx(1)
    trials.summarise([tmp_path])
    for name in ("importance.png", "parallel_coordinates.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_too_few_trials_have_no_importance(tmp_path):
    jobs = [([f"optimizer.lr={lr}", f"seed={seed}"], lr) for lr in (0.1, 0.2) for seed in range(8)]
    assert trials.hyperparameter_importance(trials.read_trials([write_jobs(tmp_path, jobs)])) is None


def test_axis_positions_are_logarithmic_for_wide_ranges():
    positions, ticks = axis_positions(pd.Series(["0.0001", "0.001", "0.01", "0.1", "1"]))
    np.testing.assert_allclose(np.diff(positions), 1)
    assert [text for _, text in ticks] == ["0.0001", "0.01", "1"]
    even, _ = axis_positions(pd.Series(["0.01", "0.1", "0.2", "0.3", "0.4"]))
    np.testing.assert_allclose(even, [0.01, 0.1, 0.2, 0.3, 0.4])
    positions, _ = axis_positions(pd.Series(["b", "a", "b"]))
    assert positions.tolist() == [1, 0, 1]


def test_folders_without_a_sweep_are_refused(tmp_path):
    with pytest.raises(EmotionError, match="no job of a sweep"):
        trials.read_trials([tmp_path])
