"""Recordings that tests make: one sound in many containers, and videos whose clock tells when it was."""

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
    """A sound like a voice: harmonics of 140 Hz, whose level goes up and down; shape (T,)."""
    time = np.arange(round(rate * seconds)) / rate
    harmonics = sum(np.sin(2 * np.pi * 140 * k * time + k) / k for k in range(1, 12))
    return (level * harmonics * (0.55 + 0.45 * np.sin(2 * np.pi * 3 * time))).astype(np.float32)


def write_audio(path, channels, rate=48_000, codec=None, form=None):
    """Encode samples of shape (T, C) with FFmpeg; the suffix says how, or `codec` and `form` do."""
    suffix = path.suffix[1:]
    codec = codec or CODECS[suffix]
    form = form or {"m4a": "mp4", "mka": "matroska"}.get(suffix, suffix)
    with av.open(str(path), "w", format=form) as container:
        encode_sound(container, container.add_stream(codec, rate=rate, layout=LAYOUTS[channels.shape[1]]), channels)


def encode_sound(container, stream, channels, start=0.0, last=True):
    """Encode samples of shape (T, C) from the time `start` on, in seconds; `last` if no more follow."""
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


def write_clip(path, start=0.0, sound_late=0.0, picture_late=0.0, codec="aac", form=None):
    """A video that is black and silent for a second, then white and loud for another; its clock begins at `start`.

    Sound or picture may begin later than the clock; the event stays where it is.
    """
    seconds, event, rate = 2.0, 1.0, 25
    with av.open(str(path), "w", format=form) as container:
        pictures = container.add_stream("libx264" if form != "mpeg" else "mpeg2video", rate=rate)
        pictures.width = pictures.height = 64
        pictures.pix_fmt, pictures.codec_context.time_base = "yuv420p", Fraction(1, 90_000)
        sound = container.add_stream(codec, rate=48_000, layout="mono")
        for number in range(round(picture_late * rate), round(seconds * rate)):
            shade = 255 if number / rate >= event - 1e-6 else 0
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), shade, np.uint8), format="rgb24")
            frame.time_base, frame.pts = Fraction(1, 90_000), round((start + number / rate) * 90_000)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        time = np.arange(round(sound_late * 48_000), round(seconds * 48_000)) / 48_000
        samples = 0.3 * np.sin(2 * np.pi * 440 * time) * (time >= event)
        encode_sound(container, sound, samples[:, None], start + sound_late)
