"""Measure training on RAVDESS speech on a GPU: rates, bottlenecks, and agreement with the CPU.

    EMOTION_DATA=DIR python benchmarks/gpu.py

On one NVIDIA GPU, with `hydra-joblib-launcher`.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from features import frozen_encoder
from speed import ROOT, compose, epoch_against_resident_batch
from torch.profiler import ProfilerActivity, profile

from emotion.batch import on_device
from emotion.composition import datamodule_of, kind_of
from emotion.training.fit import compile_networks

GPU, JOBS, EPOCHS, STEPS = "cuda", 6, 30, 50
RECIPE = (
    "data=ravdess",
    "features=[mfcc,deltas]",
    "trainer=gpu",
    f"trainer.max_epochs={EPOCHS}",
    "training.ema_decay=0.99",
)
SWEEP = ("protocol.fold=0,1,2,3,4,5", "seed=0,1,2", "hydra/launcher=joblib", f"hydra.launcher.n_jobs={JOBS}")


def train(folder, *overrides):
    """Return the metrics of every run of a `train.py` command, and its duration in seconds."""
    began = time.perf_counter()
    command = [sys.executable, str(ROOT / "train.py"), *RECIPE, *overrides, f"run_dir={folder}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(done.stdout[-3000:])
    return [json.loads(path.read_text()) for path in Path(folder).rglob("metrics.json")], time.perf_counter() - began


def one_fit():
    """Time a single run on the GPU."""
    with tempfile.TemporaryDirectory() as folder:
        (metrics,), _ = train(f"{folder}/run")
    print(f"a fit of {EPOCHS} epochs alone: {metrics['fit_seconds']:.1f} s, dev {metrics['dev/uar']:.3f}")


def folds_and_seeds():
    """Time eighteen runs in one command, several at a time on the same GPU, and measure its utilisation."""
    ask = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-lms", "500"]
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/busy.csv", "w+") as busy:
        watch = subprocess.Popen(ask, stdout=busy)
        runs, took = train(f"{folder}/runs", "-m", *SWEEP)
        watch.kill()
        busy.seek(0)
        use = np.array([[float(number) for number in line.split(",")] for line in busy.read().split("\n")[:-1]])
    uars, seconds = [run["test/uar"] for run in runs], [run["fit_seconds"] for run in runs]
    print(f"{len(runs)} runs of {EPOCHS} epochs, {JOBS} at a time: {took:.0f} s")
    print(f"  a fit {statistics.mean(seconds):.1f} s; UAR {statistics.mean(uars):.3f} ± {statistics.stdev(uars):.3f}")
    print(f"  the GPU was busy {use[:, 0].mean():.0f} % of the time, and held {use[:, 1].max():.0f} MB at most")


def set_up(*overrides, cached):
    """Return the data module of RAVDESS, a classifier on the GPU, and its optimiser."""
    config = compose(*overrides)
    datamodule = datamodule_of(config)
    datamodule.setup()
    classifier = kind_of(config, 8).build()
    if cached:
        datamodule.cache_features([classifier.encoder.front_end])
    classifier.encoder.front_end.fit(datamodule.batches("train"))
    classifier.to(GPU).train()
    return datamodule, classifier, torch.optim.AdamW(classifier.parameters())


def training_step(model):
    """Profile a training step on resident features: time on the GPU, its kernels, bfloat16 and compilation."""
    datamodule, classifier, optimizer = set_up(f"model={model}", "features=[mfcc,deltas]", cached=True)
    batch = on_device(next(iter(datamodule.train_dataloader())), GPU)

    def steps(number, half=False):
        for _ in range(number):
            with torch.autocast(GPU, torch.bfloat16, enabled=half):
                loss = torch.nn.functional.cross_entropy(classifier(batch), batch["label"])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        torch.cuda.synchronize()

    def milliseconds(**how):
        steps(10, **how)
        began = time.perf_counter()
        steps(STEPS, **how)
        return (time.perf_counter() - began) / STEPS * 1e3

    plain, half = milliseconds(), milliseconds(half=True)
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        steps(STEPS)
    found = [event for event in profiled.key_averages() if event.self_device_time_total]
    total = sum(event.self_device_time_total for event in found)
    launched = sum(event.count for event in found) / STEPS
    compile_networks(classifier)
    print(f"{model}, a training step: {plain:.2f} ms, in bfloat16 {half:.2f}, compiled {milliseconds():.2f}")
    print(f"  the GPU computes for {total / STEPS / 1e3:.2f} ms of it, in {launched:.0f} kernels and copies, such as")
    for event in sorted(found, key=lambda event: -event.self_device_time_total)[:4]:
        print(f"  {event.self_device_time_total / total:4.0%} in {event.count // STEPS:2d}: {event.key[:90]}")


def same_answers(model):
    """Compare probabilities of dev on the GPU and on the CPU, with the same weights, from waveforms."""
    datamodule, classifier, optimizer = set_up(f"model={model}", cached=False)
    for batch in datamodule.train_dataloader():
        batch = on_device(batch, GPU)
        torch.nn.functional.cross_entropy(classifier(batch), batch["label"]).backward()
        optimizer.step()
        optimizer.zero_grad()
    found = {}
    for device in (GPU, "cpu"):
        classifier.to(device)
        batches = (on_device(batch, device) for batch in datamodule.batches("dev"))
        found[device] = torch.cat([classifier.predict(batch).cpu() for batch in batches])
    apart = (found[GPU] - found["cpu"]).abs().max()
    same = (found[GPU].argmax(dim=1) == found["cpu"].argmax(dim=1)).float().mean()
    print(f"{model}, probabilities of dev by GPU and by CPU: at most {apart:.1e} apart, {same:.1%} the same emotion")


def main():
    print(f"{torch.cuda.get_device_name()}, {os.cpu_count()} cores, torch {torch.__version__}", flush=True)
    for model in ("mfcc_cnn", "audio_lstm"):
        same_answers(model)
        training_step(model)
    epoch_against_resident_batch(cached=True, accelerator="gpu")
    epoch_against_resident_batch(cached=False, accelerator="gpu")
    frozen_encoder("wav2vec2", GPU)
    one_fit()
    folds_and_seeds()


if __name__ == "__main__":
    main()
