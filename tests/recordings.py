"""Synthetic recordings for tests: audio in many containers, and videos with an event at a known time."""

from fractions import Fraction

import av
import numpy as np

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
CODECS = {
    "wav": "pcm_s16le",
    "flac": "flac",
    "mp3": "libmp3lame",
    "m4a": "aac",
    "ogg": "libopus",
    "opus": "libopus",
    "webm": "libopus",
    "mka": "flac",
    "mov": "pcm_s16le",
}


def voice(rate=48_000, seconds=2.5, level=0.2):
    """Return a voice-like signal: harmonics of 140 Hz with a modulated level, shape (T,)."""
    time = np.arange(round(rate * seconds)) / rate
    harmonics = sum(np.sin(2 * np.pi * 140 * k * time + k) / k for k in range(1, 12))
    return (level * harmonics * (0.55 + 0.45 * np.sin(2 * np.pi * 3 * time))).astype(np.float32)


def write_audio(path, channels, rate=48_000, codec=None, form=None):
    """Encode samples of shape (T, C) with FFmpeg; `codec` and `form` (the container) default to those of the suffix."""
    suffix = path.suffix[1:]
    codec = codec or CODECS[suffix]
    form = form or {"m4a": "mp4", "mka": "matroska"}.get(suffix, suffix)
    with av.open(str(path), "w", format=form) as container:
        encode_audio(container, container.add_stream(codec, rate=rate, layout=LAYOUTS[channels.shape[1]]), channels)


def encode_audio(container, stream, channels, start=0.0, last=True):
    """Encode samples of shape (T, C) from the time `start`, in seconds; `last` flushes the encoder."""
    rate, layout = stream.rate, LAYOUTS[channels.shape[1]]
    if stream.codec.name == "libmp3lame":
        stream.bit_rate = 320_000  # at lower rates LAME lowers the level
    to_codec = av.AudioResampler(stream.codec_context.format, layout, rate)
    for first in range(0, len(channels), 4096):
        block = np.ascontiguousarray(channels[first : first + 4096].T, np.float32)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.rate, frame.pts, frame.time_base = rate, first + round(start * rate), Fraction(1, rate)
        for part in to_codec.resample(frame):
            container.mux(stream.encode(part))
    if last:
        container.mux(stream.encode(None))


def write_clip(path, start=0.0, audio_delay=0.0, video_delay=0.0, codec="aac", form=None):
    """Write a video that is black and silent for one second, then white and loud for another.

    Timestamps begin at `start`, in seconds. Audio or video may begin later; the time of the event does not change.
    """
    seconds, event, rate = 2.0, 1.0, 25
    with av.open(str(path), "w", format=form) as container:
        video = container.add_stream("libx264" if form != "mpeg" else "mpeg2video", rate=rate)
        video.width = video.height = 64
        video.pix_fmt, video.codec_context.time_base = "yuv420p", Fraction(1, 90_000)
        audio = container.add_stream(codec, rate=48_000, layout="mono")
        for number in range(round(video_delay * rate), round(seconds * rate)):
            shade = 255 if number / rate >= event - 1e-6 else 0
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), shade, np.uint8), format="rgb24")
            frame.time_base, frame.pts = Fraction(1, 90_000), round((start + number / rate) * 90_000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        time = np.arange(round(audio_delay * 48_000), round(seconds * 48_000)) / 48_000
        samples = 0.3 * np.sin(2 * np.pi * 440 * time) * (time >= event)
        encode_audio(container, audio, samples[:, None], start + audio_delay)
