"""Timelines: predictions of a sliding window over the audio and each face of a long recording.

The recording is read once, with a few windows in memory.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np

from emotion.errors import EmotionError
from emotion.inference.predictions import Prediction
from emotion.inference.recordings import Reader, Recording
from emotion.inference.windows import FaceTrackCrops, audio_windows, face_windows
from emotion.media.files import MediaError
from emotion.media.image import is_image
from emotion.media.int16 import is_audible

MIN_WINDOW_S = 0.1
"""Minimum duration of a window, in seconds."""
_BATCH = 16


@dataclass(frozen=True)
class Segment:
    """The prediction of one window, and of one face in it.

    Attributes:
        start: Start of the window, in seconds.
        end: End of the window, in seconds.
        face: Number of the face, from 1; a face keeps it unless it is lost for more than a second. None if there is no
            face, or the model uses whole frames or no frames.
        boxes: Rows of time in seconds and left, top, right and bottom in pixels, shape (N, 5).
        prediction: The prediction.
    """

    start: float
    end: float
    face: int | None
    boxes: np.ndarray
    prediction: Prediction


def follow_emotions(
    reader: Reader, predict: Callable[[Iterable[Recording]], list[Prediction]], path: Path, window: float, hop: float
) -> Iterator[Segment]:
    """Predict a recording window by window; several faces share the audio of a window.

    Args:
        reader: Reader of the model.
        predict: Function from recordings to their predictions.
        path: Audio file, video or image.
        window: Duration of a window, in seconds; best near that of the training recordings.
        hop: Step from one window to the next, in seconds, at most `window`.

    Yields:
        Predictions, sorted by time and face.

    Raises:
        EmotionError: the recording cannot be used.
    """
    _require_windows(window, hop)
    problems: list[str] = []
    has_segments = False
    waiting = _read(reader, path, float(window), float(hop), problems)
    while batch := list(islice(waiting, _BATCH)):
        predictions = predict([recording for recording, *_ in batch])
        for (_, start, end, face, boxes), prediction in zip(batch, predictions, strict=True):
            has_segments = True
            yield Segment(start, end, face, boxes, prediction)
    if not has_segments:
        raise MediaError("; ".join(dict.fromkeys(problems)) or f"{path}: no face was found on it")


def _require_windows(window: float, hop: float) -> None:
    if window < MIN_WINDOW_S:
        raise EmotionError(f"a window of {window:g} s is too short for an emotion; use at least {MIN_WINDOW_S:g} s")
    if not 0 < hop <= window:
        raise EmotionError(f"a timeline needs 0 < hop <= window; got a window of {window:g} s and a hop of {hop:g} s")


def audio_recordings(reader: Reader, path: Path, window: float, hop: float) -> Iterator[Recording]:
    """Yield the audio of the windows of a recording up to the first damage, without silence; none for an image.

    Args:
        reader: Reader of the model.
        path: Audio file, video or image.
        window: Duration of a window, in seconds.
        hop: Step from one window to the next, in seconds, at most `window`.

    Raises:
        EmotionError: the windows are too short, or have gaps.
    """
    _require_windows(window, hop)
    if "audio" in reader.modalities and not is_image(path):
        for samples in _stop_at_damage(audio_windows(path, reader.sample_rate, window, hop, lambda _: None), []):
            with suppress(MediaError):  # silence, or no speech
                yield Recording(str(path), {"audio": reader.usable_samples(samples, str(path))}, ())


_Read = tuple[Recording, float, float, int | None, np.ndarray]


def _read(reader: Reader, path: Path, window: float, hop: float, problems: list[str]) -> Iterator[_Read]:
    """Yield the recordings of windows with their faces; append errors to `problems`."""
    audio: Iterator[np.ndarray] = iter(())
    faces: Iterator[tuple[float, dict[int | None, FaceTrackCrops]]] = iter(())
    if "audio" in reader.modalities and not is_image(path):
        audio = _stop_at_damage(audio_windows(path, reader.sample_rate, window, hop, problems.append), problems)
    if reader.cropper:
        faces = _stop_at_damage(face_windows(reader.cropper, path, window, hop), problems)
    numbers: dict[int | None, int | None] = {None: None}
    silent = False
    for index, (samples, (end, visible)) in enumerate(zip_longest(audio, faces, fillvalue=(0.0, {}))):
        start, arrays = round(index * hop, 6), {}
        if isinstance(samples, np.ndarray):
            silent = (silent or index == 0) and not is_audible(samples)
            with suppress(MediaError):  # silence, or no speech
                arrays = {"audio": reader.usable_samples(samples, str(path))}
            end = round(max(end, start + len(samples) / reader.sample_rate), 6)
        notes = tuple(problem.removeprefix(f"{path}: ") for problem in problems)
        for number, (crops, boxes) in visible.items():
            face = numbers.setdefault(number, len(numbers))
            yield Recording(str(path), arrays | {"face": crops}, notes), start, end, face, boxes
        if not visible and (arrays or (reader.speech_only and isinstance(samples, np.ndarray))):
            yield Recording(str(path), arrays, notes), start, end, None, np.zeros((0, 5))
    if silent:
        problems.insert(0, f"{path}: is silent")


def _stop_at_damage(windows: Iterable, problems: list[str]) -> Iterator:
    try:
        yield from windows
    except MediaError as error:
        problems.append(str(error))
