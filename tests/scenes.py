"""Videos that tests film themselves."""

from fractions import Fraction

import av
import numpy as np

GREY = 90


def scene(*placed, height=360, width=640):
    """A grey room in which pictures stand: (picture, left, top); parts may lie outside."""
    room = np.full((height, width, 3), GREY, np.uint8)
    for picture, left, top in placed:
        rows, columns = slice(max(0, top), top + len(picture)), slice(max(0, left), left + picture.shape[1])
        part = room[rows, columns]
        part[:] = picture[max(0, -top) :, max(0, -left) :][: part.shape[0], : part.shape[1]]
    return room


def write_video(path, pictures, rate=10, times=None, turn=0, tone_seconds=None, codec="libx264"):
    """H.264, or what `codec` says; `times` in milliseconds make the frame rate vary."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, 1000)
        if turn:
            stream.set_display_rotation(turn)
        sound = container.add_stream("aac", rate=16_000, layout="mono") if tone_seconds else None
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.time_base = Fraction(1, 1000)
            frame.pts = times[number] if times is not None else round(1000 * number / rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound:
            tone = np.sin(np.arange(round(16_000 * tone_seconds)) / 10).astype(np.float32)
            for start in range(0, len(tone), 1024):
                frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
                frame.rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
                container.mux(sound.encode(frame))
            container.mux(sound.encode())
