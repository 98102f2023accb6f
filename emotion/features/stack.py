"""Several feature sets of the same frames, one above the other, and their derivatives over time."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from emotion.errors import EmotionError
from emotion.features.base import FeatureSet, Signal, masked

DELTA_WINDOW = 9
"""Frames over which librosa fits the polynomial whose derivative is the delta."""


class FeatureStack(nn.Module):
    """Turns a padded batch of waveforms into frames of features, each item as if it were alone.

    Args:
        sets: What is stacked, in this order.
        n_fft: Window of a frame, in samples.
        hop_length: Samples from one frame to the next; an item of T samples has 1 + T // hop_length frames.
        deltas: 0: none; 1: first differences of all features are appended; 2: second ones too.

    Attributes:
        num_features: Of a frame.
        orders: How many equal parts the features have: they themselves, and each order of deltas.
    """

    def __init__(self, sets: dict[str, FeatureSet], n_fft: int = 2048, hop_length: int = 512, deltas: int = 0) -> None:
        super().__init__()
        if not sets:
            raise EmotionError("features= names no feature set, such as features=[mfcc,deltas]")
        self.sets = nn.ModuleDict(sets)
        self.n_fft, self.hop_length, self.deltas = n_fft, hop_length, deltas
        self.orders = 1 + deltas
        self.num_features = self.orders * sum(feature_set.num_features for feature_set in sets.values())

    @property
    def bands(self) -> tuple[tuple[str, int], ...]:
        """What the features are, from the first on: a name and how many of them it is of."""
        orders = ["Δ" * order for order in range(self.orders)]
        return tuple((order + name, own.num_features) for order in orders for name, own in self.sets.items())

    def forward(
        self, waveform: Tensor, length: Tensor, warp: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the features.

        Args:
            waveform: Shape (B, T), float32, zero beyond each item's length.
            length: Samples of each item, shape (B,), int64, at least 1.
            warp: See `Signal`.

        Returns:
            The features, shape (B, num_features, N), zero beyond each item's frames, and the frames of each item,
            shape (B,), int64.
        """
        signal = Signal(waveform, length, self.n_fft, self.hop_length, warp)
        static = masked(torch.cat([feature_set(signal) for feature_set in self.sets.values()], dim=1), signal.frames)
        orders = [static] + [delta(static, signal.frames, order) for order in range(1, self.deltas + 1)]
        return torch.cat(orders, dim=1), signal.frames


def delta(features: Tensor, frames: Tensor, order: int) -> Tensor:
    """The local derivative over time: `librosa.feature.delta(features, order=order)`.

    A polynomial of degree `order` is fitted to nine frames (Savitzky & Golay, 1964). Its `order`-th derivative is the
    same all over the window, so the four frames at either edge take that of the nearest whole window.

    Args:
        features: Shape (B, F, N), zero beyond each item's frames.
        frames: Frames of each item, shape (B,). An item shorter than the window, which librosa refuses, is continued
            with its last frame.
        order: 1 or 2.
    """
    last = (frames - 1).clamp(min=0)
    padded_to = max(features.shape[-1], DELTA_WINDOW)
    inside = torch.minimum(torch.arange(padded_to, device=features.device), last[:, None])
    # Not take_along_dim, which looks for negative indices at the cost of several times the work.
    continued = features.gather(2, inside[:, None].expand(-1, features.shape[1], -1))

    wholes = padded_to - DELTA_WINDOW + 1
    # A sum of nine shifted copies is several times as fast as a convolution of this shape.
    whole = sum(weight * continued[..., shift : shift + wholes] for shift, weight in enumerate(_derivative(order)))
    centre = torch.arange(features.shape[-1], device=features.device) - DELTA_WINDOW // 2
    nearest = torch.minimum(centre.clamp(min=0), (frames[:, None] - DELTA_WINDOW).clamp(min=0))
    return masked(whole.gather(2, nearest[:, None].expand(-1, whole.shape[1], -1)), frames)


@cache
def _derivative(order: int) -> tuple[float, ...]:
    """What each frame of a window counts in the derivative at its centre."""
    half = DELTA_WINDOW // 2
    powers = np.arange(-half, half + 1.0)[:, None] ** np.arange(order + 1)
    return tuple((np.linalg.pinv(powers)[order] * order).tolist())  # times order!, which is order for 1 and 2
