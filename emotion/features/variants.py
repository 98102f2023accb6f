"""The sound of an earlier system: several variants of a recording, each as the courses of its descriptors."""

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor

from emotion.config.fields import Bands, Count, NonNegative, NonNegativeInt, Positive
from emotion.errors import EmotionError
from emotion.features.augment import play_faster, shift_pitch
from emotion.features.base import Representation
from emotion.features.descriptors import Chroma, Rms, SpectralContrast, ZeroCrossingRate
from emotion.features.functionals import Functionals
from emotion.features.spectral import Mfcc
from emotion.features.splines import Splines
from emotion.features.stack import FeatureStack


class SplineVariants(Representation):
    """Splines and statistics of descriptors of each variant: MFCC, zero crossings, RMS, chroma and spectral contrast.

    A recording is made noisier, higher, lower, faster and slower; each variant adds as many features as there are
    descriptors, 34 with 13 MFCC. Frames are the coefficients of their courses, and their functionals.

    Args:
        sample_rate: Of the waveforms, in Hz.
        n_fft: Window of a frame, in samples.
        noise: Deviation of the white noise of one variant, of full scale; 0 leaves that variant out.
        semitones: By how much each of some variants is higher.
        factors: How many times as fast each of some variants is played.
        plain: Whether the recording itself is a variant too.
        n_mfcc: MFCC among the descriptors.
        deltas: 0, 1 or 2: the descriptors' differences over time are descriptors, too; see `FeatureStack`.
        coefficients: Of each course; 0 for none.
        order: See `Splines`.
        functionals: See `Functionals`; each is one frame more.
    """

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        noise: NonNegative = 0.005,
        semitones: Sequence[float] = (4, -6, 3),
        factors: Sequence[Positive] = (1.5, 2.0, 0.8, 0.5),
        plain: bool = False,
        n_mfcc: Bands = 13,
        deltas: Annotated[int, Interval(ge=0, le=2)] = 0,
        coefficients: NonNegativeInt = 14,
        order: Count = 4,
        functionals: Sequence[str] = (),
    ) -> None:
        super().__init__()
        sets = {
            "mfcc": Mfcc(sample_rate, n_fft, n_mfcc=n_mfcc),
            "zero_crossing_rate": ZeroCrossingRate(),
            "rms": Rms(),
            "chroma": Chroma(sample_rate, n_fft),
            "spectral_contrast": SpectralContrast(sample_rate, n_fft),
        }
        self.curves = FeatureStack(sets, n_fft, deltas=deltas)
        self.summaries = [Splines(coefficients, order)] if coefficients else []
        self.summaries += [Functionals(functionals)] if functionals else []
        self.columns = coefficients + len(functionals)
        self.noise, self.semitones, self.factors, self.plain = noise, tuple(semitones), tuple(factors), plain
        self.orders = bool(noise) + len(self.semitones) + len(self.factors) + plain
        if not self.orders or not self.columns:
            raise EmotionError("features.sets.spline_variants leaves no variant, or nothing of each")
        self.num_features = self.orders * self.curves.num_features

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `Representation.forward`; a frame for every coefficient."""
        # One by one: what a phase vocoder makes of an item's end depends a little on what comes after it.
        alone = [self._of(item[None, : max(1, count)]) for item, count in zip(waveform, length.tolist(), strict=True)]
        return torch.cat(alone), torch.full_like(length, self.columns)

    def _of(self, waveform: Tensor) -> Tensor:
        """Shape (1, num_features, coefficients) of a waveform, shape (1, T)."""
        length = torch.tensor([waveform.shape[1]], device=waveform.device)
        variants = [(waveform, length)] * self.plain
        if self.noise:
            # Always the same, so that a recording always has the same features.
            generator = torch.Generator().manual_seed(0)
            noise = torch.randn(waveform.shape[1], generator=generator)
            variants.append((waveform + self.noise * noise.to(waveform), length))
        variants += [shift_pitch(waveform, length, by) for by in self.semitones]
        variants += [play_faster(waveform, length, factor) for factor in self.factors]
        courses = [self.curves(*variant) for variant in variants]
        return torch.cat([torch.cat([of(*each) for of in self.summaries], dim=2) for each in courses], dim=1)
