"""Augmentations of recording conditions, on power spectra: equaliser, band limits, reverberation, noise, babble.

They are sums and products of the power spectra of a batch, which cost a fraction of filters on waveforms. The phase
between speech and noise or reverberation is ignored.
"""

import math

import torch
from torch import Tensor

from emotion.augment.base import SpectrumAugmentation, check_range, choose_items, draw_uniform
from emotion.config.fields import Count, Positive, UnitInterval

_LOWEST_HZ = 50.0  # of the curves of `Equalizer` and `ColoredNoise`


class _OfSomeItems(SpectrumAugmentation):
    """Base class of changes of items that are drawn with a probability."""

    probability: float

    def forward(self, power: Tensor) -> Tensor:
        """See `SpectrumAugmentation`."""
        rows = choose_items(power[:, 0, 0], self.probability).nonzero()[:, 0]
        return power.index_copy(0, rows, self.change(power[rows], power, rows)) if len(rows) else power

    def change(self, own: Tensor, batch: Tensor, rows: Tensor) -> Tensor:
        """Return the changed spectra of the drawn items.

        Args:
            own: Their power spectra, shape (K, n_bins, N).
            batch: Power spectra of all items, shape (B, n_bins, N).
            rows: Indices of the drawn items, shape (K,).
        """
        raise TypeError(f"{type(self).__name__} does not define change")


class Equalizer(_OfSomeItems):
    """Multiply spectra by a smooth random curve, as other microphones and rooms do.

    Args:
        sample_rate: Sampling rate, in Hz.
        gain_db: Maximum gain and attenuation, in decibels (default: 8).
        n_points: Number of points, equally spaced on a logarithmic axis, joined by straight lines (default: 6).
        probability: Probability that an item is changed (default: 0.5).
    """

    def __init__(
        self, sample_rate: int, gain_db: Positive = 8.0, n_points: Count = 6, probability: UnitInterval = 0.5
    ) -> None:
        super().__init__()
        self.gain_db, self.n_points, self.probability = gain_db, n_points, probability
        self.nyquist = sample_rate / 2

    def change(self, own: Tensor, batch: Tensor, rows: Tensor) -> Tensor:
        """See `_OfSomeItems.change`."""
        gain = draw_uniform((-self.gain_db, self.gain_db), own.new_empty(len(own) * self.n_points))
        octave = _octaves(own, self.nyquist)
        place = (octave / octave[-1]).clamp(0, 1) * (self.n_points - 1)
        low = place.floor().long().clamp(max=max(0, self.n_points - 2))
        points = gain.view(len(own), self.n_points)
        upper = points[:, (low + 1).clamp(max=self.n_points - 1)]
        curve = torch.lerp(points[:, low], upper, (place - low).expand_as(upper))
        return own * 10 ** (curve / 10)[..., None]


class BandLimit(_OfSomeItems):
    """Attenuate low and high frequencies, as telephones and small loudspeakers do.

    Args:
        sample_rate: Sampling rate, in Hz.
        low_hz: Bounds of the lower cut-off frequency, in Hz, drawn uniformly.
        high_hz: Bounds of the upper cut-off frequency, in Hz, drawn uniformly.
        slope_db: Bounds of the slope beyond them, in decibels an octave, drawn uniformly: 6 for each order of a filter.
        probability: Probability that an item is changed (default: 0.45).
    """

    def __init__(
        self,
        sample_rate: int,
        low_hz: tuple[Positive, Positive] = (50.0, 400.0),
        high_hz: tuple[Positive, Positive] = (2800.0, 7500.0),
        slope_db: tuple[Positive, Positive] = (24.0, 120.0),
        probability: UnitInterval = 0.45,
    ) -> None:
        super().__init__()
        self.low_hz, self.high_hz = check_range(low_hz, "low_hz"), check_range(high_hz, "high_hz")
        self.slope_db = check_range(slope_db, "slope_db")
        self.nyquist, self.probability = sample_rate / 2, probability

    def change(self, own: Tensor, batch: Tensor, rows: Tensor) -> Tensor:
        """See `_OfSomeItems.change`; the response is that of Butterworth filters."""
        frequency = torch.linspace(0, self.nyquist, own.shape[1], device=own.device).clamp(min=1e-3)
        bounds = (self.low_hz, self.high_hz, self.slope_db)
        low, high, slope = (draw_uniform(each, own[:, 0, 0])[:, None] for each in bounds)
        exponent = slope / (10 * math.log10(2))
        response = 1 / ((1 + (low / frequency) ** exponent) * (1 + (frequency / high) ** exponent))
        return own * response[..., None]


