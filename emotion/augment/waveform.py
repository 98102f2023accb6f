"""Augmentations of waveforms."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated

import torch
import torchaudio.functional
from annotated_types import Len
from torch import Tensor, nn

from emotion.augment.base import WaveformAugmentation, check_range, choose_items, draw_uniform
from emotion.batch import frame_mask
from emotion.config.fields import NonNegative, Positive, PositiveFraction, UnitInterval


class Noise(WaveformAugmentation):
    """Add white noise.

    Args:
        snr_db: Bounds of the signal-to-noise ratio over an item, in decibels, drawn uniformly.
        probability: Probability that an item is changed (default: 0.5).
    """

    def __init__(self, snr_db: tuple[float, float] = (5.0, 30.0), probability: UnitInterval = 0.5) -> None:
        super().__init__()
        self.snr_db, self.probability = check_range(snr_db, "snr_db"), probability

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `WaveformAugmentation`."""
        power = waveform.square().sum(dim=1) / length
        level = (power * 10 ** (-draw_uniform(self.snr_db, power) / 10)).sqrt() * choose_items(power, self.probability)
        noise = torch.randn_like(waveform) * level[:, None]
        return waveform + noise * frame_mask(length, waveform.shape[1]), length


class Gain(WaveformAugmentation):
    """Change the level. Level carries information about emotions, so the range should be small.

    Args:
        gain_db: Bounds of the gain, in decibels, drawn uniformly.
        probability: Probability that an item is changed (default: 0.5).
    """

    def __init__(self, gain_db: tuple[float, float] = (-6.0, 6.0), probability: UnitInterval = 0.5) -> None:
        super().__init__()
        self.gain_db, self.probability = check_range(gain_db, "gain_db"), probability

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `WaveformAugmentation`."""
        db = draw_uniform(self.gain_db, waveform[:, 0]) * choose_items(waveform[:, 0], self.probability)
        return waveform * 10 ** (db[:, None] / 20), length


class Clipping(WaveformAugmentation):
    """Cut off samples above a level, as an overdriven microphone does.

    Args:
        level: Bounds of the level, as a fraction of the peak of an item, drawn uniformly.
        probability: Probability that an item is changed (default: 0.2).
    """

    def __init__(
        self, level: tuple[PositiveFraction, PositiveFraction] = (0.1, 0.7), probability: UnitInterval = 0.2
    ) -> None:
        super().__init__()
        self.level, self.probability = check_range(level, "level"), probability

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `WaveformAugmentation`."""
        peak = waveform.abs().amax(dim=1)
        changes = choose_items(peak, self.probability)
        limit = (peak * torch.where(changes, draw_uniform(self.level, peak), 1.0))[:, None]
        return waveform.clamp(-limit, limit), length


class TimeShift(WaveformAugmentation):
    """Shift an item in time; the length is kept, and the gap is filled with silence.

    Args:
        max_shift_s: Maximum shift in either direction, in seconds, drawn uniformly (default: 0.2).
        sample_rate: Sampling rate, in Hz.
        probability: Probability that an item is changed (default: 0.5).
    """

    def __init__(self, sample_rate: int, max_shift_s: NonNegative = 0.2, probability: UnitInterval = 0.5) -> None:
        super().__init__()
        self.samples, self.probability = max_shift_s * sample_rate, probability

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `WaveformAugmentation`."""
        reach = torch.minimum(length - 1, torch.full_like(length, round(self.samples))).float()
        drawn = draw_uniform((-1.0, 1.0), reach) * reach * choose_items(reach, self.probability)
        most = round(self.samples)
        # Rows of a view are copied in three fifths of the time of single samples.
        starts = nn.functional.pad(waveform, (most, most)).unfold(1, waveform.shape[1], 1)
        moved = starts[torch.arange(len(waveform), device=waveform.device), most - drawn.round().long()]
        return moved * frame_mask(length, waveform.shape[1]), length


class Speed(WaveformAugmentation):
    """Change the speed, and with it the pitch (Ko et al., 2015).

    https://doi.org/10.21437/Interspeech.2015-711.

    Args:
        factors: Speeds relative to the original, of which one is drawn.
        probability: Probability that an item is changed (default: 0.5).
    """

    def __init__(
        self, factors: Annotated[tuple[Positive, ...], Len(1)] = (0.9, 1.1), probability: UnitInterval = 0.5
    ) -> None:
        super().__init__()
        self.factors, self.probability = tuple(factors), probability

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `WaveformAugmentation`."""
        return _apply_choice(waveform, length, self.factors, self.probability, change_speed)


