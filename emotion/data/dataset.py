"""Batches out of one array: ragged items, stored one after the other, gathered and padded in one go."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from emotion.prepare.waveforms import INT16_FULL_SCALE

Batch = dict[str, Any]
"""`waveform` (B, T) float32 and `waveform_length` (B,), or `features` (B, F, N) float32 and `frames` (B,); `label` (B,)
int64, `speaker` (B,) int64, and `recording`, a list of keys."""


@dataclass(frozen=True)
class Ragged:
    """Items of unequal length, one after the other in `values`.

    Attributes:
        values: What the items are made of, shape (total, ...); may be a memory map.
        recordings: The key of each item.
        offset: Where each item begins.
        length: How long each item is.
    """

    values: np.ndarray
    recordings: pd.Index
    offset: np.ndarray
    length: np.ndarray

    def select(self, recordings: Sequence[str]) -> "Ragged":
        """The items of these recordings in this order, over the same values."""
        rows = self.recordings.get_indexer(recordings)
        return Ragged(self.values, self.recordings[rows], self.offset[rows], self.length[rows])

    def padded(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The items as one tensor, shape (B, longest, ...), zero where they end, and their lengths, shape (B,)."""
        offsets, lengths = self.offset[rows], self.length[rows]
        batch = np.zeros((len(lengths), int(lengths.max()), *self.values.shape[1:]), self.values.dtype)
        for item, offset, length in zip(batch, offsets, lengths, strict=True):
            item[:length] = self.values[offset : offset + length]
        return torch.from_numpy(batch), torch.from_numpy(lengths)


class RecordingDataset(Dataset):
    """The recordings of one split.

    Args:
        table: Columns `recording`, `label` and `speaker_index`, one row an item.
        waveforms: Sound as int16 samples, or None if features are given.
        features: Features as frames, shape (total, F), or None if waveforms are given.
    """

    def __init__(self, table: pd.DataFrame, waveforms: Ragged | None = None, features: Ragged | None = None) -> None:
        self.recordings = table["recording"].to_numpy()
        self.label = torch.tensor(table["label"].to_numpy(np.int64))
        self.speaker = torch.tensor(table["speaker_index"].to_numpy(np.int64))
        self.waveforms = waveforms and waveforms.select(self.recordings)
        self.features = features and features.select(self.recordings)

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> Batch:
        """The item as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A whole batch at once, which is what the DataLoader asks for."""
        indices = list(indices)
        batch: Batch = {
            "label": self.label[indices],
            "speaker": self.speaker[indices],
            "recording": list(self.recordings[indices]),
        }
        if self.features is not None:
            features, batch["frames"] = self.features.padded(indices)
            batch["features"] = features.transpose(1, 2)
        elif self.waveforms is not None:
            waveform, batch["waveform_length"] = self.waveforms.padded(indices)
            batch["waveform"] = waveform.float() / INT16_FULL_SCALE
        return batch
