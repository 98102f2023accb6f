"""Face crops of selected frames of each video, as one uint8 memory map."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emotion.errors import EmotionError
from emotion.files import cache_directory, fingerprint
from emotion.media.files import MediaError
from emotion.media.image import StillImage
from emotion.media.video import VideoFrame, frame_times, read_frames
from emotion.prepare.store import Column, PreparedItem, Store, load_or_make, source_of
from emotion.prepare.tracking import FrameDetections, Track, boxes_at, track_faces

if TYPE_CHECKING:
    from emotion.prepare.face_detection import FaceDetector

FORMAT = 2  # part of the cache key: increment it when the stored crops change
BOX_COLUMNS = ("time", "left", "top", "right", "bottom", "probability")
"""The values of a row of `boxes`: time in seconds, box in pixels of the frame, and MTCNN's probability."""

COLORS = {"rgb": 3, "grey": 1}
DETECTORS = ("mtcnn", "cropped", "none")
Frame = VideoFrame | StillImage
RETRY_SIZE = 1280  # longer side in pixels of a second detection, if the first one finds no face
_BATCH = 16


@dataclass(frozen=True)
class FaceOptions:
    """Options of face detection and cropping.

    Attributes:
        frames: Maximum number of frames of a clip, spread evenly.
        frame_step: Step between the frames that are considered.
        size: Side of a crop, or height and width of a whole frame, in pixels.
        color: `rgb` or `grey`.
        detect: `mtcnn`; `none` for whole frames, scaled to `size`; or `cropped` for a corpus of face crops, which are
            used as they are (faces are detected in other files).
        margin: Margin around a box, as a fraction of its longer side; may be negative.
        detection_interval_s: Time between two frames in which faces are detected, in seconds; 0 for all frames.
        detection_size: Longer side of the frames in which faces are detected, in pixels.
        min_face_fraction: Side of the smallest detected face, as a fraction of the shorter side of the frame.

    Raises:
        EmotionError: a value is not allowed.
    """

    frames: int = 16
    frame_step: int = 1
    size: int | Sequence[int] = 112
    color: str = "rgb"
    detect: str = "mtcnn"
    margin: float = 0.3
    detection_interval_s: float = 0.25
    detection_size: int = 320
    min_face_fraction: float = 0.15

    def __post_init__(self) -> None:
        for name, known in (("color", COLORS), ("detect", DETECTORS)):
            if getattr(self, name) not in known:
                raise EmotionError(f"faces.{name}={getattr(self, name)} is none of {', '.join(known)}")
        for name in ("frames", "frame_step", "detection_size"):
            if getattr(self, name) < 1:
                raise EmotionError(f"faces.{name}={getattr(self, name)} must be at least 1")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise EmotionError(f"faces.size={self.size} is neither a number of pixels nor a height and a width")
        if self.detect != "none" and self.shape[0] != self.shape[1]:
            raise EmotionError(
                f"faces.size={list(self.shape[:2])}: only whole frames, faces.detect=none, may be oblong"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels of a crop."""
        shape = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        return (*shape, COLORS[self.color])

    @property
    def detects_faces(self) -> bool:
        """True if faces are detected."""
        return self.detect == "mtcnn"


def prepare_faces(
    table: pd.DataFrame,
    directory: Path,
    options: FaceOptions,
    windows: Mapping[str, tuple[float, float]] | None = None,
    cache: Path | None = None,
) -> Store:
    """Return the face crops of recordings, from the cache or computed.

    Args:
        table: Recordings of one corpus with `video`, as `Corpus.scan` returns them.
        directory: Directory of the corpus, to which the paths in `table` are relative.
        options: Options of detection and cropping.
        windows: Start and end of the part of a recording that is used, in seconds, by recording (default: all of it).
        cache: Cache directory (default: `emotion.files.cache_directory()`).

    Returns:
        Store with the columns `faces`, shape (total, *options.shape), uint8, and `boxes`, shape (total, 6), float32,
        see `BOX_COLUMNS`. Frames without a face are excluded; `note` in the index counts them.
    """
    paths, windows = dict(zip(table["recording"], table["video"], strict=True)), windows or {}
    sources = [(name, *source_of(directory, path), windows.get(name)) for name, path in paths.items()]
    key = fingerprint({"format": FORMAT, "options": asdict(options), "sources": sources})

    def crop_all(recordings: Sequence[str]) -> Iterator[PreparedItem]:
        cropper = FaceCropper(options)

        def crop_recording(recording: str) -> PreparedItem:
            try:
                crops, boxes, note = cropper(directory / paths[recording], windows.get(recording))
            except MediaError as error:
                return PreparedItem(recording, {}, str(error).replace(f"{directory}{os.sep}", ""))
            return PreparedItem(recording, {"faces": crops, "boxes": boxes}, note=note)

        # One clip for each core is in memory at a time, and only its selected frames.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(recordings), _BATCH):
                yield from pool.map(crop_recording, recordings[start : start + _BATCH])

    columns = {
        "faces": Column("uint8", options.shape),
        "boxes": Column("float32", (len(BOX_COLUMNS),)),
    }
    folder = (cache or cache_directory()) / "faces" / key
    return load_or_make(folder, list(paths), columns, crop_all, "detecting faces")


class FaceCropper:
    """Crop the face of a video, decoding it once. Several threads may share an instance.

    Args:
        options: Options of detection and cropping.
    """

    def __init__(self, options: FaceOptions) -> None:
        self.options = options

    @cached_property
    def detector(self) -> "FaceDetector":
        """The face detector, loaded on first use.

        Raises:
            MediaError: torch or facenet-pytorch is not installed.
        """
        try:
            from emotion.prepare.face_detection import FaceDetector
        except ModuleNotFoundError as error:
            raise MediaError(f"faces need {error.name}, which is not installed") from error
        return FaceDetector()

    def __call__(self, path: Path, window: tuple[float, float] | None) -> tuple[np.ndarray, np.ndarray, str]:
        """Crop the face of a video.

        Args:
            path: Video or image.
            window: Start and end of the part that is used, in seconds; None for all of it.

        Returns:
            Crops, shape (N, *options.shape), uint8; boxes, shape (N, 6), float32, see `BOX_COLUMNS`; and a message
            about frames without a face, empty if there are none.

        Raises:
            MediaError: the file cannot be decoded, or no face is detected.
        """
        times = _restrict_to_window(frame_times(path), window, path)
        selected = _select_evenly(times[:: self.options.frame_step], self.options.frames)
        if not self.options.detects_faces:
            frames, _ = self._decode(path, selected, np.zeros(0))
            boxes = np.array([[0, 0, *frame.size] for frame in frames], np.float64)
            visible, probabilities = np.ones(len(frames), bool), np.ones(len(frames))
        else:
            spaced = _select_spaced(times, self.options.detection_interval_s)
            frames, detections = self._decode(path, selected, spaced)
            track = self._track(path, frames, detections)
            shown = np.array([frame.time for frame in frames])
            boxes, visible = boxes_at(track, shown)
            probabilities = np.interp(shown, track.times, track.probabilities)
        if not visible.any():
            raise MediaError(f"{path}: its face is visible in none of the {len(visible)} selected frames")
        rows = [(f.time, *box, q) for f, box, q in zip(frames, boxes, probabilities, strict=True)]
        crops = [self.crop(f, box) for f, box, is_visible in zip(frames, boxes, visible, strict=True) if is_visible]
        missing = int((~visible).sum())
        note = f"no face on {missing} of {len(visible)} frames" if missing else ""
        return np.stack(crops), np.array(rows, np.float32)[visible], note

    def _decode(
        self, path: Path, selected: np.ndarray, spaced: np.ndarray
    ) -> tuple[list[Frame], list[FrameDetections]]:
        """Return the frames at the times `selected`, and the faces in the frames at the times `spaced`."""
        frames, detections, waiting = [], [], []
        to_keep, to_detect = _Deadlines(selected), _Deadlines(spaced)
        for frame in read_frames(path):
            if to_keep.expired(frame.time):
                frames.append(frame)
            if to_detect.expired(frame.time):
                waiting.append(frame)
            if len(waiting) == _BATCH:
                detections += self.detect(waiting, self.options.detection_size)
                waiting = []
            if to_keep.are_exhausted and to_detect.are_exhausted:
                break
        if waiting:
            detections += self.detect(waiting, self.options.detection_size)
        return frames, detections

    def detect(self, frames: list[Frame], longest: int) -> list[FrameDetections]:
        """Detect faces in frames of equal size.

        Args:
            frames: Frames.
            longest: Length to which the longer side is scaled before, in pixels.
        """
        small = [frame.pixels(longest) for frame in frames]
        scale = max(frames[0].size) / longest
        return self.detector.detect([frame.time for frame in frames], small, self.options.min_face_fraction, scale)

    def _track(self, path: Path, frames: list[Frame], detections: list[FrameDetections]) -> Track:
        tracks = track_faces(detections)
        if not tracks:  # the face may be small, so the selected frames are searched at a higher resolution
            tracks = track_faces([self.detect([frame], RETRY_SIZE)[0] for frame in frames])
        if not tracks:
            raise MediaError(f"{path}: no face was found on it")
        return tracks[0]

    def crop(self, frame: Frame, box: np.ndarray) -> np.ndarray:
        """Crop a square around a box, or scale the whole frame.

        Args:
            frame: Frame.
            box: Left, top, right and bottom, in pixels of the frame.

        Returns:
            Crop of the shape `options.shape`, uint8.
        """
        import cv2

        pixels, (height, width, _) = frame.pixels(), self.options.shape
        if self.options.detects_faces:
            pixels = _square(pixels, box, self.options.margin)
        shrinks = min(pixels.shape[:2]) > min(height, width)
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None] if self.options.color == "grey" else pixels


class _Deadlines:
    """Select the first frame at or after each of several times.

    Args:
        times: Times, in seconds, sorted.
    """

    def __init__(self, times: np.ndarray) -> None:
        self.times, self.next = times - 1e-4, 0  # the times of packets and of frames are rounded differently

    @property
    def are_exhausted(self) -> bool:
        """True if all times have passed."""
        return self.next >= len(self.times)

    def expired(self, time: float) -> bool:
        """Return True if one of the times has passed since the last call."""
        due = int(np.searchsorted(self.times, time, side="right"))
        expired, self.next = due > self.next, max(due, self.next)
        return expired


def _restrict_to_window(times: np.ndarray, window: tuple[float, float] | None, path: Path) -> np.ndarray:
    if window is None:
        return times
    start, end = window
    inside = times[(times >= start) & (times < end)]
    if not len(inside):
        raise MediaError(f"{path}: has no video frames from {start:.2f} to {end:.2f} s, where its audio is")
    return inside


def _select_evenly(times: np.ndarray, count: int) -> np.ndarray:
    """Return the times nearest to the middles of `count` equal intervals, or all of them if there are no more."""
    if len(times) <= count:
        return times
    end = times[-1] + _typical_step(times)  # the last frame has a duration too
    middles = times[0] + (np.arange(count) + 0.5) / count * (end - times[0])
    return np.unique(times[abs(times - middles[:, None]).argmin(axis=1)])


def _select_spaced(times: np.ndarray, interval: float) -> np.ndarray:
    """Return the first time, each next one that is at least `interval` seconds later, and the last one."""
    chosen = [times[0]]
    for time in times:
        if time - chosen[-1] >= max(interval, 1e-3):
            chosen.append(time)
    return np.array(chosen if chosen[-1] == times[-1] else [*chosen, times[-1]])


def _typical_step(times: np.ndarray) -> float:
    return float(np.median(np.diff(times))) if len(times) > 1 else 1.0


def _square(pixels: np.ndarray, box: np.ndarray, margin: float) -> np.ndarray:
    """Return a square around a box; pixels at the edge of the frame are repeated beyond it."""
    import cv2

    side = max(1, round(max(box[2] - box[0], box[3] - box[1]) * (1 + margin)))
    left, top = round((box[0] + box[2] - side) / 2), round((box[1] + box[3] - side) / 2)
    height, width = pixels.shape[:2]
    inside = pixels[max(0, top) : max(1, top + side), max(0, left) : max(1, left + side)]
    missing = (max(0, -top), max(0, top + side - height), max(0, -left), max(0, left + side - width))
    return cv2.copyMakeBorder(inside, *missing, cv2.BORDER_REPLICATE) if any(missing) else inside
