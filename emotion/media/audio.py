"""Decode the sound of an audio or video file to a mono waveform."""

from pathlib import Path

import numpy as np

from emotion.errors import EmotionError

SOUNDFILE_SUFFIXES = (".wav", ".flac")


class MediaError(EmotionError):
    """A media file that cannot be used; the text says which and why."""


def read_audio(path: Path, sample_rate: int) -> np.ndarray:
    """Decode `path`, average its channels and resample.

    The level is kept: nothing is scaled to a peak, since loudness tells emotions apart.

    Args:
        path: A `.wav` or `.flac` file, or anything that holds an audio stream which FFmpeg decodes.
        sample_rate: The rate wanted, in Hz.

    Returns:
        The waveform, shape (T,), float32; full scale is [-1, 1].

    Raises:
        MediaError: the file is missing, damaged, without sound, of zero length, or holds NaN or infinite samples.
    """
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: the file is empty (zero bytes)")
    decode = _decode_soundfile if path.suffix.lower() in SOUNDFILE_SUFFIXES else _decode_ffmpeg
    waveform, original_rate = decode(path)
    if not len(waveform):
        raise MediaError(f"{path}: holds no samples")
    if not np.isfinite(waveform).all():
        raise MediaError(f"{path}: holds NaN or infinite samples")
    return resampled(waveform, original_rate, sample_rate)


def resampled(waveform: np.ndarray, original_rate: int, sample_rate: int) -> np.ndarray:
    """A mono waveform at another rate, shape (T,), float32; rates in Hz."""
    if original_rate != sample_rate:
        import soxr

        waveform = soxr.resample(waveform, original_rate, sample_rate)
    return np.ascontiguousarray(waveform, dtype=np.float32)


def _decode_soundfile(path: Path) -> tuple[np.ndarray, int]:
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise MediaError(f"{path}: cannot be decoded ({_last_clause(error)})") from error
    return samples.mean(axis=1), rate


def _decode_ffmpeg(path: Path) -> tuple[np.ndarray, int]:
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise MediaError(f"{path}: has no sound")
            rate = container.streams.audio[0].rate
            to_mono = av.AudioResampler(format="flt", layout="mono", rate=rate)
            frames = [mono for frame in container.decode(audio=0) for mono in to_mono.resample(frame)]
            frames += to_mono.resample(None)
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{path}: cannot be decoded ({_last_clause(error)})") from error
    chunks = [frame.to_ndarray()[0] for frame in frames]
    return np.concatenate(chunks) if chunks else np.zeros(0, np.float32), rate


def _last_clause(error: Exception) -> str:
    told = getattr(error, "strerror", None) or str(error).rsplit(":", 1)[-1]
    return told.strip().rstrip(".") or type(error).__name__
