"""Pictures of bytes at another size."""

import numpy as np
import torch
from torch import Tensor, nn


def resized(pictures: Tensor, size: int) -> Tensor:
    """Pictures, shape (N, C, H, W), uint8, as squares, shape (N, C, size, size); of bytes, or of floats from 0 to 255.

    Bilinear, with as much of the original behind each pixel as it covers.
    """
    if pictures.shape[2:] == (size, size):
        return pictures
    if torch.compiler.is_exporting():
        return _as_on_a_cpu(pictures, size)
    if pictures.device.type != "cpu":  # where bytes are resized too, in a seventh of the time
        pictures = pictures.float()
    return nn.functional.interpolate(pictures, (size, size), mode="bilinear", antialias=True, align_corners=False)


def _as_on_a_cpu(pictures: Tensor, size: int) -> Tensor:
    """What `interpolate` makes of bytes, to the bit, in operations that every runtime has.

    It resizes rows, rounds, and resizes columns, with weights that are rounded to 16 bits (as Pillow-SIMD does). The
    sums are whole numbers that a double holds exactly.
    """
    for axis in (3, 2):
        weights, bits = _rounded_weights(pictures.shape[axis], size)
        sums = pictures.double().movedim(axis, -1) @ torch.from_numpy(weights).to(pictures.device)
        pictures = ((sums + 2.0 ** (bits - 1)) / 2.0**bits).floor().clamp(0, 255).movedim(-1, axis)
    return pictures.float()


def _rounded_weights(length: int, size: int) -> tuple[np.ndarray, int]:
    """What each of `length` pixels counts in each of `size`, shape (length, size), times 2 to the power of `bits`."""
    scale = length / size
    support = max(scale, 1.0)
    centres = (np.arange(size) + 0.5) * scale
    # A pixel counts where the triangle around a centre covers it; at its foot the ends are whole pixels.
    first = np.maximum((centres - support + 0.5).astype(int), 0)
    last = np.minimum((centres + support + 0.5).astype(int), length)
    pixels = np.arange(length)[:, None]
    weights = np.maximum(1 - abs(pixels - centres + 0.5) / support, 0) * ((pixels >= first) & (pixels < last))
    weights /= weights.sum(axis=0)
    bits = 0
    while bits < 22 and int(0.5 + weights.max() * 2.0 ** (bits + 1)) < 2**15:
        bits += 1
    return np.floor(weights * 2.0**bits + 0.5), bits
