"""Stacked feature sets of the same frames, with their deltas."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from emotion.batch import mask_frames
from emotion.errors import EmotionError
from emotion.features.base import FeatureSet, Signal

DELTA_WINDOW = 9
"""Number of frames to which the polynomial is fitted whose derivative is the delta, as in librosa."""


class FeatureStack(nn.Module):
    """Compute stacked features of a padded batch of waveforms; items do not influence each other.

    Args:
        sets: Feature sets by name, stacked in this order.
        n_fft: Length of a frame, in samples.
        hop_length: Step from one frame to the next, in samples; T samples have 1 + T // hop_length frames.
        n_delta_orders: Number of delta orders that are appended: 0 (default), 1 or 2.

    Attributes:
        num_features: Number of features of a frame.
        num_channels: Number of equal parts of the features: 1 + n_delta_orders.
    """

    sets: Mapping[str, FeatureSet]

    def __init__(
        self, sets: Mapping[str, FeatureSet], n_fft: int = 2048, hop_length: int = 512, n_delta_orders: int = 0
    ) -> None:
        super().__init__()
        if not sets:
            raise EmotionError("features= names no feature set, such as features=[mfcc,deltas]")
        self.sets = cast("Mapping[str, FeatureSet]", nn.ModuleDict(sets))
        self.n_fft, self.hop_length, self.n_delta_orders = n_fft, hop_length, n_delta_orders
        self.num_channels = 1 + n_delta_orders
        self.num_features = self.num_channels * sum(feature_set.num_features for feature_set in sets.values())

    @property
    def feature_groups(self) -> tuple[tuple[str, int], ...]:
        """Names of the feature sets and numbers of their features, in order; deltas are marked by Δ."""
        orders = ["Δ" * order for order in range(self.num_channels)]
        return tuple((order + name, own.num_features) for order in orders for name, own in self.sets.items())

    def forward(
        self, waveform: Tensor, length: Tensor, warp: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the features.

        Args:
            waveform: Waveforms, shape (B, T), float32, zero beyond each item's length.
            length: Number of samples of each item, shape (B,), int64, at least 1.
            warp: See `Signal`.

        Returns:
            Features, shape (B, num_features, N), float32, zero beyond each item's frames, and the number of frames of
            each item, shape (B,), int64.
        """
        signal = Signal(waveform, length, self.n_fft, self.hop_length, warp)
        static = mask_frames(
            torch.cat([feature_set(signal) for feature_set in self.sets.values()], dim=1), signal.frames
        )
        orders = [static] + [delta(static, signal.frames, order) for order in range(1, self.n_delta_orders + 1)]
        return torch.cat(orders, dim=1), signal.frames


def delta(features: Tensor, frames: Tensor, order: int) -> Tensor:
    """Compute the derivative over time, equal to `librosa.feature.delta(features, order=order)`.

    A polynomial of degree `order` is fitted to nine frames (Savitzky & Golay, 1964,
    https://doi.org/10.1021/ac60214a047). Its `order`-th derivative is constant within the window, so the four frames at
    either edge take that of the nearest complete window.

    Args:
        features: Features, shape (B, F, N), zero beyond each item's frames.
        frames: Number of frames of each item, shape (B,). An item shorter than the window, which librosa refuses, is
            extended by its last frame.
        order: 1 or 2.

    Returns:
        Deltas, shape (B, F, N).
    """
    last = (frames - 1).clamp(min=0)
    padded_to = max(features.shape[-1], DELTA_WINDOW)
    inside = torch.minimum(torch.arange(padded_to, device=features.device), last[:, None])
    # `gather` takes a fraction of the time of `take_along_dim`, which checks for negative indices.
    continued = features.gather(2, inside[:, None].expand(-1, features.shape[1], -1))

    n_windows = padded_to - DELTA_WINDOW + 1
    # A sum of nine shifted copies takes a fraction of the time of a convolution of this shape.
    weights = _derivative(order)
    shifted = (weight * continued[..., shift : shift + n_windows] for shift, weight in enumerate(weights))
    whole = cast(Tensor, sum(shifted))
    centre = torch.arange(features.shape[-1], device=features.device) - DELTA_WINDOW // 2
    nearest = torch.minimum(centre.clamp(min=0), (frames[:, None] - DELTA_WINDOW).clamp(min=0))
    return mask_frames(whole.gather(2, nearest[:, None].expand(-1, whole.shape[1], -1)), frames)


@cache
def _derivative(order: int) -> tuple[float, ...]:
    """Return the weights of the frames of a window in the derivative at its centre."""
    half = DELTA_WINDOW // 2
    powers = np.arange(-half, half + 1.0)[:, None] ** np.arange(order + 1)
    return tuple((np.linalg.pinv(powers)[order] * order).tolist())  # times order!, which is order for 1 and 2
