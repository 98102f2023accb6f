"""Tracking: from the faces detected in some frames of a video to the box of one face at any time.

A box is left, top, right and bottom, in pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SAME_FACE = 0.2
"""Minimum intersection over union of the boxes of one face in successive frames."""
MAX_GAP_S = 1.0
"""Maximum time for which an undetected face is assumed to be visible, in seconds."""
SMOOTHING = 0.15
"""Standard deviation of the Gaussian by which boxes are averaged over time, in seconds."""


class FrameDetections(NamedTuple):
    """The faces detected in one frame.

    Attributes:
        time: Time of the frame, in seconds.
        boxes: Boxes, shape (K, 4), float64.
        probabilities: Probabilities of the faces, shape (K,).
    """

    time: float
    boxes: np.ndarray
    probabilities: np.ndarray


class Track(NamedTuple):
    """One face over time.

    Attributes:
        times: Times of its detections, in seconds, increasing, shape (T,).
        boxes: Boxes, shape (T, 4).
        probabilities: Probabilities, shape (T,).
    """

    times: np.ndarray
    boxes: np.ndarray
    probabilities: np.ndarray

    @property
    def weight(self) -> float:
        """The sum of area × probability over all detections."""
        return float((_area(self.boxes) * self.probabilities).sum())


def track_faces(frames: Sequence[FrameDetections]) -> list[Track]:
    """Link the faces of successive frames to tracks, sorted by decreasing weight."""
    tracker = Tracker()
    for frame in frames:
        tracker.add(frame)
    return sorted(tracker.tracks().values(), key=lambda track: -track.weight)


class Tracker:
    """Link faces of successive frames to tracks, frame by frame."""

    def __init__(self) -> None:
        self._tracks: dict[int, list[tuple[float, np.ndarray, float]]] = {}
        self._next = 0

    def add(self, frame: FrameDetections) -> None:
        """Link the faces of the next frame to existing tracks, the largest overlap first, or start new tracks."""
        time, boxes, probabilities = frame
        alive = [track for track in self._tracks.values() if time - track[-1][0] <= MAX_GAP_S]
        overlap = overlaps(np.array([track[-1][1] for track in alive]).reshape(-1, 4), boxes)
        free = set(range(len(boxes)))
        for index in np.argsort(-overlap, axis=None):
            old, new = np.unravel_index(index, overlap.shape)
            if overlap[old, new] >= SAME_FACE and new in free and alive[old][-1][0] < time:
                alive[old].append((time, boxes[new], probabilities[new]))
                free.remove(int(new))
        for new in sorted(free, key=lambda face: boxes[face, 0]):
            self._tracks[self._next] = [(time, boxes[new], probabilities[new])]
            self._next += 1

    def tracks(self) -> dict[int, Track]:
        """Return the tracks by number: in order of their first frame, then from left to right."""
        return {
            number: Track(*(np.array(values) for values in zip(*track, strict=True)))
            for number, track in self._tracks.items()
        }

    def forget(self, before: float) -> None:
        """Remove the detections before a time, in seconds."""
        kept = {number: [row for row in track if row[0] >= before] for number, track in self._tracks.items()}
        self._tracks = {number: track for number, track in kept.items() if track}


def boxes_at(track: Track, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smoothed and interpolated boxes of a face at given times.

    Args:
        track: Track of the face.
        times: Times, in seconds, shape (N,).

    Returns:
        Boxes, shape (N, 4), and which of them are valid, shape (N,), bool: those between the first and the last
        detection, outside of gaps longer than `MAX_GAP_S`.
    """
    weights = np.exp(-0.5 * ((track.times[:, None] - track.times[None]) / SMOOTHING) ** 2)
    smooth = weights @ track.boxes / weights.sum(axis=1, keepdims=True)
    boxes = np.stack([np.interp(times, track.times, smooth[:, side]) for side in range(4)], axis=1)
    after = np.searchsorted(track.times, times).clip(0, len(track.times) - 1)
    before = (np.searchsorted(track.times, times, side="right") - 1).clip(0)
    gap = track.times[after] - track.times[before]
    return boxes, (track.times[before] <= times) & (times <= track.times[after]) & (gap <= MAX_GAP_S)


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the intersection over union of boxes, shape (A, B), of shapes (A, 4) and (B, 4)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    union = _area(one)[:, None] + _area(other)[None] - shared
    return shared / np.maximum(union, 1e-9)


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]).clip(0) * (boxes[:, 3] - boxes[:, 1]).clip(0)
