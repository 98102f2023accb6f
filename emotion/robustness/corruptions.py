"""Corruptions of test recordings: noise, reverberation, codecs, gain, blur, occlusion, missing frames.

A corruption of audio maps a waveform, shape (T,), float32, to one of the same length. A corruption of faces maps face
crops, shape (F, C, H, W), uint8, to as many or fewer. A corruption of action units maps an array of shape (N, A) to one
of the same shape. Each takes a level, whose unit the corruption names, and a random generator.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import cv2
import numpy as np
import torch

from emotion.batch import Batch, get_action_units, get_audio, get_faces
from emotion.features.silence import audible_range
from emotion.prepare.modalities import MODALITIES

SNR_DB = (20.0, 10.0, 5.0, 0.0, -5.0)
_TELEPHONE_BAND = (300.0, 3400.0)  # Hz, of ITU-T G.712
_MU = 255  # of ITU-T G.711
_BABBLE_VOICES = 6
_SPEECH_DB = 30.0  # frames this far below the loudest count as silence
_SINGULAR = {"passes": "pass"}


class CorruptionFunction(Protocol):
    """A function from an item, a level and a random generator to the corrupted item."""

    def __call__(self, item: np.ndarray, /, level: float, random: np.random.Generator) -> np.ndarray:
        """Return the corrupted item."""
        ...


@dataclass(frozen=True)
class Corruption:
    """A corruption of one modality at several levels.

    Attributes:
        name: Name for tables.
        modality: `audio`, `face` or `action_units`.
        unit: Unit of the levels.
        levels: Levels, from mild to severe.
        function: Function from an item, a level and a random generator to the corrupted item.
    """

    name: str
    modality: str
    unit: str
    levels: tuple[float, ...]
    function: CorruptionFunction

    def __call__(self, batch: Batch, level: float) -> Batch:
        """Return a batch of corrupted items. The corruption of a recording is deterministic."""
        corrupt_item, name = _CORRUPT_ITEM[self.modality], MODALITIES[self.modality]
        copies = {key: batch[key].clone() for key in (name, "face_mask") if key in batch}
        batch = cast(Batch, batch | copies)
        for row, recording in enumerate(batch["recording"]):
            random = _generator(recording, self.name, level)
            corrupt_item(batch, row, partial(self.function, level=level, random=random))
        return batch


def condition_name(corruption: str, level: float, unit: str) -> str:
    """Return the name of a corruption at a level.

    Example:
        >>> condition_name("gain", 10, "dB"), condition_name("telephone codec (G.711 µ-law)", 1, "passes")
        ('gain +10 dB', 'telephone codec (G.711 µ-law) 1 pass')
    """
    if not unit:
        return corruption
    return f"{corruption} {level:{'+' if unit == 'dB' else ''}g} {_SINGULAR.get(unit, unit) if level == 1 else unit}"


def _generator(*name: Any) -> np.random.Generator:
    digest = hashlib.sha256("/".join(map(str, name)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _corrupt_audio(batch: Batch, row: int, corrupt: Callable) -> None:
    waveform, length = get_audio(batch)
    _replace(waveform[row, : int(length[row])], corrupt)


def _corrupt_action_units(batch: Batch, row: int, corrupt: Callable) -> None:
    units, frames = get_action_units(batch)
    over_time = units if units.dim() == 3 else units[:, None]
    _replace(over_time[row, : int(frames[row])], corrupt)


def _replace(item: torch.Tensor, corrupt: Callable) -> None:
    if len(item):
        item.copy_(torch.from_numpy(np.ascontiguousarray(corrupt(item.numpy()), np.float32)))


def _corrupt_faces(batch: Batch, row: int, corrupt: Callable) -> None:
    faces, mask = (part[row] for part in get_faces(batch))
    indices = mask.nonzero()[:, 0]
    if len(indices):
        corrupted = corrupt(faces[indices].numpy())
        mask[indices[len(corrupted) :]] = False
        faces[indices[: len(corrupted)]] = torch.from_numpy(np.ascontiguousarray(corrupted))


_CORRUPT_ITEM = {"audio": _corrupt_audio, "face": _corrupt_faces, "action_units": _corrupt_action_units}


# Corruptions of audio.


def white_noise(signal: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Add white noise at an SNR of `level` dB."""
    return add_noise(signal, random.standard_normal(len(signal)), level)


