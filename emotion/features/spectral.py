"""Mel spectrogram and MFCC, equal to librosa's."""

import torch
import torchaudio.functional
from torch import Tensor

from emotion.config.fields import Bands, NonNegative, Positive
from emotion.errors import EmotionError
from emotion.features.base import FeatureSet, Signal, to_decibels


class LogMel(FeatureSet):
    """Mel spectrogram in decibels, equal to `librosa.power_to_db(librosa.feature.melspectrogram(...))`.

    Args:
        sample_rate: Sampling rate, in Hz.
        n_fft: Length of a frame, in samples.
        n_mels: Number of mel bands from `f_min` to half the sampling rate, on Slaney's scale and with his norm.
        top_db: Dynamic range below the maximum of the item, in decibels.
        f_min: Lower limit of the first band, in Hz (default: 0). A limit of 80 Hz excludes mains hum and rumble and
            little of a voice.

    Raises:
        EmotionError: `f_min` is negative or not below half the sampling rate.
    """

    bank: Tensor

    def __init__(
        self, sample_rate: int, n_fft: int, n_mels: Bands = 64, top_db: Positive | None = 80.0, f_min: NonNegative = 0.0
    ) -> None:
        super().__init__()
        if not 0 <= f_min < sample_rate / 2:
            raise EmotionError(f"f_min={f_min:g} is not between 0 and half the sample rate, {sample_rate / 2:g} Hz")
        self.top_db, self.f_min, self.num_features = top_db, f_min, n_mels
        bank = torchaudio.functional.melscale_fbanks(
            1 + n_fft // 2, f_min, sample_rate / 2, n_mels, sample_rate, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("bank", bank, persistent=False)

    def forward(self, signal: Signal) -> Tensor:
        """See `FeatureSet.forward`."""
        mel = torch.einsum("bfn,fm->bmn", signal.power, self.bank)
        return to_decibels(mel, signal.frames, self.top_db)


class Mfcc(LogMel):
    """Mel-frequency cepstral coefficients, equal to `librosa.feature.mfcc`: the orthonormal DCT-II of `LogMel`.

    Args:
        sample_rate: See `LogMel`.
        n_fft: See `LogMel`.
        n_mfcc: Number of coefficients.
        n_mels: See `LogMel`.
        top_db: See `LogMel`.
        f_min: See `LogMel`.
    """

    dct: Tensor

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        n_mfcc: Bands = 40,
        n_mels: Bands = 128,
        top_db: Positive | None = 80.0,
        f_min: NonNegative = 0.0,
    ) -> None:
        super().__init__(sample_rate, n_fft, n_mels, top_db, f_min)
        self.num_features = n_mfcc
        self.register_buffer("dct", torchaudio.functional.create_dct(n_mfcc, n_mels, "ortho"), persistent=False)

    def forward(self, signal: Signal) -> Tensor:
        """See `FeatureSet.forward`."""
        return torch.einsum("bmn,mc->bcn", super().forward(signal), self.dct)
