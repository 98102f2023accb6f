"""Prediction of files and waveforms. torch is imported only if a run is loaded."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, overload

import numpy as np

from emotion.errors import EmotionError
from emotion.inference.predictions import NO_SPEECH, UNCERTAIN, Prediction, Problem
from emotion.inference.recordings import Reader, Recording
from emotion.media.audio import to_waveform
from emotion.prepare.modalities import Prepared

if TYPE_CHECKING:
    from emotion.inference.timeline import Segment

_BATCH = 16
_DTYPES = ("float16", "float32", "float64", "int16", "int32", "uint8")
_SAMPLES = 16 * 60 * 16_000
"""Maximum number of samples of a batch, padding included, unless it is a single recording."""


class Model(Protocol):
    """A function from recordings to probabilities: the network of a run, or an exported file.

    Attributes:
        labels: The emotions, in the order of its outputs; empty if it predicts ratings.
        ratings: The ratings, such as valence, in the order of its outputs; empty if it predicts emotions.
        modalities: Modalities of the model, with the configuration of their preparation.
        sample_rate: Sampling rate of the audio, in Hz.
        min_confidence: Confidence that two thirds of the dev recordings reach, or None if it is not known.
        needs_groups: True if `adapt` must come before predictions.
    """

    labels: tuple[str, ...]
    ratings: tuple[str, ...]
    modalities: Prepared
    sample_rate: int
    min_confidence: float | None
    needs_groups: bool

    def __call__(self, recordings: Sequence[Recording]) -> tuple[np.ndarray, np.ndarray | None]:
        """Return probabilities, or ratings, shape (B, C), float64, and `Prediction.distance`, shape (B,), or None."""
        ...

    def adapt(self, read: Callable[[], Iterable[Sequence[Recording]]], group_of: Mapping[str, str]) -> None:
        """Normalise features by the statistics of groups of recordings, see `Predictor.adapt`.

        Args:
            read: Function that yields the recordings in batches; it may be called several times.
            group_of: Name of the group by name of the recording.

        Raises:
            EmotionError: the model cannot be adapted.
        """
        ...


class Predictor:
    """Predict the emotion of files and waveforms.

    Example:
        >>> predictor = Predictor.shipped()  # or from_run("outputs/my_run"), or from_file("model.onnx")
        >>> prediction = predictor.predict(np.sin(np.arange(16_000) / 8), sample_rate=16_000)  # or predict("clip.mp4")
        >>> prediction.emotion, prediction.probabilities  # a tone
        ('no speech', {})

    Args:
        model: The model.
        min_confidence: Probability below which the most probable emotion is answered `uncertain` (default: 0).

    Attributes:
        reader: Reader of recordings, as they were prepared in training.
        labels: The emotions; empty if the model predicts ratings.
    """

    def __init__(self, model: Model, min_confidence: float = 0.0) -> None:
        self.model, self.labels, self.min_confidence = model, model.labels, min_confidence
        self.reader = Reader(model.modalities, model.sample_rate)
        self._group_of: Mapping[str, str] = {}

    @classmethod
    def from_run(cls, run_dir: str | Path, device: str = "cpu") -> "Predictor":
        """Load the best model of a finished run.

        Args:
            run_dir: Run directory.
            device: `cpu` or `cuda` (default: `cpu`).

        Raises:
            EmotionError: `run_dir` is not a finished run, or its model needs more than a file.
        """
        from emotion.inference.networks import network_of

        return cls(network_of(Path(run_dir), device))

    @classmethod
    def from_pretrained(cls, source: str | Path, revision: str | None = None, device: str = "cpu") -> "Predictor":
        """Load a model by its place.

        Args:
            source: `shipped`, a folder of `emotion export --format hub`, a run directory, an ONNX file, or a repository
                of the Hugging Face Hub such as `name/model`.
            revision: Branch, tag or commit of the repository (default: its main branch).
            device: `cpu` or `cuda`, for models that are not ONNX files (default: `cpu`).

        Raises:
            EmotionError: there is no model, it is damaged, or a repository cannot be downloaded.
        """
        if source == "shipped":
            return cls.shipped()
        path = Path(source)
        if path.is_file():
            return cls.from_file(path)
        from emotion.inference import hub

        if not path.is_dir():
            if path.is_absolute() or len(path.parts) != 2 or path.suffix == ".onnx":
                raise EmotionError(f"{source}: no such file or folder, and no repository of the form name/model")
            path = hub.download(str(source), revision)
        elif revision:
            raise EmotionError(f"{source} is a folder here, which has no revision {revision}; leave --revision out")
        if not (path / hub.CONFIG).is_file():
            return cls.from_run(path, device)
        return cls(hub.load_pretrained(path, device))

    @classmethod
    def from_file(cls, path: str | Path) -> "Predictor":
        """Load an ONNX file of `emotion export`; audio models need no torch.

        Raises:
            EmotionError: the file is not an exported model.
        """
        from emotion.inference.onnx_model import OnnxModel

        return cls(OnnxModel(Path(path)))

    @classmethod
    def shipped(cls) -> "Predictor":
        """Load the model that comes with the package, see `emotion card`; predicting audio needs no torch."""
        from emotion.inference.shipped import ShippedModel

        return cls(ShippedModel())

    @overload
    def predict(self, recording: str | Path | np.ndarray, sample_rate: int | None = None) -> Prediction: ...
    @overload
    def predict(self, recording: Iterable[str | Path]) -> Iterator[Prediction | Problem]: ...
    def predict(
        self, recording: str | Path | np.ndarray | Iterable[str | Path], sample_rate: int | None = None
    ) -> Prediction | Iterator[Prediction | Problem]:
        """Predict one recording, or many files in batches.

        Args:
            recording: Path of an audio file, a video or an image; or a waveform, shape (T,) or (T, channels), of
                floats with full scale [-1, 1] or of integers; or several paths.
            sample_rate: Sampling rate of the waveform, in Hz.

        Returns:
            The prediction; of several paths an iterator over a prediction or a problem for each, in their order.

        Raises:
            EmotionError: the one recording cannot be used.
        """
        if isinstance(recording, np.ndarray):
            return self.predict_recordings([self._from_waveform(recording, sample_rate)])[0]
        if isinstance(recording, str | Path):
            return self.predict_recordings([self.reader.read(Path(recording))])[0]
        return self._predict_files(list(recording))

    def _predict_files(self, paths: Sequence[str | Path]) -> Iterator[Prediction | Problem]:
        for read in self.read_batches(paths):
            predictions = iter(self.predict_recordings([one for one in read if isinstance(one, Recording)]))
            yield from (one if isinstance(one, Problem) else next(predictions) for one in read)

    def read_batches(self, paths: Iterable[str | Path]) -> Iterator[list[Recording | Problem]]:
        """Read many files in parallel, and yield batches of a recording or a problem for each, in their order."""
        paths = list(paths)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(paths), _BATCH):
                yield list(pool.map(self._read, paths[start : start + _BATCH]))

    def adapt(self, group_of: Mapping[str | Path, str], windows: tuple[float, float] | None = None) -> None:
        """Normalise features by what the recordings of each group show, without labels; then predict the same files.

        Voices and rooms that differ from those of training then shift the answers less. Files that cannot be read are
        left out.

        Args:
            group_of: Name of the group, such as the speaker, by path.
            windows: Duration of windows and step between them, in seconds, before a `timeline` (default: whole
                recordings).

        Raises:
            EmotionError: the model cannot be adapted.
        """
        names = {str(path): group for path, group in group_of.items()}
        if windows is None:
            self.model.adapt(lambda: self._readable(list(names)), names)
        else:
            self.model.adapt(lambda: batches(self._windows(list(names), *windows)), names)
        self._group_of = names

    def _readable(self, paths: Sequence[str]) -> Iterator[list[Recording]]:
        """Yield the recordings with input for the model, in batches."""
        for read in self.read_batches(paths):
            yield from batches(one for one in read if isinstance(one, Recording) and one.arrays)

    def _windows(self, paths: Sequence[str], window: float, hop: float) -> Iterator[Recording]:
        """Yield the audio of the windows of recordings."""
        from emotion.inference.timeline import audio_recordings

        for path in paths:
            yield from audio_recordings(self.reader, Path(path), window, hop)

    def timeline(self, path: str | Path, window: float = 3.0, hop: float = 1.0) -> "Iterator[Segment]":
        """Predict a long recording window by window, see `emotion.inference.timeline.follow_emotions`."""
        from emotion.inference.timeline import follow_emotions

        return follow_emotions(self.reader, self.predict_recordings, Path(path), window, hop)

    def _read(self, path: str | Path) -> Recording | Problem:
        try:
            return self.reader.read(Path(path))
        except EmotionError as error:
            return Problem(str(path), str(error).removeprefix(f"{path}: "))

    def _from_waveform(self, waveform: np.ndarray, sample_rate: int | None) -> Recording:
        if "audio" not in self.reader.modalities:
            raise EmotionError("this model predicts from faces, not from a waveform")
        if not sample_rate or sample_rate < 1:
            raise EmotionError("a waveform needs its sample_rate, in Hz")
        if waveform.ndim not in (1, 2) or not waveform.size or waveform.dtype.name not in _DTYPES:
            raise EmotionError(
                f"a waveform holds {', '.join(_DTYPES)} and has the shape (T,) or (T, channels); this one holds "
                f"{waveform.dtype} and has {waveform.shape}"
            )
        notes: list[str] = []
        mono = to_waveform(waveform, sample_rate, self.reader.sample_rate, notes.append)
        return self.reader.from_waveform(mono, notes=[note.removeprefix("waveform: ") for note in notes])

    def predict_recordings(self, recordings: Iterable[Recording]) -> list[Prediction]:
        """Return the predictions of recordings of `reader`, in their order."""
        return [prediction for batch in batches(recordings) for prediction in self._predict_batch(batch)]

    def _predict_batch(self, recordings: list[Recording]) -> list[Prediction]:
        usable = [recording for recording in recordings if recording.arrays]
        if self.model.needs_groups and not self._group_of:
            raise EmotionError(
                "this model normalises by speaker: predict recordings together, with --adapt=speaker or --adapt=folder"
            )
        rows: Iterator[tuple[np.ndarray, float | None]] = iter(())
        if usable:
            probabilities, distances = self.model(usable)
            rows = zip(probabilities, [None] * len(usable) if distances is None else distances.tolist(), strict=True)
        return [self._prediction(one, *next(rows)) if one.arrays else _no_speech(one) for one in recordings]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what is predicted, in order: the emotions, or the ratings."""
        return self.model.ratings or self.labels

    def _prediction(self, recording: Recording, row: np.ndarray, distance: float | None) -> Prediction:
        probabilities = {} if self.model.ratings else dict(zip(self.labels, row.tolist(), strict=True))
        emotion = ""
        if not self.model.ratings:
            emotion = self.labels[int(row.argmax())] if row.max() >= self.min_confidence else UNCERTAIN
        return Prediction(
            recording.name,
            emotion,
            probabilities,
            tuple(recording.arrays),
            recording.notes,
            distance if "audio" in recording.arrays else None,
            self._group_of.get(recording.name),
            dict(zip(self.model.ratings, row.tolist(), strict=False)),
        )


def _no_speech(recording: Recording) -> Prediction:
    return Prediction(recording.name, NO_SPEECH, {}, (), recording.notes)


def batches(recordings: Iterable[Recording]) -> Iterator[list[Recording]]:
    """Yield batches of successive recordings of at most `_SAMPLES`, or of a single recording."""
    batch: list[Recording] = []
    longest = 0
    for recording in recordings:
        length = len(recording.arrays.get("audio", ()))
        longest = max(longest, length)
        if batch and longest * (len(batch) + 1) > _SAMPLES:
            yield batch
            batch, longest = [], length
        batch.append(recording)
    if batch:
        yield batch
