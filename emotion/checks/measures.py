"""Properties of the audio of single recordings."""

import hashlib
import os
from collections.abc import Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import fft

from emotion.errors import EmotionError
from emotion.media.audio import to_waveform
from emotion.media.decoders import AudioHeader, open_audio
from emotion.media.files import MediaError, require_file
from emotion.media.int16 import INT16_FULL_SCALE, is_audible, to_int16
from emotion.prepare.speech import speech_parts

RATE = 16_000  # Hz, at which all but clipping and offset is measured
MEASURED_S = 300
"""Duration from the start of a recording that is measured, in seconds."""
_FRAME, _HOP = 400, 160  # samples
_EDGES = np.unique(np.geomspace(3, _FRAME // 2, 33).round().astype(int))  # of bands, in bins of 40 Hz
_SEGMENTS = 24
FINGERPRINT_SIZE = _SEGMENTS * (len(_EDGES) - 1)
"""Size of a fingerprint: bands × segments."""
_SILENT_DB = 40.0  # below the frame with the highest level
_FLAT_RUN = 3  # samples at the extreme value in a row are clipped
_BATCH = 64
SHOWN = {
    "duration_s": ("duration (s)", ".2f", 1),
    "level_db": ("level (dB re full scale)", ".1f", 1),
    "noise_db": ("noise (dB re full scale)", ".1f", 1),
    "speech": ("speech (%)", ".0f", 100),
    "silent": ("silent (%)", ".0f", 100),
    "clipped": ("clipped samples (%)", ".3f", 100),
    "offset": ("offset (% of full scale)", ".2f", 100),
}
"""Title, format and factor of the measures that a report shows."""


Part = tuple[float, float]
"""Start and end of a part of a file, in seconds."""


@dataclass(frozen=True)
class Measures:
    """Properties of the audio of a recording.

    Attributes:
        duration_s: Duration, in seconds.
        rate: Sampling rate of the file, in Hz.
        channels: Number of channels.
        level_db: Root mean square of the frames that are not silent, in dB re full scale; -inf if nothing is audible.
        noise_db: Level of the quietest tenth of the frames, in dB re full scale.
        clipped: Fraction of samples that are clipped: at least three in a row have the largest or smallest value.
        offset: Mean of the samples, re full scale.
        silent: Fraction of frames more than 40 dB below the one with the highest level.
        speech: Fraction of the duration that is speech.
        digest: Hash of the samples at 16 kHz, equal for recordings of the same audio without loss.
        fingerprint: Log spectrum over time without level, shape (`FINGERPRINT_SIZE`,), float32, with norm 1.
    """

    duration_s: float
    rate: int
    channels: int
    level_db: float
    noise_db: float
    clipped: float
    offset: float
    silent: float
    speech: float
    digest: str
    fingerprint: np.ndarray


def measure(path: Path, part: Part | None = None) -> Measures:
    """Measure the audio of a file, or of a part of it; of longer ones the first `MEASURED_S` seconds.

    Args:
        path: The file.
        part: Start and end of the part, in seconds (default: the whole file).

    Raises:
        MediaError: the file cannot be decoded, or ends before the part.
    """
    header, samples, duration = _read_samples(path, part)
    pcm = to_int16(to_waveform(samples, header.rate, RATE, lambda _: None))
    levels = _frame_levels(pcm)
    active = levels[levels > levels.max() - _SILENT_DB]
    speech = sum(end - start for start, end in speech_parts(pcm, RATE)) / max(1, len(pcm))
    return Measures(
        duration,
        header.rate,
        header.channels,
        float(10 * np.log10(np.mean(10 ** (active / 10)))) if is_audible(pcm) else -np.inf,
        float(np.quantile(levels, 0.1)),
        _clipped(samples),
        float(samples.mean()),
        1 - len(active) / len(levels),
        speech,
        hashlib.blake2b(pcm.tobytes(), digest_size=16).hexdigest(),
        fingerprint(pcm),
    )


def read_waveform(path: Path, part: Part | None = None) -> np.ndarray:
    """Return the audio that is measured as a waveform at `RATE`, shape (T,), float32; see `measure`."""
    header, samples, _ = _read_samples(path, part)
    return to_waveform(samples, header.rate, RATE, lambda _: None)


def _read_samples(path: Path, part: Part | None) -> tuple[AudioHeader, np.ndarray, float]:
    """Return the format, the samples that are measured, shape (T, C), float32, and the duration, in seconds.

    See `measure`.
    """
    require_file(path)
    header, _, chunks = open_audio(path)
    first, last = (0, None) if part is None else (round(seconds * header.rate) for seconds in part)
    kept, length = [], 0
    for chunk in chunks:
        wanted = slice(max(0, first - length), max(0, first + MEASURED_S * header.rate - length))
        kept.append(chunk[wanted])
        length += len(chunk)
    end = length if last is None else min(last, length)
    samples = np.concatenate(kept)[: max(0, end - first)]
    if not len(samples):
        raise MediaError(f"{path}: ends before {first / header.rate:g} s")
    return header, samples, (end - first) / header.rate


def measure_all(paths: pd.Series, parts: Mapping[str, Part], directory: Path) -> Iterator[Measures | str]:
    """Yield the measures of each recording, or what is wrong with it, in order.

    Args:
        paths: Path of each recording, relative to `directory`, with its key as the index.
        parts: Start and end, in seconds, of the recordings that are parts of files, by key.
        directory: Directory of the corpus.
    """

    def one(item: tuple[Hashable, str]) -> Measures | str:
        key, path = item
        try:
            return measure(directory / path, parts.get(str(key)))
        except EmotionError as error:
            return str(error).removeprefix(f"{directory / path}: ")

    remaining = iter(paths.items())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while batch := list(islice(remaining, _BATCH)):
            yield from pool.map(one, batch)


def fingerprint(pcm: np.ndarray) -> np.ndarray:
    """Return the log spectrum of a recording over time, between the first and the last frame that are audible.

    Level, coding and silence at the ends change it little; another take of the same sentence changes it much.

    Args:
        pcm: Mono audio at 16 kHz, shape (T,), int16.

    Returns:
        Shape (`FINGERPRINT_SIZE`,), float32, with norm 1, or 0 if nothing is audible.
    """
    if len(pcm) < _FRAME:
        pcm = np.pad(pcm, (0, _FRAME - len(pcm)))
    waveform = pcm.astype(np.float32) / INT16_FULL_SCALE
    frames = np.lib.stride_tricks.sliding_window_view(waveform, _FRAME)[::_HOP]
    spectra = np.asarray(fft.rfft(frames * np.hanning(_FRAME).astype(np.float32), axis=1))
    power = np.abs(spectra) ** 2
    total = power.sum(axis=1)
    audible = np.flatnonzero(total > total.max() * 3e-3)
    if not len(audible) or total.max() == 0:
        return np.zeros(FINGERPRINT_SIZE, np.float32)
    power = power[audible[0] : audible[-1] + 1]
    bands = np.add.reduceat(power, _EDGES[:-1], axis=1) / np.diff(_EDGES)
    bands = np.repeat(bands, -(-_SEGMENTS // len(bands)), axis=0)  # at least one frame in a segment
    logs = np.log(np.array([part.mean(axis=0) for part in np.array_split(bands, _SEGMENTS)]) + 1e-5 * power.max())
    flat = (logs - logs.mean()).astype(np.float32).ravel()
    return flat / max(float(np.linalg.norm(flat)), 1e-9)


def _frame_levels(pcm: np.ndarray) -> np.ndarray:
    """Return the level of successive frames of 25 ms, in dB re full scale, at least -120."""
    padded = np.pad(pcm, (0, -len(pcm) % _FRAME)).astype(np.float64) / INT16_FULL_SCALE
    return 10 * np.log10(np.maximum((padded.reshape(-1, _FRAME) ** 2).mean(axis=1), 1e-12))


def _clipped(samples: np.ndarray) -> float:
    """Return the fraction of samples that are clipped, shape of `samples` (T, C)."""
    clipped = 0
    for channel in samples.T:
        low, high = channel.min(), channel.max()
        if high - low < 1e-3:
            continue
        for extreme in (low, high):
            at = np.concatenate([[False], np.abs(channel - extreme) < 1e-4 * (high - low), [False]])
            edges = np.flatnonzero(np.diff(at.astype(np.int8))).reshape(-1, 2)
            runs = edges[:, 1] - edges[:, 0]
            clipped += int(runs[runs >= _FLAT_RUN].sum())
    return clipped / samples.size
