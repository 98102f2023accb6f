"""Decode the sound of an audio or video file to a mono waveform; write one."""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from emotion.files import atomic_path
from emotion.media.files import MediaError, last_clause, open_media, require_coding, require_file, undecodable

SOUNDFILE_SUFFIXES = (".wav", ".flac")
RATES = (1_000, 768_000)
"""Lowest and highest sample rate, in Hz: others are mistakes of a header, and resampling them would fill the memory."""
MOST_SAMPLES = 100_000_000
"""That `read_audio` reads before resampling: 35 minutes at 48 kHz. What is longer can be streamed."""
_BLOCK = 2**18  # samples


def read_audio(path: Path, sample_rate: int) -> np.ndarray:
    """Decode `path`, average its channels and resample.

    The level is kept: nothing is scaled to a peak, since loudness tells emotions apart.

    Args:
        path: A `.wav` or `.flac` file, or anything that holds an audio stream which FFmpeg decodes.
        sample_rate: The rate wanted, in Hz.

    Returns:
        The waveform, shape (T,), float32; full scale is [-1, 1].

    Raises:
        MediaError: the file is missing, damaged, without sound, of zero length, longer than `MOST_SAMPLES`, or holds
            NaN or infinite samples.
    """
    rate, chunks = _decoded(path)
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


def stream_audio(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    """What `read_audio` gives, some of it at a time, so that a long recording needs no more memory than a short one.

    Args:
        path: See `read_audio`.
        sample_rate: The rate wanted, in Hz.

    Yields:
        Successive parts of the waveform, each of shape (T,), float32.

    Raises:
        MediaError: see `read_audio`; what comes before the damage is yielded first.
    """
    import soxr

    rate, chunks = _decoded(path)
    if rate == sample_rate:
        yield from chunks
        return
    resampler = soxr.ResampleStream(rate, sample_rate, 1)
    for chunk in chunks:
        yield resampler.resample_chunk(chunk)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def resampled(waveform: np.ndarray, original_rate: int, sample_rate: int) -> np.ndarray:
    """A mono waveform at another rate, shape (T,), float32; rates in Hz."""
    if original_rate != sample_rate:
        import soxr

        waveform = soxr.resample(waveform, original_rate, sample_rate)
    return np.ascontiguousarray(waveform, dtype=np.float32)


def _decoded(path: Path) -> tuple[int, Iterator[np.ndarray]]:
    """The rate of a file in Hz, and its mono samples, some at a time."""
    require_file(path)
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: the file is empty (zero bytes)")
    decode = _decode_soundfile if path.suffix.lower() in SOUNDFILE_SUFFIXES else _decode_ffmpeg
    chunks = decode(path)
    rate = next(chunks)
    if not RATES[0] <= rate <= RATES[1]:
        raise MediaError(f"{path}: says that it has {rate} samples a second; {RATES[0]:,} to {RATES[1]:,} are possible")
    return rate, _sound_ones(path, chunks)


def _sound_ones(path: Path, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    some = False
    for chunk in chunks:
        if not np.isfinite(chunk).all():
            raise MediaError(f"{path}: holds NaN or infinite samples")
        some = some or len(chunk) > 0
        yield chunk
    if not some:
        raise MediaError(f"{path}: holds no samples")


def _decode_soundfile(path: Path) -> Iterator[np.ndarray]:
    """The rate, then the samples."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            yield file.samplerate
            block = max(1, _BLOCK // file.channels)
            while len(samples := file.read(block, dtype="float32", always_2d=True)):
                yield samples.mean(axis=1)
    except (soundfile.SoundFileError, OSError) as error:
        raise MediaError(f"{path}: cannot be decoded ({last_clause(error)})") from error


def _decode_ffmpeg(path: Path) -> Iterator[np.ndarray]:
    """The rate, then the samples."""
    import av

    try:
        with open_media(path) as container:
            if not container.streams.audio:
                raise MediaError(f"{path}: has no sound")
            require_coding(container.streams.audio[0], path)
            rate = container.streams.audio[0].rate
            yield rate
            to_mono = av.AudioResampler(format="flt", layout="mono", rate=rate)
            for frame in container.decode(audio=0):
                yield from (mono.to_ndarray()[0] for mono in to_mono.resample(frame))
            yield from (mono.to_ndarray()[0] for mono in to_mono.resample(None))
    except undecodable() as error:
        raise MediaError(f"{path}: cannot be decoded ({last_clause(error)})") from error


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
