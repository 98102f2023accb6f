"""Audio features of the prior system S3: descriptors of several variants of a recording, as spline coefficients."""

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor

from emotion.augment.waveform import change_speed, shift_pitch
from emotion.config.fields import Bands, Count, NonNegative, NonNegativeInt, Positive
from emotion.errors import EmotionError
from emotion.features.base import Representation
from emotion.features.descriptors import Chroma, Rms, SpectralContrast, ZeroCrossingRate
from emotion.features.functionals import Functionals
from emotion.features.spectral import Mfcc
from emotion.features.splines import Splines
from emotion.features.stack import FeatureStack


class SplineVariants(Representation):
    """Spline coefficients and functionals of MFCC, zero crossings, RMS, chroma and spectral contrast of variants.

    The variants of a recording have noise added, the pitch shifted, or the speed changed. Each adds as many features as
    there are descriptors, 34 with 13 MFCC. The frames are the spline coefficients, followed by the functionals.

    Args:
        sample_rate: Sampling rate, in Hz.
        n_fft: Length of a frame, in samples.
        noise_std: Standard deviation of the white noise of one variant, relative to full scale; 0 for no such variant.
        semitones: Pitch shifts, in semitones, each of one variant.
        speed_factors: Speeds relative to the original, each of one variant.
        include_original: Include the unchanged recording (default: False).
        n_mfcc: Number of MFCC.
        n_delta_orders: Number of delta orders of the descriptors; see `FeatureStack`.
        n_coefficients: Number of spline coefficients of each descriptor; 0 for none.
        order: Order of the splines; see `Splines`.
        functionals: Names of functionals; see `Functionals`.

    Raises:
        EmotionError: there is no variant, or neither coefficients nor functionals.
    """

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        noise_std: NonNegative = 0.005,
        semitones: Sequence[float] = (4, -6, 3),
        speed_factors: Sequence[Positive] = (1.5, 2.0, 0.8, 0.5),
        include_original: bool = False,
        n_mfcc: Bands = 13,
        n_delta_orders: Annotated[int, Interval(ge=0, le=2)] = 0,
        n_coefficients: NonNegativeInt = 14,
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
        self.curves = FeatureStack(sets, n_fft, n_delta_orders=n_delta_orders)
        self.summaries = [Splines(n_coefficients, order)] if n_coefficients else []
        self.summaries += [Functionals(functionals)] if functionals else []
        self.columns = n_coefficients + len(functionals)
        self.noise_std, self.semitones, self.speed_factors = noise_std, tuple(semitones), tuple(speed_factors)
        self.include_original = include_original
        self.num_channels = bool(noise_std) + len(self.semitones) + len(self.speed_factors) + include_original
        if not self.num_channels or not self.columns:
            raise EmotionError(
                "features.sets.spline_variants has no variant, or neither n_coefficients nor functionals; add some"
            )
        self.num_features = self.num_channels * self.curves.num_features

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `Representation.forward`; there is one frame for each coefficient."""
        # One by one, since the phase vocoder's output near the end of an item depends on the padding.
        alone = [self._of(item[None, : max(1, count)]) for item, count in zip(waveform, length.tolist(), strict=True)]
        return torch.cat(alone), torch.full_like(length, self.columns)

    def _of(self, waveform: Tensor) -> Tensor:
        """Shape (1, num_features, n_coefficients) of a waveform, shape (1, T)."""
        length = torch.tensor([waveform.shape[1]], device=waveform.device)
        variants = [(waveform, length)] * self.include_original
        if self.noise_std:
            # The seed is constant, so that a recording always has the same features.
            generator = torch.Generator().manual_seed(0)
            noise = torch.randn(waveform.shape[1], generator=generator)
            variants.append((waveform + self.noise_std * noise.to(waveform), length))
        variants += [shift_pitch(waveform, length, by) for by in self.semitones]
        variants += [change_speed(waveform, length, factor) for factor in self.speed_factors]
        courses = [self.curves(*variant) for variant in variants]
        return torch.cat([torch.cat([of(*each) for of in self.summaries], dim=2) for each in courses], dim=1)
