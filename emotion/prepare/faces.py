"""The face of whoever speaks, cut out of some frames of every video: one uint8 memory map."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd

from emotion.errors import EmotionError
from emotion.files import cache_directory, fingerprint
from emotion.media.files import MediaError
from emotion.media.image import StillPicture
from emotion.media.video import Picture, picture_times, read_pictures
from emotion.prepare.store import Column, Done, Store, load_or_make, source_of
from emotion.prepare.tracking import Found, Track, boxes_at, follow

if TYPE_CHECKING:
    from emotion.prepare.face_detection import FaceDetector

FORMAT = 2  # part of the cache key: raise it when the pictures that are stored change
BOX_COLUMNS = ("time", "left", "top", "right", "bottom", "probability")
"""What the column `boxes` holds of each picture: seconds, pixels of the whole picture, and MTCNN's probability."""

COLORS = {"rgb": 3, "grey": 1}
DETECTORS = ("mtcnn", "cropped", "none")
Frame = Picture | StillPicture
SECOND_LOOK = 1280  # pixels of the longer side, where nothing was found on smaller pictures
_BATCH = 16


@dataclass(frozen=True)
class FaceOptions:
    """How pictures are chosen and cut out.

    Attributes:
        frames: The most pictures of a clip; spread evenly over it.
        every: Only every so manieth frame is considered.
        size: Side of a picture, in pixels; of whole frames also height and width.
        color: `rgb` or `grey`.
        detect: `mtcnn`; or `none` for whole frames, squeezed into that; or `cropped` for a corpus of pictures that
            are faces already, which are taken whole, while on other people's pictures the face is looked for.
        margin: What is added to the longer side of a face's box, as a fraction of it; negative if less is wanted.
        interval: Seconds from one frame on which a face is looked for to the next; 0 looks on every frame.
        detection_size: Longer side of the pictures on which it is looked for, in pixels.
        smallest: Side of the smallest face that is looked for, as a fraction of the picture's shorter side.
    """

    frames: int = 16
    every: int = 1
    size: int | Sequence[int] = 112
    color: str = "rgb"
    detect: str = "mtcnn"
    margin: float = 0.3
    interval: float = 0.25
    detection_size: int = 320
    smallest: float = 0.15

    def __post_init__(self) -> None:
        for name, known in (("color", COLORS), ("detect", DETECTORS)):
            if getattr(self, name) not in known:
                raise EmotionError(f"faces.{name}={getattr(self, name)} is none of {', '.join(known)}")
        for name in ("frames", "every", "detection_size"):
            if getattr(self, name) < 1:
                raise EmotionError(f"faces.{name}={getattr(self, name)} must be at least 1")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise EmotionError(f"faces.size={self.size} is neither a number of pixels nor a height and a width")
        if self.detect != "none" and self.shape[0] != self.shape[1]:
            raise EmotionError(f"faces.size={list(self.size)}: only whole frames, faces.detect=none, may be oblong")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a picture: height, width, channels."""
        sides = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        return (*sides, COLORS[self.color])

    @property
    def searches(self) -> bool:
        """Whether faces are looked for."""
        return self.detect == "mtcnn"


def prepare_faces(
    table: pd.DataFrame,
    directory: Path,
    options: FaceOptions,
    windows: Mapping[str, tuple[float, float]] | None = None,
    cache: Path | None = None,
) -> Store:
    """The faces of the recordings in `table`, from the cache or cut out now.

    Args:
        table: Recordings of one corpus that have `video`, as `Corpus.scan` gives them.
        directory: The corpus folder, to which the paths in `table` are relative.
        options: How.
        windows: From when to when each recording is looked at, in seconds; the whole of those not in it.
        cache: The cache directory; by default `emotion.files.cache_directory()`.

    Returns:
        The columns `faces`, shape (total, *options.shape), uint8, and `boxes`, shape (total, 6), see `BOX_COLUMNS`.
        Frames without a face are not among them; `note` in the index counts them.
    """
    paths, windows = dict(zip(table["recording"], table["video"], strict=True)), windows or {}
    sources = [(name, *source_of(directory, path), windows.get(name)) for name, path in paths.items()]
    key = fingerprint({"format": FORMAT, "options": asdict(options), "sources": sources})

    def cut_out_all(recordings: Sequence[str]) -> Iterator[Done]:
        cutter = FaceCutter(options)

        def cut_out(recording: str) -> Done:
            try:
                pictures, boxes, note = cutter(directory / paths[recording], windows.get(recording))
            except MediaError as error:
                return Done(recording, {}, str(error).replace(f"{directory}{os.sep}", ""))
            return Done(recording, {"faces": pictures, "boxes": boxes}, note=note)

        # A clip for each core is in memory at a time, and of it only the frames that are wanted.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(recordings), _BATCH):
                yield from pool.map(cut_out, recordings[start : start + _BATCH])

    columns = {
        "faces": Column("uint8", options.shape),
        "boxes": Column("float32", (len(BOX_COLUMNS),)),
    }
    folder = (cache or cache_directory()) / "faces" / key
    return load_or_make(folder, list(paths), columns, cut_out_all, "finding the faces")


class FaceCutter:
    """Decodes a video once and cuts its pictures out; several threads may share it.

    Args:
        options: How.
    """

    def __init__(self, options: FaceOptions) -> None:
        self.options = options

    @cached_property
    def detector(self) -> "FaceDetector":
        """Looks for faces; loaded when the first picture is there."""
        from emotion.prepare.face_detection import FaceDetector

        return FaceDetector()

    def __call__(self, path: Path, window: tuple[float, float] | None) -> tuple[np.ndarray, np.ndarray, str]:
        """The pictures and boxes of a video, see `prepare_faces`, and how many frames show no face, in words.

        Args:
            path: A video or an image.
            window: From when to when it is looked at, in seconds; None for the whole of it.

        Raises:
            MediaError: it cannot be decoded, or no face is on it.
        """
        times = _within(picture_times(path), window, path)
        wanted = _evenly(times[:: self.options.every], self.options.frames)
        if not self.options.searches:
            pictures, _ = self._decode(path, wanted, np.zeros(0))
            boxes = np.array([[0, 0, *picture.size] for picture in pictures], np.float64)
            there, probabilities = np.ones(len(pictures), bool), np.ones(len(pictures))
        else:
            searched = _apart(times, self.options.interval)
            pictures, found = self._decode(path, wanted, searched)
            track = self._track(path, pictures, found)
            shown = np.array([picture.time for picture in pictures])
            boxes, there = boxes_at(track, shown)
            probabilities = np.interp(shown, track.times, track.probabilities)
        if not there.any():
            raise MediaError(f"{path}: its face is on none of the {len(there)} frames that are wanted")
        rows = [(p.time, *box, q) for p, box, q in zip(pictures, boxes, probabilities, strict=True)]
        cut = [self.cut(p, box) for p, box, seen in zip(pictures, boxes, there, strict=True) if seen]
        missing = int((~there).sum())
        note = f"no face on {missing} of {len(there)} frames" if missing else ""
        return np.stack(cut), np.array(rows, np.float32)[there], note

    def _decode(self, path: Path, wanted: np.ndarray, searched: np.ndarray) -> tuple[list[Frame], list[Found]]:
        """The pictures at the times `wanted`, and the faces at the times `searched`."""
        pictures, found, waiting = [], [], []
        to_keep, to_search = _Alarm(wanted), _Alarm(searched)
        for picture in read_pictures(path):
            if to_keep.rings(picture.time):
                pictures.append(picture)
            if to_search.rings(picture.time):
                waiting.append(picture)
            if len(waiting) == _BATCH:
                found += self.search(waiting, self.options.detection_size)
                waiting = []
            if to_keep.is_over and to_search.is_over:
                break
        if waiting:
            found += self.search(waiting, self.options.detection_size)
        return pictures, found

    def search(self, pictures: list[Frame], longest: int) -> list[Found]:
        """The faces on pictures of equal size, looked for where the longer side is scaled to `longest` pixels."""
        small = [picture.pixels(longest) for picture in pictures]
        scale = max(pictures[0].size) / longest
        return self.detector.find([picture.time for picture in pictures], small, self.options.smallest, scale)

    def _track(self, path: Path, pictures: list[Frame], found: list[Found]) -> Track:
        tracks = follow(found)
        if not tracks:  # perhaps it is small: a closer look at what is at hand
            looked = [self.search([picture], SECOND_LOOK)[0] for picture in pictures]
            tracks = follow(looked)
        if not tracks:
            raise MediaError(f"{path}: no face was found on it")
        return tracks[0]

    def cut(self, picture: Frame, box: np.ndarray) -> np.ndarray:
        """The square around `box` (left, top, right, bottom), or the whole frame, of the shape that is wanted."""
        pixels, (height, width, _) = picture.pixels(), self.options.shape
        if self.options.searches:
            pixels = _square(pixels, box, self.options.margin)
        shrinks = min(pixels.shape[:2]) > min(height, width)
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None] if self.options.color == "grey" else pixels


class _Alarm:
    """Rings at the first frame that is shown at or after each of some times."""

    def __init__(self, times: np.ndarray) -> None:
        self.times, self.next = times - 1e-4, 0  # times are rounded differently in a file and in its frames

    @property
    def is_over(self) -> bool:
        return self.next >= len(self.times)

    def rings(self, time: float) -> bool:
        due = int(np.searchsorted(self.times, time, side="right"))
        rings, self.next = due > self.next, max(due, self.next)
        return rings


def _within(times: np.ndarray, window: tuple[float, float] | None, path: Path) -> np.ndarray:
    if window is None:
        return times
    start, end = window
    inside = times[(times >= start) & (times < end)]
    if not len(inside):
        raise MediaError(f"{path}: shows nothing from {start:.2f} to {end:.2f} s, while it sounds")
    return inside


def _evenly(times: np.ndarray, count: int) -> np.ndarray:
    """The times nearest to the middles of `count` equal parts of the whole, or all of them if there are no more."""
    if len(times) <= count:
        return times
    end = times[-1] + _typical_step(times)  # the last frame is shown for a while too
    middles = times[0] + (np.arange(count) + 0.5) / count * (end - times[0])
    return np.unique(times[abs(times - middles[:, None]).argmin(axis=1)])


def _apart(times: np.ndarray, interval: float) -> np.ndarray:
    """The first time, the next that is `interval` later, and so on; the last one in any case."""
    chosen = [times[0]]
    for time in times:
        if time - chosen[-1] >= max(interval, 1e-3):
            chosen.append(time)
    return np.array(chosen if chosen[-1] == times[-1] else [*chosen, times[-1]])


def _typical_step(times: np.ndarray) -> float:
    return float(np.median(np.diff(times))) if len(times) > 1 else 1.0


def _square(pixels: np.ndarray, box: np.ndarray, margin: float) -> np.ndarray:
    """A square around `box`; beyond the edge of the picture its last pixels go on."""
    side = max(1, round(max(box[2] - box[0], box[3] - box[1]) * (1 + margin)))
    left, top = round((box[0] + box[2] - side) / 2), round((box[1] + box[3] - side) / 2)
    height, width = pixels.shape[:2]
    inside = pixels[max(0, top) : max(1, top + side), max(0, left) : max(1, left + side)]
    missing = (max(0, -top), max(0, top + side - height), max(0, -left), max(0, left + side - width))
    return cv2.copyMakeBorder(inside, *missing, cv2.BORDER_REPLICATE) if any(missing) else inside