class Reverberation(_OfSomeItems):
    """Add exponentially decaying power of the frames before, as in a room; high frequencies decay faster.

    Args:
        sample_rate: Sampling rate, in Hz.
        hop_length: Step from one frame to the next, in samples.
        decay_s: Bounds of the time in which reverberation falls by 60 dB, in seconds, drawn uniformly.
        ratio_db: Bounds of the ratio of direct to reverberant power, in decibels, drawn uniformly.
        probability: Probability that an item is changed (default: 0.3).
    """

    def __init__(
        self,
        sample_rate: int,
        hop_length: int = 512,
        decay_s: tuple[Positive, Positive] = (0.1, 0.9),
        ratio_db: tuple[float, float] = (-3.0, 15.0),
        probability: UnitInterval = 0.3,
    ) -> None:
        super().__init__()
        self.decay_s, self.ratio_db = check_range(decay_s, "decay_s"), check_range(ratio_db, "ratio_db")
        self.hop_s, self.probability = hop_length / sample_rate, probability

    def change(self, own: Tensor, batch: Tensor, rows: Tensor) -> Tensor:
        """See `_OfSomeItems.change`."""
        decay = draw_uniform(self.decay_s, own[:, 0, 0])[:, None]
        faster = torch.linspace(1, 0.5, own.shape[1], device=own.device)  # half the decay time at the top
        kept = (10 ** (-6 * self.hop_s / (decay * faster)))[..., None]  # fraction of power after one frame
        tail = _decay(own, kept)
        level = 10 ** (-draw_uniform(self.ratio_db, own[:, 0, 0]) / 10)[:, None, None]
        return own + level * (1 - kept) / kept * tail  # the fractions of all frames sum to `level`


def _decay(power: Tensor, kept: Tensor) -> Tensor:
    """Return the power that all earlier frames leave in each, shape (K, n_bins, N).

    Args:
        power: Power spectra, shape (K, n_bins, N).
        kept: Fraction of the power of a bin that is left after one frame, shape (K, n_bins, 1).
    """
    frames, kept = power.permute(2, 0, 1).contiguous(), kept[..., 0]
    tail = torch.zeros_like(frames)
    for number in range(1, len(frames)):
        torch.mul(tail[number - 1] + frames[number - 1], kept, out=tail[number])
    return tail.permute(1, 2, 0)


class ColoredNoise(_OfSomeItems):
    """Add noise whose spectrum falls or rises with frequency.

    Args:
        sample_rate: Sampling rate, in Hz.
        snr_db: Bounds of the signal-to-noise ratio over an item, in decibels, drawn uniformly.
        slope_db: Bounds of the slope, in decibels an octave, drawn uniformly: 0 is white, -3 pink, -6 brown.
        probability: Probability that an item is changed (default: 0.4).
    """

    def __init__(
        self,
        sample_rate: int,
        snr_db: tuple[float, float] = (3.0, 30.0),
        slope_db: tuple[float, float] = (-7.0, 2.0),
        probability: UnitInterval = 0.4,
    ) -> None:
        super().__init__()
        self.snr_db, self.slope_db = check_range(snr_db, "snr_db"), check_range(slope_db, "slope_db")
        self.nyquist, self.probability = sample_rate / 2, probability

    def change(self, own: Tensor, batch: Tensor, rows: Tensor) -> Tensor:
        """See `_OfSomeItems.change`; the power of noise in a bin is exponentially distributed."""
        slope = draw_uniform(self.slope_db, own[:, 0, 0])[:, None]
        curve = 10 ** (slope * _octaves(own, self.nyquist) / 10)
        # Exponentially distributed; torch's own function is several times slower.
        noise = curve[..., None] * torch.rand_like(own).clamp_(min=1e-7).log_().neg_()
        return torch.addcmul(own, noise, _scale(own, noise, self.snr_db))


class Babble(_OfSomeItems):
    """Add the speech of other items of the batch.

    Args:
        snr_db: Bounds of the signal-to-noise ratio over an item, in decibels, drawn uniformly.
        n_voices: Number of other items (default: 4).
        probability: Probability that an item is changed (default: 0.3).
    """

    def __init__(
        self, snr_db: tuple[float, float] = (5.0, 25.0), n_voices: Count = 4, probability: UnitInterval = 0.3
    ) -> None:
        super().__init__()
        self.snr_db, self.n_voices, self.probability = check_range(snr_db, "snr_db"), n_voices, probability

    def change(self, own: Tensor, batch: Tensor, rows: Tensor) -> Tensor:
        """See `_OfSomeItems.change`; all voices are equally loud."""
        if len(batch) == 1:
            return own
        shape = (len(rows), self.n_voices)
        others = (rows[:, None] + torch.randint(1, len(batch), shape, device=rows.device)) % len(batch)
        factor = 1 / batch.mean(dim=(1, 2)).clamp(min=1e-20)
        weights = own.new_zeros(len(rows), len(batch)).scatter_add(1, others, factor[others])
        total = (weights @ batch.flatten(1)).view_as(own)
        return torch.addcmul(own, total, _scale(own, total, self.snr_db))


def _octaves(power: Tensor, nyquist: float) -> Tensor:
    """Return the frequency of each bin in octaves above `_LOWEST_HZ`, at least 0, shape (n_bins,)."""
    frequency = torch.linspace(0, nyquist, power.shape[1], device=power.device)
    return (frequency.clamp(min=_LOWEST_HZ) / _LOWEST_HZ).log2()


def _scale(own: Tensor, noise: Tensor, snr_db: tuple[float, float]) -> Tensor:
    """Return the factor of noise for a drawn signal-to-noise ratio, shape (K, 1, 1)."""
    # Frames beyond the end of an item have no power.
    frames = own.sum(dim=1, keepdim=True)
    sounding = frames > 0
    signal = frames.sum(dim=2, keepdim=True)
    level = (noise.sum(dim=1, keepdim=True) * sounding).sum(dim=2, keepdim=True).clamp(min=1e-20)
    ratio = 10 ** (draw_uniform(snr_db, own[:, 0, 0]) / 10)[:, None, None]
    return signal / level / ratio * sounding
