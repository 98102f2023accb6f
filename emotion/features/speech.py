"""Networks that learnt from speech without labels: wav2vec 2.0, HuBERT and WavLM, as torchaudio has them."""

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
"""By name: the network in `torchaudio.models`, its weights in `torchaudio.pipelines`, and whether it takes waveforms of
unit variance."""
_RATE = 16_000
_SHORTEST = 400  # samples that the first frame sees


class SpeechRepresentation(Representation):
    """What the layers of a transformer make of speech, fifty times a second.

    wav2vec 2.0: Baevski et al. (2020), https://arxiv.org/abs/2006.11477; HuBERT: Hsu et al. (2021),
    https://arxiv.org/abs/2106.07447; WavLM: Chen et al. (2022), https://arxiv.org/abs/2110.13900.

    Recordings go through it one by one: the base networks normalise over time, padding included, and torchaudio's WavLM
    takes no mask.

    Args:
        sample_rate: Of the waveforms; 16,000 Hz.
        architecture: Of `ARCHITECTURES`.
        weights: `pretrained`, which are downloaded into torch hub's cache, `none`, or a file with torchaudio's weights.
        layers: `all`, one above the other, for a network that weights them; `middle`, `last`, or the number of one.
        frozen: Whether the weights stay as they are; the features are then computed once and cached.
        learning_rate_factor: See `Representation`.
    """

    def __init__(
        self,
        sample_rate: int,
        architecture: str,
        weights: str = "pretrained",
        layers: Literal["all", "middle", "last"] | NonNegativeInt = "all",
        frozen: bool = True,
        learning_rate_factor: Positive = 0.01,
    ) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise EmotionError(f"architecture={architecture}: {suggest(architecture, ARCHITECTURES)}")
        if sample_rate != _RATE:
            raise EmotionError(f"{architecture} hears {_RATE} Hz: leave data.sample_rate={_RATE}")
        self.weights, self.frozen = weights, frozen
        self.learning_rate_factor = learning_rate_factor
        factory, self.pipeline, self.normalizes = ARCHITECTURES[architecture]
        self.model = getattr(torchaudio.models, factory)()
        every = len(self.model.encoder.transformer.layers)
        self.layers = _chosen(layers, every)
        self.orders = len(self.layers)
        self.num_features = self.orders * self.model.encoder.feature_projection.projection.out_features
        self.train()

    @property
    def bands(self) -> tuple[tuple[str, int], ...]:
        """See `FeatureStack.bands`: a layer each."""
        return tuple((f"layer {number}", self.num_features // self.orders) for number in self.layers)

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
        # A network that was trained on to write down what is said has a last layer for letters.
        fill(self.model, {key: value for key, value in found.items() if not key.startswith("aux.")}, self.weights)

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `Representation.forward`; one frame for every 320 samples, and at least one."""
        with torch.no_grad() if self.frozen else nullcontext():
            items = [self._of(item[:count]) for item, count in zip(waveform, length.tolist(), strict=True)]
        frames = torch.tensor([len(item) for item in items], device=waveform.device)
        return nn.utils.rnn.pad_sequence(items, batch_first=True).transpose(1, 2), frames

    def _of(self, samples: Tensor) -> Tensor:
        """Shape (N, num_features)."""
        samples = nn.functional.pad(samples, (0, max(0, _SHORTEST - len(samples))))
        if self.normalizes:
            samples = nn.functional.layer_norm(samples, samples.shape)
        found, _ = self.model.extract_features(samples[None], num_layers=max(self.layers))
        return torch.cat([found[number - 1][0] for number in self.layers], dim=1)


def _chosen(layers: str | int, every: int) -> list[int]:
    """The numbers of layers, counted from 1."""
    named = {"all": list(range(1, every + 1)), "middle": [(every + 1) // 2], "last": [every]}
    if layers in named:
        return named[layers]
    if isinstance(layers, int) and 1 <= layers <= every:
        return [layers]
    raise EmotionError(f"layers={layers} is neither all, middle, last nor a number from 1 to {every}")
