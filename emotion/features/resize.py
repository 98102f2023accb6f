"""Resizing of images of bytes."""

import numpy as np
import torch
from torch import Tensor, nn


def resize_images(images: Tensor, size: int) -> Tensor:
    """Resize images to squares by bilinear interpolation with antialiasing.

    Args:
        images: Images, shape (N, C, H, W), uint8.
        size: Side of a square, in pixels.

    Returns:
        Images, shape (N, C, size, size), uint8, or float32 in [0, 255].
    """
    if images.shape[2:] == (size, size):
        return images
    if torch.compiler.is_exporting():
        return _resize_like_cpu(images, size)
    if images.device.type != "cpu":  # where bytes are resize_images too, in a seventh of the time
        images = images.float()
    return nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)


def _resize_like_cpu(images: Tensor, size: int) -> Tensor:
    """Return exactly what `interpolate` returns for bytes on a CPU, with operations that every runtime supports.

    It resizes along the width, rounds, and resizes along the height, with weights rounded to 16 bits as in Pillow-SIMD.
    The sums are integers that float64 represents exactly.
    """
    for axis in (3, 2):
        weights, bits = _rounded_weights(images.shape[axis], size)
        sums = images.double().movedim(axis, -1) @ torch.from_numpy(weights).to(images.device)
        images = ((sums + 2.0 ** (bits - 1)) / 2.0**bits).floor().clamp(0, 255).movedim(-1, axis)
    return images.float()


def _rounded_weights(length: int, size: int) -> tuple[np.ndarray, int]:
    """Return the weights of `length` pixels in each of `size`, times 2 ** bits, shape (length, size), and the bits."""
    scale = length / size
    support = max(scale, 1.0)
    centres = (np.arange(size) + 0.5) * scale
    # The triangle around a centre is cut at whole pixels.
    first = np.maximum((centres - support + 0.5).astype(int), 0)
    last = np.minimum((centres + support + 0.5).astype(int), length)
    pixels = np.arange(length)[:, None]
    weights = np.maximum(1 - abs(pixels - centres + 0.5) / support, 0) * ((pixels >= first) & (pixels < last))
    weights /= weights.sum(axis=0)
    bits = 0
    while bits < 22 and int(0.5 + weights.max() * 2.0 ** (bits + 1)) < 2**15:
        bits += 1
    return np.floor(weights * 2.0**bits + 0.5), bits
