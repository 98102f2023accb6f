"""The running estimate of a microphone and a camera, or of a file at its own pace, in the terminal."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from emotion.errors import EmotionError
from emotion.inference.output import clock
from emotion.inference.predictions import Prediction
from emotion.inference.predictor import Predictor
from emotion.inference.recordings import Recording
from emotion.media.audio import to_waveform
from emotion.media.files import MediaError
from emotion.media.image import StillImage
from emotion.prepare.tracking import boxes_at, track_faces

if TYPE_CHECKING:
    from rich.table import Table

_BAR = 30  # characters


@dataclass(frozen=True)
class Estimate:
    """The prediction of the last few seconds.

    Attributes:
        time: At their end, in seconds from the start.
        prediction: The prediction; None if there is neither audio nor a face.
    """

    time: float
    prediction: Prediction | None


def follow_file(predictor: Predictor, path: Path, window: float, hop: float) -> Iterator[Estimate]:
    """Judge a file window by window, each when a person who plays it has come to its end; its weightiest face alone.

    Raises:
        EmotionError: it cannot be used.
    """
    started, last = time.monotonic(), -1.0
    for segment in predictor.timeline(path, window, hop):
        if segment.end > last:
            last = segment.end
            time.sleep(max(0.0, started + segment.end - time.monotonic()))
            yield Estimate(segment.end, segment.prediction)


def follow_devices(predictor: Predictor, window: float, hop: float, camera: int = 0) -> Iterator[Estimate]:
    """Judge what the microphone and the camera last gave, until interrupted.

    Args:
        predictor: Tells by what it takes in which of them are needed.
        window: Duration on which a prediction is based, in seconds.
        hop: Time from one estimate to the next, in seconds.
        camera: Its number.

    Raises:
        EmotionError: a device or the package for it is missing.
    """
    with ExitStack() as devices:
        listens, looks = ("audio" in predictor.reader.modalities), predictor.reader.cropper is not None
        microphone = devices.enter_context(_microphone(window)) if listens else None
        seen = (
            devices.enter_context(_camera(camera, window, predictor.reader.cropper.options.frames)) if looks else None
        )
        started = time.monotonic()
        while True:
            time.sleep(hop)
            arrays = {}
            if microphone is not None and (waveform := microphone.last()).size:
                with suppress(MediaError):  # it is silent
                    sound = to_waveform(waveform, microphone.rate, predictor.reader.sample_rate)
                    arrays |= predictor.reader.from_waveform(sound).arrays
            if seen is not None and (faces := _faces(predictor, seen)) is not None:
                arrays["face"] = faces
            prediction = predictor.predict_recordings([Recording("live", arrays)])[0] if arrays else None
            yield Estimate(time.monotonic() - started, prediction)


def show(estimates: Iterable[Estimate], labels: tuple[str, ...]) -> None:
    """Draw each estimate over the last one; a line for each where nobody looks at a terminal."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    if not console.is_terminal:
        for estimate in estimates:
            print(_line(estimate), flush=True)
        return
    with Live(console=console, auto_refresh=False) as live:
        for estimate in estimates:
            live.update(_bars(estimate, labels), refresh=True)


def _line(estimate: Estimate) -> str:
    prediction = estimate.prediction
    if prediction is None:
        return f"{clock(estimate.time)}  no audio and no face"
    probability, modalities = prediction.probabilities[prediction.emotion], " and ".join(prediction.modalities)
    return f"{clock(estimate.time)}  {prediction.emotion} {probability:.2f}  {modalities}"


def _bars(estimate: Estimate, labels: tuple[str, ...]) -> "Table":
    from rich.table import Table

    prediction = estimate.prediction
    table = Table(box=None, show_header=False, title=_line(estimate), title_justify="left", pad_edge=False)
    for label in labels:
        probability = prediction.probabilities[label] if prediction else 0.0
        style = "bold" if prediction and label == prediction.emotion else ""
        text = f"{probability:.2f}" if prediction else ""
        table.add_row(label, "█" * round(_BAR * probability), text, style=style)
    return table


@dataclass
class _RecordedAudio:
    """The last samples of a microphone, mono, at `rate` Hz."""

    rate: int
    blocks: deque

    def last(self) -> np.ndarray:
        return np.concatenate([np.zeros(0, np.float32), *self.blocks])


@contextmanager
def _microphone(seconds: float) -> Iterator[_RecordedAudio]:
    try:
        import sounddevice
    except ImportError as error:
        raise EmotionError("sounddevice is not installed: pip install 'emotion[live]'; or name a file") from error
    except OSError as error:
        raise EmotionError(f"there is no PortAudio ({error}): install libportaudio2; or name a file") from error
    try:
        rate = int(sounddevice.query_devices(kind="input")["default_samplerate"])
        recorded = _RecordedAudio(rate, deque(maxlen=max(1, round(seconds * 10))))  # ten blocks a second
        with sounddevice.InputStream(
            samplerate=rate,
            blocksize=rate // 10,
            channels=1,
            dtype="float32",
            callback=lambda block, *_: recorded.blocks.append(block[:, 0].copy()),
        ):
            yield recorded
    except (sounddevice.PortAudioError, ValueError) as error:
        raise EmotionError(f"no microphone can be used ({error}); plug one in, or name a file") from error


@contextmanager
def _camera(number: int, seconds: float, frames: int) -> Iterator[deque]:
    """The pictures of the last seconds, at most `frames` of them."""
    before = cv2.utils.logging.setLogLevel(0)  # the error below is one line
    device = cv2.VideoCapture(number)
    cv2.utils.logging.setLogLevel(before)
    if not device.isOpened():
        raise EmotionError(f"camera {number} cannot be opened; plug one in, choose another --camera, or name a file")
    pictures: deque = deque(maxlen=frames)
    ends = threading.Event()

    def watch() -> None:
        due = time.monotonic()
        while not ends.is_set():
            there, pixels = device.read()
            if not there:
                pictures.clear()
                return
            if time.monotonic() >= due:
                pictures.append(StillImage(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), time.monotonic()))
                due += seconds / frames

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield pictures
    finally:
        ends.set()
        thread.join(timeout=2)
        device.release()


def _faces(predictor: Predictor, pictures: deque) -> np.ndarray | None:
    """The face that is seen most on the last pictures, shape (N, H, W, 1 or 3), if there is any."""
    cropper, latest = predictor.reader.cropper, list(pictures)
    if not latest:
        return None
    if not cropper.options.detects_faces:
        return np.stack([cropper.crop(picture, np.zeros(4)) for picture in latest])
    tracks = track_faces(cropper.detect(latest, cropper.options.detection_size))
    if not tracks:
        return None
    boxes, there = boxes_at(tracks[0], np.array([picture.time for picture in latest]))
    cut = [cropper.crop(picture, box) for picture, box, seen in zip(latest, boxes, there, strict=True) if seen]
    return np.stack(cut) if cut else None
