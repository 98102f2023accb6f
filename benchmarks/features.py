"""Measure expensive features: gradient histograms of video, and the cache of frozen speech encoders.

Usage: EMOTION_DATA=DIR python benchmarks/features.py, with real clips in DIR/ravdess_faces and the RAVDESS corpus.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import cv2
import hydra
import numpy as np
import torch

from emotion.batch import on_device
from emotion.composition import datamodule_of, kind_of
from emotion.config.compose import DIRECTORY
from emotion.config.validate import validate
from emotion.features.hog3d import hog3d
from emotion.media.video import read_frames
from emotion.pipelines.results import cache_features

SHAPE, CELL, BINS = (50, 240, 426), (5, 5, 6), 9


def synchronize(device):
    """Wait until the GPU has finished."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of(call):
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def by_cells(video):
    """Compute the histograms cell by cell."""
    down_time, down, across = np.gradient(video.double().numpy())
    flat = np.sqrt(across**2 + down**2)
    length, angles = np.hypot(flat, down_time), (np.arctan2(down, across), np.arctan2(flat, down_time))
    counts = [size // side for size, side in zip(video.shape, CELL, strict=True)]
    found = np.zeros((2, BINS, *counts))
    for place in np.ndindex(*counts):
        part = tuple(slice(at * side, (at + 1) * side) for at, side in zip(place, CELL, strict=True))
        for kind, span in enumerate(((-np.pi, np.pi), (0, np.pi))):
            histogram, _ = np.histogram(angles[kind][part], BINS, span, weights=length[part])
            norm = np.linalg.norm(histogram)
            found[kind, :, *place] = histogram / norm if norm > 1e-6 else 0
    return found


def histograms(root):
    clip = sorted((root / "ravdess_faces" / "clips").rglob("*.mp4"))[0]
    frames = [cv2.resize(frame.pixels(), SHAPE[:0:-1]) for frame in read_frames(clip)]
    chosen = [frames[round(at)] for at in np.linspace(0, len(frames) - 1, SHAPE[0])]
    video = torch.from_numpy(np.stack(chosen)).float().mean(dim=3) / 255
    hog3d(video)
    ours, found = seconds_of(lambda: hog3d(video))
    theirs, expected = seconds_of(lambda: by_cells(video))
    difference = np.abs(found.numpy() - expected).max()
    print(
        f"HOG3D of a real clip, {SHAPE[0]} frames of {SHAPE[2]}×{SHAPE[1]}: cell by cell {theirs:.2f} s, ours "
        f"{ours:.2f} s: {theirs / ours:.1f} times faster, largest difference {difference:.1e}"
    )


def frozen_encoder(name, device="cpu"):
    """Time two epochs of the training split of one fold: the first computes the features, the second reads them."""
    with hydra.initialize_config_dir(str(DIRECTORY), version_base="1.3"):
        config = validate(hydra.compose("train", [f"model={name}", "data=ravdess", "protocol=luna5"]))
    datamodule = datamodule_of(config)
    datamodule.setup()
    torch.manual_seed(0)
    classifier = kind_of(config, len(datamodule.classes)).build().to(device).train()
    optimizer = torch.optim.AdamW(parameter for parameter in classifier.parameters() if parameter.requires_grad)

    def epoch():
        for batch in datamodule.train_dataloader():
            optimizer.zero_grad()
            batch = on_device(batch, device)
            torch.nn.functional.cross_entropy(classifier(batch), batch["label"]).backward()
            optimizer.step()
        synchronize(device)

    # Only the features of the training split, since dev and test are not part of an epoch.
    trained = datamodule.sources["waveform"].select(datamodule.dataset("train").recordings)
    datamodule.sources["waveform"] = trained

    def first_epoch():
        cache_features(classifier, datamodule, device)
        classifier.to(device)
        epoch()

    first, _ = seconds_of(first_epoch)
    second, _ = seconds_of(epoch)
    ratio = f"{first / second:.0f} times faster"
    where = "" if device == "cpu" else f", {device}"
    print(f"{name}, random weights{where}: first epoch {first:.1f} s, second {second:.1f} s: {ratio}")


def main():
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}", flush=True)
    histograms(Path(os.environ["EMOTION_DATA"]))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EMOTION_CACHE"] = folder
        for name in sys.argv[1:] or ["wav2vec2"]:
            frozen_encoder(name)


if __name__ == "__main__":
    main()
