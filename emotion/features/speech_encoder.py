"""Speech encoders of the library `transformers`, by name on the Hugging Face Hub or from a folder."""

import re
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Annotated, Any, Literal, cast

import torch
from annotated_types import Interval
from torch import Tensor, nn

from emotion.config.fields import Count, NonNegativeInt, Positive
from emotion.errors import EmotionError, error_message
from emotion.features.base import Representation
from emotion.features.speech import layer_numbers
from emotion.features.transformers_library import (
    WHISPER,
    build_extractor,
    build_network,
    describe_encoder,
    from_library,
)

_WHISPER_HOP = 320  # samples from one frame to the next


class SpeechEncoder(Representation):
    """Hidden states of the layers of a speech encoder of `transformers`: frozen, fine-tuned, or with LoRA.

    wav2vec 2.0, XLS-R, MMS, HuBERT, WavLM, data2vec-audio, UniSpeech, UniSpeech-SAT, and the encoder of Whisper. LoRA:
    Hu et al. (2021), https://arxiv.org/abs/2106.09685.

    Padding does not change the features of an item. Encoders that have no exact mask (those which normalise over time,
    and data2vec-audio) encode recordings of different lengths one by one. Whisper's encoder takes 30 s; longer
    recordings are encoded in parts.

    Dropout of layers and of spans of time, which some encoders bring for fine-tuning, is switched off: `augment` has
    the latter.

    Args:
        sample_rate: Sampling rate, in Hz; must be that of the encoder.
        encoder: Name on the Hub, or a folder that `save_pretrained` of `transformers` wrote. Code in it is not run.
        revision: Commit, branch or tag on the Hub (default: the main branch).
        architecture: Configuration of the encoder and of its input (default: that of `encoder`). A training fills it
            in, so that its run is loaded without `encoder`.
        layers: `all` (stacked, for a backbone that weights them), `middle`, `last`, or the number of a layer from 1.
        finetune: What is trained: `none` (the features are then computed once and cached), `lora` (low-rank changes of
            queries and values; in WavLM of the feed-forward layers), `all` (apart from the convolutions on the
            waveform), or the number of last layers.
        lora_rank: Rank of the changes with `finetune=lora`.
        lr_multiplier: Multiplier of the learning rate of pretrained weights; that of LoRA's weights is 1.
        layer_decay: Factor of the learning rate from each layer to the one below, in (0, 1].
        gradient_checkpointing: Compute the layers again in the backward pass, to save memory.

    Raises:
        EmotionError: `transformers` or `peft` is not installed; the encoder cannot be read, or is of another kind; the
            sampling rate, the layer or the number of layers does not fit.
    """

    def __init__(
        self,
        sample_rate: int,
        encoder: str | None,
        revision: str | None = None,
        architecture: dict[str, Any] | None = None,
        layers: Literal["all", "middle", "last"] | NonNegativeInt = "last",
        finetune: Literal["none", "lora", "all"] | Count = "none",
        lora_rank: Count = 8,
        lr_multiplier: Positive = 0.01,
        layer_decay: Annotated[float, Interval(gt=0, le=1)] = 1.0,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        described = architecture or describe_encoder(encoder, revision)
        self.encoder, self.revision, self.finetune = encoder, revision, finetune
        self.freeze = finetune == "none"
        rate = described["input"].get("sampling_rate")
        if sample_rate != rate:
            raise EmotionError(f"{encoder} needs audio at {rate} Hz: set data.sample_rate={rate}")
        self.model, self.input = build_network(described["model"]), described["input"]
        self.kind = described["model"]["model_type"]
        n_layers = len(self.blocks)
        if isinstance(finetune, int) and finetune > n_layers:
            raise EmotionError(f"finetune={finetune}: {encoder} has {n_layers} layers")
        self.layers = layer_numbers(layers, n_layers)
        self.num_channels = len(self.layers)
        self.num_features = self.num_channels * self.model.config.hidden_size
        self.lr_multiplier = 1.0 if finetune == "lora" else lr_multiplier
        for number, block in enumerate(cast(list[Any], self.blocks)):
            block.lr_multiplier = self.lr_multiplier * layer_decay ** (n_layers - 1 - number)
        if finetune == "lora":
            _add_lora(self.model, self.kind, lora_rank)
        if gradient_checkpointing and not self.freeze:
            with warnings.catch_warnings():  # of its new name, which earlier versions lack
                warnings.simplefilter("ignore", FutureWarning)
                self.model.gradient_checkpointing_enable()
        self.freeze_weights()
        self.train()

    @classmethod
    def complete(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See `AcousticFeatures.complete`: the architecture, and the commit on the Hub."""
        if arguments.get("architecture"):
            return {}
        revision = arguments.get("revision")
        described = describe_encoder(arguments["encoder"], revision)
        return {"revision": described.pop("commit") or revision, "architecture": described}

    @property
    def blocks(self) -> nn.ModuleList:
        """The layers of the network."""
        return cast(nn.ModuleList, self.model.layers if self.kind == WHISPER else self.model.encoder.layers)

    @property
    def feature_groups(self) -> tuple[tuple[str, int], ...]:
        """See `FeatureStack.feature_groups`; each layer is a group."""
        return tuple((f"layer {number}", self.num_features // self.num_channels) for number in self.layers)

    def freeze_weights(self) -> None:
        """See `Representation.freeze_weights`."""
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_("lora_" in name if self.finetune == "lora" else self.finetune == "all")
        for part in self._untrained_input:
            part.requires_grad_(False)
        if isinstance(self.finetune, int):
            self.blocks[len(self.blocks) - self.finetune :].requires_grad_(True)
        if self._final_norm is not None:
            self._final_norm.requires_grad_(self.finetune == "all" or isinstance(self.finetune, int))
        # Weights that get no gradient would stop a fit on several GPUs.
        if max(self.layers) < len(self.blocks):
            self.blocks[max(self.layers) :].requires_grad_(False)
            if self._final_norm is not None:
                self._final_norm.requires_grad_(False)

    @property
    def _untrained_input(self) -> list[nn.Module | nn.Parameter]:
        """The parts before the layers that are never trained."""
        if self.kind == WHISPER:
            return [self.model.embed_positions]
        masked = getattr(self.model, "masked_spec_embed", None)
        return [self.model.feature_extractor, *([] if masked is None else [masked])]

    @property
    def _final_norm(self) -> nn.Module | None:
        """The normalisation after the last layer, if there is one."""
        if self.kind == WHISPER:
            return self.model.layer_norm
        return self.model.encoder.layer_norm if getattr(self.model.config, "do_stable_layer_norm", False) else None

    def load_pretrained(self) -> None:
        """See `Representation.load_pretrained`."""
        if self.encoder is None:
            raise EmotionError("model.encoder is missing")
        model = from_library("AutoModel", self.encoder, self.revision)
        model = model.get_encoder() if self.kind == WHISPER else model
        weights = model.state_dict()
        if self.finetune == "lora":
            weights = {_with_lora(name, self.kind): value for name, value in weights.items()}
        # The size of the encoder in a folder may differ from that in `architecture`, of an earlier run.
        try:
            found = self.model.load_state_dict(weights, strict=False)
        except RuntimeError as error:
            raise EmotionError(f"encoder={self.encoder} is another network: {error_message(error)}") from error
        missing = [name for name in found.missing_keys if "lora_" not in name]
        if missing or found.unexpected_keys:
            raise EmotionError(f"encoder={self.encoder} is another network: {[*missing, *found.unexpected_keys][0]}")

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """See `Representation.forward`; there is one frame for each 20 ms in most encoders, and at least one."""
        encode = self._encode_parts if self.kind == WHISPER else self._encode_waveforms
        with torch.no_grad() if self.freeze else nullcontext():
            items = encode([item[:count] for item, count in zip(waveform, length.tolist(), strict=True)])
        frames = torch.tensor([len(item) for item in items], device=waveform.device)
        return nn.utils.rnn.pad_sequence(items, batch_first=True).transpose(1, 2), frames

    def _encode_waveforms(self, items: list[Tensor]) -> list[Tensor]:
        """Return the features, shape (N, num_features), of waveforms of shape (T,)."""
        shortest = _receptive_field(self.model.config)
        items = [nn.functional.pad(item, (0, max(0, shortest - len(item)))) for item in items]
        if self.input.get("do_normalize"):
            # As in the library: over the samples of the item alone.
            items = [(item - item.mean()) / (item.var(unbiased=False) + 1e-7).sqrt() for item in items]
        if self._has_exact_mask:
            return self._encode_batch(items)
        by_length: dict[int, list[int]] = {}
        for index, item in enumerate(items):
            by_length.setdefault(len(item), []).append(index)
        found: dict[int, Tensor] = {}
        for indices in by_length.values():
            found |= zip(indices, self._encode_batch([items[index] for index in indices]), strict=True)
        return [found[index] for index in range(len(items))]

    @property
    def _has_exact_mask(self) -> bool:
        """True if a padded batch gives what its items give one by one, up to rounding."""
        return self.model.config.feat_extract_norm == "layer" and self.kind != "data2vec-audio"

    def _encode_batch(self, items: list[Tensor]) -> list[Tensor]:
        sizes = torch.tensor([len(item) for item in items], device=items[0].device)
        padded = nn.utils.rnn.pad_sequence(items, batch_first=True)
        mask = (torch.arange(padded.shape[1], device=sizes.device) < sizes[:, None]).long()
        # Without padding there is no mask, with which the attention is slower.
        masked = {} if bool((sizes == padded.shape[1]).all()) else {"attention_mask": mask}
        states = self._states(padded, **masked)
        frames = self.model._get_feat_extract_output_lengths(sizes).tolist()
        return [item[:count] for item, count in zip(states, frames, strict=True)]

    def _encode_parts(self, items: list[Tensor]) -> list[Tensor]:
        """Return the features of waveforms by Whisper's encoder, in parts of at most 30 s."""
        extractor = build_extractor(self.input)
        size = int(extractor.n_samples)
        parts = [part for item in items for part in item.split(size)]
        counts = [len(item.split(size)) for item in items]
        arrays = [part.detach().float().cpu().numpy() for part in parts]
        found = extractor(arrays, sampling_rate=self.input["sampling_rate"], return_tensors="pt")
        states = self._states(found["input_features"].to(items[0].device))
        cut = [state[: -(-len(part) // _WHISPER_HOP)] for state, part in zip(states, parts, strict=True)]
        starts = torch.tensor([0, *counts]).cumsum(0).tolist()
        return [torch.cat(cut[start : start + count]) for start, count in zip(starts, counts, strict=False)]

    def _states(self, values: Tensor, **options: Tensor) -> Tensor:
        """Return the states of the layers, shape (B, N, num_features)."""
        found = self.model(values, output_hidden_states=True, **options)
        # The output of the encoder may be normalised after its last layer.
        states = [*found.hidden_states[:-1], found.last_hidden_state]
        return torch.cat([states[number] for number in self.layers], dim=2)


def _add_lora(model: nn.Module, kind: str, rank: int) -> None:
    try:
        import peft
    except ImportError as error:
        raise EmotionError("peft is not installed: pip install 'emotion[transformers]'") from error
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=_lora_targets(kind))
    peft.inject_adapter_in_model(config, model)


def _lora_targets(kind: str) -> list[str]:
    """Return the names of the linear layers that LoRA changes."""
    # The attention of WavLM takes the weights of its projections themselves, past LoRA.
    return ["intermediate_dense", "output_dense"] if kind == "wavlm" else ["q_proj", "v_proj"]


def _with_lora(name: str, kind: str) -> str:
    """Return the name of a weight in a network with LoRA."""
    targets = "|".join(_lora_targets(kind))
    return re.sub(rf"\.({targets})\.(weight|bias)$", r".\1.base_layer.\2", name)


def _receptive_field(config: Any) -> int:
    """Return the number of samples from which one frame is computed."""
    samples = 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples
