"""Low-level audio descriptors, each equal to librosa's function of the same name."""

from typing import Annotated

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor

from emotion.config.fields import OpenFraction, Positive
from emotion.features.base import FeatureSet, Signal, to_decibels

_TINY = torch.finfo(torch.float32).tiny


class ZeroCrossingRate(FeatureSet):
    """Fraction of a frame's samples at which the sign changes, in [0, 1] (`librosa.feature.zero_crossing_rate`)."""

    num_features = 1

    def forward(self, signal: Signal) -> Tensor:
        """See `FeatureSet.forward`."""
        negative = signal.waveform < -1e-10
        crossing = torch.zeros_like(signal.waveform)
        crossing[:, 1:] = (negative[:, 1:] != negative[:, :-1]).float()
        # The step from the last sample of an item to the padding is not a crossing.
        crossing *= torch.arange(crossing.shape[1], device=crossing.device) < signal.length[:, None]
        # The first sample of a frame has no predecessor in it.
        return signal.frame_mean(crossing, signal.n_fft - 1) * ((signal.n_fft - 1) / signal.n_fft)


class Rms(FeatureSet):
    """Root mean square of a frame, at least 0, relative to full scale (`librosa.feature.rms`)."""

    num_features = 1

    def forward(self, signal: Signal) -> Tensor:
        """See `FeatureSet.forward`."""
        return signal.frame_mean(signal.waveform.square(), signal.n_fft).sqrt()


