"""What happens to recordings outside of a laboratory: noise, rooms, telephones, darkness.

A disturbance of sound takes a waveform, shape (T,), float32, and gives one of the same length; one of faces takes
pictures, shape (F, C, H, W), uint8, and gives as many or fewer; one of action units takes them, shape (N, A). Each
also takes its level and a random generator.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch

from emotion.data.dataset import Batch
from emotion.features.silence import sounding
from emotion.prepare.modalities import MODALITIES

_TELEPHONE_BAND = (300.0, 3400.0)  # Hz, of ITU-T G.712
_MU = 255  # of ITU-T G.711
_VOICES = 6  # that make a babble
_LOUD_DB = 30.0  # below the loudest frame is no speech


@dataclass(frozen=True)
class Disturbance:
    """A way in which recordings are spoilt.

    Attributes:
        name: For tables.
        modality: What it spoils: `sound`, `faces` or `action_units`.
        unit: Of its levels.
        levels: From mild to bad.
        change: From an item, a level and a random generator to the spoilt item.
    """

    name: str
    modality: str
    unit: str
    levels: tuple[float, ...]
    change: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]

    def __call__(self, batch: Batch, level: float) -> Batch:
        """A batch whose items are all spoilt; a recording is always spoilt in the same way."""
        spoil_item, name = _SPOILT[self.modality], MODALITIES[self.modality]
        batch = batch | {key: batch[key].clone() for key in (name, "face_mask") if key in batch}
        for row, recording in enumerate(batch["recording"]):
            spoil_item(batch, row, partial(self.change, level=level, random=_generator(recording, self.name, level)))
        return batch


def _generator(*name: Any) -> np.random.Generator:
    digest = hashlib.sha256("/".join(map(str, name)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _spoil_sound(batch: Batch, row: int, spoil: Callable) -> None:
    _replace(batch["waveform"][row, : int(batch["waveform_length"][row])], spoil)


def _spoil_action_units(batch: Batch, row: int, spoil: Callable) -> None:
    units = batch["action_units"]
    over_time = units if units.dim() == 3 else units[:, None]
    _replace(over_time[row, : int(batch["action_unit_frames"][row])], spoil)


def _replace(item: torch.Tensor, spoil: Callable) -> None:
    if len(item):
        item.copy_(torch.from_numpy(np.ascontiguousarray(spoil(item.numpy()), np.float32)))


def _spoil_faces(batch: Batch, row: int, spoil: Callable) -> None:
    faces, mask = batch["faces"][row], batch["face_mask"][row]
    places = mask.nonzero()[:, 0]
    if len(places):
        spoilt = spoil(faces[places].numpy())
        mask[places[len(spoilt) :]] = False
        faces[places[: len(spoilt)]] = torch.from_numpy(np.ascontiguousarray(spoilt))


_SPOILT = {"sound": _spoil_sound, "faces": _spoil_faces, "action_units": _spoil_action_units}


# Of sound.


def white_noise(signal: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Noise of equal power at all frequencies."""
    return with_noise(signal, random.standard_normal(len(signal)), level)


