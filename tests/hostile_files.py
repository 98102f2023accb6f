"""Files that are made to fill the memory or the time of a decoder."""

import io
import struct
import zipfile
import zlib

import av
import numpy as np
import soundfile


def wav(samples, rate=16_000, **options):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=options.pop("format", "WAV"), **options)
    return file.getvalue()


def zip_bomb():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("clip.wav", bytes(200_000_000))
    return file.getvalue()


def huge_image():
    """Return a PNG whose header states 100,000 × 100,000 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def flac_without_duration():
    """Return 40 minutes of silence in FLAC whose header does not state the duration."""
    content = bytearray(wav(np.zeros(40 * 60 * 8_000), 8_000, format="FLAC"))
    content[21] &= 0xF0  # the number of samples has 36 bits
    content[22:26] = bytes(4)
    return bytes(content)


def huge_video():
    """Return a video of 40 black frames of 8,192 × 8,192 pixels, in 200 kB."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=15, options={"preset": "ultrafast"})
        stream.width = stream.height = 8192
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame(8192, 8192, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        for number in range(40):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()
