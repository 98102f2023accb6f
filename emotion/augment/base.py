"""Base classes of augmentations. Each item of a batch is changed with a probability, independently, on the device."""

import torch
from torch import Tensor, nn

from emotion.errors import EmotionError


class Augmentation(nn.Module):
    """Base class of everything that the configuration group `augment` may name."""


class WaveformAugmentation(Augmentation):
    """Base class of changes of waveforms.

    `forward` takes and returns waveforms, shape (B, T), zero beyond each item's length, and lengths, shape (B,).
    """


class SpectrumAugmentation(Augmentation):
    """Base class of changes of power spectra, before features are computed.

    `forward` takes and returns power spectra, shape (B, n_bins, N).
    """


class FeatureAugmentation(Augmentation):
    """Base class of changes of normalised features.

    `forward` takes features, shape (B, F, N), and the number of frames of each item, shape (B,), and returns features.
    """


class ImageAugmentation(Augmentation):
    """Base class of changes of images; the images of one recording are changed alike.

    `forward` takes images, shape (N, C, H, W), in [0, 1], and the item of each, shape (N,), and returns images.
    """


def check_range(values: tuple[float, float], name: str) -> tuple[float, float]:
    """Return bounds as floats.

    Args:
        values: Lower and upper bound.
        name: Name of the argument, for the message.

    Raises:
        EmotionError: the lower bound is above the upper one.
    """
    low, high = values
    if low > high:
        raise EmotionError(f"augment: {name}=[{low:g}, {high:g}] has a lower bound above the upper one")
    return float(low), float(high)


def draw_uniform(bounds: tuple[float, float], like: Tensor) -> Tensor:
    """Draw a number between bounds for each item, shape (B,), on the device of `like`, shape (B,)."""
    return bounds[0] + (bounds[1] - bounds[0]) * torch.rand(len(like), device=like.device)


def choose_items(like: Tensor, probability: float) -> Tensor:
    """Draw which items are changed, shape (B,), bool, on the device of `like`, shape (B,)."""
    return torch.rand(len(like), device=like.device) < probability
