"""High-pass filter that removes offset, mains hum and rumble."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

CUTOFF = 70.0
"""Cutoff frequency, in Hz. 50 and 60 Hz are attenuated by 40 dB, frequencies from 79 Hz on by 0 dB."""
_HALF_LENGTH_S = 0.0625  # of the filter; the transition is 18 Hz wide
_BETA = 3.395  # of the Kaiser window, for 40 dB


def high_pass(samples: np.ndarray, rate: int) -> np.ndarray:
    """Filter a signal with a linear-phase high-pass, without delay.

    The ends are extended by the first and the last sample, so that a constant is removed without a transient.

    Args:
        samples: Samples, shape (T, C), float32.
        rate: Sampling rate, in Hz.

    Returns:
        Filtered samples, shape (T, C), float32.
    """
    return np.concatenate([np.zeros((0, samples.shape[1]), np.float32), *filter_chunks([samples], rate)])


def filter_chunks(chunks: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """Filter a stream of chunks, with the same result as `high_pass` of their concatenation.

    Args:
        chunks: Chunks of samples, each of shape (T, C), float32.
        rate: Sampling rate, in Hz.

    Yields:
        Filtered samples, as many as there are in `chunks`, in chunks of other lengths.
    """
    half = round(_HALF_LENGTH_S * rate)
    held = None
    for chunk in chunks:
        if not len(chunk):
            continue
        held = np.concatenate([np.repeat(chunk[:1], half, axis=0) if held is None else held, chunk])
        if len(held) > 2 * half:
            yield _valid(held, rate, half)
            held = held[len(held) - 2 * half :]
    if held is not None:
        yield _valid(np.concatenate([held, np.repeat(held[-1:], half, axis=0)]), rate, half)


def _valid(samples: np.ndarray, rate: int, half: int) -> np.ndarray:
    """Return the valid part of the convolution by overlap-save, shape (T - 2 * half, C)."""
    size = 1 << (8 * half).bit_length()
    step = size - 2 * half
    wanted = len(samples) - 2 * half
    blocks = -(-wanted // step)
    padded = np.zeros((blocks * step + 2 * half, samples.shape[1]), np.float32)
    padded[: len(samples)] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=0)[::step]
    spectrum = np.fft.rfft(windows) * _response(rate, half, size)
    return np.fft.irfft(spectrum, size)[..., 2 * half :].transpose(0, 2, 1).reshape(-1, samples.shape[1])[:wanted]


@lru_cache(maxsize=8)
def _response(rate: int, half: int, size: int) -> np.ndarray:
    times = np.arange(-half, half + 1)
    low = np.sinc(2 * CUTOFF * times / rate) * np.kaiser(2 * half + 1, _BETA)
    kernel = -low / low.sum()
    kernel[half] += 1
    response = np.fft.rfft(kernel, size)
    response[0] = 0  # so that an offset is removed exactly
    return response.astype(np.complex64)
