"""Decoding of the audio of any file to a mono waveform.

All audio is processed alike, from files, arrays and microphones: a high-pass filter removes offset and hum, channels
are mixed (`emotion.media.downmix`), and the sampling rate is converted. The level is preserved, since it carries
information about emotions.
"""

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from emotion.files import atomic_path
from emotion.media.decoders import LFE_CHANNEL, AudioHeader, open_audio, split_header, to_float
from emotion.media.downmix import Levels, Mix, choose_mix, full_scale, peak_of
from emotion.media.files import (
    MediaError,
    require_file,
)
from emotion.media.highpass import filter_chunks
from emotion.media.riff import missing_seconds

log = logging.getLogger(__name__)

RATES = (1_000, 768_000)
"""Lowest and highest sampling rate, in Hz. Others are errors of a header, and resampling them could fill the memory."""
MAX_SAMPLES = 100_000_000
"""Maximum number of samples that `read_audio` reads before resampling: 35 minutes at 48 kHz."""

_MISSING_S = 0.05  # shorter ends are rounding of headers
Report = Callable[[str], None]
"""Function that receives a message about an oddity of a recording that can be used nevertheless."""


def read_audio(
    path: Path, sample_rate: int, report: Report = log.warning, max_duration_s: float | None = None
) -> np.ndarray:
    """Decode an audio or video file to a mono waveform.

    In a video, time 0 is the start of the file's clock; audio that starts later is preceded by silence.

    Args:
        path: File with an audio stream that libsndfile or FFmpeg decodes, chosen by content.
        sample_rate: Sampling rate of the result, in Hz.
        report: Function that receives messages, such as about channels that cancel each other (default: log).
        max_duration_s: Maximum duration, in seconds (default: that of `MAX_SAMPLES`).

    Returns:
        Waveform, shape (T,), float32; full scale is [-1, 1].

    Raises:
        MediaError: the file is missing, damaged, without audio, empty, longer than `MAX_SAMPLES` or `max_duration_s`,
            or holds NaN or infinite samples or floats of an unknown scale.
    """
    rate, chunks = _mono(path, report, max_duration_s, MAX_SAMPLES)
    return resample(np.concatenate(list(chunks)), rate, sample_rate)


def stream_audio(path: Path, sample_rate: int, report: Report = log.warning) -> Iterator[np.ndarray]:
    """Decode a file as `read_audio` does, in chunks, with constant memory.

    Args:
        path: See `read_audio`.
        sample_rate: Sampling rate of the result, in Hz.
        report: See `read_audio`.

    Yields:
        Successive chunks of the waveform, each of shape (T,), float32.

    Raises:
        MediaError: see `read_audio`; the audio before the damage is yielded first.
    """
    import soxr

    rate, chunks = _mono(path, report)
    if rate == sample_rate:
        yield from chunks
        return
    resampler = soxr.ResampleStream(rate, sample_rate, 1)
    for chunk in chunks:
        yield resampler.resample_chunk(chunk)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def to_waveform(samples: np.ndarray, rate: int, sample_rate: int, report: Report = log.warning) -> np.ndarray:
    """Convert samples to a mono waveform, as `read_audio` does for a file that holds them.

    Args:
        samples: Samples, shape (T,) or (T, C): floats, or integers of 8 (unsigned), 16 or 32 bits.
        rate: Sampling rate of the samples, in Hz.
        sample_rate: Sampling rate of the result, in Hz.
        report: See `read_audio`.

    Returns:
        Waveform, shape (T,), float32; full scale is [-1, 1].

    Raises:
        MediaError: there are no samples, some are NaN or infinite, or their scale is unknown.
    """
    channels = samples.reshape(len(samples), -1)
    header = AudioHeader(rate, channels.shape[1], LFE_CHANNEL.get(channels.shape[1]), samples.dtype.kind == "f")
    chunks = _downmix(header, lambda: iter([to_float(channels)]), "waveform", report)
    return resample(np.concatenate(list(chunks)), rate, sample_rate)


def resample(waveform: np.ndarray, original_rate: int, sample_rate: int) -> np.ndarray:
    """Resample a mono waveform.

    Args:
        waveform: Waveform, shape (T,).
        original_rate: Its sampling rate, in Hz.
        sample_rate: Sampling rate of the result, in Hz.

    Returns:
        Waveform, shape (T',), float32.
    """
    if original_rate != sample_rate:
        import soxr

        waveform = soxr.resample(waveform, original_rate, sample_rate)
    return np.ascontiguousarray(waveform, dtype=np.float32)


