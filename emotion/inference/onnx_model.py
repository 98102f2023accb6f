"""Prediction with an exported ONNX model, without torch."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from emotion.errors import EmotionError, error_message
from emotion.inference.recordings import Recording
from emotion.media.int16 import INT16_FULL_SCALE
from emotion.prepare.modalities import Audio, Faces, Prepared, faces_of

KEY, FORMAT = "emotion", 2
"""Key of the metadata in the file, and their version."""
INPUTS = {
    "waveform": "(batch, samples) float32, mono, full scale [-1, 1], zero after each recording's end",
    "waveform_length": "(batch,) int64, number of samples of each recording; 0 if it has no audio",
    "faces": "(batch, frames, 1 or 3, size, size) uint8, grey or RGB",
    "face_count": "(batch,) int64, number of frames of each recording; 0 if it has no face",
}
"""The inputs of an exported model."""
OUTPUTS = ("probabilities", "distance")
"""The outputs of an exported model; the second is there if it is known."""
_INPUTS_OF = {"audio": ("waveform", "waveform_length"), "face": ("faces", "face_count")}


def inputs_of(modalities: Iterable[str]) -> list[str]:
    """Return the names of the inputs of an exported model, in order.

    Args:
        modalities: Modalities of the model.

    Raises:
        EmotionError: a modality cannot be exported.
    """
    modalities = list(modalities)
    for modality in modalities:
        if modality not in _INPUTS_OF:
            raise EmotionError(f"a model of {modality.replace('_', ' ')} cannot be exported")
    return [name for modality in modalities for name in _INPUTS_OF[modality]]


def arrays_of(modalities: Prepared, recordings: Sequence[Recording]) -> dict[str, np.ndarray]:
    """Return the inputs of an exported model for a batch of recordings."""
    arrays = {}
    if "audio" in modalities:
        samples, length = _pad([recording.arrays.get("audio", np.zeros(0, np.int16)) for recording in recordings])
        arrays |= {"waveform": samples.astype(np.float32) / INT16_FULL_SCALE, "waveform_length": length}
    if "face" in modalities:
        options = faces_of(modalities).options
        nothing = np.zeros((0, *options.shape), np.uint8)
        crops, count = _pad([recording.arrays.get("face", nothing) for recording in recordings])
        arrays |= {"faces": np.ascontiguousarray(crops.transpose(0, 1, 4, 2, 3)), "face_count": count}
    return arrays


def _pad(items: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return a zero-padded batch, shape (B, T, …), and the length of each item, shape (B,)."""
    length = np.array([len(item) for item in items], np.int64)
    padded = np.zeros((len(items), max(1, length.max()), *items[0].shape[1:]), items[0].dtype)
    for row, item in zip(padded, items, strict=True):
        row[: len(item)] = item
    return padded, length


class OnnxModel:
    """A model that `emotion export --format onnx` wrote; see `emotion.inference.predictor.Model`.

    Args:
        path: ONNX file.

    Attributes:
        description: Metadata of the file, see `emotion.inference.export.describe`.

    Raises:
        EmotionError: the file cannot be used.
    """

    needs_groups = False

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise EmotionError("onnxruntime is not installed: pip install 'emotion[onnx]'") from error
        if not path.is_file():
            raise EmotionError(f"{path}: no such file")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors, which are raised too
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 0))  # 0: one for each core
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            raise EmotionError(f"{path} is not an ONNX model that can be read: {error_message(error)}") from error
        described = self.session.get_modelmeta().custom_metadata_map.get(KEY)
        if described is None:
            raise EmotionError(f"{path} was not written by emotion export: it has no metadata of its inputs")
        try:
            self._read_metadata(json.loads(described))
        except (KeyError, TypeError, ValueError) as error:
            raise EmotionError(f"{path} has metadata that cannot be read: {error!r}; export the model again") from error

    def _read_metadata(self, described: dict[str, Any]) -> None:
        if described["format"] != FORMAT:
            raise ValueError(f"format {described['format']}")
        self.description = described
        self.labels, self.sample_rate = tuple(described["labels"]), int(described["sample_rate"])
        self.ratings = tuple(described.get("ratings", ()))
        confidence = described.get("min_confidence")
        self.min_confidence = None if confidence is None else float(confidence)
        ways = described["modalities"]
        self.modalities: Prepared = {name: (Faces if name == "face" else Audio).from_dict(ways[name]) for name in ways}
        self._inputs = inputs_of(self.modalities)

    def __call__(self, recordings: Sequence[Recording]) -> tuple[np.ndarray, np.ndarray | None]:
        """See `emotion.inference.predictor.Model`."""
        probabilities, *distance = self.session.run(None, arrays_of(self.modalities, recordings))
        return (
            cast(np.ndarray, probabilities).astype(np.float64),
            cast(np.ndarray, distance[0]).astype(np.float64) if distance else None,
        )

    def adapt(self, read: Callable[[], Iterable[Sequence[Recording]]], group_of: Mapping[str, str]) -> None:
        """Refuse to adapt, since the statistics are constants of the file."""
        raise EmotionError("an ONNX model cannot be adapted to recordings; use --run with the run it was exported from")
