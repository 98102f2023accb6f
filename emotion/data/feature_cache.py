"""Cache of features, computed by the same module as in a training step."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    augmented: bool = False,
) -> Ragged:
    """Return the features of recordings before normalisation, from the cache or computed.

    Args:
        front_end: Front end with a description.
        waveforms: Prepared waveforms.
        key: Fingerprint of the waveforms.
        cache: Cache directory (default: `emotion.files.cache_directory()`).
        device: Device of features with weights, whose results depend on it in the last digits. Other features are
            always computed on the CPU, which is faster and reproducible.
        augmented: True for the augmented copies of the front end, with the keys of `copy_key` (default: False).

    Returns:
        Frames of all recordings, shape (total, F), float32.
    """
    weights = weights_digest(front_end)
    device = device if weights else "cpu"
    folder = (cache or cache_directory()) / "features"
    # The weights themselves are part of the key, wherever they come from.
    content: dict[str, Any] = {
        "format": FORMAT,
        "key": [[key, _without_weights(front_end.description)], weights],
    }
    if augmented:
        content["augment"] = [front_end.n_augmented_copies, front_end.augment_description]
    name = fingerprint(content)
    values_path, places_path = folder / f"{name}.float32", folder / f"{name}.npy"
    if not places_path.exists():
        with locked(folder / f"{name}.lock", waiting_for="another process computes the same features"):
            if not places_path.exists():
                with atomic_path(values_path) as temporary:
                    places = _compute(front_end, waveforms, temporary, device, augmented)
                # The existence of this file marks a complete entry, so it is written last.
                with atomic_path(places_path) as temporary, open(temporary, "wb") as file:
                    np.save(file, places)
                    os.fsync(file.fileno())
    offset, length = np.load(places_path)
    values = np.memmap(values_path, np.float32, mode="r").reshape(-1, front_end.num_features)
    keys = waveforms.recordings
    if augmented:
        keys = pd.Index(
            [copy_key(recording, copy) for copy in range(front_end.n_augmented_copies) for recording in keys]
        )
    return Ragged(values, keys, offset, length)


def copy_key(recording: str, copy: int) -> str:
    """Return the key of an augmented copy of a recording, counted from 0."""
    return f"{recording} copy {copy}"


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
def _compute(
    front_end: AudioFrontEnd, waveforms: Ragged, path: Path, device: torch.device | str, augmented: bool
) -> np.ndarray:
    """Write all frames to a file; return offset and length of each item, copy by copy, shape (2, copies * N)."""
    # Sorted by length, so that batches have little padding.
    order = np.argsort(waveforms.length, kind="stable")
    table = pd.DataFrame({"recording": waveforms.recordings[order], "label": 0, "speaker_index": 0, "corpus_index": 0})
    dataset = RecordingDataset(table, {"waveform": waveforms})
    lengths: list[int] = []
    copies = front_end.n_augmented_copies if augmented else 1
    starts = list(range(0, len(dataset), _BATCH)) * copies
    front_end.to(device)
    # The seed is the same for all runs, which therefore share the copies.
    with torch.random.fork_rng(), open(path, "wb") as file:
        torch.manual_seed(0)
        for start in track(starts, "computing augmented features" if augmented else "computing features", len(starts)):
            batch = on_device(dataset.__getitems__(range(start, min(start + _BATCH, len(dataset)))), device)
            features, frames = front_end.extract(*get_audio(batch), augmented)
            for item, count in zip(features, frames.tolist(), strict=True):
                file.write(item[:, :count].T.contiguous().float().cpu().numpy().data)
                lengths.append(count)
        file.flush()
        os.fsync(file.fileno())
    front_end.cpu()
    found = np.stack([np.cumsum(lengths) - lengths, lengths]).reshape(2, copies, len(order))
    places = np.empty_like(found)
    places[..., order] = found
    return places.reshape(2, -1)
