"""Silence at both ends of the waveforms of a batch."""

import torch
from torch import Tensor, nn

from emotion.batch import frame_mask

FRAME, HOP = 2048, 512


def audible_range(waveform: Tensor, length: Tensor, top_db: float) -> tuple[Tensor, Tensor]:
    """Return where the audible part of each item begins and ends.

    It extends from the first to the last frame (2048 samples, hop 512) whose mean power is less than `top_db` below
    that of the loudest frame of the item.

    Args:
        waveform: Waveforms, shape (B, T), zero beyond each item's length.
        length: Number of samples of each item, shape (B,).
        top_db: Threshold below the loudest frame, in decibels, greater than 0.

    Returns:
        The first sample, and the one after the last, of each item; each of shape (B,), int64.
    """
    frames = 1 + length // HOP
    whole_hops = (waveform.shape[1] + HOP - 1) // HOP * HOP
    padded = nn.functional.pad(waveform.square(), (FRAME // 2, FRAME // 2 + whole_hops - waveform.shape[1]))[:, None]
    # Frames overlap by three quarters; each quarter is averaged once.
    power = nn.functional.avg_pool1d(nn.functional.avg_pool1d(padded, HOP), FRAME // HOP, 1)[:, 0]
    decibels = 10 * power.clamp(min=1e-10).log10()
    inside = frame_mask(frames, decibels.shape[-1])
    loudest = decibels.masked_fill(~inside, -torch.inf).amax(dim=1, keepdim=True)
    loud = (decibels > loudest - top_db) & inside

    positions = torch.arange(loud.shape[1], device=waveform.device)
    first = torch.where(loud, positions, loud.shape[1]).amin(dim=1)
    last = torch.where(loud, positions, -1).amax(dim=1)
    return first * HOP, torch.minimum((last + 1) * HOP, length)


def trim_silence(waveform: Tensor, length: Tensor, top_db: float) -> tuple[Tensor, Tensor]:
    """Trim both ends of each item, as `librosa.effects.trim(y, top_db=top_db)`; see `audible_range`.

    Returns:
        Trimmed waveforms, shape (B, T'), zero beyond their lengths, and their lengths, shape (B,).
    """
    start, end = audible_range(waveform, length, top_db)
    trimmed_length = end - start
    # The shape of an exported model cannot depend on values.
    longest = waveform.shape[1] if torch.compiler.is_exporting() else int(trimmed_length.max())
    time = torch.arange(longest, device=waveform.device)
    source = (start[:, None] + time).clamp(max=waveform.shape[1] - 1)
    trimmed = waveform.gather(1, source)
    return trimmed * (time < trimmed_length[:, None]), trimmed_length
