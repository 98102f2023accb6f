"""Decode the picture of a video file; an image is a video of one frame."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emotion.media.files import MediaError, last_clause, open_media, require_coding, start_of, undecodable
from emotion.media.image import Image, is_image

if TYPE_CHECKING:
    import av

NO_PICTURE = "has no picture"
UNDECODABLE = "cannot be decoded"
_WIDEST_PIXEL = 16  # times as wide as high, or as high as wide; wider ones are mistakes of the file


class Presentation(NamedTuple):
    """How the frames of a video are to be shown, which differs from how they are stored.

    Attributes:
        transpose: True if rows become columns, before they are mirrored.
        mirror: True if left and right are swapped.
        flip: True if top and bottom are swapped.
        aspect: Width of a pixel as it is stored, in heights.
    """

    transpose: bool = False
    mirror: bool = False
    flip: bool = False
    aspect: float = 1.0


class Picture:
    """A decoded frame of a video, kept as it was stored until its pixels are asked for.

    Attributes:
        time: When it is shown, in seconds from the start of the file's clock.
    """

    def __init__(self, frame: "av.VideoFrame", time: float, presentation: Presentation) -> None:
        self.time, self._frame, self._presentation = time, frame, presentation

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as it is shown, in pixels."""
        width, height = max(1, round(self._frame.width * self._presentation.aspect)), self._frame.height
        return (height, width) if self._presentation.transpose else (width, height)

    def pixels(self, longest: int | None = None) -> np.ndarray:
        """Return red-green-blue pixels, shape (H, W, 3), uint8, rotated and mirrored by its metadata.

        Args:
            longest: What the longer side is scaled to; None keeps the size.
        """
        size = self.size
        if longest:
            scale = longest / max(size)
            size = tuple(max(1, round(side * scale)) for side in size)
        width, height = reversed(size) if self._presentation.transpose else size
        pixels = self._frame.reformat(width, height, "rgb24").to_ndarray()
        if self._presentation.transpose:
            pixels = pixels.transpose(1, 0, 2)
        if self._presentation.mirror:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(pixels[::-1] if self._presentation.flip else pixels)


def presentation_of(stream: "av.video.stream.VideoStream", frame: "av.VideoFrame") -> Presentation:
    """Return how the frames of `stream`, of which `frame` is the first, are to be shown."""
    aspect = float(stream.sample_aspect_ratio or 1)
    if not 1 / _WIDEST_PIXEL <= aspect <= _WIDEST_PIXEL:
        aspect = 1.0
    a, b, c, d = _matrix_of(frame)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Presentation(False, a < 0, d < 0, aspect)
    return Presentation(True, c < 0, b < 0, aspect)


def _matrix_of(frame: "av.VideoFrame") -> tuple[float, float, float, float]:
    """Return the part of a frame's display matrix that turns and mirrors: a point goes to (ax + cy, bx + dy)."""
    from av.sidedata.sidedata import Type

    try:
        found = [data for data in frame.side_data if data.type == Type.DISPLAYMATRIX]
    except ValueError:  # there is side data of a kind that the binding does not know yet
        turns = round(frame.rotation / 90) % 4
        return ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))[turns]
    if not found:
        return 1, 0, 0, 1
    matrix = np.frombuffer(bytes(found[0]), np.int32).reshape(3, 3)
    return tuple(matrix[:2, :2].ravel().tolist())


def read_pictures(path: Path) -> Iterator[Picture | Image]:
    """Yield the frames of a video in the order in which they are shown, decoded as they are asked for.

    Frames that are damaged are left out; so is what follows where a file ends too soon.

    Raises:
        MediaError: the file is missing, cannot be decoded, or holds no picture.
    """
    if is_image(path):
        yield Image(path)
        return

    count, presentation = 0, Presentation()
    try:
        with open_media(path) as container:
            stream = picture_stream(container, path)
            stream.thread_type = "AUTO"
            rate, start = float(stream.average_rate or 25), start_of(container)
            for frame in container.decode(stream):
                if not count:
                    presentation = presentation_of(stream, frame)
                    start = frame.time if start is None else start
                yield Picture(frame, count / rate if frame.time is None else frame.time - start, presentation)
                count += 1
    except undecodable() as error:
        if not count:
            raise MediaError(f"{path}: {UNDECODABLE} ({last_clause(error)})") from error
    if not count:
        raise MediaError(f"{path}: holds no frames")


def picture_times(path: Path) -> np.ndarray:
    """Return when each frame of a video is shown, in seconds, sorted, as far as the file goes; nothing is decoded.

    Raises:
        MediaError: as `read_pictures`.
    """
    if is_image(path):
        return np.zeros(1)

    times, start = [], None
    try:
        with open_media(path) as container:
            stream, start = picture_stream(container, path), start_of(container)
            packets = container.demux(stream)
            # Where the file ends too soon, those before are kept.
            times.extend(
                float(packet.pts * packet.time_base)
                for packet in packets
                if packet.pts is not None and not packet.is_discard
            )
    except undecodable() as error:
        if not times:
            raise MediaError(f"{path}: {UNDECODABLE} ({last_clause(error)})") from error
    if not times:
        raise MediaError(f"{path}: holds no frames")
    times = np.sort(np.array(times))
    return times - (times[0] if start is None else start)


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
    """Return the duration of a recording by its header, or else by its packets, in seconds; 0 for an image.

    Raises:
        MediaError: it is missing, or no media file.
    """
    if is_image(path):
        return 0.0
    import av

    try:
        with open_media(path) as container:
            start = start_of(container) or 0.0
            if container.duration is not None:
                # Matroska counts from 0, wherever its clock begins.
                return container.duration / av.time_base - (start if "matroska" in container.format.name else 0.0)
            ends = (packet.pts * packet.time_base for packet in container.demux() if packet.pts is not None)
            return max(0.0, float(max(ends, default=0)) - start)
    except undecodable() as error:
        raise MediaError(f"{path}: {UNDECODABLE} ({last_clause(error)})") from error


def require_picture(path: Path) -> None:
    """Raise `MediaError` if a file cannot be opened or holds no moving picture; an image is one."""
    if is_image(path):
        return
    try:
        with open_media(path) as container:
            picture_stream(container, path)
    except undecodable() as error:
        raise MediaError(f"{path}: {UNDECODABLE} ({last_clause(error)})") from error


def picture_stream(container: "av.container.InputContainer", path: Path) -> "av.video.stream.VideoStream":
    """The stream of moving pictures in the opened file `path`.

    Raises:
        MediaError: there is none.
    """
    from av.stream import Disposition

    moving = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not moving:  # a cover is no picture of who speaks
        raise MediaError(f"{path}: {NO_PICTURE}")
    chosen = next((stream for stream in moving if stream.disposition & Disposition.default), moving[0])
    require_coding(chosen, path)
    return chosen
