"""The rule by which channels are mixed to one, for every decoder and container.

Channels that carry a signal are averaged. Silent channels, and those far below the others such as leakage between the
channels of 5.1, would only lower the level and are excluded. If channels cancel each other, the strongest is used
alone. So the same audio has the same level in mono, stereo and 5.1.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

SIGNAL_WITHIN_DB = 12.0
"""A channel carries a signal if its maximum block level is within this many decibels of the strongest channel."""
CANCELS = 0.5
"""Channels cancel each other if the power of their average is below this fraction of that of unrelated channels."""
_SILENT_DB = 60.0
FLOAT_PEAK = 4.0
"""Floats up to this value have a full scale of 1; larger ones are read as integers, or have an unknown scale."""
_INTEGER_SCALES = (2**15, 2**23, 2**31)
_MIN_INTEGER_PEAK = 256
_BLOCK_S = 0.05


class Levels:
    """Levels of the channels of a recording, collected chunk by chunk.

    Args:
        rate: Sampling rate, in Hz.
        channels: Number of channels.
    """

    def __init__(self, rate: int, channels: int) -> None:
        self.block = max(1, round(_BLOCK_S * rate))
        self.products = np.zeros((channels, channels))
        self.loudest = np.zeros(channels)

    def add(self, chunk: np.ndarray) -> None:
        """Add samples of shape (T, C), without offset."""
        self.products += chunk.T.astype(np.float64) @ chunk
        ends = np.arange(0, len(chunk), self.block)
        if len(ends):
            sums = np.add.reduceat(chunk.astype(np.float64) ** 2, ends, axis=0)
            self.loudest = np.maximum(self.loudest, sums.max(axis=0))


class Mix(NamedTuple):
    """A mix of channels.

    Attributes:
        weights: Weight of each channel in the sum, shape (C,), float32.
        notes: Messages about unused channels.
    """

    weights: np.ndarray
    notes: tuple[str, ...] = ()


def choose_mix(levels: Levels, low_frequency: int | None = None) -> Mix:
    """Choose the mix of a recording.

    Args:
        levels: Levels of the whole recording.
        low_frequency: Index of the low-frequency channel, which is excluded since codecs cut it off at 120 Hz.
    """
    count, power = len(levels.loudest), levels.products.diagonal()
    eligible = np.arange(count) != (-1 if low_frequency is None else low_frequency)
    carries = (levels.loudest > 0) & (levels.loudest >= levels.loudest[eligible].max() / 10 ** (SIGNAL_WITHIN_DB / 10))
    carries &= eligible
    if not carries.any():
        return Mix(np.full(count, 1 / count, np.float32))
    used = np.flatnonzero(carries)
    strongest = used[power[used].argmax()]
    weights = carries / len(used)
    if weights @ levels.products @ weights < CANCELS * (weights**2 @ power):
        alone = np.arange(count) == strongest
        note = f"its channels cancel each other; channel {strongest + 1} of {count} is used alone"
        return Mix(alone.astype(np.float32), (note,))
    excluded = np.flatnonzero(~carries)
    if count > 2 or not len(excluded):  # with more than two channels, silent ones are normal
        return Mix(weights.astype(np.float32))
    below = 10 * np.log10(levels.loudest[strongest] / max(levels.loudest[excluded[0]], 1e-20))
    level = "silent" if below > _SILENT_DB else f"{below:.0f} dB below the other"
    return Mix(weights.astype(np.float32), (f"channel {excluded[0] + 1} of 2 is {level} and is left out",))


def full_scale(peak: float) -> float | None:
    """Return the full scale of float samples.

    Args:
        peak: Maximum magnitude of the samples.

    Returns:
        1.0; or the full scale of 16, 24 or 32-bit integers that were stored as floats; or None if it is ambiguous.
    """
    if peak <= FLOAT_PEAK:
        return 1.0
    fitting = (float(scale) for scale in _INTEGER_SCALES if peak <= scale)
    return next(fitting, None) if peak >= _MIN_INTEGER_PEAK else None


def peak_of(chunks: Iterable[np.ndarray]) -> float:
    """Return the maximum magnitude in several arrays of samples."""
    return max((float(abs(chunk).max()) for chunk in chunks if len(chunk)), default=0.0)