class PitchShift(WaveformAugmentation):
    """Shift the pitch without changing the speed, by phase vocoder and resampling.

    Args:
        semitones: Shifts, in semitones, of which one is drawn.
        probability: Probability that an item is changed (default: 0.5).
    """

    def __init__(
        self, semitones: Annotated[tuple[float, ...], Len(1)] = (-2.0, -1.0, 1.0, 2.0), probability: UnitInterval = 0.5
    ) -> None:
        super().__init__()
        self.semitones, self.probability = tuple(semitones), probability

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `WaveformAugmentation`."""
        return _apply_choice(waveform, length, self.semitones, self.probability, shift_pitch)


_Change = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def _apply_choice(
    waveform: Tensor, length: Tensor, choices: tuple[float, ...], probability: float, change: _Change
) -> tuple[Tensor, Tensor]:
    """Draw one of `choices` for each item to be changed; apply `change` to all items with the same choice at once."""
    drawn = torch.randint(len(choices), (len(length),), device=length.device)
    drawn = torch.where(choose_items(length, probability), drawn, -1)
    parts = []
    for number, choice in enumerate(choices):
        rows = (drawn == number).nonzero()[:, 0]
        if len(rows):
            parts.append((rows, *change(waveform[rows], length[rows], choice)))
    longest = max([waveform.shape[1], *(part.shape[1] for _, part, _ in parts)])
    waveform, length = nn.functional.pad(waveform, (0, longest - waveform.shape[1])), length.clone()
    for rows, part, part_length in parts:
        waveform[rows] = nn.functional.pad(part, (0, longest - part.shape[1]))
        length[rows] = part_length
    return waveform[:, : int(length.max())], length


def change_speed(waveform: Tensor, length: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """Change the speed, and with it the pitch, by resampling.

    Args:
        waveform: Waveforms, shape (B, T), zero beyond each item's length.
        length: Number of samples of each item, shape (B,).
        factor: Speed relative to the original; approximated by a fraction of small integers, within 0.1 %.
    """
    ratio = Fraction(factor).limit_denominator(60)
    shorter = torchaudio.functional.resample(waveform, ratio.numerator, ratio.denominator)
    length = (length * ratio.denominator // ratio.numerator).clamp(1, shorter.shape[1])
    return shorter * frame_mask(length, shorter.shape[1]), length


def shift_pitch(waveform: Tensor, length: Tensor, semitones: float) -> tuple[Tensor, Tensor]:
    """Shift the pitch without changing the speed, by phase vocoder and resampling.

    Args:
        waveform: Waveforms, shape (B, T), zero beyond each item's length.
        length: Number of samples of each item, shape (B,).
        semitones: Shift, in semitones.
    """
    factor = 2 ** (semitones / 12)
    n_fft, hop_length = 512, 128
    settings = {"n_fft": n_fft, "hop_length": hop_length, "window": torch.hann_window(n_fft, device=waveform.device)}
    size = waveform.shape[1]
    waveform = nn.functional.pad(
        waveform, (0, 2 * n_fft)
    )  # so that the result does not depend on the length of the batch
    spectrum = torch.stft(waveform, **settings, pad_mode="constant", return_complex=True)
    advance = torch.linspace(0, math.pi * hop_length, spectrum.shape[1], device=waveform.device)[:, None]
    stretched = torchaudio.functional.phase_vocoder(spectrum, 1 / factor, advance)
    longer = torch.istft(stretched, **settings, length=math.ceil(waveform.shape[1] * factor))
    shifted, _ = change_speed(longer, (length * factor).long(), factor)
    missing = max(0, size - shifted.shape[1])
    shifted = nn.functional.pad(shifted, (0, missing))[:, :size]
    return shifted * frame_mask(length, size), length
