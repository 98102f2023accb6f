"""Low-level descriptors of sound, each equal to librosa's function of the same name."""

from typing import Annotated

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor

from emotion.config.fields import OpenFraction, Positive
from emotion.features.base import FeatureSet, Signal, to_decibels

_TINY = torch.finfo(torch.float32).tiny


class ZeroCrossingRate(FeatureSet):
    """`librosa.feature.zero_crossing_rate`: the fraction of a frame's samples at which the sign changes, in [0, 1]."""

    num_features = 1

    def forward(self, signal: Signal) -> Tensor:
        """See `FeatureSet.forward`."""
        negative = signal.waveform < -1e-10
        crossing = torch.zeros_like(signal.waveform)
        crossing[:, 1:] = (negative[:, 1:] != negative[:, :-1]).float()
        # From an item's last sample to the padding is no crossing.
        crossing *= torch.arange(crossing.shape[1], device=crossing.device) < signal.length[:, None]
        # The first sample of a frame has none before it there.
        return signal.averaged(crossing, signal.n_fft - 1) * ((signal.n_fft - 1) / signal.n_fft)


class Rms(FeatureSet):
    """`librosa.feature.rms`: the root of a frame's mean power, at least 0; full scale is 1."""

    num_features = 1

    def forward(self, signal: Signal) -> Tensor:
        """See `FeatureSet.forward`."""
        return signal.averaged(signal.waveform.square(), signal.n_fft).sqrt()


class _OfSpectrum(FeatureSet):
    """One figure of each frame's magnitude spectrum, in Hz; 0 where the frame is silent.

    Args:
        sample_rate: In Hz.
        n_fft: Window of a frame, in samples.
    """

    num_features = 1

    def __init__(self, sample_rate: int, n_fft: int) -> None:
        super().__init__()
        frequencies = torch.arange(1 + n_fft // 2, dtype=torch.float64) * sample_rate / n_fft
        self.register_buffer("frequencies", frequencies.float()[None, :, None], persistent=False)


class SpectralCentroid(_OfSpectrum):
    """`librosa.feature.spectral_centroid`: the mean frequency, weighted by magnitude, in Hz."""

    def forward(self, signal: Signal) -> Tensor:
        """See `FeatureSet.forward`."""
        return (self.frequencies * _normalised(signal.magnitude)).sum(dim=1, keepdim=True)


class SpectralBandwidth(SpectralCentroid):
    """`librosa.feature.spectral_bandwidth`: the standard deviation of frequency, weighted by magnitude, in Hz."""

    def forward(self, signal: Signal) -> Tensor:
        """See `FeatureSet.forward`."""
        squared = (self.frequencies - super().forward(signal)).square()
        return (squared * _normalised(signal.magnitude)).sum(dim=1, keepdim=True).sqrt()


class SpectralRolloff(_OfSpectrum):
    """`librosa.feature.spectral_rolloff`: the frequency below which a part of the magnitude lies, in Hz.

    Args:
        sample_rate: In Hz.
        n_fft: Window of a frame, in samples.
        part: In (0, 1).
    """

    def __init__(self, sample_rate: int, n_fft: int, part: OpenFraction = 0.85) -> None:
        super().__init__(sample_rate, n_fft)
        self.part = part

    def forward(self, signal: Signal) -> Tensor:
        """See `FeatureSet.forward`."""
        total = signal.magnitude.cumsum(dim=1)
        below = (total < self.part * total[:, -1:]).sum(dim=1, keepdim=True)
        return below * self.frequencies[:, 1:2]


class Chroma(FeatureSet):
    """`librosa.feature.chroma_stft(tuning=0)`: power by pitch class, C to B, relative to the frame's strongest.

    Speech has no tuning, so none is estimated.

    Args:
        sample_rate: In Hz.
        n_fft: Window of a frame, in samples.
    """

    num_features = 12

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
    """`librosa.filters.chroma(tuning=0)`, without the seconds that its import takes; shape (12, 1 + n_fft // 2).

    How near each bin is to each pitch class, a Gaussian as wide as the bin, and how near to the fifth octave, one of
    two octaves (Ellis, 2007, https://www.ee.columbia.edu/~dpwe/resources/matlab/chroma-ansyn/).
    """
    semitones = 12 * np.log2(np.arange(1, n_fft) * sample_rate / n_fft / 27.5)  # above the lowest A
    semitones = np.concatenate([[semitones[0] - 18], semitones])  # 0 Hz lies an octave and a half below the first bin
    widths = np.append(np.maximum(np.diff(semitones), 1), 1)
    distance = (semitones - np.arange(12)[:, None] + 6) % 12 - 6
    bank = np.exp(-2 * (distance / widths) ** 2)
    bank *= np.exp(-(((semitones / 12 - 5) / 2) ** 2) / 2) / np.linalg.norm(bank, axis=0)
    return np.roll(bank, -3, axis=0)[:, : 1 + n_fft // 2]  # from A to C


class SpectralContrast(FeatureSet):
    """`librosa.feature.spectral_contrast`: level of the peaks above that of the valleys in octave bands, in decibels.

    Args:
        sample_rate: In Hz.
        n_fft: Window of a frame, in samples.
        lowest: Upper edge of the first band, in Hz; every further band is an octave.
        bands: Octaves above `lowest`; the last one reaches to half the sample rate.
    """

    quantile = 0.02
    top_db = 80.0

    def __init__(
        self, sample_rate: int, n_fft: int, lowest: Positive = 200.0, bands: Annotated[int, Interval(ge=1, le=16)] = 6
    ) -> None:
        super().__init__()
        self.num_features = bands + 1
        frequencies = torch.arange(1 + n_fft // 2, dtype=torch.float64) * sample_rate / n_fft
        edges = [0.0, *(lowest * 2**octave for octave in range(bands + 1))]
        self.bands: list[tuple[int, int, int]] = []  # first bin, bin after the last, bins taken as peak and as valley
        for number in range(bands + 1):
            inside = ((frequencies >= edges[number]) & (frequencies <= edges[number + 1])).nonzero()[:, 0].tolist()
            first = inside[0] - (number > 0)
            # librosa counts a band's last bin towards the quantile, but leaves it to the next band.
            last = len(frequencies) if number == bands else inside[-1]
            size = last - first + (number < bands)
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


def _normalised(magnitude: Tensor) -> Tensor:
    """Each frame of a magnitude spectrum, shape (B, F, N), divided by its sum; silence stays zero."""
    total = magnitude.sum(dim=1, keepdim=True)
    return magnitude / torch.where(total < _TINY, 1.0, total)
