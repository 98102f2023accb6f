"""A process that predicts, so that a recording that takes too long or too much memory can be stopped."""

import logging
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from emotion import malloc
from emotion.app.limits import Limits, RefusedError
from emotion.errors import EmotionError

if TYPE_CHECKING:
    from emotion.inference import Predictor
    from emotion.inference.output import Outcome

log = logging.getLogger(__name__)

LoadPredictor = Callable[[], "Predictor"]
"""Function that loads the model; it is sent to other processes, so it must be picklable."""
_START_TIMEOUT_S = 600  # a model may have to be downloaded
_REPLACED_AT = 0.5
"""Fraction of the memory limit above which a process is replaced after a prediction."""
_FAILED = "the recording could not be predicted; this is a defect or a limit of the server"


class Task(NamedTuple):
    """A recording to predict.

    Attributes:
        path: Temporary file.
        name: Name of the recording in the answer.
        min_confidence: See `Predictor`.
        windows: Duration of windows and step between them, in seconds, for a timeline; None for one prediction.
    """

    path: Path
    name: str
    min_confidence: float = 0.0
    windows: tuple[float, float] | None = None


class Answer(NamedTuple):
    """The answer of a worker.

    Attributes:
        status: Status code of HTTP; 200 for a prediction.
        text: JSON of predictions, or an error message.
        is_last: True if another process has to replace this one, after an error or because it holds much memory.
    """

    status: int
    text: str
    is_last: bool = False


class Worker:
    """A process that predicts one recording after another, as the server sees it.

    Args:
        load: Function that loads the model.
        limits: Limits of time and memory.
    """

    def __init__(self, load: LoadPredictor, limits: Limits) -> None:
        self._load, self._limits = load, limits
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def start(self) -> None:
        """Start the process, and wait until the model is loaded.

        Raises:
            EmotionError: the model cannot be loaded.
        """
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        process = context.Process(target=run, args=(other, self._load, self._limits), daemon=True)
        process.start()
        self._process = process
        other.close()  # else the end of the process would not end the connection
        answer = self._receive(_START_TIMEOUT_S)
        if answer is None or answer.status != 200:
            self.stop()
            raise EmotionError(answer.text if answer else "the process that predicts ended before the model was loaded")

    def predict(self, task: Task) -> Answer:
        """Predict a recording; a process that exceeds the time limit is stopped.

        Raises:
            RefusedError: the time is over, or the process ended.
        """
        if self._connection is None:
            raise RefusedError(503, "the server is being stopped")
        deadline = time.monotonic() + self._limits.timeout_s
        with suppress(OSError):
            self._connection.send(task)
        answer = self._receive(self._limits.timeout_s)
        if answer is None or answer.is_last:
            self.stop()
        if answer is not None:
            return answer
        if time.monotonic() < deadline:
            log.error("a worker ended during a prediction")
            raise RefusedError(500, _FAILED)
        raise RefusedError(504, f"the prediction took longer than {self._limits.timeout_s:g} s and was stopped")

    def _receive(self, timeout_s: float) -> Answer | None:
        """Return the next answer; None if the time is over, or the process ended."""
        try:
            return self._connection.recv() if self._connection and self._connection.poll(timeout_s) else None
        except (EOFError, OSError):
            return None

    @property
    def is_ready(self) -> bool:
        """True if the process waits for a recording."""
        return self._process is not None and self._process.is_alive()

    def stop(self) -> None:
        """Stop the process, whatever it does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.join()


def run(connection: Connection, load: LoadPredictor, limits: Limits) -> None:
    """Predict the recordings that a connection sends until it is closed: the main function of a worker.

    Args:
        connection: Connection to the server, which receives an `Answer` after the start and for each `Task`.
        load: Function that loads the model.
        limits: Limits of memory and duration.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # the server stops after accepted requests are answered
        signal.signal(number, signal.SIG_IGN)
    malloc.use_one_arena()
    try:
        predictor = load()
    except EmotionError as error:
        connection.send(Answer(500, str(error)))
        return
    predictor.reader.max_duration_s = limits.max_duration_s
    _load_detector(predictor)
    _limit_memory(limits.max_memory_mb)
    connection.send(Answer(200, ""))
    with suppress(EOFError, BrokenPipeError):  # the server ended
        while True:
            answered = answer(predictor, connection.recv(), limits)
            malloc.trim()  # libraries keep some memory of a large video
            is_large = 0 < _REPLACED_AT * limits.max_memory_mb < _resident_mb()
            connection.send(answered._replace(is_last=answered.is_last or is_large))


def _load_detector(predictor: "Predictor") -> None:
    """Load the face detector of a model that uses one.

    Imports that begin when little memory is left would fail, and could not be repeated.
    """
    from emotion.media.files import MediaError

    if predictor.reader.cropper:
        with suppress(MediaError):  # it is not installed, which is a note of predictions
            _ = predictor.reader.cropper.detector
            import emotion.data.sources  # noqa: F401


def _limit_memory(megabytes: int) -> None:
    """Limit the memory that this process can allocate, where the system can."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        if megabytes:
            resource.setrlimit(resource.RLIMIT_DATA, (megabytes * 10**6, megabytes * 10**6))


def _resident_mb() -> float:
    """Return the memory that this process holds, in MB; 0 where the system does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    import resource

    return pages * resource.getpagesize() / 1e6


def answer(predictor: "Predictor", task: Task, limits: Limits) -> Answer:
    """Predict a recording, and return the JSON of `emotion predict` or an error message.

    Args:
        predictor: Predictor.
        task: The recording.
        limits: Limit of duration.
    """
    from emotion.inference import output

    try:
        _require_duration(task.path, limits.max_duration_s)
        predictor.min_confidence = task.min_confidence
        outcomes = _predict(predictor, task)
        return Answer(200, output.to_json([_renamed(outcome, task) for outcome in outcomes]))
    except EmotionError as error:
        message = str(error).removeprefix(f"{task.path}: ").replace(str(task.path), task.name)
        return Answer(422, f"{task.name}: {message}")
    except MemoryError:
        return Answer(422, f"{task.name}: needs more memory than {limits.max_memory_mb:,} MB", is_last=True)
    except Exception:
        log.exception("a prediction failed")
        return Answer(500, _FAILED, is_last=True)


def _predict(predictor: "Predictor", task: Task) -> "Sequence[Outcome]":
    if task.windows:
        return list(predictor.timeline(task.path, *task.windows))
    return [predictor.predict(task.path)]


def _require_duration(path: Path, max_duration_s: float) -> None:
    """Refuse a recording that is too long by its header, before it is decoded."""
    from emotion.media.files import MediaError
    from emotion.media.video import video_duration

    with suppress(MediaError):  # which the reader reports
        if (seconds := video_duration(path)) > max_duration_s:
            raise EmotionError(f"{path}: has a duration of {seconds:.0f} s; at most {max_duration_s:g} s are allowed")


def _renamed(outcome: "Outcome", task: Task) -> "Outcome":
    """Return an outcome with the name of the recording in place of the temporary file."""
    from emotion.inference.timeline import Segment

    if isinstance(outcome, Segment):
        return replace(outcome, prediction=replace(outcome.prediction, name=task.name))
    return replace(outcome, name=task.name)
