"""Tiny speech encoders of `transformers` with random weights, as folders."""

import json
from pathlib import Path

WAVEFORM = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 15,
    "num_conv_pos_embedding_groups": 2,
    "feat_extract_norm": "layer",
    "conv_bias": True,
}
STABLE = {"do_stable_layer_norm": True}
GROUP = {"feat_extract_norm": "group", "conv_bias": False}
WHISPER = {
    "d_model": 24,
    "encoder_layers": 3,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "vocab_size": 50,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
KINDS = {
    "wav2vec2": {"model_type": "wav2vec2", **WAVEFORM, **GROUP},
    "xlsr": {"model_type": "wav2vec2", **WAVEFORM, **STABLE},
    "hubert": {"model_type": "hubert", **WAVEFORM, **STABLE},
    "wavlm": {"model_type": "wavlm", **WAVEFORM},
    "data2vec-audio": {"model_type": "data2vec-audio", **WAVEFORM, "num_conv_pos_embeddings": 3},
    "unispeech-sat": {"model_type": "unispeech-sat", **WAVEFORM},
    "whisper": {"model_type": "whisper", **WHISPER},
}
"""Configurations by name."""


def describe_encoder(folder: Path, kind: str) -> Path:
    """Write the JSON files of an encoder into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(KINDS[kind]))
    extractor = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16_000, "do_normalize": True}
    if kind == "whisper":
        extractor = {"feature_extractor_type": "WhisperFeatureExtractor", "sampling_rate": 16_000, "feature_size": 80}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    return folder


def save_encoder(folder: Path, kind: str) -> Path:
    """Write an encoder with random weights into a folder."""
    import torch
    from transformers import AutoConfig, AutoModel

    describe_encoder(folder, kind)
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    return folder
