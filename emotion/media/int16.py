"""Samples as 16-bit integers."""

import numpy as np

INT16_FULL_SCALE = 32768


def to_int16(waveform: np.ndarray) -> np.ndarray:
    """Convert a waveform with full scale [-1, 1] to int16; shape (T,)."""
    return np.clip(np.rint(waveform * INT16_FULL_SCALE), -INT16_FULL_SCALE, INT16_FULL_SCALE - 1).astype("<i2")