def with_noise(signal: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add `noise` so that it lies `snr_db` decibels below the speech, pauses at both ends not counted."""
    start, end = sounding(torch.from_numpy(signal)[None], torch.tensor([len(signal)]), _LOUD_DB)
    speech = signal[int(start) : int(end)]
    factor = _rms(speech) / max(_rms(noise), 1e-12) * 10 ** (-snr_db / 20)
    return signal + factor * noise


def babble(
    signal: np.ndarray, level: float, random: np.random.Generator, voices: Callable[[np.random.Generator], np.ndarray]
) -> np.ndarray:
    """Several people who talk at the same time."""
    noise = np.zeros(len(signal))
    for _ in range(_VOICES):
        voice = voices(random)
        noise += np.resize(np.roll(voice, int(random.integers(len(voice)))), len(signal)) / max(_rms(voice), 1e-12)
    return with_noise(signal, noise, level)


def recorded_noise(signal: np.ndarray, level: float, random: np.random.Generator, recording: np.ndarray) -> np.ndarray:
    """A stretch of a recording of noise."""
    return with_noise(signal, np.resize(np.roll(recording, -int(random.integers(len(recording)))), len(signal)), level)


def reverberation(signal: np.ndarray, level: float, random: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A room: noise as loud as the direct sound follows it and decays by 60 dB in `level` seconds."""
    from scipy.signal import fftconvolve

    length = max(2, round(level * sample_rate))
    tail = random.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail[0] = 0
    tail /= np.linalg.norm(tail)
    tail[0] = 1
    heard = fftconvolve(signal, tail)[: len(signal)]
    return heard * _rms(signal) / max(_rms(heard), 1e-12)


def low_pass(signal: np.ndarray, level: float, random: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Nothing above `level` Hz."""
    return _band(signal, (0.0, level), sample_rate)


def telephone(signal: np.ndarray, level: float, random: np.random.Generator, sample_rate: int) -> np.ndarray:
    """The band of a telephone and its eight bits a sample (G.711, µ-law), `level` times over."""
    for _ in range(round(level)):
        narrow = _band(signal, _TELEPHONE_BAND, sample_rate).clip(-1, 1)
        compressed = np.sign(narrow) * np.log1p(_MU * np.abs(narrow)) / math.log1p(_MU)
        compressed = np.round(compressed * 127) / 127
        signal = np.sign(compressed) * np.expm1(np.abs(compressed) * math.log1p(_MU)) / _MU
    return signal


def gain(signal: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Louder or softer by `level` decibels; what is too loud for the file is cut off."""
    return (signal * 10 ** (level / 20)).clip(-1, 1)


def clipping(signal: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Cut off at `level` of the loudest sample."""
    most = level * np.abs(signal).max()
    return signal.clip(-most, most)


def _band(signal: np.ndarray, band: tuple[float, float], sample_rate: int) -> np.ndarray:
    from scipy import fft

    # Longer by some silence, which keeps the end out of the start, and is twice as fast as a prime length.
    length = fft.next_fast_len(len(signal) + sample_rate // 10, real=True)
    spectrum, frequencies = fft.rfft(signal, length), fft.rfftfreq(length, 1 / sample_rate)
    spectrum[(frequencies < band[0]) | (frequencies > band[1])] = 0
    return fft.irfft(spectrum, length)[: len(signal)]


def _rms(signal: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))


# Of faces.


def picture_noise(faces: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Noise of a deviation of `level`, as a fraction of the range of a pixel."""
    return _as_bytes(faces + 255 * level * random.standard_normal(faces.shape))


def blur(faces: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Out of focus: a Gaussian of `level` of the picture's side."""
    deviation = level * faces.shape[-1]
    return np.stack([_each_channel(face, partial(cv2.GaussianBlur, ksize=(0, 0), sigmaX=deviation)) for face in faces])


def occlusion(faces: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """A black square of `level` of the picture's side, in the same place of all pictures of a clip."""
    height, width = faces.shape[2:]
    side = round(level * min(height, width))
    top, left = int(random.integers(height - side + 1)), int(random.integers(width - side + 1))
    spoilt = faces.copy()
    spoilt[..., top : top + side, left : left + side] = 0
    return spoilt


def darkness(faces: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Only `level` of the light."""
    return _as_bytes(faces * level)


def dropped_frames(faces: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """`level` of the pictures are lost; one stays."""
    stay = max(1, round((1 - level) * len(faces)))
    return faces[np.sort(random.permutation(len(faces))[:stay])]


def out_of_step(faces: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """The picture comes late by `level` of the clip; the first stands still until then."""
    late = round(level * len(faces))
    return faces[np.maximum(np.arange(len(faces)) - late, 0)]


def _as_bytes(values: np.ndarray) -> np.ndarray:
    return np.round(values).clip(0, 255).astype(np.uint8)


def _each_channel(face: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.stack([change(np.ascontiguousarray(channel)) for channel in face])


# Of action units.


def measurement_noise(
    units: np.ndarray, level: float, random: np.random.Generator, deviation: np.ndarray
) -> np.ndarray:
    """Noise of `level` of the deviation that each unit has over the corpus."""
    return units + level * deviation * random.standard_normal(units.shape)


SNR_DB = (20.0, 10.0, 5.0, 0.0, -5.0)


def of_sound(
    sample_rate: int,
    voices: Callable[[np.random.Generator], np.ndarray],
    noise: tuple[str, np.ndarray] | None = None,
) -> Sequence[Disturbance]:
    """Those of sound.

    Args:
        sample_rate: In Hz.
        voices: Draws a waveform of somebody else's voice.
        noise: A recording of noise to add, if there is one: its name, and samples of shape (T,).
    """
    at_rate = {"sample_rate": sample_rate}
    recorded = [(noise[0], "dB SNR", SNR_DB, partial(recorded_noise, recording=noise[1]))] if noise else []
    return [
        Disturbance(name, "sound", unit, levels, change)
        for name, unit, levels, change in [
            ("white noise", "dB SNR", SNR_DB, white_noise),
            ("babble", "dB SNR", SNR_DB, partial(babble, voices=voices)),
            *recorded,
            ("reverberation", "s", (0.3, 0.6, 1.0, 2.0), partial(reverberation, **at_rate)),
            ("low-pass", "Hz", (4000.0, 2000.0, 1000.0), partial(low_pass, **at_rate)),
            ("telephone", "times", (1.0, 2.0), partial(telephone, **at_rate)),
            ("louder", "dB", (10.0, 20.0), gain),
            ("softer", "dB", (-10.0, -20.0, -30.0), gain),
            ("clipping", "of the peak", (0.5, 0.25, 0.1), clipping),
        ]
    ]


OF_FACES = tuple(
    Disturbance(name, "faces", unit, levels, change)
    for name, unit, levels, change in (
        ("picture noise", "of the range", (0.05, 0.1, 0.2, 0.4), picture_noise),
        ("blur", "of the side", (0.01, 0.02, 0.04, 0.08), blur),
        ("occlusion", "of the side", (0.2, 0.4, 0.6), occlusion),
        ("darkness", "of the light", (0.5, 0.25, 0.1), darkness),
        ("dropped frames", "of all", (0.25, 0.5, 0.75, 0.9), dropped_frames),
        ("out of step", "of the clip", (0.1, 0.25, 0.5), out_of_step),
    )
)


def of_action_units(deviation: np.ndarray) -> Sequence[Disturbance]:
    """That of action units, of which each has this `deviation` over the corpus, shape (A,)."""
    change, levels = partial(measurement_noise, deviation=deviation), (0.25, 0.5, 1.0, 2.0)
    return [Disturbance("measurement noise", "action_units", "deviations", levels, change)]
