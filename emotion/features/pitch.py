"""Fundamental frequency by YIN."""

import math

import torch
from torch import Tensor, nn

from emotion.config.fields import OpenFraction, Positive
from emotion.errors import EmotionError
from emotion.features.base import FeatureSet, Signal

_TINY = torch.finfo(torch.float32).tiny


class Pitch(FeatureSet):
    """Fundamental frequency of each frame in Hz, equal to `librosa.yin` (de Cheveigné & Kawahara, 2002).

    https://doi.org/10.1121/1.1458024. Unvoiced frames get a frequency too, as in librosa.

    Args:
        sample_rate: Sampling rate, in Hz.
        n_fft: Length of a frame, in samples; at least two periods of `f_min`.
        f_min: Lowest frequency, in Hz (default: 65).
        f_max: Highest frequency, in Hz (default: 600).
        threshold: The period is the first minimum of the normalised difference below it, else the global minimum.

    Raises:
        EmotionError: the frequencies do not fit the length of a frame.
    """

    num_features = 1

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        f_min: Positive = 65.0,
        f_max: Positive = 600.0,
        threshold: OpenFraction = 0.1,
    ) -> None:
        super().__init__()
        self.sample_rate, self.threshold = sample_rate, threshold
        self.shortest, self.longest = math.floor(sample_rate / f_max), math.ceil(sample_rate / f_min)
        if 2 * self.longest > n_fft or self.shortest < 2:
            raise EmotionError(
                f"pitch from {f_min:g} to {f_max:g} Hz does not fit frames of {n_fft} samples at {sample_rate} Hz: "
                "raise features.n_fft or features.sets.pitch.f_min"
            )

    def forward(self, signal: Signal) -> Tensor:
        """See `FeatureSet.forward`."""
        difference = self._normalised_difference(signal.framed_waveform)
        left, middle, right = difference[..., :-2], difference[..., 1:-1], difference[..., 2:]
        ends = difference[..., 0] < difference[..., 1], difference[..., -1] < difference[..., -2]
        dip = torch.cat([ends[0][..., None], (middle < left) & (middle <= right), ends[1][..., None]], dim=-1)

        deep = dip & (difference < self.threshold)
        first = deep.int().argmax(dim=-1)
        chosen = torch.where(deep.any(dim=-1), first, difference.argmin(dim=-1))

        # Minimum of the parabola through a local minimum and its neighbours, if it lies between them.
        curvature, slope = left + right - 2 * middle, (right - left) / 2
        inner = torch.where(slope.abs() >= curvature.abs(), 0.0, -slope / curvature)
        shift = nn.functional.pad(inner, (1, 1)).gather(-1, chosen[..., None])[..., 0]
        return (self.sample_rate / (self.shortest + chosen + shift))[:, None]

    def _normalised_difference(self, framed: Tensor) -> Tensor:
        """Return the cumulative-mean-normalised difference for each period, shape (B, N, n_periods)."""
        size = 1 << (framed.shape[-1] + self.longest).bit_length()
        spectrum = torch.fft.rfft(framed, size)
        power = spectrum.real.square() + spectrum.imag.square()
        correlation = torch.fft.irfft(power, size)[..., : self.longest + 1]
        energy = framed[..., : self.longest].square().cumsum(dim=-1)
        difference = 2 * (correlation[..., :1] - correlation[..., 1:]) - energy
        periods = torch.arange(1, self.longest + 1, device=framed.device)
        mean = difference.cumsum(dim=-1) / periods
        return (difference / (mean + _TINY))[..., self.shortest - 1 :]
