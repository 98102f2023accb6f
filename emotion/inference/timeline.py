"""How emotions change over a long recording: a window slides over its sound and each of its faces.

The recording is read once, and of it no more than a few windows are in memory.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice, zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np

from emotion.errors import EmotionError
from emotion.inference.predictions import Prediction
from emotion.inference.recordings import Reader, Recording, is_audible
from emotion.media.audio import Report, stream_audio
from emotion.media.files import MediaError
from emotion.media.image import is_image
from emotion.media.video import read_frames
from emotion.prepare.faces import RETRY_SIZE, FaceCropper, Frame
from emotion.prepare.tracking import MAX_GAP_S, FrameDetections, Tracker, boxes_at
from emotion.prepare.waveforms import to_int16

log = logging.getLogger(__name__)

_BATCH = 16
_SHOWN = 0.5
"""Minimum number of frames of a window with a face, for a prediction of that face."""
_LEAST = 0.5
"""The last window may be shorter, but no shorter than this part of the others, unless it is the only one."""
_KEEP_S = 3 * MAX_GAP_S  # seconds for which it is kept where faces were


@dataclass(frozen=True)
class Segment:
    """The prediction of one window, and of one face in it.

    Attributes:
        start: Of the window, in seconds.
        end: Of the window.
        face: Its number, 1 for the first that is seen; it is kept as long as the face is not lost for a second. None
            where there is none, or where the model looks at whole frames or at none.
        boxes: Where the face is: rows of time (seconds), left, top, right and bottom (pixels), shape (N, 5).
        prediction: The prediction.
    """

    start: float
    end: float
    face: int | None
    boxes: np.ndarray
    prediction: Prediction


class FaceTrackCrops(NamedTuple):
    """A face in a window: its pictures, shape (N, H, W, 1 or 3), and its boxes, see `Segment`."""

    pictures: np.ndarray
    boxes: np.ndarray


def follow_emotions(
    reader: Reader, predict: Callable[[Iterable[Recording]], list[Prediction]], path: Path, window: float, hop: float
) -> Iterator[Segment]:
    """Predict a recording window by window; several faces share the audio of a window.

    Args:
        reader: Reader of the model.
        predict: Function from recordings to their predictions.
        path: A file of sound, a video or an image.
        window: Duration of each window, in seconds; best near that of the training recordings.
        hop: From the start of one to that of the next, in seconds, at most `window`.

    Yields:
        By time, and then by face.

    Raises:
        EmotionError: the recording cannot be used.
    """
    if not 0 < hop <= window:
        raise EmotionError(f"a timeline needs 0 < hop <= window; got a window of {window:g} s and a hop of {hop:g} s")
    problems: list[str] = []
    answered = False
    waiting = _read(reader, path, float(window), float(hop), problems)
    while some := list(islice(waiting, _BATCH)):
        predictions = predict([recording for recording, *_ in some])
        for (_, start, end, face, boxes), prediction in zip(some, predictions, strict=True):
            answered = True
            yield Segment(start, end, face, boxes, prediction)
    if not answered:
        raise MediaError("; ".join(dict.fromkeys(problems)) or f"{path}: no face was found on it")


_Read = tuple[Recording, float, float, int | None, np.ndarray]


def _read(reader: Reader, path: Path, window: float, hop: float, problems: list[str]) -> Iterator[_Read]:
    """Yield the recordings of windows with their faces; add what cannot be used to `problems`."""
    sound: Iterator[np.ndarray] = iter(())
    faces: Iterator[tuple[float, dict[int | None, FaceTrackCrops]]] = iter(())
    if "audio" in reader.modalities and not is_image(path):
        sound = _stop_at_damage(audio_windows(path, reader.sample_rate, window, hop, problems.append), problems)
    if reader.cropper:
        faces = _stop_at_damage(face_windows(reader.cropper, path, window, hop), problems)
    numbers: dict[int | None, int | None] = {None: None}
    silent = False
    for index, (samples, (end, seen)) in enumerate(zip_longest(sound, faces, fillvalue=(0.0, {}))):
        start, arrays = round(index * hop, 6), {}
        if isinstance(samples, np.ndarray):
            silent = (silent or index == 0) and not is_audible(samples)
            arrays = {"audio": samples} if is_audible(samples) else {}
            end = round(max(end, start + len(samples) / reader.sample_rate), 6)
        notes = tuple(problem.removeprefix(f"{path}: ") for problem in problems)
        for number, (pictures, boxes) in seen.items():
            face = numbers.setdefault(number, len(numbers))
            yield Recording(str(path), arrays | {"face": pictures}, notes), start, end, face, boxes
        if arrays and not seen:
            yield Recording(str(path), arrays, notes), start, end, None, np.zeros((0, 5))
    if silent:
        problems.insert(0, f"{path}: is silent")


def _stop_at_damage(windows: Iterable, problems: list[str]) -> Iterator:
    try:
        yield from windows
    except MediaError as error:
        problems.append(str(error))


def _is_long_enough(length: float, index: int, window: float, hop: float) -> bool:
    """Whether what is left at the end of a recording becomes a window of its own, the one of number `index`."""
    return index == 0 or (length > window - hop and length >= _LEAST * window)


def audio_windows(
    path: Path, sample_rate: int, window: float, hop: float, report: Report = log.warning
) -> Iterator[np.ndarray]:
    """Yield the samples of successive windows, int16, shape (T,); `report` is as in `read_audio`."""
    length, step = round(window * sample_rate), max(1, round(hop * sample_rate))
    held, index = np.zeros(0, np.float32), 0
    for chunk in stream_audio(path, sample_rate, report):
        held = np.concatenate([held, chunk])
        while len(held) >= length:
            yield to_int16(held[:length])
            held, index = held[step:], index + 1
    if len(held) and _is_long_enough(len(held), index, length, step):
        yield to_int16(held)


def face_windows(
    cropper: FaceCropper, path: Path, window: float, hop: float
) -> Iterator[tuple[float, dict[int | None, FaceTrackCrops]]]:
    """The ends of successive windows, and the faces in them by their numbers; None is that of whole frames."""
    options = cropper.options
    faces = _Faces(cropper)
    to_keep, to_search = _FrameSampler(window / options.frames), _FrameSampler(options.detection_interval_s)
    windows = ((index * hop, index * hop + window) for index in count())
    (start, end), index, time, step = next(windows), 0, 0.0, 0.0
    for picture in read_frames(path):
        step, time = picture.time - time, picture.time
        faces.add(picture, to_keep.should_sample(time), options.detects_faces and to_search.should_sample(time))
        while faces.known_until >= end:
            yield end, faces.between(start, end)
            (start, end), index = next(windows), index + 1
            faces.forget(start)
    faces.finish()
    over = time + step
    while _is_long_enough(over - start, index, window, hop):
        yield round(min(end, over), 6), faces.between(start, end)
        (start, end), index = next(windows), index + 1


class _FrameSampler:
    """Ticks at the first of rising times, and then every `interval` seconds, as near as the times allow."""

    def __init__(self, interval: float) -> None:
        self.interval, self.next = interval, -math.inf

    def should_sample(self, time: float) -> bool:
        if time < self.next - 1e-4:  # times are rounded
            return False
        late = max(0.0, time - self.next) if math.isfinite(self.next) else math.inf
        self.next = time + self.interval if late >= self.interval else self.next + self.interval
        return True


class _Faces:
    """Finds and cuts out the faces of a video that is read from its start.

    A picture waits until it is known whether a face that is lost comes back within `MAX_GAP_S`.
    """

    def __init__(self, cropper: FaceCropper) -> None:
        self.cropper, self.tracker = cropper, Tracker()
        self.unsearched: list[Frame] = []
        self.waiting: list[Frame] = []
        self.times: list[float] = []
        self.seen: list[tuple[int | None, np.ndarray, np.ndarray]] = []  # number, picture, time and box
        self.known_until = -math.inf

    def add(self, picture: Frame, keep: bool, search: bool) -> None:
        if keep:
            self.waiting.append(picture)
        if search:
            self.unsearched.append(picture)
        if not self.cropper.options.detects_faces:
            self._settle(picture.time)
        elif len(self.unsearched) == _BATCH:
            self._search()
            self._settle(picture.time - MAX_GAP_S)

    def finish(self) -> None:
        """No picture follows."""
        if self.unsearched:
            self._search()
        self._settle(math.inf)

    def between(self, start: float, end: float) -> dict[int | None, FaceTrackCrops]:
        """The faces that are on enough of the pictures from `start` to `end`."""
        count = sum(start <= time < end for time in self.times)
        found: dict[int | None, list[tuple[np.ndarray, np.ndarray]]] = {}
        for number, picture, box in self.seen:
            if start <= box[0] < end:
                found.setdefault(number, []).append((picture, box))
        return {
            number: FaceTrackCrops(*(np.stack(part) for part in zip(*rows, strict=True)))
            for number, rows in found.items()
            if len(rows) >= _SHOWN * count
        }

    def forget(self, before: float) -> None:
        """Let go of all pictures before a time, in seconds."""
        self.times = [time for time in self.times if time >= before]
        self.seen = [row for row in self.seen if row[2][0] >= before]

    def _search(self) -> None:
        for found in self._find(self.unsearched):
            self.tracker.add(found)
        self.unsearched = []

    def _find(self, pictures: list[Frame]) -> list[FrameDetections]:
        found = self.cropper.detect(pictures, self.cropper.options.detection_size)
        if any(len(faces.boxes) for faces in found):
            return found
        # Perhaps they are small: if one closer look finds any, all are looked at so.
        if len(self.cropper.detect([pictures[len(pictures) // 2]], RETRY_SIZE)[0].boxes):
            return [self.cropper.detect([picture], RETRY_SIZE)[0] for picture in pictures]
        return found

    def _settle(self, until: float) -> None:
        """Cut out the faces on the pictures that wait, up to a time."""
        ready = [picture for picture in self.waiting if picture.time <= until]
        self.waiting = [picture for picture in self.waiting if picture.time > until]
        times = np.array([picture.time for picture in ready])
        if not self.cropper.options.detects_faces:
            there = {None: (np.array([(0, 0, *picture.size) for picture in ready]), np.ones(len(ready), bool))}
        else:
            there = {number: boxes_at(track, times) for number, track in self.tracker.tracks().items()}
        for place, picture in enumerate(ready):
            for number, (boxes, shown) in there.items():
                if shown[place]:
                    row = np.array([picture.time, *boxes[place]])
                    self.seen.append((number, self.cropper.crop(picture, boxes[place]), row))
        self.times += times.tolist()
        self.known_until = until
        self.tracker.forget(until - _KEEP_S)
