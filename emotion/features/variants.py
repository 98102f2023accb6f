"""The sound of an earlier system: several variants of a recording, each as the courses of its descriptors."""

from collections.abc import Sequence

import torch
from torch import Tensor

from emotion.errors import EmotionError
from emotion.features.augment import play_faster, shift_pitch
from emotion.features.base import Representation
from emotion.features.descriptors import Chroma, Rms, SpectralContrast, ZeroCrossingRate
from emotion.features.spectral import Mfcc
from emotion.features.splines import Splines
from emotion.features.stack import FeatureStack


class SplineVariants(Representation):
    """Spline coefficients of descriptors of each variant: MFCC, zero-crossing rate, RMS, chroma and spectral contrast.

    A recording is made noisier, higher, lower, faster and slower; each variant adds as many features as there are
    descriptors, 34 with 13 MFCC. Frames are the coefficients.

    Args:
        sample_rate: Of the waveforms, in Hz.
        n_fft: Window of a frame, in samples.
        noise: Deviation of the white noise of one variant, of full scale; 0 leaves that variant out.
        semitones: By how much each of some variants is higher.
        factors: How many times as fast each of some variants is played.
        plain: Whether the recording itself is a variant too.
        n_mfcc: MFCC among the descriptors.
        coefficients: Of each course.
        order: See `Splines`.
        deviation: See `Splines`; it is one frame more.
    """

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        noise: float = 0.005,
        semitones: Sequence[float] = (4, -6, 3),
        factors: Sequence[float] = (1.5, 2.0, 0.8, 0.5),
        plain: bool = False,
        n_mfcc: int = 13,
        coefficients: int = 14,
        order: int = 4,
        deviation: bool = False,
    ) -> None:
        super().__init__()
        sets = {
            "mfcc": Mfcc(sample_rate, n_fft, n_mfcc=n_mfcc),
            "zero_crossing_rate": ZeroCrossingRate(),
            "rms": Rms(),
            "chroma": Chroma(sample_rate, n_fft),
            "spectral_contrast": SpectralContrast(sample_rate, n_fft),
        }
        self.curves, self.splines = FeatureStack(sets, n_fft), Splines(coefficients, order, deviation)
        self.noise, self.semitones, self.factors, self.plain = noise, tuple(semitones), tuple(factors), plain
        self.orders = bool(noise) + len(self.semitones) + len(self.factors) + plain
        if not self.orders:
            raise EmotionError("no variant is left of features.sets.spline_variants")
        self.num_features = self.orders * self.curves.num_features

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `Representation.forward`; a frame for every coefficient."""
        # One by one: what a phase vocoder makes of an item's end depends a little on what comes after it.
        alone = [self._of(item[None, : max(1, count)]) for item, count in zip(waveform, length.tolist(), strict=True)]
        return torch.cat(alone), torch.full_like(length, self.splines.columns)

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
        return torch.cat([self.splines(*self.curves(*variant)) for variant in variants], dim=1)
