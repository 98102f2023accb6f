"""Detection of speech by Silero VAD (Silero Team, 2024, https://github.com/snakers4/silero-vad, MIT), without torch."""

import functools
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from emotion.errors import EmotionError
from emotion.media.int16 import INT16_FULL_SCALE

RATE = 16_000  # Hz, of the detector
THRESHOLD = 0.5  # probability of speech in a frame
MIN_SPEECH_S = 0.1  # less is no speech: tones and plucked strings reach it for single frames
PAD_S = 0.15  # at both ends of a part of speech
_FRAME, _CONTEXT = 512, 64  # samples
_BLOCK = 512  # frames that are computed at a time
_STATE = (1, 1, 128)


def speech_probability(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the probability of speech in successive frames of 32 ms.

    Args:
        samples: Mono audio, shape (T,), int16.
        sample_rate: Sampling rate, in Hz.

    Returns:
        Probabilities, shape (N,), float32.

    Raises:
        EmotionError: the package silero-vad is damaged or too old.
    """
    waveform = samples.astype(np.float32) / INT16_FULL_SCALE
    if sample_rate != RATE:
        import soxr

        waveform = soxr.resample(waveform, sample_rate, RATE)
    count = -(-len(waveform) // _FRAME)
    frames = np.zeros((count, _FRAME), np.float32)
    frames.reshape(-1)[: len(waveform)] = waveform
    context = np.zeros((count, _CONTEXT), np.float32)
    context[1:] = frames[:-1, -_CONTEXT:]
    inputs, found = np.concatenate([context, frames], axis=1), [np.zeros(0, np.float32)]
    hidden = cell = np.zeros(_STATE, np.float32)
    for start in range(0, count, _BLOCK):
        block = {"input": inputs[start : start + _BLOCK], "h": hidden, "c": cell}
        probability, hidden, cell = _detector().run(["speech_probs", "hn", "cn"], block)
        found.append(probability.reshape(-1))
    return np.concatenate(found)


def speech_parts(samples: np.ndarray, sample_rate: int) -> list[tuple[int, int]]:
    """Return start and end of the parts that are speech, padded by `PAD_S`, in samples; empty if there is no speech.

    Args:
        samples: Mono audio, shape (T,), int16.
        sample_rate: Sampling rate, in Hz.
    """
    is_speech = speech_probability(samples, sample_rate) >= THRESHOLD
    if is_speech.sum() * _FRAME / RATE < MIN_SPEECH_S:
        return []
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_speech, [False]]).astype(np.int8)))
    seconds = edges.reshape(-1, 2) * (_FRAME / RATE) + np.array([-PAD_S, PAD_S])
    parts: list[tuple[int, int]] = []
    for start, end in np.clip(np.rint(seconds * sample_rate), 0, len(samples)).astype(int).tolist():
        if parts and start <= parts[-1][1]:
            parts[-1] = (parts[-1][0], end)
        else:
            parts.append((start, end))
    return parts


def speech_only(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the parts that are speech, joined; empty if there is no speech.

    Args:
        samples: Mono audio, shape (T,), int16.
        sample_rate: Sampling rate, in Hz.
    """
    parts = [samples[start:end] for start, end in speech_parts(samples, sample_rate)]
    return np.concatenate(parts) if parts else samples[:0]


def detector_path() -> Path:
    """Return the path of the detector's ONNX file.

    Raises:
        EmotionError: the package silero-vad is damaged or too old.
    """
    spec = find_spec("silero_vad")  # importing it would import torch
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / "data" / "silero_vad_16k_sequence.onnx" if folders else None
    if not path or not path.is_file():
        raise EmotionError("the model of silero-vad is not installed: pip install 'silero-vad>=6.2.2'")
    return path


@functools.cache
def _detector() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 1))  # recordings are read in parallel
    return onnxruntime.InferenceSession(str(detector_path()), options, providers=["CPUExecutionProvider"])
