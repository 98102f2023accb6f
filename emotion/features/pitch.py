"""Fundamental frequency by YIN."""

import math

import torch
from torch import Tensor, nn

from emotion.config.fields import OpenFraction, Positive
from emotion.errors import EmotionError
from emotion.features.base import FeatureSet, Signal

_TINY = torch.finfo(torch.float32).tiny


class Pitch(FeatureSet):
    """`librosa.yin`: the fundamental frequency of every frame in Hz (de Cheveigné & Kawahara, 2002).

    https://doi.org/10.1121/1.1458024. A frame without voice gets a frequency too, as with librosa.

    Args:
        sample_rate: In Hz.
        n_fft: Window of a frame, in samples; has to hold two periods of `lowest`.
        lowest: In Hz.
        highest: In Hz.
        threshold: The first dip of the normalised difference below it is the period; the lowest dip if none is.
    """

    num_features = 1

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        lowest: Positive = 65.0,
        highest: Positive = 600.0,
        threshold: OpenFraction = 0.1,
    ) -> None:
        super().__init__()
        self.sample_rate, self.threshold = sample_rate, threshold
        self.shortest, self.longest = math.floor(sample_rate / highest), math.ceil(sample_rate / lowest)
        if 2 * self.longest > n_fft or self.shortest < 2:
            raise EmotionError(
                f"pitch from {lowest:g} to {highest:g} Hz does not fit frames of {n_fft} samples at {sample_rate} Hz: "
                "raise features.n_fft or features.sets.pitch.lowest"
            )

    def forward(self, signal: Signal) -> Tensor:
        """See `FeatureSet.forward`."""
        difference = self._normalised_difference(signal.framed)
        left, middle, right = difference[..., :-2], difference[..., 1:-1], difference[..., 2:]
        ends = difference[..., 0] < difference[..., 1], difference[..., -1] < difference[..., -2]
        dip = torch.cat([ends[0][..., None], (middle < left) & (middle <= right), ends[1][..., None]], dim=-1)

        deep = dip & (difference < self.threshold)
        first = deep.int().argmax(dim=-1)
        chosen = torch.where(deep.any(dim=-1), first, difference.argmin(dim=-1))

        # The minimum of the parabola through a dip and its neighbours, if that lies between them.
        curvature, slope = left + right - 2 * middle, (right - left) / 2
        inner = torch.where(slope.abs() >= curvature.abs(), 0.0, -slope / curvature)
        shift = nn.functional.pad(inner, (1, 1)).gather(-1, chosen[..., None])[..., 0]
        return (self.sample_rate / (self.shortest + chosen + shift))[:, None]

    def _normalised_difference(self, framed: Tensor) -> Tensor:
        """The cumulative-mean-normalised difference for each period, shape (B, N, periods)."""
        size = 1 << (framed.shape[-1] + self.longest).bit_length()
        spectrum = torch.fft.rfft(framed, size)
        power = spectrum.real.square() + spectrum.imag.square()
        correlation = torch.fft.irfft(power, size)[..., : self.longest + 1]
        energy = framed[..., : self.longest].square().cumsum(dim=-1)
        difference = 2 * (correlation[..., :1] - correlation[..., 1:]) - energy
        periods = torch.arange(1, self.longest + 1, device=framed.device)
        mean = difference.cumsum(dim=-1) / periods
        return (difference / (mean + _TINY))[..., self.shortest - 1 :]
