"""Loading and building of speech and video encoders with the library `transformers`."""

import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emotion.errors import EmotionError, error_message

CONVOLUTIONAL = ("data2vec-audio", "hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm")
"""Kinds of encoders that take waveforms; XLS-R and MMS are of the kind `wav2vec2`."""
WHISPER = "whisper"
VIDEO = ("timesformer", "videomae", "vivit")
"""Kinds of encoders that take video."""
_LEFT_OUT = ("id2label", "label2id", "_name_or_path", "transformers_version", "torch_dtype", "dtype")
"""Keys of a configuration of `transformers` that do not describe the encoder."""


def describe_encoder(encoder: str | None, revision: str | None = None) -> dict[str, Any]:
    """Return the configuration of an encoder and of its input, as plain data.

    Args:
        encoder: See `SpeechEncoder`.
        revision: See `SpeechEncoder`.

    Returns:
        Under `model`, the configuration of the encoder; under `input`, that of its input; under `commit`, the commit on
        the Hub, or None for a folder.

    Raises:
        EmotionError: see `SpeechEncoder`.
    """
    if encoder is None:
        raise EmotionError("model.encoder is missing: the name of a speech encoder on the Hub, or its folder")
    return _describe(encoder, revision, (*CONVOLUTIONAL, WHISPER), "AutoFeatureExtractor")


def describe_video_encoder(encoder: str | None, revision: str | None = None) -> dict[str, Any]:
    """Return the configuration of a video encoder, see `describe_encoder`."""
    if encoder is None:
        raise EmotionError("model.backbone.encoder is missing: the name of a video encoder on the Hub, or its folder")
    return _describe(encoder, revision, VIDEO, "AutoImageProcessor")


def _describe(encoder: str, revision: str | None, kinds: Sequence[str], processor: str) -> dict[str, Any]:
    config = from_library("AutoConfig", encoder, revision)
    if config.model_type not in kinds:
        raise EmotionError(f"encoder={encoder} is of the kind {config.model_type}; known kinds are {', '.join(kinds)}")
    described = from_library(processor, encoder, revision).to_dict()
    commit = getattr(config, "_commit_hash", None)
    return {"model": _plain(config.to_dict()), "input": _plain(described), "commit": commit}


def _plain(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain data of a configuration, without keys that do not describe the encoder."""
    kept = {key: value for key, value in described.items() if key not in _LEFT_OUT}
    allowed = (str, int, float, bool, list, tuple, type(None))
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in kept.items()
        if isinstance(value, allowed)
    }


def build_network(described: Mapping[str, Any]) -> Any:
    """Return an encoder with random weights.

    Args:
        described: What `describe_encoder` returns under `model`.

    Raises:
        EmotionError: `transformers` is not installed, or the configuration is not valid.
    """
    transformers = _library()
    # Parts that change from step to step in fine-tuning; short recordings would stop the masking of time.
    off = {"apply_spec_augment": False, "layerdrop": 0.0, "encoder_layerdrop": 0.0}
    options = {key: off.get(key, value) for key, value in described.items() if key != "model_type"}
    try:
        model = transformers.AutoModel.from_config(
            transformers.AutoConfig.for_model(described["model_type"], **options)
        )
    except Exception as error:  # the configuration may be anybody's
        raise EmotionError(f"the architecture of the encoder is not valid: {error_message(error)}") from error
    return model.get_encoder() if described["model_type"] == WHISPER else model


def build_extractor(described: Mapping[str, Any]) -> Any:
    """Return what computes the input of Whisper; `described` is what `describe_encoder` returns under `input`."""
    return _library().WhisperFeatureExtractor(**{k: v for k, v in described.items() if k != "feature_extractor_type"})


def _library() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise EmotionError("transformers is not installed: pip install 'emotion[transformers]'") from error
    transformers.utils.logging.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it reports each of its attempts
    transformers.utils.logging.disable_progress_bar()
    # WavLM passes a mask of numbers beside one of truth values to PyTorch.
    warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
    return transformers


def from_library(name: str, encoder: str, revision: str | None) -> Any:
    """Return what a class of `transformers` loads from a folder or the Hub.

    Args:
        name: Name of the class.
        encoder: See `SpeechEncoder`.
        revision: See `SpeechEncoder`.

    Raises:
        EmotionError: `transformers` is not installed, or the encoder cannot be read.
    """
    loader = getattr(_library(), name)
    if not Path(encoder).exists() and (Path(encoder).is_absolute() or encoder.startswith((".", "~"))):
        raise EmotionError(f"encoder={encoder}: there is no such folder")
    try:
        return loader.from_pretrained(encoder, revision=revision or "main", trust_remote_code=False)
    except Exception as error:  # damaged files and failed downloads raise many types
        reason = re.split(r"\.\s", str(error).strip())[0]
        raise EmotionError(f"encoder={encoder} cannot be read: {reason[:300]}") from error
