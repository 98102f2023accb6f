"""Changes to training clips that a listener would forgive: of sound, of its spectrum, of features, of whole batches.

Every item of a batch draws for itself, on the device, and an item changes with `probability`.
"""

import math
from fractions import Fraction
from typing import Annotated, Any, cast

import torch
import torchaudio.functional
from annotated_types import Len
from torch import Tensor, nn

from emotion.batch import Batch
from emotion.config.fields import NonNegative, NonNegativeInt, Positive, UnitInterval
from emotion.errors import EmotionError
from emotion.features.base import frame_mask


class Augmentation(nn.Module):
    """What every entry of the group `augment` is."""


class WaveformAugmentation(Augmentation):
    """Changes sound: (B, T) and lengths (B,) in, the same out; zero beyond each item's length."""


class SpectrumAugmentation(Augmentation):
    """Changes power spectra, shape (B, bins, N), before any feature is made of them."""


class FeatureAugmentation(Augmentation):
    """Changes normalised features, shape (B, F, N), of items with `frames`, shape (B,)."""


class Noise(WaveformAugmentation):
    """Add white noise.

    Args:
        snr_db: Lowest and highest signal-to-noise ratio over the clip, in decibels; drawn evenly.
        probability: That an item changes.
    """

    def __init__(self, snr_db: tuple[float, float] = (5.0, 30.0), probability: UnitInterval = 0.5) -> None:
        super().__init__()
        self.snr_db, self.probability = _range(snr_db, "snr_db"), probability

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `WaveformAugmentation`."""
        power = waveform.square().sum(dim=1) / length
        level = (power * 10 ** (-_uniform(self.snr_db, power) / 10)).sqrt() * _chosen(power, self.probability)
        noise = torch.randn_like(waveform) * level[:, None]
        return waveform + noise * frame_mask(length, waveform.shape[1]), length


class Gain(WaveformAugmentation):
    """Make an item louder or softer. Level tells emotions apart, so a little is enough.

    Args:
        gain_db: Least and greatest change, in decibels; drawn evenly.
        probability: That an item changes.
    """

    def __init__(self, gain_db: tuple[float, float] = (-6.0, 6.0), probability: UnitInterval = 0.5) -> None:
        super().__init__()
        self.gain_db, self.probability = _range(gain_db, "gain_db"), probability

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `WaveformAugmentation`."""
        db = _uniform(self.gain_db, waveform[:, 0]) * _chosen(waveform[:, 0], self.probability)
        return waveform * 10 ** (db[:, None] / 20), length


class TimeShift(WaveformAugmentation):
    """Move an item earlier or later; what is pushed out is lost, silence comes in, and the length stays.

    Args:
        max_shift_s: Furthest shift; drawn evenly from both sides.
        sample_rate: In Hz.
        probability: That an item changes.
    """

    def __init__(self, sample_rate: int, max_shift_s: NonNegative = 0.2, probability: UnitInterval = 0.5) -> None:
        super().__init__()
        self.samples, self.probability = max_shift_s * sample_rate, probability

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `WaveformAugmentation`."""
        reach = torch.minimum(length - 1, torch.full_like(length, round(self.samples))).float()
        drawn = _uniform((-1.0, 1.0), reach) * reach * _chosen(reach, self.probability)
        source = torch.arange(waveform.shape[1], device=waveform.device) - drawn.round().long()[:, None]
        inside = (source >= 0) & frame_mask(length, waveform.shape[1])
        moved = waveform.gather(1, source.clamp(0, waveform.shape[1] - 1))
        return moved * (inside & (source < length[:, None])), length


class Speed(WaveformAugmentation):
    """Play an item faster or slower, which moves its pitch too (Ko et al., 2015).

    https://doi.org/10.21437/Interspeech.2015-711.

    Args:
        factors: Of speed; 1.1 is a tenth faster. An item that changes draws one of them.
        probability: That an item changes.
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
    """Raise or lower the pitch and keep the tempo, by phase vocoder and resampling.

    Args:
        semitones: An item that changes draws one of them.
        probability: That an item changes.
    """

    def __init__(
        self, semitones: Annotated[tuple[float, ...], Len(1)] = (-2.0, -1.0, 1.0, 2.0), probability: UnitInterval = 0.5
    ) -> None:
        super().__init__()
        self.semitones, self.probability = tuple(semitones), probability

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `WaveformAugmentation`."""
        return _apply_choice(waveform, length, self.semitones, self.probability, shift_pitch)


class Vtlp(SpectrumAugmentation):
    """Vocal-tract-length perturbation: stretch or shrink the frequency axis (Jaitly & Hinton, 2013).

    https://www.cs.toronto.edu/~hinton/absps/perturb.pdf. Up to a boundary all frequencies are multiplied by the
    item's factor; from there the axis runs straight to half the sample rate.

    Args:
        sample_rate: In Hz.
        factor: Least and greatest; drawn evenly.
        boundary_hz: In Hz; about where speech ends.
        probability: That an item changes.
    """

    def __init__(
        self,
        sample_rate: int,
        factor: tuple[Positive, Positive] = (0.9, 1.1),
        boundary_hz: Positive = 4800.0,
        probability: UnitInterval = 0.5,
    ) -> None:
        super().__init__()
        self.factor, self.probability = _range(factor, "factor"), probability
        self.boundary = 2 * boundary_hz / sample_rate  # as a part of the axis
        if not 0 < self.boundary < 1:
            raise EmotionError(
                f"augment.vtlp.boundary_hz={boundary_hz:g} has to lie between 0 and {sample_rate / 2:g} Hz"
            )

    def forward(self, power: Tensor) -> Tensor:
        """See `SpectrumAugmentation`."""
        changes = _chosen(power[:, 0, 0], self.probability).nonzero()[:, 0]
        return power.index_copy(0, changes, self._warped(power[changes])) if len(changes) else power

    def _warped(self, power: Tensor) -> Tensor:
        items, bins, size = power.shape
        factor = _uniform(self.factor, power[:, 0, 0])[:, None]
        target = torch.linspace(0, 1, bins, device=power.device)
        # Where the warped axis bends, before and after the warp.
        bend = self.boundary * factor.clamp(max=1.0)
        before = bend / factor
        upper = 1 - (1 - before) * (1 - target) / (1 - bend)
        source = torch.where(target <= bend, target / factor, upper).clamp(0, 1) * (bins - 1)
        low = source.floor().long().clamp(max=bins - 2)
        part = (source - low)[..., None]
        # Whole rows are picked out of one long list of them, several times as fast as gathering single values.
        rows = power.reshape(items * bins, size)
        low = low + bins * torch.arange(items, device=power.device)[:, None]
        below, above = (rows.index_select(0, index.flatten()).view(items, bins, size) for index in (low, low + 1))
        return torch.lerp(below, above, part)


class SpecAugment(FeatureAugmentation):
    """Hide bands of features and stretches of time (Park et al., 2019, https://arxiv.org/abs/1904.08779).

    What is hidden becomes 0, the mean of normalised features. Every item draws its own masks.

    Args:
        feature_masks: Bands hidden in each item.
        feature_fraction: Widest band, as a fraction of the features.
        time_masks: Stretches hidden in each item.
        time_fraction: Longest stretch, as a fraction of the item's frames.
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
        bands = torch.zeros(batch, num_features, dtype=torch.bool, device=features.device)
        times = torch.zeros(batch, size, dtype=torch.bool, device=features.device)
        for _ in range(self.feature_masks):
            bands |= _random_stretch(whole, self.feature_fraction, num_features)
        for _ in range(self.time_masks):
            times |= _random_stretch(frames, self.time_fraction, size)
        # Not masked_fill, which would first copy them into another order in memory.
        return (features * ~bands[:, :, None]).mul_(~times[:, None])


class Mixup(Augmentation):
    """Every item becomes a mixture of itself and another of the batch, and so does its label.

    Zhang et al. (2018), https://arxiv.org/abs/1710.09412. Each modality is mixed where it is normalised.

    Args:
        alpha: Both parameters of the Beta distribution of the weights; near 0 mixes little.
    """

    def __init__(self, alpha: Positive = 0.2) -> None:
        super().__init__()
        if alpha <= 0:
            raise EmotionError(f"augment.mixup.alpha={alpha:g} has to be above 0; leave mixup out of augment= for none")
        self.alpha = alpha

    def forward(self, batch: Batch, num_classes: int) -> Batch:
        """Add `mix_weight` (B,), `mix_partner` (B,), the row of the other item, and the soft `target` (B, C)."""
        label = batch["label"]
        alpha = torch.full((len(label),), self.alpha, device=label.device)
        drawn = torch.distributions.Beta(alpha, alpha).sample()
        weight, partner = torch.maximum(drawn, 1 - drawn), torch.randperm(len(label), device=label.device)
        hot = batch.get("target", nn.functional.one_hot(label, num_classes).float())
        drawn = {"mix_weight": weight, "mix_partner": partner}
        return cast(Batch, batch | drawn | {"target": weight[:, None] * hot + (1 - weight[:, None]) * hot[partner]})


def mixed(features: Tensor, frames: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mix normalised features, shape (B, F, N), as `Mixup` has drawn it; a mixture is as long as the longer item."""
    if "mix_partner" not in batch or "mix_weight" not in batch:
        return features, frames
    partner, weight = batch["mix_partner"], batch["mix_weight"][:, None, None]
    return weight * features + (1 - weight) * features[partner], torch.maximum(frames, frames[partner])


def _range(values: tuple[float, float], name: str) -> tuple[float, float]:
    low, high = values
    if low > high:
        raise EmotionError(f"augment: {name}=[{low:g}, {high:g}] runs backwards")
    return float(low), float(high)


def _uniform(bounds: tuple[float, float], like: Tensor) -> Tensor:
    """A number in `bounds` for each item; `like` has shape (B,)."""
    return bounds[0] + (bounds[1] - bounds[0]) * torch.rand(len(like), device=like.device)


def _chosen(like: Tensor, probability: float) -> Tensor:
    """True for the items that change, shape (B,)."""
    return torch.rand(len(like), device=like.device) < probability


def _random_stretch(length: Tensor, fraction: float, size: int) -> Tensor:
    """True in one stretch of 0 to `fraction` of each item's `length` (B,); shape (B, size)."""
    draws = torch.rand(2, len(length), device=length.device)
    width = (draws[0] * (fraction * length + 1)).long().clamp(max=length - 1)  # something of an item is left
    start = (draws[1] * (length - width + 1)).long()
    return frame_mask(start + width, size) & ~frame_mask(start, size)


def _apply_choice(waveform: Tensor, length: Tensor, choices: tuple[float, ...], probability: float, change: Any) -> Any:
    """Items that change draw one of `choices`; those that drew the same are changed together by `change`."""
    drawn = torch.randint(len(choices), (len(length),), device=length.device)
    drawn = torch.where(_chosen(length, probability), drawn, -1)
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
    """Play `factor` times as fast, which moves the pitch too.

    The factor is taken as a fraction of small numbers, within 0.1 per cent.
    """
    ratio = Fraction(factor).limit_denominator(60)
    shorter = torchaudio.functional.resample(waveform, ratio.numerator, ratio.denominator)
    length = (length * ratio.denominator // ratio.numerator).clamp(1, shorter.shape[1])
    return shorter * frame_mask(length, shorter.shape[1]), length


def shift_pitch(waveform: Tensor, length: Tensor, semitones: float) -> tuple[Tensor, Tensor]:
    """Raise the pitch and keep the tempo, by phase vocoder and resampling."""
    factor = 2 ** (semitones / 12)
    n_fft, hop_length = 512, 128
    settings = {"n_fft": n_fft, "hop_length": hop_length, "window": torch.hann_window(n_fft, device=waveform.device)}
    size = waveform.shape[1]
    waveform = nn.functional.pad(waveform, (0, 2 * n_fft))  # so that the end of the batch is no special place
    spectrum = torch.stft(waveform, **settings, pad_mode="constant", return_complex=True)
    advance = torch.linspace(0, math.pi * hop_length, spectrum.shape[1], device=waveform.device)[:, None]
    stretched = torchaudio.functional.phase_vocoder(spectrum, 1 / factor, advance)
    longer = torch.istft(stretched, **settings, length=math.ceil(waveform.shape[1] * factor))
    shifted, _ = change_speed(longer, (length * factor).long(), factor)
    missing = max(0, size - shifted.shape[1])
    shifted = nn.functional.pad(shifted, (0, missing))[:, :size]
    return shifted * frame_mask(length, size), length
