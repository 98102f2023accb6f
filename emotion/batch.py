"""The structure of a batch, which the data module makes and models take in."""

from typing import Any, Required, TypedDict, cast

import torch
from torch import Tensor


class Batch(TypedDict, total=False):
    """Recordings of a batch, B of them. It has only the inputs of the model.

    A length of 0, or a mask without a face, means that a recording lacks a modality. A batch for prediction has no
    labels and no speakers.
    """

    label: Required[Tensor]
    """Class indices, shape (B,), int64."""
    speaker: Required[Tensor]
    """Indices of speakers, shape (B,), int64."""
    recording: Required[list[str]]
    """Keys of the recordings."""
    corpus: Required[Tensor]
    """Indices of corpora, shape (B,), int64."""
    label_mask: Tensor
    """Classes that count in the loss, shape (B, C), bool: those that occur in the corpus of a recording."""
    target: Tensor
    """Share of each class, shape (B, C), float32, if recordings have several annotators."""
    waveform: Tensor
    """Mono audio, full scale [-1, 1], shape (B, T), float32, zero beyond each recording's end."""
    waveform_length: Tensor
    """Number of samples of each recording, shape (B,), int64."""
    features: dict[str, tuple[Tensor, Tensor]]
    """Cached features, shape (B, F, N), float32, and their number of frames, shape (B,), by `features_key`."""
    faces: Tensor
    """Face crops, shape (B, F, 1 or 3, H, W), uint8."""
    face_mask: Tensor
    """True where there is a face, shape (B, F), bool."""
    action_units: Tensor
    """Action units, shape (B, A) for means over time, else (B, N, A), float32."""
    action_unit_frames: Tensor
    """Number of frames of the action units, shape (B,), int64."""
    mix_partner: Tensor
    """Row of the recording with which each is mixed, shape (B,), int64; see `Mixup`."""
    mix_weight: Tensor
    """Weight of the recording itself in the mixture, shape (B,), float32."""


def get_audio(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the waveforms of a batch, shape (B, T), and their lengths, shape (B,)."""
    if "waveform" not in batch or "waveform_length" not in batch:
        raise KeyError("waveform")
    return batch["waveform"], batch["waveform_length"]


def get_faces(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the face crops of a batch, shape (B, F, C, H, W), and their mask, shape (B, F)."""
    if "faces" not in batch or "face_mask" not in batch:
        raise KeyError("faces")
    return batch["faces"], batch["face_mask"]


def get_action_units(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the action units of a batch, shape (B, A) or (B, N, A), and their number of frames, shape (B,)."""
    if "action_units" not in batch or "action_unit_frames" not in batch:
        raise KeyError("action_units")
    return batch["action_units"], batch["action_unit_frames"]


def on_device(batch: Batch, device: torch.device | str) -> Batch:
    """Return the batch with its tensors on `device`."""
    return cast(Batch, {name: _moved(value, device) for name, value in batch.items()})


def _moved(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, dict):
        return {name: _moved(part, device) for name, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_moved(part, device) for part in value)
    return value.to(device) if torch.is_tensor(value) else value


def select_items(batch: Batch, rows: Tensor) -> Batch:
    """Return some items of a batch.

    Args:
        batch: The batch.
        rows: Indices of the items, shape (N,), int64, or a mask, shape (B,), bool.
    """
    rows = rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows
    return cast(Batch, {name: _selected(value, rows) for name, value in batch.items()})


def _selected(value: Any, rows: Tensor) -> Any:
    if isinstance(value, dict):
        return {name: _selected(part, rows) for name, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_selected(part, rows) for part in value)
    if isinstance(value, list):
        return [value[row] for row in rows.tolist()]
    return value[rows] if torch.is_tensor(value) else value


def frame_mask(frames: Tensor, size: int) -> Tensor:
    """Return which frames of a padded batch belong to their item, shape (B, size), bool.

    Args:
        frames: Number of frames of each item, shape (B,).
        size: Number of frames of the padded batch.
    """
    return torch.arange(size, device=frames.device) < frames[:, None]


def mask_frames(features: Tensor, frames: Tensor) -> Tensor:
    """Set features, shape (B, F, N), to zero beyond each item's frames."""
    return features * frame_mask(frames, features.shape[-1])[:, None]
