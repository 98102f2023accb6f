"""Tests of training in several processes on one machine."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from conftest import ROOT, build_classifier, build_datamodule
from emotion.data.sampler import EpochSampler
from emotion.errors import EmotionError

SMALL = ("model.backbone.channels=[8,8,8,8]", "data.batch_size=8", "optimizer.lr=0.005", "trainer.max_epochs=3")
THREE = ("trainer.devices=3", "trainer.strategy=ddp")


@pytest.fixture
def train(tmp_path, demo_root):
    def run(*arguments):
        command = [sys.executable, str(ROOT / "train.py"), *arguments]
        result = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=600)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def scalars(run_dir):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / "tensorboard")).Reload()
    return {name: [event.value for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


@pytest.mark.slow
def test_metrics_of_three_processes_equal_those_of_one(train, tmp_path):
    printed = train(*SMALL, *THREE, "training.calibrate=false", "run_dir=three")
    run_dir = tmp_path / "three"
    assert printed.count("384 speech recordings") == 1  # only the first process logs
    # Metrics gathered from three processes over 64 dev recordings equal those that one process computes afterwards.
    logged, final = scalars(run_dir), json.loads((run_dir / "metrics.json").read_text())
    best = int(np.argmax(logged["dev/uar"]))
    for key in ("uar", "war", "loss"):
        assert logged[f"dev/{key}"][best] == pytest.approx(final[f"dev/{key}"], abs=1e-5)
    assert len(logged["train/loss"]) == 3
    table = pd.read_csv(run_dir / "predictions.csv")
    assert not table["recording"].duplicated().any()
    assert table["split"].value_counts().to_dict() == {"dev": 64, "test": 64}
    assert "three/three" not in " ".join(map(str, run_dir.rglob("*")))
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_resumed_distributed_training_equals_uninterrupted_training(train, tmp_path):
    train(*SMALL, *THREE, "run_dir=whole")
    command = [sys.executable, str(ROOT / "train.py"), *SMALL, *THREE, "run_dir=broken"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "epoch 1/3" in line:
                while not (tmp_path / "broken/checkpoints/last.ckpt").exists():
                    pass
                process.kill()
    assert not (tmp_path / "broken/metrics.json").exists()
    train("resume=broken")
    whole, broken = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "broken"))
    # Equal up to the summation order of gradients, which torch chooses again after the first step of each fit.
    for key in ("dev/loss", "test/loss", "train/loss"):
        assert broken[key] == pytest.approx(whole[key], abs=1e-3)


@pytest.mark.slow
def test_sweeps_run_distributed_jobs(train, tmp_path):
    train(
        "-m", *SMALL, "trainer.devices=2", "trainer.strategy=ddp", "trainer.max_epochs=1", "seed=0,1", "run_dir=sweep"
    )
    losses = [json.loads((tmp_path / "sweep" / job / "metrics.json").read_text())["test/loss"] for job in ("0", "1")]
    assert losses[0] != losses[1]
    assert [OmegaConf.load(tmp_path / "sweep" / job / "config.yaml").seed for job in ("0", "1")] == [0, 1]


def test_processes_divide_an_epoch_evenly():
    shares = [list(EpochSampler(100, 7, process, 3)) for process in range(3)]
    assert [len(share) for share in shares] == [33, 33, 33]
    assert len(set().union(*shares)) == 99
    samplers = [EpochSampler(100, 7, process, 3) for process in range(3)]
    for sampler in samplers:
        sampler.set_epoch(1)
    left_out = [set(range(100)) - set().union(*each) for each in (shares, map(list, samplers))]
    assert left_out[0] != left_out[1]


class Process:
    def __init__(self, rank, size):
        self.global_rank, self.world_size = rank, size


def test_processes_divide_dev_without_repetitions(compose):
    datamodule = build_datamodule(compose())
    datamodule.setup()
    recordings = []
    for rank in range(3):
        datamodule.trainer = Process(rank, 3)
        recordings += [recording for batch in datamodule.val_dataloader() for recording in batch["recording"]]
    assert sorted(recordings) == sorted(datamodule.dataset("dev").recordings)
    datamodule.trainer = Process(70, 100)
    with pytest.raises(EmotionError, match="100 processes cannot share the 64 recordings"):
        datamodule.val_dataloader()


def test_prepared_data_are_memory_mapped(compose):
    datamodule = build_datamodule(compose())
    datamodule.setup()
    datamodule.cache_features([build_classifier(compose(), 8).encoder.front_end])
    for items in (datamodule.sources["waveform"], *datamodule.features.values()):
        base = items.values
        while base is not None and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["trainer.precision=bf16-mixed", "trainer.accumulate_grad_batches=4"])
def test_mixed_precision_and_gradient_accumulation_exceed_chance(train_in_process, option):
    run_dir = train_in_process("optimizer.lr=0.005", "trainer.max_epochs=12", "data.batch_size=16", option)
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert metrics["test/uar"] > 0.4
