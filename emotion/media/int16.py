"""Samples as 16-bit integers."""

import numpy as np

INT16_FULL_SCALE = 32768
_MIN_PEAK = 4  # 78 dB below full scale


def to_int16(waveform: np.ndarray) -> np.ndarray:
    """Convert a waveform with full scale [-1, 1] to int16; shape (T,)."""
    return np.clip(np.rint(waveform * INT16_FULL_SCALE), -INT16_FULL_SCALE, INT16_FULL_SCALE - 1).astype("<i2")


def is_audible(samples: np.ndarray) -> bool:
    """Return True if samples, shape (T,), int16, hold more than rounding noise."""
    return bool(len(samples)) and int(abs(samples.astype(np.int32)).max()) >= _MIN_PEAK
