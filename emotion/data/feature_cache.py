"""Cache of features, computed by the same module as in a training step."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from emotion.batch import get_audio, on_device
from emotion.config.target import WEIGHTS
from emotion.data.dataset import Ragged, RecordingDataset
from emotion.features.front_end import AudioFrontEnd
from emotion.files import atomic_path, cache_directory, fingerprint, locked
from emotion.progress import track

FORMAT = 2  # part of the cache key: increment it when the features of a front end change
_BATCH = 8  # fits the processor's cache; larger batches are slower


def cached_features(
    front_end: AudioFrontEnd,
    waveforms: Ragged,
    key: str,
    cache: Path | None = None,
    device: torch.device | str = "cpu",
) -> Ragged:
    """Return the features of recordings before normalisation, from the cache or computed.

    Args:
        front_end: Front end with a description.
        waveforms: Prepared waveforms.
        key: Fingerprint of the waveforms.
        cache: Cache directory (default: `emotion.files.cache_directory()`).
        device: Device of features with weights, whose results depend on it in the last digits. Other features are
            always computed on the CPU, which is faster and reproducible.

    Returns:
        Frames of all recordings, shape (total, F), float32.
    """
    weights = weights_digest(front_end)
    device = device if weights else "cpu"
    folder = (cache or cache_directory()) / "features"
    # The weights themselves are part of the key, wherever they come from.
    name = fingerprint({"format": FORMAT, "key": [[key, _without_weights(front_end.description)], weights]})
    values_path, places_path = folder / f"{name}.float32", folder / f"{name}.npy"
    if not places_path.exists():
        with locked(folder / f"{name}.lock", waiting_for="another process computes the same features"):
            if not places_path.exists():
                with atomic_path(values_path) as temporary:
                    places = _compute(front_end, waveforms, temporary, device)
                # The existence of this file marks a complete entry, so it is written last.
                with atomic_path(places_path) as temporary, open(temporary, "wb") as file:
                    np.save(file, places)
                    os.fsync(file.fileno())
    offset, length = np.load(places_path)
    values = np.memmap(values_path, np.float32, mode="r").reshape(-1, front_end.num_features)
    return Ragged(values, waveforms.recordings, offset, length)


def _without_weights(description: object) -> object:
    if isinstance(description, Mapping):
        return {key: _without_weights(value) for key, value in description.items() if key not in WEIGHTS}
    return description


def weights_digest(module: nn.Module) -> str | None:
    """Return a digest of the weights of a module, or None if it has none."""
    digest = hashlib.sha256()
    for name, parameter in module.named_parameters():
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().numpy().data)
    return digest.hexdigest() if any(True for _ in module.parameters()) else None


@torch.no_grad()
def _compute(front_end: AudioFrontEnd, waveforms: Ragged, path: Path, device: torch.device | str) -> np.ndarray:
    """Write all frames to a file; return offset and length of each item, shape (2, N)."""
    # Sorted by length, so that batches have little padding.
    order = np.argsort(waveforms.length, kind="stable")
    table = pd.DataFrame({"recording": waveforms.recordings[order], "label": 0, "speaker_index": 0, "corpus_index": 0})
    dataset = RecordingDataset(table, {"waveform": waveforms})
    lengths: list[int] = []
    front_end.to(device)
    with open(path, "wb") as file:
        for start in track(range(0, len(dataset), _BATCH), "computing features", -(-len(dataset) // _BATCH)):
            batch = on_device(dataset.__getitems__(range(start, min(start + _BATCH, len(dataset)))), device)
            features, frames = front_end.extract(*get_audio(batch))
            for item, count in zip(features, frames.tolist(), strict=True):
                file.write(item[:, :count].T.contiguous().float().cpu().numpy().data)
                lengths.append(count)
        file.flush()
        os.fsync(file.fileno())
    front_end.cpu()
    places = np.empty((2, len(order)), np.int64)
    places[:, order] = np.cumsum(lengths) - lengths, lengths
    return places
