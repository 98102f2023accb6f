"""Datasets of items of different lengths, gathered and padded to batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from emotion.batch import Batch
from emotion.media.int16 import INT16_FULL_SCALE


@dataclass(frozen=True)
class Ragged:
    """Items of different lengths, concatenated in one array.

    Attributes:
        values: Concatenated items, shape (total, ...); may be a memory map.
        recordings: Keys of the items.
        offset: Start of each item in `values`, shape (items,).
        length: Length of each item, shape (items,).
    """

    values: np.ndarray
    recordings: pd.Index
    offset: np.ndarray
    length: np.ndarray

    def select(self, recordings: Sequence[str]) -> "Ragged":
        """Return the items of recordings in this order, over the same values; unknown recordings have length 0."""
        keys = pd.Index(recordings)
        rows = self.recordings.get_indexer(keys)
        length = np.where(rows < 0, 0, self.length[rows])
        return Ragged(self.values, keys, self.offset[rows], length)

    def padded(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return items padded with zeros, shape (B, longest, ...), and their lengths, shape (B,)."""
        offsets, lengths = self.offset[rows], self.length[rows]
        longest = max(1, int(lengths.max()))
        batch = np.empty((len(lengths), longest, *self.values.shape[1:]), self.values.dtype)
        for item, offset, length in zip(batch, offsets.tolist(), lengths.tolist(), strict=True):
            item[:length] = self.values[offset : offset + length]
            item[length:] = 0
        return torch.from_numpy(batch), torch.from_numpy(lengths)


class RecordingDataset(Dataset):
    """The recordings of one split as a torch dataset.

    Args:
        table: Table with the columns `recording`, `label`, `speaker_index` and `corpus_index`, one row for each item.
        sources: Arrays of each recording: `waveform` (int16 samples), `faces` (shape (total, H, W, 1 or 3)) and
            `action_units` (frames, shape (total, A)).
        targets: Share of each class for each item, shape (items, num_classes), or None.
        features: Cached features of each row of the table, frames of shape (total, F), by their keys in a batch.
        known_classes: Classes of each corpus, shape (n_corpora, num_classes), bool, or None.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        sources: Mapping[str, Ragged],
        targets: torch.Tensor | None = None,
        features: Mapping[str, Ragged] | None = None,
        known_classes: torch.Tensor | None = None,
    ) -> None:
        self.recordings = table["recording"].to_numpy()
        self.label = torch.tensor(table["label"].to_numpy(np.int64))
        self.speaker = torch.tensor(table["speaker_index"].to_numpy(np.int64))
        self.corpus = torch.tensor(table["corpus_index"].to_numpy(np.int64))
        self.targets, self.known_classes = targets, known_classes
        self.sources = {name: source.select(self.recordings) for name, source in sources.items()}
        self.features = dict(features or {})

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> Batch:
        """Return an item as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a whole batch; the DataLoader calls this."""
        indices = list(indices)
        batch: Batch = {
            "label": self.label[indices],
            "speaker": self.speaker[indices],
            "recording": list(self.recordings[indices]),
            "corpus": self.corpus[indices],
        }
        if self.targets is not None:
            batch["target"] = self.targets[indices]
        if self.known_classes is not None:
            batch["label_mask"] = self.known_classes[batch["corpus"]]
        if self.features:
            batch["features"] = {key: _features(*source.padded(indices)) for key, source in self.features.items()}
        return cast(Batch, batch | gather(self.sources, indices))


def gather(sources: Mapping[str, Ragged], rows: Sequence[int]) -> dict[str, Any]:
    """Gather items of each source, under the names of `Batch`."""
    batch: dict[str, Any] = {}
    for name, source in sources.items():
        batch |= _GATHERED[name](*source.padded(rows))
    return batch


def _waveform(samples: torch.Tensor, length: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"waveform": samples.float() / INT16_FULL_SCALE, "waveform_length": length}


def _features(frames: torch.Tensor, length: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return frames.transpose(1, 2), length


def _faces(crops: torch.Tensor, length: torch.Tensor) -> dict[str, torch.Tensor]:
    mask = torch.arange(crops.shape[1]) < length[:, None]
    return {"faces": crops.permute(0, 1, 4, 2, 3), "face_mask": mask}


def _action_units(units: torch.Tensor, length: torch.Tensor) -> dict[str, torch.Tensor]:
    means = units.shape[1] == 1
    return {"action_units": units[:, 0] if means else units, "action_unit_frames": length}


_GATHERED = {"waveform": _waveform, "faces": _faces, "action_units": _action_units}
