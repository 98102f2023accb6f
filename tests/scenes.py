"""Synthetic videos for tests."""

from fractions import Fraction

import av
import numpy as np

GREY = 90


def scene(*placed, height=360, width=640):
    """Return a grey background with images at (image, left, top); images may extend beyond its borders."""
    background = np.full((height, width, 3), GREY, np.uint8)
    for image, left, top in placed:
        rows, columns = slice(max(0, top), top + len(image)), slice(max(0, left), left + image.shape[1])
        part = background[rows, columns]
        part[:] = image[max(0, -top) :, max(0, -left) :][: part.shape[0], : part.shape[1]]
    return background


def write_video(path, images, rate=10, times=None, rotation=0, tone_seconds=None, codec="libx264"):
    """Encode images as video; `times` in milliseconds make the frame rate variable; `rotation` is in degrees."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        audio = container.add_stream("aac", rate=16_000, layout="mono") if tone_seconds else None
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.time_base = Fraction(1, 1000)
            frame.pts = times[number] if times is not None else round(1000 * number / rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio:
            tone = np.sin(np.arange(round(16_000 * tone_seconds)) / 10).astype(np.float32)
            for start in range(0, len(tone), 1024):
                frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
                frame.rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
                container.mux(audio.encode(frame))
            container.mux(audio.encode())
