"""Decode the sound of an audio or video file to a mono waveform on the file's clock; write one.

All sound takes the same way, whatever decodes it and wherever it comes from: offset and hum are removed, channels
become one (`emotion.media.downmix`), the rate is changed. The level is kept: nothing is scaled to a peak, since
loudness tells emotions apart.
"""

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emotion.files import atomic_path
from emotion.media.downmix import Levels, Mix, full_scale, mix_of, peak_of
from emotion.media.files import (
    MediaError,
    head_of,
    last_clause,
    open_media,
    require_coding,
    require_file,
    start_of,
    undecodable,
)
from emotion.media.highpass import filtered

if TYPE_CHECKING:
    import av

log = logging.getLogger(__name__)

RATES = (1_000, 768_000)
"""Lowest and highest sample rate, in Hz: others are mistakes of a header, and resampling them would fill the memory."""
MOST_SAMPLES = 100_000_000
"""That `read_audio` reads before resampling: 35 minutes at 48 kHz. What is longer can be streamed."""
_BLOCK = 2**18  # samples
_GAP = 0.1  # seconds: what timestamps lack of the sound before is silence from here on; less is how they are rounded
_LONGEST_GAP = 3600  # seconds; what is longer is a mistake of a timestamp
_SUBWOOFER = {6: 3, 7: 3, 8: 3}
"""By the number of channels, which of them is the subwoofer's in WAV and FLAC: 5.1, 6.1 and 7.1."""

Report = Callable[[str], None]
"""Takes what a person should know about a recording that can be used all the same."""


class _Header(NamedTuple):
    """What there is to know before the samples.

    Attributes:
        rate: Sampling rate in Hz.
        channels: The number of channels.
        subwoofer: The index of the channel for low frequencies, if there is one.
        is_float: True if samples are stored as floats, which may have any scale.
    """

    rate: int
    channels: int
    subwoofer: int | None
    is_float: bool


_Decoder = Callable[[Path], Iterator[_Header | np.ndarray]]
"""Yields a header, then samples of shape (T, channels), float32."""


def read_audio(path: Path, sample_rate: int, report: Report = log.warning) -> np.ndarray:
    """Decode `path` to a mono waveform.

    In a file that holds pictures too, time 0 is where the clock of the file begins, for both: sound that starts later
    has silence before it.

    Args:
        path: Any file with an audio stream that libsndfile or FFmpeg decode; its content decides which, not its suffix.
        sample_rate: The rate wanted, in Hz.
        report: Called with a line about each oddity, such as channels that cancel each other.

    Returns:
        The waveform, shape (T,), float32; full scale is [-1, 1].

    Raises:
        MediaError: the file is missing, damaged, without sound, of zero length, longer than `MOST_SAMPLES`, or holds
            NaN or infinite samples or floats of an unknown scale.
    """
    rate, chunks = _mono(path, report)
    parts, samples = [], 0
    for chunk in chunks:
        parts.append(chunk)
        samples += len(chunk)
        if samples > MOST_SAMPLES:
            raise MediaError(
                f"{path}: is longer than {MOST_SAMPLES / rate / 60:.0f} minutes; cut it, or follow it with emotion "
                "predict --timeline"
            )
    return resampled(np.concatenate(parts), rate, sample_rate)


