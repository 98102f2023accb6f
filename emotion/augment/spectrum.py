"""Augmentations of power spectra and of features."""

import torch
from torch import Tensor

from emotion.augment.base import FeatureAugmentation, SpectrumAugmentation, check_range, choose_items, draw_uniform
from emotion.batch import frame_mask
from emotion.config.fields import NonNegativeInt, Positive, UnitInterval
from emotion.errors import EmotionError


class Vtlp(SpectrumAugmentation):
    """Vocal-tract-length perturbation: scale the frequency axis (Jaitly & Hinton, 2013).

    https://www.cs.toronto.edu/~hinton/absps/perturb.pdf. Up to a boundary all frequencies are multiplied
    by a factor; above it the axis is linear up to half the sampling rate.

    Args:
        sample_rate: Sampling rate, in Hz.
        factor: Bounds of the factor, drawn uniformly.
        boundary_hz: Boundary, in Hz, near the upper limit of speech (default: 4800).
        probability: Probability that an item is changed (default: 0.5).

    Raises:
        EmotionError: the boundary is not below half the sampling rate.
    """

    def __init__(
        self,
        sample_rate: int,
        factor: tuple[Positive, Positive] = (0.9, 1.1),
        boundary_hz: Positive = 4800.0,
        probability: UnitInterval = 0.5,
    ) -> None:
        super().__init__()
        self.factor, self.probability = check_range(factor, "factor"), probability
        self.boundary = 2 * boundary_hz / sample_rate  # as a fraction of the axis
        if not 0 < self.boundary < 1:
            raise EmotionError(f"augment.vtlp.boundary_hz={boundary_hz:g} must be between 0 and {sample_rate / 2:g} Hz")

    def forward(self, power: Tensor) -> Tensor:
        """See `SpectrumAugmentation`."""
        changes = choose_items(power[:, 0, 0], self.probability).nonzero()[:, 0]
        return power.index_copy(0, changes, self._warp(power[changes])) if len(changes) else power

    def _warp(self, power: Tensor) -> Tensor:
        items, bins, size = power.shape
        factor = draw_uniform(self.factor, power[:, 0, 0])[:, None]
        target = torch.linspace(0, 1, bins, device=power.device)
        # Position of the bend after and before the warp.
        bend = self.boundary * factor.clamp(max=1.0)
        before = bend / factor
        upper = 1 - (1 - before) * (1 - target) / (1 - bend)
        source = torch.where(target <= bend, target / factor, upper).clamp(0, 1) * (bins - 1)
        low = source.floor().long().clamp(max=bins - 2)
        part = (source - low)[..., None]
        # Selecting rows of a flat tensor takes a fraction of the time of gathering single values.
        rows = power.reshape(items * bins, size)
        low = low + bins * torch.arange(items, device=power.device)[:, None]
        below, above = (rows.index_select(0, index.flatten()).view(items, bins, size) for index in (low, low + 1))
        return torch.lerp(below, above, part)


class SpecAugment(FeatureAugmentation):
    """Mask ranges of features and of time (Park et al., 2019, https://arxiv.org/abs/1904.08779).

    Masked values become 0, the mean of normalised features. Masks are drawn for each item.

    Args:
        feature_masks: Number of masks over features (default: 1).
        feature_fraction: Maximum width of a mask, as a fraction of the features (default: 0.2).
        time_masks: Number of masks over time (default: 1).
        time_fraction: Maximum width of a mask, as a fraction of the item's frames (default: 0.2).
    """

    def __init__(
        self,
        feature_masks: NonNegativeInt = 1,
        feature_fraction: UnitInterval = 0.2,
        time_masks: NonNegativeInt = 1,
        time_fraction: UnitInterval = 0.2,
    ) -> None:
        super().__init__()
        self.feature_masks, self.feature_fraction = feature_masks, feature_fraction
        self.time_masks, self.time_fraction = time_masks, time_fraction

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """See `FeatureAugmentation`."""
        batch, num_features, size = features.shape
        whole = torch.full_like(frames, num_features)
        feature_mask = torch.zeros(batch, num_features, dtype=torch.bool, device=features.device)
        time_mask = torch.zeros(batch, size, dtype=torch.bool, device=features.device)
        for _ in range(self.feature_masks):
            feature_mask |= _random_range(whole, self.feature_fraction, num_features)
        for _ in range(self.time_masks):
            time_mask |= _random_range(frames, self.time_fraction, size)
        # `masked_fill` would first copy the features into another memory format.
        return (features * ~feature_mask[:, :, None]).mul_(~time_mask[:, None])


def _random_range(length: Tensor, fraction: float, size: int) -> Tensor:
    """Draw a range of up to `fraction` of the length of each item, shape (B,); return a mask, shape (B, size), bool."""
    draws = torch.rand(2, len(length), device=length.device)
    width = (draws[0] * (fraction * length + 1)).long().clamp(max=length - 1)  # an item is never masked completely
    start = (draws[1] * (length - width + 1)).long()
    return frame_mask(start + width, size) & ~frame_mask(start, size)