def add_noise(signal: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add noise at a signal-to-noise ratio; leading and trailing silence does not count as signal.

    Args:
        signal: Waveform, shape (T,).
        noise: Noise of any level, shape (T,).
        snr_db: Signal-to-noise ratio in dB.
    """
    start, end = audible_range(torch.from_numpy(signal)[None], torch.tensor([len(signal)]), _SPEECH_DB)
    speech = signal[int(start) : int(end)]
    factor = _rms(speech) / max(_rms(noise), 1e-12) * 10 ** (-snr_db / 20)
    return signal + factor * noise


def babble(
    signal: np.ndarray, level: float, random: np.random.Generator, voices: Callable[[np.random.Generator], np.ndarray]
) -> np.ndarray:
    """Add babble noise of six voices at an SNR of `level` dB."""
    noise = np.zeros(len(signal))
    for _ in range(_BABBLE_VOICES):
        voice = voices(random)
        noise += np.resize(np.roll(voice, int(random.integers(len(voice)))), len(signal)) / max(_rms(voice), 1e-12)
    return add_noise(signal, noise, level)


def recorded_noise(signal: np.ndarray, level: float, random: np.random.Generator, recording: np.ndarray) -> np.ndarray:
    """Add a random segment of a noise recording at an SNR of `level` dB."""
    return add_noise(signal, np.resize(np.roll(recording, -int(random.integers(len(recording)))), len(signal)), level)


def reverberation(signal: np.ndarray, level: float, random: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Add reverberation with a decay time (RT60) of `level` seconds and a direct-to-reverberant ratio of 0 dB."""
    from scipy.signal import fftconvolve

    length = max(2, round(level * sample_rate))
    impulse_response = random.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    impulse_response[0] = 0
    impulse_response /= np.linalg.norm(impulse_response)
    impulse_response[0] = 1
    reverberant = fftconvolve(signal, impulse_response)[: len(signal)]
    return reverberant * _rms(signal) / max(_rms(reverberant), 1e-12)


def low_pass(signal: np.ndarray, level: float, random: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Remove all frequencies above `level` Hz."""
    return _band_pass(signal, (0.0, level), sample_rate)


def telephone(signal: np.ndarray, level: float, random: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Limit to the telephone band and quantise to eight bits (G.711 µ-law), in `level` passes."""
    for _ in range(round(level)):
        narrow = _band_pass(signal, _TELEPHONE_BAND, sample_rate).clip(-1, 1)
        compressed = np.sign(narrow) * np.log1p(_MU * np.abs(narrow)) / math.log1p(_MU)
        compressed = np.round(compressed * 127) / 127
        signal = np.sign(compressed) * np.expm1(np.abs(compressed) * math.log1p(_MU)) / _MU
    return signal


def gain(signal: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Apply a gain of `level` dB, and clip at full scale."""
    return (signal * 10 ** (level / 20)).clip(-1, 1)


def clipping(signal: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Clip at `level` × peak."""
    limit = level * np.abs(signal).max()
    return signal.clip(-limit, limit)


def _band_pass(signal: np.ndarray, band: tuple[float, float], sample_rate: int) -> np.ndarray:
    from scipy import fft

    # Zero padding avoids circular wrap-around, and a prime length, which is twice as slow.
    length = fft.next_fast_len(len(signal) + sample_rate // 10, real=True)
    spectrum, frequencies = cast(np.ndarray, fft.rfft(signal, length)), fft.rfftfreq(length, 1 / sample_rate)
    spectrum[(frequencies < band[0]) | (frequencies > band[1])] = 0
    return cast(np.ndarray, fft.irfft(spectrum, length))[: len(signal)]


def _rms(signal: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))


# Corruptions of face crops.


def image_noise(faces: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise with a standard deviation of `level` × the range of a pixel."""
    return _to_uint8(faces + 255 * level * random.standard_normal(faces.shape))


def blur(faces: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Apply Gaussian blur with a standard deviation of `level` × the width."""
    blur_image = partial(cv2.GaussianBlur, ksize=(0, 0), sigmaX=level * faces.shape[-1])
    return np.stack([np.stack([blur_image(np.ascontiguousarray(channel)) for channel in face]) for face in faces])


def occlusion(faces: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Occlude a square of `level` × the shorter side, at the same place in all frames of a recording."""
    height, width = faces.shape[2:]
    side = round(level * min(height, width))
    top, left = int(random.integers(height - side + 1)), int(random.integers(width - side + 1))
    occluded = faces.copy()
    occluded[..., top : top + side, left : left + side] = 0
    return occluded


def darkness(faces: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Multiply the brightness by `level`."""
    return _to_uint8(faces * level)


def dropped_frames(faces: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Drop a fraction `level` of the frames, but keep at least one."""
    n_kept = max(1, round((1 - level) * len(faces)))
    return faces[np.sort(random.permutation(len(faces))[:n_kept])]


def audio_visual_offset(faces: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Delay the frames by a fraction `level` of the recording; the first frame is repeated."""
    delay = round(level * len(faces))
    return faces[np.maximum(np.arange(len(faces)) - delay, 0)]


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.round(values).clip(0, 255).astype(np.uint8)


# Corruptions of action units.


def measurement_noise(units: np.ndarray, level: float, random: np.random.Generator, std: np.ndarray) -> np.ndarray:
    """Add Gaussian noise with a standard deviation of `level` × that of each action unit over the corpus."""
    return units + level * std * random.standard_normal(units.shape)


def audio_corruptions(
    sample_rate: int,
    voices: Callable[[np.random.Generator], np.ndarray],
    noise: tuple[str, np.ndarray] | None = None,
) -> Sequence[Corruption]:
    """Return the corruptions of audio.

    Args:
        sample_rate: Sampling rate in Hz.
        voices: Function that draws a waveform of another speaker, for babble noise.
        noise: Name and waveform, shape (T,), of a noise recording (default: none).
    """
    rate = {"sample_rate": sample_rate}
    recorded = [(noise[0], "dB SNR", SNR_DB, partial(recorded_noise, recording=noise[1]))] if noise else []
    return [
        Corruption(name, "audio", unit, levels, function)
        for name, unit, levels, function in [
            ("white noise", "dB SNR", SNR_DB, white_noise),
            ("babble", "dB SNR", SNR_DB, partial(babble, voices=voices)),
            *recorded,
            ("reverberation", "s", (0.3, 0.6, 1.0, 2.0), partial(reverberation, **rate)),
            ("low-pass", "Hz", (4000.0, 2000.0, 1000.0), partial(low_pass, **rate)),
            ("telephone codec (G.711 µ-law)", "passes", (1.0, 2.0), partial(telephone, **rate)),
            ("gain", "dB", (10.0, 20.0, -10.0, -20.0, -30.0), gain),
            ("clipping", "× peak", (0.5, 0.25, 0.1), clipping),
        ]
    ]


FACE_CORRUPTIONS = tuple(
    Corruption(name, "face", unit, levels, function)
    for name, unit, levels, function in (
        ("image noise", "× pixel range", (0.05, 0.1, 0.2, 0.4), image_noise),
        ("blur", "× width", (0.01, 0.02, 0.04, 0.08), blur),
        ("occlusion", "× side", (0.2, 0.4, 0.6), occlusion),
        ("darkness", "× brightness", (0.5, 0.25, 0.1), darkness),
        ("dropped frames", "of the frames", (0.25, 0.5, 0.75, 0.9), dropped_frames),
        ("audio-visual offset", "of the duration", (0.1, 0.25, 0.5), audio_visual_offset),
    )
)


def action_unit_corruptions(std: np.ndarray) -> Sequence[Corruption]:
    """Return the corruptions of action units.

    Args:
        std: Standard deviation of each action unit over the corpus, shape (A,).
    """
    levels = (0.25, 0.5, 1.0, 2.0)
    return [Corruption("measurement noise", "action_units", "std", levels, partial(measurement_noise, std=std))]
