"""Live predictions of microphone and camera, or of a file in real time, in the terminal."""

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
from emotion.inference.output import format_time
from emotion.inference.predictions import Prediction
from emotion.inference.predictor import Predictor
from emotion.inference.recordings import Recording
from emotion.media.audio import to_waveform
from emotion.media.files import MediaError
from emotion.media.image import StillImage
from emotion.prepare.faces import FaceCropper, Frame
from emotion.prepare.tracking import boxes_at, track_faces

if TYPE_CHECKING:
    from rich.table import Table

_BAR = 30  # characters


@dataclass(frozen=True)
class Estimate:
    """The prediction of the last few seconds.

    Attributes:
        time: Time of their end, in seconds from the start.
        prediction: The prediction; None if there is neither audio nor a face.
    """

    time: float
    prediction: Prediction | None


def follow_file(predictor: Predictor, path: Path, window: float, hop: float) -> Iterator[Estimate]:
    """Predict a file window by window in real time; of several faces, the first one only.

    Args:
        predictor: The predictor.
        path: Audio file or video.
        window: Duration of a window, in seconds.
        hop: Step from one window to the next, in seconds.

    Raises:
        EmotionError: the file cannot be used.
    """
    started, last = time.monotonic(), -1.0
    for segment in predictor.timeline(path, window, hop):
        if segment.end > last:
            last = segment.end
            time.sleep(max(0.0, started + segment.end - time.monotonic()))
            yield Estimate(segment.end, segment.prediction)


def follow_devices(predictor: Predictor, window: float, hop: float, camera: int = 0) -> Iterator[Estimate]:
    """Predict the last seconds of microphone and camera, until interrupted.

    Args:
        predictor: The predictor; its modalities decide which devices are used.
        window: Duration on which a prediction is based, in seconds.
        hop: Time from one estimate to the next, in seconds.
        camera: Number of the camera (default: 0).

    Raises:
        EmotionError: a device, or the package for it, is missing.
    """
    reader = predictor.reader
    with ExitStack() as devices:
        microphone = devices.enter_context(_microphone(window)) if "audio" in reader.modalities else None
        frames = None
        if reader.cropper:
            frames = devices.enter_context(_camera(camera, window, reader.cropper.options.frames))
        started = time.monotonic()
        while True:
            time.sleep(hop)
            arrays = {}
            if microphone is not None and (samples := microphone.last()).size:
                with suppress(MediaError):  # silence
                    waveform = to_waveform(samples, microphone.rate, reader.sample_rate)
                    arrays |= reader.from_waveform(waveform).arrays
            if frames is not None and reader.cropper and (faces := _faces(reader.cropper, frames)) is not None:
                arrays["face"] = faces
            is_known = arrays or (reader.speech_only and microphone is not None)
            prediction = predictor.predict_recordings([Recording("live", arrays)])[0] if is_known else None
            yield Estimate(time.monotonic() - started, prediction)


def show(estimates: Iterable[Estimate], labels: tuple[str, ...]) -> None:
    """Display the current estimate in a terminal; print a line for each if stdout is not a terminal."""
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
        return f"{format_time(estimate.time)}  no audio and no face"
    if prediction.confidence is None:
        return f"{format_time(estimate.time)}  {prediction.emotion}"
    modalities = " and ".join(prediction.modalities)
    return f"{format_time(estimate.time)}  {prediction.emotion} {prediction.confidence:.2f}  {modalities}"


def _bars(estimate: Estimate, labels: tuple[str, ...]) -> "Table":
    from rich.table import Table

    prediction = estimate.prediction
    table = Table(box=None, show_header=False, title=_line(estimate), title_justify="left", pad_edge=False)
    for label in labels:
        probability = prediction.probabilities.get(label) if prediction else None
        style = "bold" if prediction and label == prediction.emotion else ""
        text = "" if probability is None else f"{probability:.2f}"
        table.add_row(label, "█" * round(_BAR * (probability or 0.0)), text, style=style)
    return table


@dataclass
class _RecordedAudio:
    """The last samples of a microphone.

    Attributes:
        rate: Sampling rate, in Hz.
        blocks: Blocks of mono samples, each of shape (T,), float32.
    """

    rate: int
    blocks: deque[np.ndarray]

    def last(self) -> np.ndarray:
        """Return the samples, shape (T,), float32."""
        return np.concatenate([np.zeros(0, np.float32), *self.blocks])


@contextmanager
def _microphone(seconds: float) -> Iterator[_RecordedAudio]:
    try:
        import sounddevice  # pyright: ignore[reportMissingImports] (of the extra `live`, which development needs not)
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
        raise EmotionError(f"no microphone is available ({error}); connect one, or name a file") from error


@contextmanager
def _camera(number: int, seconds: float, n_frames: int) -> Iterator[deque[StillImage]]:
    """Yield a queue of the frames of the last seconds, at most `n_frames`."""
    before = cv2.utils.logging.setLogLevel(0)  # the error below is one line
    device = cv2.VideoCapture(number)
    cv2.utils.logging.setLogLevel(before)
    if not device.isOpened():
        raise EmotionError(f"camera {number} cannot be opened; connect one, choose another --camera, or name a file")
    frames: deque[StillImage] = deque(maxlen=n_frames)
    stop = threading.Event()

    def read_frames() -> None:
        due = time.monotonic()
        while not stop.is_set():
            success, pixels = device.read()
            if not success:
                frames.clear()
                return
            if time.monotonic() >= due:
                frames.append(StillImage(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), time.monotonic()))
                due += seconds / n_frames

    thread = threading.Thread(target=read_frames, daemon=True)
    thread.start()
    try:
        yield frames
    finally:
        stop.set()
        thread.join(timeout=2)
        device.release()


def _faces(cropper: FaceCropper, frames: deque[StillImage]) -> np.ndarray | None:
    """Return the crops of the most visible face, shape (N, H, W, 1 or 3), uint8; None if there is no face."""
    latest: list[Frame] = list(frames)
    if not latest:
        return None
    if not cropper.options.detects_faces:
        return np.stack([cropper.crop(frame, np.zeros(4)) for frame in latest])
    tracks = track_faces(cropper.detect(latest, cropper.options.detection_size))
    if not tracks:
        return None
    boxes, visible = boxes_at(tracks[0], np.array([frame.time for frame in latest]))
    crops = [cropper.crop(frame, box) for frame, box, shown in zip(latest, boxes, visible, strict=True) if shown]
    return np.stack(crops) if crops else None
