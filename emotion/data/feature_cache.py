"""Features computed once for every recording, by the very module that would compute them in every step."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from emotion.data.dataset import Ragged, RecordingDataset
from emotion.features.front_end import AudioFrontEnd
from emotion.files import atomic_path, cache_directory, fingerprint, locked
from emotion.progress import track

FORMAT = 1  # part of the cache key: raise it when what a front end computes changes
_BATCH = 8  # small enough for a processor's cache: larger batches are slower, not faster


def cached_features(front_end: AudioFrontEnd, waveforms: Ragged, key: object, cache: Path | None = None) -> Ragged:
    """The features of all recordings in `waveforms` before normalisation, as frames of shape (total, F).

    Args:
        front_end: Whose `extract` computes them.
        waveforms: Prepared sound.
        key: Plain data that names both the sound and the configuration of the front end.
        cache: The cache directory; by default `emotion.files.cache_directory()`.
    """
    folder = (cache or cache_directory()) / "features"
    name = fingerprint({"format": FORMAT, "key": key})
    values_path, frames_path = folder / f"{name}.npy", folder / f"{name}.frames.npy"
    if not frames_path.exists():
        with locked(folder / f"{name}.lock", waiting_for="another process computes the same features"):
            if not frames_path.exists():
                values, frames = _compute(front_end, waveforms)
                # Readers look for the second file, so it is written last.
                for path, array in ((values_path, values), (frames_path, frames)):
                    with atomic_path(path) as temporary, open(temporary, "wb") as file:
                        np.save(file, array)
                        os.fsync(file.fileno())
    frames = np.load(frames_path)
    return Ragged(np.load(values_path, mmap_mode="r"), waveforms.recordings, frames.cumsum() - frames, frames)


@torch.no_grad()
def _compute(front_end: AudioFrontEnd, waveforms: Ragged) -> tuple[np.ndarray, np.ndarray]:
    # Neighbours in length share a batch, so that little is computed on padding.
    order = waveforms.recordings[np.argsort(waveforms.length, kind="stable")]
    table = pd.DataFrame({"recording": order, "label": 0, "speaker_index": 0})
    dataset = RecordingDataset(table, {"waveform": waveforms})
    items: dict[str, np.ndarray] = {}
    starts = range(0, len(dataset), _BATCH)
    for start in track(starts, "computing features", len(starts)):
        batch = dataset.__getitems__(range(start, min(start + _BATCH, len(dataset))))
        features, frames = front_end.extract(batch["waveform"], batch["waveform_length"])
        for recording, item, count in zip(batch["recording"], features, frames, strict=True):
            items[recording] = item[:, :count].T.numpy()
    in_order = [items[recording] for recording in waveforms.recordings]
    return np.concatenate(in_order).astype(np.float32), np.array([len(item) for item in in_order])
