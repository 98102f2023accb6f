"""Decoding of the frames of a video; an image is a video of one frame."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from emotion.media.files import MediaError, decoding_errors, last_clause, open_media, require_coding, start_time
from emotion.media.image import Image, is_image

if TYPE_CHECKING:
    import av.container
    import av.video.stream

NO_FRAME = "has no video"
UNDECODABLE = "cannot be decoded"
_MAX_PIXEL_ASPECT = 16  # larger ratios of width to height, or height to width, are errors of the file


class Presentation(NamedTuple):
    """Geometry of displayed frames, from the metadata of the file.

    Attributes:
        transpose: True if rows become columns, before mirroring.
        mirror: True if left and right are swapped.
        flip: True if top and bottom are swapped.
        aspect: Width of a stored pixel, relative to its height.
    """

    transpose: bool = False
    mirror: bool = False
    flip: bool = False
    aspect: float = 1.0


class VideoFrame:
    """A decoded frame of a video, converted when its pixels are requested.

    Args:
        frame: Frame of PyAV.
        time: Time of the frame, in seconds from the start of the file's clock.
        presentation: How the frame is displayed.
    """

    def __init__(self, frame: "av.VideoFrame", time: float, presentation: Presentation) -> None:
        self.time, self._frame, self._presentation = time, frame, presentation

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as displayed, in pixels."""
        width, height = max(1, round(self._frame.width * self._presentation.aspect)), self._frame.height
        return (height, width) if self._presentation.transpose else (width, height)

    def pixels(self, longest: int | None = None) -> np.ndarray:
        """Return RGB pixels as displayed, shape (H, W, 3), uint8.

        Args:
            longest: Length to which the longer side is scaled, in pixels; None keeps the size.
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


def read_presentation(stream: "av.video.stream.VideoStream", frame: "av.VideoFrame") -> Presentation:
    """Return how the frames of a stream are displayed.

    Args:
        stream: Stream of a video.
        frame: Its first frame.
    """
    aspect = float(stream.sample_aspect_ratio or 1)
    if not 1 / _MAX_PIXEL_ASPECT <= aspect <= _MAX_PIXEL_ASPECT:
        aspect = 1.0
    a, b, c, d = _display_matrix(frame)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Presentation(False, a < 0, d < 0, aspect)
    return Presentation(True, c < 0, b < 0, aspect)


def _display_matrix(frame: "av.VideoFrame") -> tuple[float, float, float, float]:
    """Return the rotation and mirroring in a frame's display matrix: a point is moved to (ax + cy, bx + dy)."""
    from av.sidedata.sidedata import SideData, Type

    try:
        found = [data for data in cast("Iterable[SideData]", frame.side_data) if data.type == Type.DISPLAYMATRIX]
    except ValueError:  # PyAV does not know some kinds of side data
        turns = round(frame.rotation / 90) % 4
        return ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))[turns]
    if not found:
        return 1, 0, 0, 1
    matrix = np.frombuffer(bytes(found[0]), np.int32).reshape(3, 3)
    a, b, c, d = matrix[:2, :2].ravel().tolist()
    return a, b, c, d


def read_frames(path: Path) -> Iterator[VideoFrame | Image]:
    """Yield the frames of a video in the order of display, decoded lazily.

    Damaged frames are skipped; a truncated file ends early.

    Raises:
        MediaError: the file is missing, cannot be decoded, or holds no video.
    """
    if is_image(path):
        yield Image(path)
        return

    count, presentation = 0, Presentation()
    try:
        with open_media(path) as container:
            stream = video_stream(container, path)
            stream.thread_type = "AUTO"
            rate, start = float(stream.average_rate or 25), start_time(container)
            for frame in container.decode(stream):
                if not count:
                    presentation = read_presentation(stream, frame)
                    start = frame.time if start is None else start
                time = count / rate if frame.time is None or start is None else frame.time - start
                yield VideoFrame(frame, time, presentation)
                count += 1
    except decoding_errors() as error:
        if not count:
            raise MediaError(f"{path}: {UNDECODABLE} ({last_clause(error)})") from error
    if not count:
        raise MediaError(f"{path}: holds no frames")


def frame_times(path: Path) -> np.ndarray:
    """Return the times of the frames of a video, without decoding them.

    Returns:
        Times in seconds from the start of the file's clock, sorted, shape (N,), float64; of a truncated file those
        before its end.

    Raises:
        MediaError: see `read_frames`.
    """
    if is_image(path):
        return np.zeros(1)

    times, start = [], None
    try:
        with open_media(path) as container:
            stream, start = video_stream(container, path), start_time(container)
            packets = container.demux(stream)
            # `extend` keeps the times before an error.
            times.extend(
                float(packet.pts * packet.time_base)
                for packet in packets
                if packet.pts is not None and not packet.is_discard
            )
    except decoding_errors() as error:
        if not times:
            raise MediaError(f"{path}: {UNDECODABLE} ({last_clause(error)})") from error
    if not times:
        raise MediaError(f"{path}: holds no frames")
    times = np.sort(np.array(times))
    return times - (times[0] if start is None else start)


def read_middle_frame(path: Path) -> np.ndarray:
    """Return RGB pixels of the frame in the middle of a video, shape (H, W, 3), uint8.

    Raises:
        MediaError: see `read_frames`.
    """
    times = frame_times(path)
    middle = times[len(times) // 2]
    frames = read_frames(path)
    frame = next(frames)
    while frame.time < middle and (following := next(frames, None)) is not None:
        frame = following
    return frame.pixels()


def video_duration(path: Path) -> float:
    """Return the duration of a recording in seconds, by its header, else by its packets; 0 for an image.

    Raises:
        MediaError: the file is missing, or cannot be opened.
    """
    if is_image(path):
        return 0.0
    import av

    try:
        with open_media(path) as container:
            start = start_time(container) or 0.0
            if container.duration is not None:
                # The duration of Matroska counts from 0, whatever the start of its clock.
                return container.duration / av.time_base - (start if "matroska" in container.format.name else 0.0)
            ends = (packet.pts * packet.time_base for packet in container.demux() if packet.pts is not None)
            return max(0.0, float(max(ends, default=0)) - start)
    except decoding_errors() as error:
        raise MediaError(f"{path}: {UNDECODABLE} ({last_clause(error)})") from error


def require_frame(path: Path) -> None:
    """Raise `MediaError` if a file cannot be opened, or is neither a video nor an image."""
    if is_image(path):
        return
    try:
        with open_media(path) as container:
            video_stream(container, path)
    except decoding_errors() as error:
        raise MediaError(f"{path}: {UNDECODABLE} ({last_clause(error)})") from error


def video_stream(container: "av.container.InputContainer", path: Path) -> "av.video.stream.VideoStream":
    """Return the video stream of an open file: the default one, if one is marked as such.

    Args:
        container: Container of the file.
        path: Path of the file, for messages.

    Raises:
        MediaError: the file has no video stream.
    """
    from av.stream import Disposition

    moving = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not moving:  # an attached cover does not count
        raise MediaError(f"{path}: {NO_FRAME}")
    chosen = next((stream for stream in moving if stream.disposition & Disposition.default), moving[0])
    require_coding(chosen, path)
    return chosen
