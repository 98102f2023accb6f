"""Self-supervised speech encoders of torchaudio: wav2vec 2.0, HuBERT and WavLM."""

from contextlib import nullcontext
from typing import Literal

import torch
import torchaudio
from torch import Tensor, nn

from emotion.config.fields import NonNegativeInt, Positive
from emotion.errors import EmotionError, suggest
from emotion.features.base import Representation
from emotion.features.pretrained import fill, weights_of

ARCHITECTURES = {
    "wav2vec2_base": ("wav2vec2_base", "WAV2VEC2_BASE", False),
    "wav2vec2_large": ("wav2vec2_large", "WAV2VEC2_LARGE", False),
    "wav2vec2_large_lv60k": ("wav2vec2_large_lv60k", "WAV2VEC2_LARGE_LV60K", True),
    "wav2vec2_xlsr_300m": ("wav2vec2_xlsr_300m", "WAV2VEC2_XLSR_300M", True),
    "hubert_base": ("hubert_base", "HUBERT_BASE", False),
    "hubert_large": ("hubert_large", "HUBERT_LARGE", True),
    "wavlm_base": ("wavlm_base", "WAVLM_BASE", False),
    "wavlm_base_plus": ("wavlm_base", "WAVLM_BASE_PLUS", False),
    "wavlm_large": ("wavlm_large", "WAVLM_LARGE", True),
}
"""By name: the factory in `torchaudio.models`, the weights in `torchaudio.pipelines`, and True if the input is
normalised to zero mean and unit variance."""
_RATE = 16_000
_MIN_SAMPLES = 400  # receptive field of a frame


class SpeechRepresentation(Representation):
    """Hidden states of the layers of a speech transformer, at 50 Hz.

    wav2vec 2.0: Baevski et al. (2020), https://arxiv.org/abs/2006.11477; HuBERT: Hsu et al. (2021),
    https://arxiv.org/abs/2106.07447; WavLM: Chen et al. (2022), https://arxiv.org/abs/2110.13900.

    Recordings are encoded one by one: the base networks normalise over time including padding, and torchaudio's WavLM
    takes no mask.

    Args:
        sample_rate: Sampling rate, in Hz; must be 16,000.
        architecture: Name in `ARCHITECTURES`.
        weights: `pretrained` (downloaded into torch hub's cache), `none`, or a file with torchaudio's weights.
        layers: `all` (stacked, for a backbone that weights them), `middle`, `last`, or the number of a layer from 1.
        freeze: Do not train the weights; the features are then computed once and cached (default: True).
        lr_multiplier: See `Representation`.

    Raises:
        EmotionError: the architecture is unknown, or the sampling rate or the layer does not fit.
    """

    def __init__(
        self,
        sample_rate: int,
        architecture: str,
        weights: str = "pretrained",
        layers: Literal["all", "middle", "last"] | NonNegativeInt = "all",
        freeze: bool = True,
        lr_multiplier: Positive = 0.01,
    ) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise EmotionError(f"architecture={architecture}: {suggest(architecture, ARCHITECTURES)}")
        if sample_rate != _RATE:
            raise EmotionError(f"{architecture} needs audio at {_RATE} Hz: set data.sample_rate={_RATE}")
        self.weights, self.freeze = weights, freeze
        self.lr_multiplier = lr_multiplier
        factory, self.pipeline, self.normalizes = ARCHITECTURES[architecture]
        self.model = getattr(torchaudio.models, factory)()
        self.layers = layer_numbers(layers, len(self.model.encoder.transformer.layers))
        self.num_channels = len(self.layers)
        self.num_features = self.num_channels * self.model.encoder.feature_projection.projection.out_features
        self.train()

    @property
    def feature_groups(self) -> tuple[tuple[str, int], ...]:
        """See `FeatureStack.feature_groups`; each layer is a group."""
        return tuple((f"layer {number}", self.num_features // self.num_channels) for number in self.layers)

    def load_pretrained(self) -> None:
        """See `Representation.load_pretrained`."""
        if self.weights == "none":
            return
        bundle = getattr(torchaudio.pipelines, self.pipeline)
        options = {"progress": False, "weights_only": True}
        known = {
            "pretrained": (
                f"torchaudio.pipelines.{self.pipeline}",
                lambda: bundle.get_model(dl_kwargs=options).state_dict(),
            )
        }
        found = {key.removeprefix("model."): value for key, value in weights_of(self.weights, known).items()}
        # Networks that were fine-tuned for speech recognition have an output layer for letters.
        fill(self.model, {key: value for key, value in found.items() if not key.startswith("aux.")}, self.weights)

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `Representation.forward`; there is one frame for each 320 samples, and at least one."""
        with torch.no_grad() if self.freeze else nullcontext():
            items = [self._encode(item[:count]) for item, count in zip(waveform, length.tolist(), strict=True)]
        frames = torch.tensor([len(item) for item in items], device=waveform.device)
        return nn.utils.rnn.pad_sequence(items, batch_first=True).transpose(1, 2), frames

    def _encode(self, samples: Tensor) -> Tensor:
        """Return the features, shape (N, num_features), of a waveform of shape (T,)."""
        samples = nn.functional.pad(samples, (0, max(0, _MIN_SAMPLES - len(samples))))
        if self.normalizes:
            samples = nn.functional.layer_norm(samples, samples.shape)
        hidden_states, _ = self.model.extract_features(samples[None], num_layers=max(self.layers))
        return torch.cat([hidden_states[number - 1][0] for number in self.layers], dim=1)


def layer_numbers(layers: str | int, n_layers: int) -> list[int]:
    """Return the numbers of the selected layers, counted from 1.

    Raises:
        EmotionError: there is no such layer.
    """
    named = {"all": list(range(1, n_layers + 1)), "middle": [(n_layers + 1) // 2], "last": [n_layers]}
    if isinstance(layers, str) and layers in named:
        return named[layers]
    if isinstance(layers, int) and 1 <= layers <= n_layers:
        return [layers]
    raise EmotionError(f"layers={layers}: all, middle, last, or a number from 1 to {n_layers} is allowed")
