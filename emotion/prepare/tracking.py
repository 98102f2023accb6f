"""From the faces found on some frames of a video to the box of one face on any frame. Numbers only, no pictures.

A box is left, top, right, bottom, in pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SAME_FACE = 0.2
"""Boxes on successive frames that overlap at least so much (intersection over union) are of one face."""
LONGEST_GAP = 1.0
"""A face that is missed for no longer than this, in seconds, was there all the time."""
SMOOTHING = 0.15
"""Standard deviation of the Gaussian by which boxes are averaged over time, in seconds."""


class Found(NamedTuple):
    """The faces on one frame.

    Attributes:
        time: Of the frame, in seconds.
        boxes: Shape (K, 4).
        probabilities: Shape (K,).
    """

    time: float
    boxes: np.ndarray
    probabilities: np.ndarray


class Track(NamedTuple):
    """One face over time.

    Attributes:
        times: When it was found, in seconds, rising; shape (T,).
        boxes: Shape (T, 4).
        probabilities: Shape (T,).
    """

    times: np.ndarray
    boxes: np.ndarray
    probabilities: np.ndarray

    @property
    def weight(self) -> float:
        """Grows with the size of the face, and with how often and how surely it was found."""
        return float((_area(self.boxes) * self.probabilities).sum())


def follow(frames: Sequence[Found]) -> list[Track]:
    """Link the faces of successive frames, the best overlap first; the weightiest track comes first."""
    tracker = Tracker()
    for frame in frames:
        tracker.add(frame)
    return sorted(tracker.tracks().values(), key=lambda track: -track.weight)


class Tracker:
    """Links faces while a video is being read."""

    def __init__(self) -> None:
        self._tracks: dict[int, list[tuple[float, np.ndarray, float]]] = {}
        self._next = 0

    def add(self, frame: Found) -> None:
        """Link the faces of the next frame to those of the frames before it, or take them for new ones."""
        time, boxes, probabilities = frame
        alive = [track for track in self._tracks.values() if time - track[-1][0] <= LONGEST_GAP]
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
        """The faces, each with the number that it keeps: 0 for the first that was seen, then from left to right."""
        return {
            number: Track(*(np.array(values) for values in zip(*track, strict=True)))
            for number, track in self._tracks.items()
        }

    def forget(self, before: float) -> None:
        """Let go of what was found before a time, in seconds."""
        kept = {number: [row for row in track if row[0] >= before] for number, track in self._tracks.items()}
        self._tracks = {number: track for number, track in kept.items() if track}


def boxes_at(track: Track, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the face is at `times`, smoothed over time and interpolated between the frames on which it was found.

    Before the first and after the last of them, and in long gaps, nobody knows where it is.

    Args:
        track: The face.
        times: In seconds, shape (N,).

    Returns:
        The boxes, shape (N, 4), and whether the face is there, shape (N,).
    """
    weights = np.exp(-0.5 * ((track.times[:, None] - track.times[None]) / SMOOTHING) ** 2)
    smooth = weights @ track.boxes / weights.sum(axis=1, keepdims=True)
    boxes = np.stack([np.interp(times, track.times, smooth[:, side]) for side in range(4)], axis=1)
    after = np.searchsorted(track.times, times).clip(0, len(track.times) - 1)
    before = (np.searchsorted(track.times, times, side="right") - 1).clip(0)
    gap = track.times[after] - track.times[before]
    return boxes, (track.times[before] <= times) & (times <= track.times[after]) & (gap <= LONGEST_GAP)


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of each box of `one`, shape (A, 4), with each of `other`, shape (B, 4); shape (A, B)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    union = _area(one)[:, None] + _area(other)[None] - shared
    return shared / np.maximum(union, 1e-9)


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]).clip(0) * (boxes[:, 3] - boxes[:, 1]).clip(0)
