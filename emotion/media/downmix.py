"""One rule by which every decoder's channels become one, whatever the container.

Channels that carry a signal are averaged; channels that are silent, or far below the others as what leaks from the
centre of 5.1 into its sides, would only lower the level and are left out. Where the channels cancel each other, the
strongest is used alone. So the same sound has the same level as mono, as stereo and as the centre of 5.1.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

CARRIES_DB = 12.0
"""A channel carries a signal if its loudest moment is no further than this below that of the strongest channel."""
CANCELS = 0.5
"""Channels cancel each other if their average has less than this part of what it has of unrelated channels' power."""
_SILENT_DB = 60.0
FLOAT_PEAK = 4.0
"""Floats up to this value have a full scale of 1; above, they are taken for integers, or are of an unknown scale."""
_INTEGER_SCALES = (2**15, 2**23, 2**31)
_LEAST_INTEGER = 256
_MOMENT = 0.05  # seconds


class Levels:
    """Levels of the channels of a recording, collected chunk by chunk.

    Args:
        rate: Sampling rate in Hz.
        channels: The number of channels.
    """

    def __init__(self, rate: int, channels: int) -> None:
        self.moment = max(1, round(_MOMENT * rate))
        self.products = np.zeros((channels, channels))
        self.loudest = np.zeros(channels)

    def add(self, chunk: np.ndarray) -> None:
        """Add samples of shape (T, C), without offset."""
        self.products += chunk.T.astype(np.float64) @ chunk
        ends = np.arange(0, len(chunk), self.moment)
        if len(ends):
            sums = np.add.reduceat(chunk.astype(np.float64) ** 2, ends, axis=0)
            self.loudest = np.maximum(self.loudest, sums.max(axis=0))


class Mix(NamedTuple):
    """How channels become one.

    Attributes:
        weights: What each channel is multiplied by before they are added; shape (C,).
        notes: What a person should know about it.
    """

    weights: np.ndarray
    notes: tuple[str, ...] = ()


def mix_of(levels: Levels, low_frequency: int | None = None) -> Mix:
    """Return how the channels with these levels become one.

    Args:
        levels: Of the whole recording.
        low_frequency: The channel of the subwoofer, from 0, which codecs cut off at 120 Hz; it takes no part.
    """
    count, power = len(levels.loudest), levels.products.diagonal()
    eligible = np.arange(count) != (-1 if low_frequency is None else low_frequency)
    carries = (levels.loudest > 0) & (levels.loudest >= levels.loudest[eligible].max() / 10 ** (CARRIES_DB / 10))
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
    left_out = np.flatnonzero(~carries)
    if count > 2 or not len(left_out):  # of more than two, some are silent as a rule
        return Mix(weights.astype(np.float32))
    below = 10 * np.log10(levels.loudest[strongest] / max(levels.loudest[left_out[0]], 1e-20))
    level = "silent" if below > _SILENT_DB else f"{below:.0f} dB below the other"
    return Mix(weights.astype(np.float32), (f"channel {left_out[0] + 1} of 2 is {level} and is left out",))


def full_scale(peak: float) -> float | None:
    """Return the value that stands for full scale among floats whose largest magnitude is `peak`.

    Returns:
        1.0; or the full scale of 16, 24 or 32-bit integers that were stored as floats; or None where nobody can know.
    """
    if peak <= FLOAT_PEAK:
        return 1.0
    fitting = (float(scale) for scale in _INTEGER_SCALES if peak <= scale)
    return next(fitting, None) if peak >= _LEAST_INTEGER else None


def peak_of(chunks: Iterable[np.ndarray]) -> float:
    """Return the largest magnitude in some arrays of samples."""
    return max((float(abs(chunk).max()) for chunk in chunks if len(chunk)), default=0.0)
