"""What a feature set is given, what it promises, and the masks that all of them share."""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn


class Signal:
    """A padded batch of waveforms, and what many feature sets need of it, computed when first asked for.

    Attributes:
        waveform: Shape (B, T), float32, zero beyond each item's length.
        length: Samples of each item, shape (B,), int64, at least 1.
        frames: Frames of each item, 1 + length // hop_length, shape (B,). Frames are centred.

    Args:
        waveform: See the attribute.
        length: See the attribute.
        n_fft: Window of a frame, in samples.
        hop_length: Samples from one frame to the next.
        warp: Applied to the power spectrum, as vocal-tract-length perturbation is.
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
        """The power spectrum, shape (B, 1 + n_fft // 2, N): Hann window, padded with zeros as librosa's `stft`."""
        window = torch.hann_window(self.n_fft, device=self.waveform.device)
        spectrum = torch.stft(
            self.waveform, self.n_fft, self.hop_length, window=window, pad_mode="constant", return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return power if self.warp is None else self.warp(power)

    @cached_property
    def magnitude(self) -> Tensor:
        """The root of `power`."""
        return self.power.sqrt()

    @cached_property
    def framed(self) -> Tensor:
        """The samples of each frame, shape (B, N, n_fft)."""
        half = self.n_fft // 2
        return nn.functional.pad(self.waveform, (half, half)).unfold(1, self.n_fft, self.hop_length)

    def averaged(self, values: Tensor, window: int) -> Tensor:
        """The mean of `values`, shape (B, T), over `window` samples around the centre of each frame; shape (B, 1, N).

        `window` is `n_fft` or one less; what lies beyond the ends of `values` counts as zero.
        """
        half = self.n_fft // 2
        padded = nn.functional.pad(values, (half - (self.n_fft - window), half))
        frames = 1 + values.shape[1] // self.hop_length
        if window % self.hop_length:
            return nn.functional.avg_pool1d(padded[:, None], window, self.hop_length)[..., :frames]
        # Frames share their parts, which are averaged once.
        parts = nn.functional.avg_pool1d(padded[:, None], self.hop_length)
        return nn.functional.avg_pool1d(parts, window // self.hop_length, 1)[..., :frames]


class SoundFeatures(nn.Module):
    """What the group `features` may name.

    The constructor takes `sample_rate` (Hz) and `n_fft` (samples) where it needs them.

    Attributes:
        num_features: How many features a frame has.
    """

    num_features: int


class FeatureSet(SoundFeatures):
    """Features of every frame, each item as if it were alone. What most feature files define; sets stack."""

    def forward(self, signal: Signal) -> Tensor:
        """Compute the features.

        Returns:
            Shape (B, num_features, N). Frames beyond an item's own may hold anything.
        """
        raise TypeError(f"{type(self).__name__} does not define forward")


class Representation(SoundFeatures):
    """Features whose frames are their own, so that they stand alone: of a network trained elsewhere, or one for all.

    Attributes:
        orders: How many equal parts the features have, such as the layers of a network.
        one_frame: Whether it is one vector for each recording.
        frozen: Whether its weights, if it has any, stay as they are, so that its features can be cached.
        learning_rate_factor: Of its learning rate, if it is not frozen, to that of the rest of a model.
    """

    orders = 1
    one_frame = False
    frozen = True
    learning_rate_factor = 1.0

    @property
    def bands(self) -> tuple[tuple[str, int], ...]:
        """See `FeatureStack.bands`."""
        return ((type(self).__name__, self.num_features),)

    def train(self, mode: bool = True) -> "Representation":
        """Frozen, it stays as in evaluation."""
        return super().train(mode and not self.frozen)

    def load_pretrained(self) -> None:
        """Take the weights that were trained elsewhere, if it has any."""

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the features; see `FeatureStack.forward`."""
        raise TypeError(f"{type(self).__name__} does not define forward")


def frame_mask(frames: Tensor, size: int) -> Tensor:
    """True where a frame belongs to its item; shape (B, size).

    Args:
        frames: Frames of each item, shape (B,).
        size: Frames in the padded batch.
    """
    return torch.arange(size, device=frames.device) < frames[:, None]


def masked(features: Tensor, frames: Tensor) -> Tensor:
    """`features`, shape (B, F, N), with zeros beyond each item's frames."""
    return features * frame_mask(frames, features.shape[-1])[:, None]


def to_decibels(power: Tensor, frames: Tensor, top_db: float) -> Tensor:
    """`librosa.power_to_db` of each item of `power`, shape (B, F, N).

    Decibels relative to 1, clamped `top_db` below the loudest value *of the item's own frames*, never of the batch.
    """
    decibels = 10 * power.clamp(min=1e-10).log10()
    # A frame beyond the item still sees its last samples; it must not count as the item's loudest.
    inside = frame_mask(frames, decibels.shape[-1])[:, None]
    loudest = decibels.masked_fill(~inside, -torch.inf).amax(dim=(1, 2), keepdim=True)
    return torch.maximum(decibels, loudest - top_db)