def stream_audio(path: Path, sample_rate: int, report: Report = log.warning) -> Iterator[np.ndarray]:
    """Decode `path` like `read_audio`, in parts, so that a long recording needs no more memory than a short one.

    Args:
        path: See `read_audio`.
        sample_rate: The rate wanted, in Hz.
        report: See `read_audio`.

    Yields:
        Successive parts of the waveform, each of shape (T,), float32.

    Raises:
        MediaError: see `read_audio`; what comes before the damage is yielded first.
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


def waveform_of(samples: np.ndarray, rate: int, sample_rate: int, report: Report = log.warning) -> np.ndarray:
    """Turn samples that are at hand into what `read_audio` makes of a file that holds them.

    Args:
        samples: Shape (T,) or (T, channels), of floats, or of integers of 8 (unsigned), 16 or 32 bits.
        rate: Their sampling rate in Hz.
        sample_rate: The rate wanted, in Hz.
        report: See `read_audio`.

    Returns:
        The waveform, shape (T,), float32; full scale is [-1, 1].

    Raises:
        MediaError: there are no samples, some are NaN or infinite, or their scale is unknown.
    """
    channels = samples.reshape(len(samples), -1)
    header = _Header(rate, channels.shape[1], _SUBWOOFER.get(channels.shape[1]), samples.dtype.kind == "f")
    chunks = _downmixed(header, lambda: iter([_floats(channels)]), "waveform", report)
    return resampled(np.concatenate(list(chunks)), rate, sample_rate)


def resampled(waveform: np.ndarray, original_rate: int, sample_rate: int) -> np.ndarray:
    """Return a mono waveform at another rate, shape (T,), float32; rates in Hz."""
    if original_rate != sample_rate:
        import soxr

        waveform = soxr.resample(waveform, original_rate, sample_rate)
    return np.ascontiguousarray(waveform, dtype=np.float32)


def _mono(path: Path, report: Report) -> tuple[int, Iterator[np.ndarray]]:
    """Return the rate of a file in Hz, and its mono samples, some at a time."""
    require_file(path)
    header, decode, chunks = _opened(path)
    if not RATES[0] <= header.rate <= RATES[1]:
        raise MediaError(
            f"{path}: has a sampling rate of {header.rate} Hz; {RATES[0]:,} to {RATES[1]:,} Hz are possible"
        )
    once = iter([chunks])  # what is open is read first; a second reading opens the file again

    def again() -> Iterator[np.ndarray]:
        return next(once, None) or _without_header(decode(path))

    return header.rate, _downmixed(header, again, path, report)


def _opened(path: Path) -> tuple[_Header, _Decoder, Iterator[np.ndarray]]:
    """Return what decodes a file, by its content, and what it gives; the first samples were decoded."""
    head = head_of(path)
    is_plain = head[:4] in (b"RIFF", b"RF64", b"fLaC") and head[8:12] not in (b"AVI ", b"WEBP")
    if not is_plain:
        return _started(path, _decode_ffmpeg)
    try:
        return _started(path, _decode_soundfile)
    except MediaError as error:
        with suppress(MediaError):  # such as a FLAC file of unknown length; FFmpeg reads more than libsndfile
            return _started(path, _decode_ffmpeg)
        raise error from None


def _started(path: Path, decode: _Decoder) -> tuple[_Header, _Decoder, Iterator[np.ndarray]]:
    chunks = decode(path)
    header, first = next(chunks), next(chunks, None)
    if first is None:
        raise MediaError(f"{path}: holds no samples")
    return header, decode, chain([first], chunks)


def _without_header(chunks: Iterator[_Header | np.ndarray]) -> Iterator[np.ndarray]:
    next(chunks)
    return chunks


def _downmixed(
    header: _Header, chunks: Callable[[], Iterator[np.ndarray]], name: Path | str, report: Report
) -> Iterator[np.ndarray]:
    """Yield mono samples, each of shape (T,); several channels, and floats, are read twice."""
    weights = np.ones(1, np.float32)
    if header.channels > 1 or header.is_float:
        peak = peak_of(_until_damage(chunks())) if header.is_float else 0.0
        scale = full_scale(peak)
        if scale is None:
            raise MediaError(f"{name}: its samples reach {peak:.3g}, where full scale is 1; divide them by their scale")
        if scale > 1:
            bits = round(np.log2(scale)) + 1
            report(f"{name}: its floats reach {peak:,.0f} and are taken for integers of {bits} bits")
        mix = _mix(header, _until_damage(chunks())) if header.channels > 1 else Mix(weights)
        for note in mix.notes:
            report(f"{name}: {note}")
        weights = mix.weights / scale
    mixed = ((chunk @ weights)[:, None] for chunk in _finite(chunks(), name))
    for chunk in filtered(mixed, header.rate):
        yield np.ascontiguousarray(chunk[:, 0])


def _mix(header: _Header, chunks: Iterator[np.ndarray]) -> Mix:
    levels = Levels(header.rate, header.channels)
    for chunk in filtered(chunks, header.rate):
        levels.add(chunk)
    return mix_of(levels, header.subwoofer)


def _until_damage(chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield what can be used; the second reading reports the damage, after what comes before it."""
    with suppress(MediaError):
        for chunk in chunks:
            if not np.isfinite(chunk).all():
                return
            yield chunk