def _mono(
    path: Path, report: Report, max_duration_s: float | None = None, max_samples: int | None = None
) -> tuple[int, Iterator[np.ndarray]]:
    """Return the sampling rate of a file, in Hz, and an iterator over its mono samples.

    Args:
        path: See `read_audio`.
        report: See `read_audio`.
        max_duration_s: Duration after which the iterator raises `MediaError`, in seconds; None for any.
        max_samples: Number of samples after which it does; None for any.
    """
    require_file(path)
    header, decode, chunks = open_audio(path)
    if not RATES[0] <= header.rate <= RATES[1]:
        raise MediaError(
            f"{path}: has a sampling rate of {header.rate} Hz; {RATES[0]:,} to {RATES[1]:,} Hz are supported"
        )
    if (missing := missing_seconds(path)) > _MISSING_S:
        report(f"{path}: is cut off; its header states {missing:.1f} more seconds")
    longest = min(max_samples or np.inf, np.inf if max_duration_s is None else max_duration_s * header.rate)
    opened = iter([chunks])  # the first pass reads the open file; a second one opens it again

    def read() -> Iterator[np.ndarray]:
        return _require_duration(next(opened, None) or split_header(decode(path))[1], longest, header.rate, path)

    return header.rate, _downmix(header, read, path, report)


def _downmix(
    header: AudioHeader, chunks: Callable[[], Iterator[np.ndarray]], name: Path | str, report: Report
) -> Iterator[np.ndarray]:
    """Yield mono samples, each of shape (T,); several channels, and floats, need two passes."""
    weights = np.ones(1, np.float32)
    if header.channels > 1 or header.is_float:
        peak = peak_of(_stop_at_damage(chunks())) if header.is_float else 0.0
        scale = full_scale(peak)
        if scale is None:
            raise MediaError(f"{name}: its samples reach {peak:.3g}; full scale is 1, so divide them by their scale")
        if scale > 1:
            bits = round(np.log2(scale)) + 1
            report(f"{name}: its floats reach {peak:,.0f} and are read as integers of {bits} bits")
        mix = _mix(header, _stop_at_damage(chunks())) if header.channels > 1 else Mix(weights)
        for note in mix.notes:
            report(f"{name}: {note}")
        weights = mix.weights / scale
    mixed = ((chunk @ weights)[:, None] for chunk in _require_finite(chunks(), name))
    for chunk in filter_chunks(mixed, header.rate):
        yield np.ascontiguousarray(chunk[:, 0])


def _mix(header: AudioHeader, chunks: Iterator[np.ndarray]) -> Mix:
    levels = Levels(header.rate, header.channels)
    for chunk in filter_chunks(chunks, header.rate):
        levels.add(chunk)
    return choose_mix(levels, header.lfe)


def _stop_at_damage(chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the chunks before any damage, which the second pass reports."""
    with suppress(MediaError):
        for chunk in chunks:
            if not np.isfinite(chunk).all():
                return
            yield chunk


def _require_duration(chunks: Iterator[np.ndarray], max_samples: float, rate: int, path: Path) -> Iterator[np.ndarray]:
    """Yield chunks of shape (T, C) until there are more than `max_samples`."""
    samples = 0
    for chunk in chunks:
        samples += len(chunk)
        if samples > max_samples:
            seconds = max_samples / rate
            duration = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:g} s"
            raise MediaError(f"{path}: is longer than {duration}; cut it, or use emotion predict --timeline")
        yield chunk


def _require_finite(chunks: Iterator[np.ndarray], name: Path | str) -> Iterator[np.ndarray]:
    for chunk in chunks:
        if not np.isfinite(chunk).all():
            raise MediaError(f"{name}: holds NaN or infinite samples")
        yield chunk


def write_wav(path: Path, waveform: np.ndarray, sample_rate: int) -> None:
    """Write a 16-bit WAV file, atomically.

    Args:
        path: File to write.
        waveform: Waveform, shape (T,), in [-1, 1].
        sample_rate: Sampling rate, in Hz.

    Raises:
        EmotionError: the file cannot be written.
    """
    import soundfile

    content = io.BytesIO()  # soundfile hides the reason why it cannot write a file, such as a full disk
    soundfile.write(content, waveform, sample_rate, format="WAV", subtype="PCM_16")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())
