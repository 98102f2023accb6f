"""Decoders of audio: libsndfile for WAV and FLAC, FFmpeg for everything else, chosen by content."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from emotion.media.files import (
    MediaError,
    decoding_errors,
    last_clause,
    open_media,
    read_head,
    require_coding,
    start_time,
)

if TYPE_CHECKING:
    import av.audio.stream

_BLOCK = 2**18  # samples
_MIN_GAP_S = 0.1  # shorter gaps between timestamps are rounding errors
_MAX_GAP_S = 3600  # longer gaps are errors of a timestamp
LFE_CHANNEL = {6: 3, 7: 3, 8: 3}
"""The low-frequency channel of WAV and FLAC files by their number of channels: 5.1, 6.1 and 7.1."""


class AudioHeader(NamedTuple):
    """Format of a stream of samples.

    Attributes:
        rate: Sampling rate, in Hz.
        channels: Number of channels.
        lfe: Index of the low-frequency channel, or None.
        is_float: True if samples are stored as floats, which may have any scale.
    """

    rate: int
    channels: int
    lfe: int | None
    is_float: bool


Decoder = Callable[[Path], Iterator[AudioHeader | np.ndarray]]
"""A decoder yields a header, then samples of shape (T, C), float32."""


def open_audio(path: Path) -> tuple[AudioHeader, Decoder, Iterator[np.ndarray]]:
    """Open an audio file.

    Args:
        path: Existing file.

    Returns:
        Format of the file; the decoder, to read it again; and an iterator over samples of shape (T, C), float32.

    Raises:
        MediaError: the file cannot be decoded or holds no samples.
    """
    head = read_head(path)
    is_plain = head[:4] in (b"RIFF", b"RF64", b"fLaC") and head[8:12] not in (b"AVI ", b"WEBP")
    if not is_plain:
        return _start(path, _decode_ffmpeg)
    try:
        return _start(path, _decode_soundfile)
    except MediaError as error:
        with suppress(MediaError):  # FFmpeg reads some files that libsndfile does not, such as FLAC of unknown length
            return _start(path, _decode_ffmpeg)
        raise error from None


def _start(path: Path, decode: Decoder) -> tuple[AudioHeader, Decoder, Iterator[np.ndarray]]:
    header, chunks = split_header(decode(path))
    first = next(chunks, None)
    if first is None:
        raise MediaError(f"{path}: holds no samples")
    return header, decode, chain([first], chunks)


def split_header(chunks: Iterator[AudioHeader | np.ndarray]) -> tuple[AudioHeader, Iterator[np.ndarray]]:
    """Return the header that a decoder yields first, and the iterator over the samples after it."""
    return cast(AudioHeader, next(chunks)), cast(Iterator[np.ndarray], chunks)


def _decode_soundfile(path: Path) -> Iterator[AudioHeader | np.ndarray]:
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            is_float = file.subtype in ("FLOAT", "DOUBLE")
            yield AudioHeader(file.samplerate, file.channels, LFE_CHANNEL.get(file.channels), is_float)
            block = max(1, _BLOCK // file.channels)
            while len(samples := file.read(block, dtype="float32", always_2d=True)):
                yield samples
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise MediaError(f"{path}: cannot be decoded ({last_clause(error)})") from error


def _decode_ffmpeg(path: Path) -> Iterator[AudioHeader | np.ndarray]:
    try:
        with open_media(path) as container:
            # Players choose this track too: the one marked as default, if there is one.
            stream = cast("av.audio.stream.AudioStream | None", container.streams.best("audio"))
            if stream is None:
                raise MediaError(f"{path}: has no audio")
            require_coding(stream, path)
            frames = container.decode(stream)
            first = next(frames, None)
            if first is None:
                raise MediaError(f"{path}: holds no samples")
            names = [channel.name for channel in first.layout.channels]
            lfe = names.index("LFE") if "LFE" in names else None
            is_float = (stream.codec_context.name or "").startswith("pcm_f")
            yield AudioHeader(first.sample_rate, len(names), lfe, is_float)
            has_video = bool(container.streams.video)
            start = start_time(container)
            placed = _align_to_clock(chain([first], frames), first.time if start is None else start, has_video, path)
            yield from _regroup(placed)
    except decoding_errors() as error:
        raise MediaError(f"{path}: cannot be decoded ({last_clause(error)})") from error


def _align_to_clock(
    frames: Iterator["av.AudioFrame"], start: float | None, has_video: bool, path: Path
) -> Iterator[np.ndarray]:
    """Yield samples of shape (T, C) from the time `start` on, with silence in gaps.

    Only files with video are aligned, so that audio and video share a clock.
    """
    rate = channels = None
    written = 0
    for frame in frames:
        samples = _samples_of(frame)
        if rate is None or channels is None:
            rate, channels = frame.sample_rate, samples.shape[1]
        elif (frame.sample_rate, samples.shape[1]) != (rate, channels):
            raise MediaError(f"{path}: changes its rate or its channels in the middle; convert it first")
        if has_video and frame.time is not None and start is not None:
            gap = round((frame.time - start) * rate) - written
            if gap < 0 and not written:  # before the start of the clock
                samples = samples[-gap:]
            elif _MIN_GAP_S * rate * bool(written) <= gap <= _MAX_GAP_S * rate:
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
    return to_float(samples.T if frame.format.is_planar else samples.reshape(-1, channels))


def to_float(samples: np.ndarray) -> np.ndarray:
    """Convert samples to float32; the full scale of integers becomes [-1, 1]."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)


def _regroup(chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Join small chunks, which would slow down later steps; chunks before an error are yielded first."""
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
