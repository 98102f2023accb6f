"""Augmentation by lossy audio codecs."""

from typing import Annotated

import torch
import torchaudio.functional
from annotated_types import Len
from torch import Tensor

from emotion.augment.base import WaveformAugmentation, choose_items
from emotion.config.fields import UnitInterval
from emotion.media.codec import CODECS, encode_and_decode, require_codecs


class Codec(WaveformAugmentation):
    """Encode items with a lossy codec, at a bit rate drawn from those in `CODECS`, and decode them; on the CPU.

    Args:
        sample_rate: Sampling rate, in Hz.
        codecs: Names in `emotion.media.codec.CODECS`, one of which is drawn for each item (default: all).
        probability: Probability that an item is changed (default: 0.2).

    Raises:
        EmotionError: a codec is unknown or missing.
    """

    def __init__(
        self,
        sample_rate: int,
        codecs: Annotated[tuple[str, ...], Len(1)] = tuple(CODECS),
        probability: UnitInterval = 0.2,
    ) -> None:
        super().__init__()
        require_codecs(codecs)
        self.sample_rate, self.codecs, self.probability = sample_rate, codecs, probability

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `WaveformAugmentation`."""
        changed = waveform.clone()
        for row in choose_items(length, self.probability).nonzero()[:, 0].tolist():
            changed[row, : length[row]] = self._passed_through(waveform[row, : length[row]])
        return changed, length

    def _passed_through(self, signal: Tensor) -> Tensor:
        codec = CODECS[self.codecs[int(torch.randint(len(self.codecs), ()))]]
        bit_rate = codec.bit_rates[int(torch.randint(len(codec.bit_rates), ()))] if codec.bit_rates else None
        narrow = torchaudio.functional.resample(signal.cpu(), self.sample_rate, codec.sample_rate)
        decoded, rate = encode_and_decode(narrow.numpy(), codec, bit_rate)
        wide = torchaudio.functional.resample(torch.from_numpy(decoded), rate, self.sample_rate)
        return torch.nn.functional.pad(wide, (0, max(0, len(signal) - len(wide))))[: len(signal)].to(signal)
