"""Mel spectrogram and MFCC, equal to librosa's, on padded batches and on any device."""

import torch
import torchaudio.functional
import torchaudio.transforms
from torch import Tensor, nn

from emotion.features.base import FeatureSet, frame_mask, masked

DELTA_WINDOW = 9
"""Frames over which librosa fits the polynomial whose derivative is the delta."""


class LogMel(FeatureSet):
    """Mel spectrogram in decibels: `librosa.power_to_db(librosa.feature.melspectrogram(...))`.

    Slaney's mel scale and norm, centred frames padded with zeros, power spectrum, decibels relative to 1 and clamped
    `top_db` below the loudest bin *of the item*, never of the batch.

    Args:
        sample_rate: Of the waveform, in Hz.
        n_mels: Mel bands between 0 Hz and half the sample rate.
        n_fft: Window of a frame, in samples.
        hop_length: Samples from one frame to the next; an item of T samples has 1 + T // hop_length frames.
        top_db: Dynamic range kept, in decibels.
        deltas: 0: none; 1: first differences are appended; 2: second ones too.
    """

    def __init__(
        self,
        sample_rate: int,
        n_mels: int = 64,
        n_fft: int = 2048,
        hop_length: int = 512,
        top_db: float = 80.0,
        deltas: int = 0,
    ) -> None:
        super().__init__()
        self.hop_length, self.top_db, self.deltas = hop_length, top_db, deltas
        self.num_features = n_mels * (1 + deltas)
        self.mel = torchaudio.transforms.MelSpectrogram(
            sample_rate,
            n_fft=n_fft,
            hop_length=hop_length,
            n_mels=n_mels,
            f_max=sample_rate / 2,
            norm="slaney",
            mel_scale="slaney",
            pad_mode="constant",
        )

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatureSet.forward`."""
        frames = 1 + length // self.hop_length
        static = masked(self.coefficients(self._decibels(waveform, frames)), frames)
        orders = [static] + [delta(static, frames, order) for order in range(1, self.deltas + 1)]
        return torch.cat(orders, dim=1), frames

    def coefficients(self, decibels: Tensor) -> Tensor:
        """What is made of the mel bands in decibels, shape (B, n_mels, N): here, they themselves."""
        return decibels

    def _decibels(self, waveform: Tensor, frames: Tensor) -> Tensor:
        decibels = 10 * self.mel(waveform).clamp(min=1e-10).log10()
        # A frame beyond the item still sees its last samples; it must not count as the item's loudest.
        inside = frame_mask(frames, decibels.shape[-1])[:, None]
        loudest = decibels.masked_fill(~inside, -torch.inf).amax(dim=(1, 2), keepdim=True)
        return torch.maximum(decibels, loudest - self.top_db)


class Mfcc(LogMel):
    """Mel-frequency cepstral coefficients: `librosa.feature.mfcc`, the orthonormal DCT-II of `LogMel`.

    Args:
        sample_rate: Of the waveform, in Hz.
        n_mfcc: Coefficients kept.
        n_mels: See `LogMel`, as are all others.
        n_fft: See `LogMel`.
        hop_length: See `LogMel`.
        top_db: See `LogMel`.
        deltas: See `LogMel`; `librosa.feature.delta` with its defaults.
    """

    def __init__(
        self,
        sample_rate: int,
        n_mfcc: int = 40,
        n_mels: int = 128,
        n_fft: int = 2048,
        hop_length: int = 512,
        top_db: float = 80.0,
        deltas: int = 0,
    ) -> None:
        super().__init__(sample_rate, n_mels, n_fft, hop_length, top_db, deltas)
        self.num_features = n_mfcc * (1 + deltas)
        self.register_buffer("dct", torchaudio.functional.create_dct(n_mfcc, n_mels, "ortho"), persistent=False)

    def coefficients(self, decibels: Tensor) -> Tensor:
        """The cepstrum of the mel bands, shape (B, n_mfcc, N)."""
        return torch.einsum("bmn,mc->bcn", decibels, self.dct)


def delta(features: Tensor, frames: Tensor, order: int) -> Tensor:
    """The local derivative over time: `librosa.feature.delta(features, order=order)`.

    A polynomial of degree `order` is fitted to nine frames (Savitzky & Golay, 1964). Its `order`-th derivative is the
    same all over the window, so the four frames at either edge take that of the nearest whole window.

    Args:
        features: Shape (B, F, N), zero beyond each item's frames.
        frames: Frames of each item, shape (B,). An item shorter than the window, which librosa refuses, is continued
            with its last frame.
        order: 1 or 2.
    """
    half = DELTA_WINDOW // 2
    time = torch.arange(-half, half + 1, dtype=torch.float64, device=features.device)
    powers = torch.stack([time**power for power in range(order + 1)], dim=1)
    weights = torch.linalg.pinv(powers)[order] * order  # times order!, which is order for 1 and 2

    last = (frames - 1).clamp(min=0)
    padded_to = max(features.shape[-1], DELTA_WINDOW)
    inside = torch.minimum(torch.arange(padded_to, device=features.device), last[:, None])
    continued = torch.take_along_dim(features, inside[:, None], dim=2)

    batch, channels, size = continued.shape
    rows = continued.reshape(batch * channels, 1, size)
    whole = nn.functional.conv1d(rows, weights.to(features.dtype)[None, None]).reshape(batch, channels, -1)
    centre = torch.arange(features.shape[-1], device=features.device) - half
    nearest = torch.minimum(centre.clamp(min=0), (frames[:, None] - DELTA_WINDOW).clamp(min=0))
    return masked(torch.take_along_dim(whole, nearest[:, None], dim=2), frames)