class _SpectralShape(FeatureSet):
    """Base class of one statistic of the magnitude spectrum of each frame, in Hz; 0 if the frame is silent.

    Args:
        sample_rate: Sampling rate, in Hz.
        n_fft: Length of a frame, in samples.
    """

    num_features = 1
    frequencies: Tensor

    def __init__(self, sample_rate: int, n_fft: int) -> None:
        super().__init__()
        frequencies = torch.arange(1 + n_fft // 2, dtype=torch.float64) * sample_rate / n_fft
        self.register_buffer("frequencies", frequencies.float()[None, :, None], persistent=False)


class SpectralCentroid(_SpectralShape):
    """Mean frequency, weighted by magnitude, in Hz (`librosa.feature.spectral_centroid`)."""

    def forward(self, signal: Signal) -> Tensor:
        """See `FeatureSet.forward`."""
        return (self.frequencies * _normalize(signal.magnitude)).sum(dim=1, keepdim=True)


class SpectralBandwidth(SpectralCentroid):
    """Standard deviation of frequency, weighted by magnitude, in Hz (`librosa.feature.spectral_bandwidth`)."""

    def forward(self, signal: Signal) -> Tensor:
        """See `FeatureSet.forward`."""
        squared = (self.frequencies - super().forward(signal)).square()
        return (squared * _normalize(signal.magnitude)).sum(dim=1, keepdim=True).sqrt()


class SpectralRolloff(_SpectralShape):
    """Frequency below which a fraction of the magnitude lies, in Hz (`librosa.feature.spectral_rolloff`).

    Args:
        sample_rate: Sampling rate, in Hz.
        n_fft: Length of a frame, in samples.
        roll_percent: Fraction of the magnitude, in (0, 1), named as in librosa.
    """

    def __init__(self, sample_rate: int, n_fft: int, roll_percent: OpenFraction = 0.85) -> None:
        super().__init__(sample_rate, n_fft)
        self.roll_percent = roll_percent

    def forward(self, signal: Signal) -> Tensor:
        """See `FeatureSet.forward`."""
        total = signal.magnitude.cumsum(dim=1)
        below = (total < self.roll_percent * total[:, -1:]).sum(dim=1, keepdim=True)
        return below * self.frequencies[:, 1:2]


class Chroma(FeatureSet):
    """Power of each pitch class, C to B, relative to the maximum of the frame (`librosa.feature.chroma_stft`).

    Tuning is 0, since speech has none.

    Args:
        sample_rate: Sampling rate, in Hz.
        n_fft: Length of a frame, in samples.
    """

    num_features = 12
    bank: Tensor

    def __init__(self, sample_rate: int, n_fft: int) -> None:
        super().__init__()
        bank = torch.from_numpy(_pitch_classes(sample_rate, n_fft).astype(np.float32))
        self.register_buffer("bank", bank, persistent=False)

    def forward(self, signal: Signal) -> Tensor:
        """See `FeatureSet.forward`."""
        chroma = torch.einsum("cf,bfn->bcn", self.bank, signal.power)
        strongest = chroma.amax(dim=1, keepdim=True)
        return chroma / torch.where(strongest < _TINY, 1.0, strongest)


def _pitch_classes(sample_rate: int, n_fft: int) -> np.ndarray:
    """Return `librosa.filters.chroma(tuning=0)`, shape (12, 1 + n_fft // 2), without importing librosa, which is slow.

    A weight is a Gaussian of the distance of a bin to a pitch class, as wide as the bin, times a Gaussian of its
    distance to the fifth octave, two octaves wide (Ellis, 2007,
    https://www.ee.columbia.edu/~dpwe/resources/matlab/chroma-ansyn/).
    """
    semitones = 12 * np.log2(np.arange(1, n_fft) * sample_rate / n_fft / 27.5)  # above the lowest A
    semitones = np.concatenate([[semitones[0] - 18], semitones])  # 0 Hz lies an octave and a half below the first bin
    widths = np.append(np.maximum(np.diff(semitones), 1), 1)
    distance = (semitones - np.arange(12)[:, None] + 6) % 12 - 6
    bank = np.exp(-2 * (distance / widths) ** 2)
    bank *= np.exp(-(((semitones / 12 - 5) / 2) ** 2) / 2) / np.linalg.norm(bank, axis=0)
    return np.roll(bank, -3, axis=0)[:, : 1 + n_fft // 2]  # from A to C


class SpectralContrast(FeatureSet):
    """Difference of the levels of peaks and valleys in octave bands, in decibels (`librosa.feature.spectral_contrast`).

    Args:
        sample_rate: Sampling rate, in Hz.
        n_fft: Length of a frame, in samples.
        f_min: Upper edge of the first band, in Hz; each further band is an octave.
        n_bands: Number of octaves above `f_min`; the last one extends to half the sampling rate.
    """

    quantile = 0.02
    top_db = 80.0

    def __init__(
        self, sample_rate: int, n_fft: int, f_min: Positive = 200.0, n_bands: Annotated[int, Interval(ge=1, le=16)] = 6
    ) -> None:
        super().__init__()
        self.num_features = n_bands + 1
        frequencies = torch.arange(1 + n_fft // 2, dtype=torch.float64) * sample_rate / n_fft
        edges = [0.0, *(f_min * 2**octave for octave in range(n_bands + 1))]
        self.bands: list[tuple[int, int, int]] = []  # first bin, bin after the last, bins taken as peak and as valley
        for number in range(n_bands + 1):
            inside = ((frequencies >= edges[number]) & (frequencies <= edges[number + 1])).nonzero()[:, 0].tolist()
            first = inside[0] - (number > 0)
            # librosa counts a band's last bin towards the quantile, but leaves it to the next band.
            last = len(frequencies) if number == n_bands else inside[-1]
            size = last - first + (number < n_bands)
            self.bands.append((first, last, max(1, round(self.quantile * size))))

    def forward(self, signal: Signal) -> Tensor:
        """See `FeatureSet.forward`."""
        peaks, valleys = [], []
        for first, last, count in self.bands:
            ordered = signal.magnitude[:, first:last].sort(dim=1).values
            valleys.append(ordered[:, :count].mean(dim=1))
            peaks.append(ordered[:, -count:].mean(dim=1))
        peak = to_decibels(torch.stack(peaks, dim=1), signal.frames, self.top_db)
        return peak - to_decibels(torch.stack(valleys, dim=1), signal.frames, self.top_db)


def _normalize(magnitude: Tensor) -> Tensor:
    """Divide each frame of a magnitude spectrum, shape (B, F, N), by its sum; silent frames stay zero."""
    total = magnitude.sum(dim=1, keepdim=True)
    return magnitude / torch.where(total < _TINY, 1.0, total)
