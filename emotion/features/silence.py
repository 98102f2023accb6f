"""Cut silence off both ends of each waveform of a batch."""

import torch
from torch import Tensor, nn

from emotion.features.base import frame_mask

FRAME, HOP = 2048, 512


def sounding(waveform: Tensor, length: Tensor, top_db: float) -> tuple[Tensor, Tensor]:
    """Where the sound of each item begins and ends, without the silence at both ends.

    It runs from the first to the last frame (2048 samples, hop 512) whose mean power is less than `top_db` decibels
    below that of the item's loudest frame.

    Args:
        waveform: Shape (B, T), zero beyond each item's length.
        length: Shape (B,).
        top_db: In decibels, above 0.

    Returns:
        The first sample and the one after the last, each of shape (B,).
    """
    frames = 1 + length // HOP
    whole_hops = (waveform.shape[1] + HOP - 1) // HOP * HOP
    padded = nn.functional.pad(waveform.square(), (FRAME // 2, FRAME // 2 + whole_hops - waveform.shape[1]))[:, None]
    # Frames share their quarters, which are averaged once.
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
    """`librosa.effects.trim(y, top_db=top_db)` for each item: see `sounding`.

    Returns:
        The trimmed waveforms, shape (B, T'), zero beyond their lengths, and those lengths.
    """
    start, end = sounding(waveform, length, top_db)
    trimmed_length = end - start
    # An exported model cannot make a batch as short as its longest item.
    longest = waveform.shape[1] if torch.compiler.is_exporting() else int(trimmed_length.max())
    time = torch.arange(longest, device=waveform.device)
    source = (start[:, None] + time).clamp(max=waveform.shape[1] - 1)
    trimmed = waveform.gather(1, source)
    return trimmed * (time < trimmed_length[:, None]), trimmed_length
