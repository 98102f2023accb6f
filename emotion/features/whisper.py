"""The first layers of Whisper's encoder, whose weights come with the package."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
import torchaudio.functional as audio_functional
from torch import Tensor, nn
from torch.nn import functional

from emotion.batch import frame_mask, mask_frames
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
    hop_length = _HOP
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
            parts = _split(signal.frames, signal.power.shape[2])
            states, counts = self.network(parts.of(self._log_mel(signal.power, signal.frames)), parts.size)
            states = torch.stack([states[number] for number in self.layers])
            pool = _statistics if self.one_frame else _join
            return pool(states, counts, parts.item, waveform.shape[0])

    def _log_mel(self, power: Tensor, frames: Tensor) -> Tensor:
        """Return Whisper's log-mel spectrogram, shape (B, n_mels, N): the logarithm within 80 dB, over 4.

        Args:
            power: Power spectrum, shape (B, n_bins, N).
            frames: Number of frames of each item, shape (B,).
        """
        power = mask_frames(power, frames)
        mean = power.sum(dim=(1, 2)) / (frames * power.shape[1])
        scaled = power * (_POWER / mean.clamp(min=1e-10))[:, None, None]
        logarithm = (self.bank @ scaled).clamp(min=1e-10).log10()
        maximum = logarithm.amax(dim=(1, 2), keepdim=True)  # frames beyond the end have the lowest value
        return mask_frames(torch.maximum(logarithm, maximum - 8) / 4 + 1, frames)


class _Parts(NamedTuple):
    """Parts of items, at most `_WINDOW` frames each; K of them.

    Attributes:
        item: Index of the item, shape (K,).
        start: First frame within the item, shape (K,).
        size: Number of frames, shape (K,); 0 where an item has fewer parts than others.
        width: Maximum number of frames.
    """

    item: Tensor
    start: Tensor
    size: Tensor
    width: int

    def of(self, mel: Tensor) -> Tensor:
        """Cut spectrograms, shape (B, n_mels, N), into parts, shape (K, n_mels, width), zero beyond their ends."""
        place = torch.arange(self.width, device=mel.device)
        index = (self.start[:, None] + place).clamp(max=mel.shape[2] - 1)
        return mask_frames(mel.transpose(1, 2)[self.item[:, None], index].transpose(1, 2), self.size)


def _split(frames: Tensor, size: int) -> _Parts:
    """Return equal parts of each item.

    Args:
        frames: Number of frames of each item, shape (B,).
        size: Maximum number of frames.
    """
    maximum = (size + _WINDOW - 1) // _WINDOW
    index = torch.arange(frames.shape[0] * maximum, device=frames.device)
    item = index // maximum
    part = index - item * maximum  # ONNX has no remainder of a dynamic size
    own = frames[item]
    n_parts = (own + _WINDOW - 1) // _WINDOW
    smaller, n_larger = own // n_parts, own % n_parts
    sizes = (smaller + (part < n_larger)) * (part < n_parts)
    return _Parts(item, part * smaller + torch.minimum(part, n_larger), sizes, cast(int, torch.sym_min(size, _WINDOW)))


def _statistics(states: Tensor, counts: Tensor, item: Tensor, n_items: int) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation over the frames of each item, shape (B, F, 1), and 1 for each item.

    Args:
        states: Hidden states of parts, shape (L, K, S, size).
        counts: Number of frames of each part, shape (K,).
        item: Index of the item of each part, shape (K,).
        n_items: Number of items, B.
    """
    inside = frame_mask(counts, states.shape[2])[..., None]
    belongs = (item == torch.arange(n_items, device=item.device)[:, None]).to(states.dtype)  # (B, K)
    total = (belongs @ counts.to(states.dtype))[:, None]
    mean = belongs @ (states * inside).sum(dim=2) / total  # (L, B, size)
    deviation = (states - mean[:, item, None]) * inside
    std = (belongs @ deviation.square().sum(dim=2) / total).sqrt()
    pooled = torch.stack([mean, std], dim=1).flatten(0, 1)
    return pooled.transpose(0, 1).flatten(1)[..., None], torch.ones_like(total[:, 0], dtype=torch.int64)


def _join(states: Tensor, counts: Tensor, item: Tensor, n_items: int) -> tuple[Tensor, Tensor]:
    """Return the frames of the parts of each item one after another, shape (B, F, N), and their number, shape (B,).

    Args:
        states: See `_statistics`.
        counts: See `_statistics`.
        item: See `_statistics`.
        n_items: See `_statistics`.
    """
    parts = states.permute(1, 2, 0, 3).flatten(2)  # (K, S, F)
    items: list[list[Tensor]] = [[] for _ in range(n_items)]
    for part, count, number in zip(parts, counts.tolist(), item.tolist(), strict=True):
        items[number].append(part[:count])
    joined = nn.utils.rnn.pad_sequence([torch.cat(own) for own in items], batch_first=True)
    return joined.transpose(1, 2), torch.zeros_like(counts[:n_items]).index_add(0, item, counts)


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

    def forward(self, mel: Tensor, sizes: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the input of the first layer and the output of each, and the number of frames of each item.

        Args:
            mel: Log-mel spectrograms, shape (B, n_mels, N), at most `_WINDOW` frames, zero beyond each item's end.
            sizes: Number of frames of each item, shape (B,).

        Returns:
            States, shape (B, S, size) each, arbitrary beyond each item's frames, and these, shape (B,).
        """
        first = mask_frames(functional.gelu(self.conv1(mel)), sizes)
        states, counts = functional.gelu(self.conv2(first)).transpose(1, 2), (sizes + 1) // 2
        place = torch.arange(states.shape[1], device=mel.device)
        # Smart Turn was trained on the end of speech, at the last positions.
        position = (len(self.positions) - counts[:, None] + place).clamp(max=len(self.positions) - 1)
        found = [states + self.positions[position]]
        outside = place >= counts.clamp(min=1)[:, None]  # an item without frames attends to one, to stay finite
        for layer in self.layers:
            found.append(layer(found[-1], src_key_padding_mask=outside))
        return found, counts


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
