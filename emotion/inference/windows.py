"""Windows over the audio and over the faces of a long recording, which is read once."""

import logging
import math
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np

from emotion.media.audio import Report, stream_audio
from emotion.media.int16 import to_int16
from emotion.media.video import read_frames
from emotion.prepare.faces import RETRY_SIZE, FaceCropper, Frame
from emotion.prepare.tracking import MAX_GAP_S, FrameDetections, Tracker, boxes_at

log = logging.getLogger(__name__)

_BATCH = 16
_MIN_VISIBLE = 0.5
"""Minimum fraction of the frames of a window in which a face is visible, for a prediction of that face."""
_MIN_LAST_WINDOW = 0.5
"""Minimum duration of the last window as a fraction of the others, unless it is the only one."""
_KEEP_S = 3 * MAX_GAP_S  # time for which detections are kept


class FaceTrackCrops(NamedTuple):
    """The crops of a face in a window.

    Attributes:
        crops: Crops, shape (N, H, W, 1 or 3), uint8.
        boxes: See `Segment`.
    """

    crops: np.ndarray
    boxes: np.ndarray


def _is_long_enough(length: float, index: int, window: float, hop: float) -> bool:
    """Return True if the rest of a recording becomes a window of its own, with the number `index`."""
    return index == 0 or (length > window - hop and length >= _MIN_LAST_WINDOW * window)


def audio_windows(
    path: Path, sample_rate: int, window: float, hop: float, report: Report = log.warning
) -> Iterator[np.ndarray]:
    """Yield the samples of successive windows, each of shape (T,), int16; for `report` see `read_audio`."""
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
    """Yield the end of each window, and its faces by their numbers; the number of whole frames is None."""
    options = cropper.options
    faces = _Faces(cropper)
    to_keep, to_detect = _FrameSampler(window / options.frames), _FrameSampler(options.detection_interval_s)
    windows = ((index * hop, index * hop + window) for index in count())
    (start, end), index, time, step = next(windows), 0, 0.0, 0.0
    for frame in read_frames(path):
        step, time = frame.time - time, frame.time
        faces.add(frame, to_keep.should_sample(time), options.detects_faces and to_detect.should_sample(time))
        while faces.complete_until >= end:
            yield end, faces.between(start, end)
            (start, end), index = next(windows), index + 1
            faces.remove_before(start)
    faces.finish()
    duration = time + step
    while _is_long_enough(duration - start, index, window, hop):
        yield round(min(end, duration), 6), faces.between(start, end)
        (start, end), index = next(windows), index + 1


class _FrameSampler:
    """Select frames at a regular interval, starting with the first one.

    Args:
        interval: Time between selected frames, in seconds.
    """

    def __init__(self, interval: float) -> None:
        self.interval, self.next = interval, -math.inf

    def should_sample(self, time: float) -> bool:
        """Return True if the frame at `time`, in seconds, is selected; times must increase."""
        if time < self.next - 1e-4:  # times are rounded
            return False
        late = max(0.0, time - self.next) if math.isfinite(self.next) else math.inf
        self.next = time + self.interval if late >= self.interval else self.next + self.interval
        return True


class _Faces:
    """Crops of all faces of a video that is read frame by frame.

    A frame waits for up to `MAX_GAP_S`, until it is certain whether a lost face returns.

    Args:
        cropper: Detects and crops faces.

    Attributes:
        complete_until: Time up to which all crops are known, in seconds.
    """

    def __init__(self, cropper: FaceCropper) -> None:
        self.cropper, self.tracker = cropper, Tracker()
        self.to_detect: list[Frame] = []
        self.to_crop: list[Frame] = []
        self.times: list[float] = []
        self.crops: list[tuple[int | None, np.ndarray, np.ndarray]] = []  # number; crop; time and box
        self.complete_until = -math.inf

    def add(self, frame: Frame, keep: bool, detect: bool) -> None:
        """Add the next frame; `keep` to crop its faces, `detect` to detect faces in it."""
        if keep:
            self.to_crop.append(frame)
        if detect:
            self.to_detect.append(frame)
        if not self.cropper.options.detects_faces:
            self._crop(frame.time)
        elif len(self.to_detect) == _BATCH:
            self._detect()
            self._crop(frame.time - MAX_GAP_S)

    def finish(self) -> None:
        """Process the remaining frames, after the last one."""
        if self.to_detect:
            self._detect()
        self._crop(math.inf)

    def between(self, start: float, end: float) -> dict[int | None, FaceTrackCrops]:
        """Return the faces that are visible in enough frames from `start` to `end`, in seconds, by number."""
        count = sum(start <= time < end for time in self.times)
        faces: dict[int | None, list[tuple[np.ndarray, np.ndarray]]] = {}
        for number, crop, box in self.crops:
            if start <= box[0] < end:
                faces.setdefault(number, []).append((crop, box))
        return {
            number: FaceTrackCrops(*(np.stack(part) for part in zip(*rows, strict=True)))
            for number, rows in faces.items()
            if len(rows) >= _MIN_VISIBLE * count
        }

    def remove_before(self, time: float) -> None:
        """Remove all crops before a time, in seconds."""
        self.times = [own for own in self.times if own >= time]
        self.crops = [crop for crop in self.crops if crop[2][0] >= time]

    def _detect(self) -> None:
        for detections in self._detections(self.to_detect):
            self.tracker.add(detections)
        self.to_detect = []

    def _detections(self, frames: list[Frame]) -> list[FrameDetections]:
        detections = self.cropper.detect(frames, self.cropper.options.detection_size)
        if any(len(own.boxes) for own in detections):
            return detections
        # Faces may be small: if one frame at a higher resolution has any, all frames are searched so.
        if len(self.cropper.detect([frames[len(frames) // 2]], RETRY_SIZE)[0].boxes):
            return [self.cropper.detect([frame], RETRY_SIZE)[0] for frame in frames]
        return detections

    def _crop(self, until: float) -> None:
        """Crop the faces of the waiting frames up to a time."""
        ready = [frame for frame in self.to_crop if frame.time <= until]
        self.to_crop = [frame for frame in self.to_crop if frame.time > until]
        times = np.array([frame.time for frame in ready])
        if not self.cropper.options.detects_faces:
            faces = {None: (np.array([(0, 0, *frame.size) for frame in ready]), np.ones(len(ready), bool))}
        else:
            faces = {number: boxes_at(track, times) for number, track in self.tracker.tracks().items()}
        for place, frame in enumerate(ready):
            for number, (boxes, visible) in faces.items():
                if visible[place]:
                    row = np.array([frame.time, *boxes[place]])
                    self.crops.append((number, self.cropper.crop(frame, boxes[place]), row))
        self.times += times.tolist()
        self.complete_until = until
        self.tracker.forget(until - _KEEP_S)
