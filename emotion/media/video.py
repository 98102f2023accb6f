"""Decode the picture of a video file; an image is a video of one frame."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emotion.media.files import MediaError, last_clause, open_media, require_coding, undecodable
from emotion.media.image import Image, is_image

if TYPE_CHECKING:
    import av


class Picture:
    """A decoded frame of a video, kept as it was stored until its pixels are asked for.

    Attributes:
        time: When it is shown, in seconds from the start of the file's first stream.
    """

    def __init__(self, frame: "av.VideoFrame", time: float) -> None:
        self.time, self._frame = time, frame
        self._turns = round(frame.rotation / 90) % 4

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as it is shown, in pixels."""
        width, height = self._frame.width, self._frame.height
        return (height, width) if self._turns % 2 else (width, height)

    def pixels(self, longest: int | None = None) -> np.ndarray:
        """Red-green-blue, shape (H, W, 3), uint8, turned as the file says that it is to be shown.

        Args:
            longest: What the longer side is scaled to; None keeps the size.
        """
        frame = self._frame
        width, height = frame.width, frame.height
        if longest:
            scale = longest / max(width, height)
            width, height = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = frame.reformat(width, height, "rgb24").to_ndarray()
        # The display matrix turns counter-clockwise, as does numpy.
        return np.ascontiguousarray(np.rot90(pixels, self._turns))


def read_pictures(path: Path) -> Iterator[Picture | Image]:
    """The frames of a video in the order in which they are shown, decoded as they are asked for.

    Frames that are damaged are left out; so is what follows where a file ends too soon.

    Raises:
        MediaError: the file is missing, cannot be decoded, or holds no picture.
    """
    if is_image(path):
        yield Image(path)
        return

    count = 0
    try:
        with open_media(path) as container:
            stream = picture_stream(container, path)
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or 25)
            for frame in container.decode(stream):
                yield Picture(frame, count / rate if frame.time is None else frame.time)
                count += 1
    except undecodable() as error:
        if not count:
            raise MediaError(f"{path}: cannot be decoded ({last_clause(error)})") from error
    if not count:
        raise MediaError(f"{path}: holds no frames")


def picture_times(path: Path) -> np.ndarray:
    """When each frame of a video is shown, in seconds, sorted, as far as the file goes; nothing is decoded.

    Raises:
        MediaError: as `read_pictures`.
    """
    if is_image(path):
        return np.zeros(1)

    times = []
    try:
        with open_media(path) as container:
            stream = picture_stream(container, path)
            packets = container.demux(stream)
            # Where the file ends too soon, those before are kept.
            times.extend(float(packet.pts * packet.time_base) for packet in packets if packet.pts is not None)
    except undecodable() as error:
        if not times:
            raise MediaError(f"{path}: cannot be decoded ({last_clause(error)})") from error
    if not times:
        raise MediaError(f"{path}: holds no frames")
    return np.sort(np.array(times))


def read_middle_picture(path: Path) -> np.ndarray:
    """The pixels in the middle of a video, shape (H, W, 3), uint8, red-green-blue.

    Raises:
        MediaError: as `read_pictures`.
    """
    times = picture_times(path)
    middle = times[len(times) // 2]
    picture = None
    for picture in read_pictures(path):
        if picture.time >= middle:
            break
    return picture.pixels()


def length_of(path: Path) -> float:
    """How long a recording is by what its file says, or else by its packets, in seconds; 0 for an image.

    Raises:
        MediaError: it is missing, or no media file.
    """
    if is_image(path):
        return 0.0
    import av

    try:
        with open_media(path) as container:
            if container.duration is not None:
                return container.duration / av.time_base
            ends = (packet.pts * packet.time_base for packet in container.demux() if packet.pts is not None)
            return float(max(ends, default=0))
    except undecodable() as error:
        raise MediaError(f"{path}: cannot be decoded ({last_clause(error)})") from error


def picture_stream(container: "av.container.InputContainer", path: Path) -> "av.video.stream.VideoStream":
    """The stream of moving pictures in the opened file `path`.

    Raises:
        MediaError: there is none.
    """
    from av.stream import Disposition

    moving = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not moving:  # a cover is no picture of who speaks
        raise MediaError(f"{path}: has no picture")
    require_coding(moving[0], path)
    return moving[0]