def _finite(chunks: Iterator[np.ndarray], name: Path | str) -> Iterator[np.ndarray]:
    for chunk in chunks:
        if not np.isfinite(chunk).all():
            raise MediaError(f"{name}: holds NaN or infinite samples")
        yield chunk


def _decode_soundfile(path: Path) -> Iterator[_Header | np.ndarray]:
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            is_float = file.subtype in ("FLOAT", "DOUBLE")
            yield _Header(file.samplerate, file.channels, _SUBWOOFER.get(file.channels), is_float)
            block = max(1, _BLOCK // file.channels)
            while len(samples := file.read(block, dtype="float32", always_2d=True)):
                yield samples
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise MediaError(f"{path}: cannot be decoded ({last_clause(error)})") from error


def _decode_ffmpeg(path: Path) -> Iterator[_Header | np.ndarray]:
    try:
        with open_media(path) as container:
            # The track that players choose: the default one, if one is marked so.
            stream = container.streams.best("audio")
            if stream is None:
                raise MediaError(f"{path}: has no sound")
            require_coding(stream, path)
            frames = container.decode(stream)
            first = next(frames, None)
            if first is None:
                raise MediaError(f"{path}: holds no samples")
            names = [channel.name for channel in first.layout.channels]
            subwoofer = names.index("LFE") if "LFE" in names else None
            is_float = (stream.codec_context.name or "").startswith("pcm_f")
            yield _Header(first.sample_rate, len(names), subwoofer, is_float)
            has_picture = bool(container.streams.video)
            start = start_of(container)
            placed = _on_clock(chain([first], frames), first.time if start is None else start, has_picture, path)
            yield from _in_blocks(placed)
    except undecodable() as error:
        raise MediaError(f"{path}: cannot be decoded ({last_clause(error)})") from error


def _on_clock(
    frames: Iterator["av.AudioFrame"], start: float | None, has_picture: bool, path: Path
) -> Iterator[np.ndarray]:
    """Yield samples of shape (T, C) so that the first is of the time `start`, and silence where there are none."""
    rate = channels = written = None
    for frame in frames:
        samples = _samples_of(frame)
        if rate is None:
            rate, channels, written = frame.sample_rate, samples.shape[1], 0
        elif (frame.sample_rate, samples.shape[1]) != (rate, channels):
            raise MediaError(f"{path}: changes its rate or its channels in the middle; convert it first")
        if has_picture and frame.time is not None and start is not None:
            gap = round((frame.time - start) * rate) - written
            if gap < 0 and not written:  # before the clock begins
                samples = samples[-gap:]
            elif _GAP * rate * bool(written) <= gap <= _LONGEST_GAP * rate:
                yield from _silence(gap, channels)
                written += gap
        written += len(samples)
        yield samples


def _silence(length: int, channels: int) -> Iterator[np.ndarray]:
    while length > 0:
        yield np.zeros((min(length, _BLOCK), channels), np.float32)
        length -= _BLOCK


def _samples_of(frame: "av.AudioFrame") -> np.ndarray:
    """Return the samples of a frame, shape (T, C), float32."""
    samples, channels = frame.to_ndarray(), len(frame.layout.channels)
    return _floats(samples.T if frame.format.is_planar else samples.reshape(-1, channels))


def _floats(samples: np.ndarray) -> np.ndarray:
    """Return samples of any type as float32; integers get the full scale [-1, 1]."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)


def _in_blocks(chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Join small chunks, with which each later step would be slow; what comes before an error is yielded first."""
    held, size = [], 0
    try:
        for chunk in chunks:
            held.append(chunk)
            size += chunk.size
            if size >= _BLOCK:
                yield np.concatenate(held)
                held, size = [], 0
    except Exception:
        if size:
            yield np.concatenate(held)
        raise
    if size:
        yield np.concatenate(held)


def write_wav(path: Path, waveform: np.ndarray, sample_rate: int) -> None:
    """Write a waveform, shape (T,), from -1 to 1, as 16-bit WAV, atomically.

    Raises:
        EmotionError: it cannot be written.
    """
    import soundfile

    content = io.BytesIO()  # soundfile hides why it cannot write to a disk, such as one that is full
    soundfile.write(content, waveform, sample_rate, format="WAV", subtype="PCM_16")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())
