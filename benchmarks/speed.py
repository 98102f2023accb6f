"""Measure speed on RAVDESS speech; each figure is a ratio to a reference in the same run.

    EMOTION_DATA=DIR python benchmarks/speed.py

Ratios are comparable between machines; seconds are not.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hydra
import librosa
import numpy as np
import pytorch_lightning as pl
import torch

from emotion.batch import get_audio
from emotion.composition import datamodule_of, kind_of
from emotion.config.compose import DIRECTORY
from emotion.config.validate import validate
from emotion.data.feature_cache import cached_features
from emotion.media.int16 import INT16_FULL_SCALE
from emotion.models.build import build_front_end
from emotion.training.fit import compile_networks, quiet_lightning
from emotion.training.module import EmotionModule

ROOT = Path(__file__).parent.parent
FIRST_STEP = ROOT / "benchmarks" / "first_step.py"


def compose(*overrides):
    with hydra.initialize_config_dir(str(DIRECTORY), version_base="1.3"):
        return validate(hydra.compose("train", overrides=["data=ravdess", *overrides]))


def mfcc_against_librosa(repeats=3):
    """Compute MFCCs of all clips, ours in padded batches, librosa's clip by clip, from decoded samples."""
    config = compose("features.trim_db=null")
    datamodule = datamodule_of(config)
    datamodule.setup()
    waveforms = datamodule.sources["waveform"]
    clips = [
        np.asarray(waveforms.values[offset : offset + length], np.float32) / INT16_FULL_SCALE
        for offset, length in zip(waveforms.offset, waveforms.length, strict=True)
    ]
    front_end = build_front_end(config.features, config.augment, config.data.sample_rate)

    def theirs():
        return [librosa.feature.mfcc(y=clip, sr=16_000, n_mfcc=40, fmin=80).T for clip in clips]

    def ours():
        with tempfile.TemporaryDirectory() as cache:
            return cached_features(front_end, waveforms, "benchmark", Path(cache))

    librosa.feature.mfcc(y=clips[0], sr=16_000)  # compiles
    seconds = {"ours": [], "librosa": []}
    for _ in range(repeats):
        for name, function in (("ours", ours), ("librosa", theirs)):
            start = time.perf_counter()
            result = function()
            seconds[name].append(time.perf_counter() - start)
            if name == "ours":
                ends = zip(result.offset, result.offset + result.length, strict=True)
                frames = np.concatenate([result.values[start:end] for start, end in ends])  # in the order of the clips
            else:
                difference = np.abs(frames - np.concatenate(result)).max()
    ours_s, theirs_s = (statistics.median(seconds[name]) for name in ("ours", "librosa"))
    print(
        f"MFCC of {len(clips):,} clips: librosa {theirs_s:.2f} s, ours with writing the cache {ours_s:.2f} s: ", end=""
    )
    print(f"{theirs_s / ours_s:.1f} times faster, largest difference {difference:.4f}")


class EpochTimer(pl.Callback):
    """Measures the time in seconds from the start of each epoch to its last training batch."""

    def __init__(self):
        self.seconds = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.start = time.perf_counter()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx + 1 == trainer.num_training_batches:
            if pl_module.device.type == "cuda":
                torch.cuda.synchronize()
            self.seconds.append(time.perf_counter() - self.start)


class Resident(torch.utils.data.Dataset):
    """A dataset that repeats one batch."""

    def __init__(self, batch, steps):
        self.batch, self.steps = batch, steps

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        return self.batch


def epoch_against_resident_batch(cached, rounds=6, epochs=3, accelerator="cpu"):
    """Compare epochs of the default recipe with steps on one resident batch of features, of average length."""
    config = compose(f"features.cache={str(cached).lower()}")
    datamodule = datamodule_of(config)
    datamodule.setup()
    classifier = kind_of(config, 8).build()
    front_end = classifier.encoder.front_end
    if cached:
        datamodule.cache_features([front_end])
    front_end.fit(datamodule.batches("train"))
    batches = list(datamodule.train_dataloader())
    for batch in batches:
        if not cached:
            batch["features"] = {front_end.features_key: front_end.extract(*get_audio(batch))}
    sizes = np.array([batch["features"][front_end.features_key][0].shape[-1] for batch in batches])
    resident = batches[int(np.abs(sizes - sizes.mean()).argmin())]

    def fit(train_loader):
        timer = EpochTimer()
        module = EmotionModule(classifier, datamodule.classes, config.optimizer, config.scheduler)
        trainer = pl.Trainer(
            accelerator=accelerator,
            max_epochs=epochs,
            callbacks=[timer],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, train_loader, datamodule.val_dataloader())
        return timer.seconds[1:]

    quiet_lightning()
    real_seconds, resident_seconds = [], []
    for _ in range(rounds):
        real_seconds += fit(datamodule.train_dataloader())
        loader = torch.utils.data.DataLoader(Resident(resident, len(batches)), batch_size=None)
        resident_seconds += fit(loader)
    real, still = statistics.median(real_seconds), statistics.median(resident_seconds)
    kind = "cached features" if cached else "features computed in every step"
    print(
        f"training epoch, {kind}: {real:.2f} s, on a resident batch of features {still:.2f} s: ratio {real / still:.3f}"
    )


def first_step_against_imports(repeats=5):
    """Compare `python train.py data=ravdess` up to its first step, everything cached, with bare imports."""
    imports = [sys.executable, "-c", "import torch, pytorch_lightning, hydra"]
    step = [sys.executable, str(FIRST_STEP), "data=ravdess"]
    seconds = {"imports": [], "step": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repeats + 1):
            for name, command in (("imports", imports), ("step", [*step, f"run_dir={folder}/{number}"])):
                start = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
                seconds[name].append(time.perf_counter() - start)
    bare, ours = (statistics.median(seconds[name][1:]) for name in ("imports", "step"))
    print(f"time to the first training step {ours:.2f} s, bare imports {bare:.2f} s: ratio {ours / bare:.2f}")


def precision_and_compilation(model, steps=20):
    """Compare a training step on resident features in float32 with bfloat16 and with compilation."""
    config = compose(f"model={model}")
    datamodule = datamodule_of(config)
    datamodule.setup()
    batch = next(datamodule.batches("train"))
    classifier = kind_of(config, 8).build()
    # Without normalisation an LSTM saturates and computes with denormal numbers, many times slower.
    classifier.encoder.front_end.fit(datamodule.batches("train"))
    with torch.no_grad():
        features, frames = classifier.encoder.front_end(batch)

    def seconds(network, precise=True):
        optimizer = torch.optim.AdamW(classifier.parameters())
        taken = []
        for _ in range(steps + 3):  # the first ones are a warm-up
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
                logits = classifier.head(network(features, frames))
            torch.nn.functional.cross_entropy(logits.float(), batch["label"]).backward()
            optimizer.step()
            optimizer.zero_grad()
            taken.append(time.perf_counter() - start)
        return statistics.median(taken[3:])

    network = classifier.encoder.backbone
    plain = seconds(network)
    slower = seconds(network, precise=False) / plain
    print(f"{model}, a training step in float32: {plain * 1e3:.0f} ms; in bfloat16 {slower:.2f} ", end="")
    compile_networks(classifier)
    print(f"times that, compiled {seconds(network) / plain:.2f} times", flush=True)


if __name__ == "__main__":
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, librosa {librosa.__version__}")
    mfcc_against_librosa()
    epoch_against_resident_batch(cached=True)
    epoch_against_resident_batch(cached=False)
    for model in ("mfcc_cnn", "audio_lstm"):
        precision_and_compilation(model)
    first_step_against_imports()
