"""Base classes of acoustic features, the signal they are computed from, and masks of padded frames."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from emotion.batch import frame_mask


class Signal:
    """A padded batch of waveforms with its spectrum, computed once and shared by all feature sets.

    Args:
        waveform: Waveforms, shape (B, T), float32, zero beyond each item's length.
        length: Number of samples of each item, shape (B,), int64, at least 1.
        n_fft: Length of a frame, in samples.
        hop_length: Step from one frame to the next, in samples.
        warp: Function that changes the power spectrum, such as vocal-tract-length perturbation (default: none).

    Attributes:
        frames: Number of frames of each item, 1 + length // hop_length, shape (B,), int64. Frames are centred.
    """

    def __init__(
        self,
        waveform: Tensor,
        length: Tensor,
        n_fft: int,
        hop_length: int,
        warp: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.waveform, self.length, self.n_fft, self.hop_length, self.warp = waveform, length, n_fft, hop_length, warp
        self.frames = 1 + length // hop_length

    @cached_property
    def power(self) -> Tensor:
        """The power spectrum, shape (B, 1 + n_fft // 2, N); Hann window and zero padding as in `librosa.stft`."""
        window = torch.hann_window(self.n_fft, device=self.waveform.device)
        if torch.compiler.is_exporting() and self.n_fft & (self.n_fft - 1):
            return self._power_by_products(window)
        spectrum = torch.stft(
            self.waveform, self.n_fft, self.hop_length, window=window, pad_mode="constant", return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return power if self.warp is None else self.warp(power)

    def _power_by_products(self, window: Tensor) -> Tensor:
        """Return the power spectrum without a fast Fourier transform, for an even `n_fft`.

        That of ONNX Runtime is many times slower than this where `n_fft` is no power of two. The window is symmetric
        and zero at its start, so that samples which are equally far from the middle share their factors.
        """
        half = self.n_fft // 2
        before, middle, after = self.framed_waveform[..., 1:].split([half - 1, 1, half - 1], dim=2)
        time = torch.arange(1, half + 1, dtype=torch.int32, device=window.device)[:, None]
        bins = torch.arange(half + 1, dtype=torch.int32, device=window.device)
        angle = 2 * torch.pi * (time * bins % self.n_fft) / self.n_fft
        factors = window[1 : half + 1, None]
        real = torch.cat([before + after.flip(2), middle], dim=2) @ (factors * angle.cos())
        imaginary = (before - after.flip(2)) @ (factors * angle.sin())[:-1]
        return (real.square() + imaginary.square()).transpose(1, 2)

    @cached_property
    def magnitude(self) -> Tensor:
        """The magnitude spectrum, the square root of `power`."""
        return self.power.sqrt()

    @cached_property
    def framed_waveform(self) -> Tensor:
        """The samples of each frame, shape (B, N, n_fft)."""
        half = self.n_fft // 2
        return nn.functional.pad(self.waveform, (half, half)).unfold(1, self.n_fft, self.hop_length)

    def frame_mean(self, values: Tensor, window: int) -> Tensor:
        """Average values over a window around the centre of each frame.

        Args:
            values: One value for each sample, shape (B, T); zero is assumed beyond its ends.
            window: Length of the window, in samples: `n_fft` or one less.

        Returns:
            Means, shape (B, 1, N).
        """
        half = self.n_fft // 2
        padded = nn.functional.pad(values, (half - (self.n_fft - window), half))
        frames = 1 + values.shape[1] // self.hop_length
        if window % self.hop_length:
            return nn.functional.avg_pool1d(padded[:, None], window, self.hop_length)[..., :frames]
        # Frames share their parts, which are averaged once.
        parts = nn.functional.avg_pool1d(padded[:, None], self.hop_length)
        return nn.functional.avg_pool1d(parts, window // self.hop_length, 1)[..., :frames]


class AcousticFeatures(nn.Module):
    """Base class of everything that the configuration group `features` may name.

    The constructor may take `sample_rate`, in Hz, and `n_fft`, in samples.

    Attributes:
        num_features: Number of features of a frame.
    """

    num_features: int

    @classmethod
    def complete(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments that a training adds to the configuration of its run, so that nothing else is needed later.

        Args:
            arguments: Arguments of the configuration.
        """
        return {}


class FeatureSet(AcousticFeatures):
    """Base class of features of each frame; several sets can be stacked.

    The features of an item must not depend on the other items of the batch.
    """

    def forward(self, signal: Signal) -> Tensor:
        """Compute the features.

        Returns:
            Features, shape (B, num_features, N). Values beyond an item's own frames are arbitrary.
        """
        raise TypeError(f"{type(self).__name__} does not define forward")


class Representation(AcousticFeatures):
    """Base class of features with a frame rate of their own, such as those of a pretrained network; cannot be stacked.

    Attributes:
        num_channels: Number of equal parts of the features, such as the layers of a network (default: 1).
        one_frame: True if there is one vector for each recording (default: False).
        has_spectrum: True if `forward` takes a function that changes power spectra, as `FeatureStack.forward` does
            (default: False).
        hop_length: Step from one frame to the next, in samples, if models with these features can be exported; else
            None (default).
        freeze: True if the weights are not trained, so that the features can be cached (default: True).
        lr_multiplier: Multiplier of the learning rate of trained weights (default: 1).
    """

    num_channels = 1
    one_frame = False
    has_spectrum = False
    hop_length: int | None = None
    freeze = True
    lr_multiplier = 1.0

    @property
    def feature_groups(self) -> tuple[tuple[str, int], ...]:
        """See `FeatureStack.feature_groups`."""
        return ((type(self).__name__, self.num_features),)

    def train(self, mode: bool = True) -> "Representation":
        """Set the mode; frozen weights stay in evaluation mode."""
        return super().train(mode and not self.freeze)

    def load_pretrained(self) -> None:
        """Load published weights, if there are any."""

    def freeze_weights(self) -> None:
        """Freeze the weights that are not trained."""
        if self.freeze:
            self.requires_grad_(False)

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the features; see `FeatureStack.forward`."""
        raise TypeError(f"{type(self).__name__} does not define forward")


def to_decibels(power: Tensor, frames: Tensor, top_db: float | None) -> Tensor:
    """Convert power to decibels relative to 1, item by item, as `librosa.power_to_db`.

    Args:
        power: Power, shape (B, F, N).
        frames: Number of frames of each item, shape (B,).
        top_db: Dynamic range below the maximum over an item's own frames, in decibels; lower values are clamped.
            None clamps nothing.
    """
    decibels = 10 * power.clamp(min=1e-10).log10()
    if top_db is None:
        return decibels
    # A padding frame can overlap the last samples of its item; it must not set the maximum.
    inside = frame_mask(frames, decibels.shape[-1])[:, None]
    maximum = decibels.masked_fill(~inside, -torch.inf).amax(dim=(1, 2), keepdim=True)
    return torch.maximum(decibels, maximum - top_db)
