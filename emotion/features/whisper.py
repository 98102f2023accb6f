"""The first layers of Whisper's encoder, whose weights come with the package."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torchaudio.functional as audio_functional
from torch import Tensor, nn
from torch.nn import functional

from emotion.errors import EmotionError
from emotion.features.base import Representation, Signal

WEIGHTS_FILE = Path(__file__).with_name("whisper_tiny_smart_turn.npz")
SIZE, HEADS, N_MELS = 384, 6, 80
_RATE, _N_FFT, _HOP = 16_000, 400, 160  # Hz, samples, samples
_WINDOW = 800  # mel frames, of which the encoder knows the positions: 8 s
_POWER = 600.0  # mean of the power spectrum of a waveform whose root mean square is 2, as in 2 s of speech within 8 s


class WhisperEncoder(Representation):
    """Hidden states of the first layers of Whisper tiny's encoder, at 50 Hz, or their statistics over a recording.

    Whisper: Radford et al. (2022), https://arxiv.org/abs/2212.04356. The weights are those of Smart Turn v3.2 (Daily,
    2025, https://github.com/pipecat-ai/smart-turn, BSD 2-clause), which fine-tuned the encoder to detect in speech of
    23 languages whether a speaker has finished. Layers 1 and 2 are packaged, with 8-bit weights, and are never trained.

    Recordings are scaled to one level. Those beyond 8 s are encoded in equal parts.

    Args:
        sample_rate: Sampling rate, in Hz; must be 16,000.
        layers: Layers whose states are stacked: 0 is the input of layer 1, behind the convolutions (default:
            all).
        pooling: `statistics` (default) for mean and standard deviation over a recording, one vector, or `none`.

    Raises:
        EmotionError: the sampling rate is another one, or `layers` is empty or names one twice.
    """

    has_spectrum = True
    bank: Tensor

    def __init__(
        self,
        sample_rate: int,
        layers: tuple[Literal[0, 1, 2], ...] = (0, 1, 2),
        pooling: Literal["statistics", "none"] = "statistics",
    ) -> None:
        super().__init__()
        if sample_rate != _RATE:
            raise EmotionError(f"whisper needs audio at {_RATE} Hz: set data.sample_rate={_RATE}")
        if not layers or len(set(layers)) < len(layers):
            raise EmotionError("layers names no layer, or one twice; 0, 1 and 2 are allowed")
        self.layers, self.one_frame = tuple(layers), pooling == "statistics"
        self.num_channels = len(layers) * (1 + self.one_frame)
        self.num_features = self.num_channels * SIZE
        self.network = _Network(max(layers))
        bank = audio_functional.melscale_fbanks(
            1 + _N_FFT // 2, 0.0, _RATE / 2, N_MELS, _RATE, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("bank", bank.T.contiguous(), persistent=False)
        self.train()

    @property
    def feature_groups(self) -> tuple[tuple[str, int], ...]:
        """See `FeatureStack.feature_groups`; each layer is a group, or its means and its standard deviations are."""
        statistics = (" mean", " std") if self.one_frame else ("",)
        return tuple((f"layer {number}{name}", SIZE) for number in self.layers for name in statistics)

    def forward(
        self, waveform: Tensor, length: Tensor, warp: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Representation.forward`.

        Args:
            waveform: Waveforms, shape (B, T), zero beyond each item's length.
            length: Number of samples of each item, shape (B,).
            warp: Function that changes the power spectrum (default: none).
        """
        signal = Signal(waveform, length, _N_FFT, _HOP, warp)
        with torch.no_grad():
            items = [
                self._encode(power[:, :count])
                for power, count in zip(signal.power, signal.frames.tolist(), strict=True)
            ]
        frames = torch.tensor([len(item) for item in items], device=waveform.device)
        return nn.utils.rnn.pad_sequence(items, batch_first=True).transpose(1, 2), frames

    def _encode(self, power: Tensor) -> Tensor:
        """Return the features, shape (N, num_features), of a power spectrum of shape (n_bins, n_frames)."""
        mel = self._log_mel(power)
        parts = mel.tensor_split(-(-mel.shape[1] // _WINDOW), dim=1)
        encoded = torch.cat([torch.stack(self.network(part[None]))[list(self.layers), 0] for part in parts], dim=1)
        if self.one_frame:
            return torch.stack([encoded.mean(dim=1), encoded.std(dim=1, correction=0)], dim=1).flatten()[None]
        return encoded.transpose(0, 1).flatten(1)

    def _log_mel(self, power: Tensor) -> Tensor:
        """Return Whisper's log-mel spectrogram, shape (n_mels, n_frames): the logarithm within 80 dB, over 4."""
        scaled = power * (_POWER / power.mean().clamp(min=1e-10))
        logarithm = (self.bank @ scaled).clamp(min=1e-10).log10()
        return torch.maximum(logarithm, logarithm.max() - 8) / 4 + 1


class _Network(nn.Module):
    """Two convolutions and the first transformer layers; the weights are in the package, so not in checkpoints."""

    positions: Tensor

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(N_MELS, SIZE, 3, padding=1)
        self.conv2 = nn.Conv1d(SIZE, SIZE, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(SIZE, HEADS, 4 * SIZE, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(n_layers)
        )
        self.register_buffer("positions", torch.zeros(_WINDOW // 2, SIZE))
        packaged = packaged_weights()
        self.load_state_dict({name: packaged[name] for name in self.state_dict()})
        self.requires_grad_(False)
        self.register_state_dict_post_hook(_leave_out)
        self.register_load_state_dict_pre_hook(_put_back)

    def forward(self, mel: Tensor) -> list[Tensor]:
        """Return the input of the first layer and the output of each, shape (1, N, size) each.

        Args:
            mel: Log-mel spectrogram, shape (1, n_mels, n_frames), at most `_WINDOW` frames.
        """
        states = functional.gelu(self.conv2(functional.gelu(self.conv1(mel)))).transpose(1, 2)
        # Smart Turn was trained on the end of speech, at the last positions.
        found = [states + self.positions[-states.shape[1] :]]
        for layer in self.layers:
            found.append(layer(found[-1]))
        return found


def _leave_out(network: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        del state[name]


def _put_back(network: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    own = dict(network.named_parameters()) | dict(network.named_buffers())
    state.update({prefix + name: value for name, value in own.items()})


@cache
def packaged_weights() -> Mapping[str, Tensor]:
    """Return the weights that come with the package, float32."""
    with np.load(WEIGHTS_FILE, allow_pickle=False) as file:
        arrays = dict(file)
    return {
        name: torch.from_numpy(array.astype(np.float32) * arrays.get(f"{name}.scale", np.float32(1)))
        for name, array in arrays.items()
        if not name.endswith(".scale")
    }
