"""Networks of finished runs that predict recordings."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emotion import runs
from emotion.batch import Batch, on_device
from emotion.composition import load_classifier, modalities_of, outputs_of
from emotion.config.schema import TrainConfig
from emotion.data.dataset import Ragged, gather
from emotion.errors import EmotionError
from emotion.features.front_end import AudioFrontEnd
from emotion.inference.recordings import Recording
from emotion.models.base import Classifier
from emotion.models.late_fusion import Fusion
from emotion.prepare.action_units import unit_names
from emotion.prepare.modalities import MODALITIES, Prepared, action_units_of, faces_of


class Network:
    """A classifier as a function from recordings to probabilities, or ratings, for `Predictor`.

    Args:
        classifier: Classifier; it is moved to `device`.
        modalities: Modalities of the model, with the configuration of their preparation.
        sample_rate: Sampling rate in Hz.
        labels: Emotions, in the order of the outputs.
        device: Device of the computation (default: cpu).
        min_confidence: Confidence that two thirds of the dev recordings reach, or None if it is not known.
        ratings: Ratings, in the order of the outputs, if the model predicts ratings (default: none).

    Attributes:
        needs_groups: True if `adapt` must come before predictions.
    """

    def __init__(
        self,
        classifier: Classifier,
        modalities: Prepared,
        sample_rate: int,
        labels: tuple[str, ...],
        device: str = "cpu",
        min_confidence: float | None = None,
        ratings: tuple[str, ...] = (),
    ) -> None:
        self.min_confidence, self.ratings = min_confidence, ratings
        self.device = torch.device(device)
        self.classifier = classifier.to(self.device).eval()
        self.modalities, self.sample_rate, self.labels = modalities, sample_rate, labels
        self.needs_groups = any(end.group for end in self._audio_front_ends)
        self._group_of: dict[str, int] = {}

    def __call__(self, recordings: Sequence[Recording]) -> tuple[np.ndarray, np.ndarray | None]:
        """See `emotion.inference.predictor.Model`."""
        batch = on_device(self.batch(recordings), self.device)
        ends = [end for end in self._audio_front_ends if end.normalize == "train"]
        with mean_squares(ends) as found:
            predicted = self.classifier.predict(batch)
        distance = None
        if found:
            # A fusion passes on the recordings that have the modality only.
            distance = np.full((len(found), len(recordings)), np.nan)
            for row, (end, values) in zip(distance, found.items(), strict=True):
                present = end.present(batch).cpu().numpy()
                row[present] = values.cpu().numpy()[present if len(values) == len(present) else slice(None)]
            distance = distance.max(axis=0)
        return predicted.double().cpu().numpy(), distance

    @torch.no_grad()
    def embed(self, recordings: Sequence[Recording]) -> np.ndarray:
        """Return the embeddings of recordings, the input of the head, shape (B, D), float32.

        Raises:
            EmotionError: the model has no embedding, or normalises by speaker.
        """
        encoder = self.classifier.encoder
        if isinstance(encoder, Fusion) and encoder.gives_logits:
            raise EmotionError(
                "this model joins probabilities, so it has no embedding; name the run of one of its branches with --run"
            )
        if self.needs_groups:
            raise EmotionError(
                "this model normalises by speaker, which is unknown for a file; use a run with features.normalize=train"
            )
        return encoder(on_device(self.batch(recordings), self.device)).float().cpu().numpy()

    @property
    def _audio_front_ends(self) -> list[AudioFrontEnd]:
        return [end for end in self.classifier.front_ends if isinstance(end, AudioFrontEnd)]

    def adapt(self, read: Callable[[], Iterable[Sequence[Recording]]], group_of: Mapping[str, str]) -> None:
        """See `emotion.inference.predictor.Model`."""
        ends = [end for end in self._audio_front_ends if end.is_adaptable]
        if not ends:
            raise EmotionError("this model cannot be adapted: no statistics of other recordings normalise its audio")
        groups = sorted(set(group_of.values()))
        self._group_of = {name: groups.index(group) for name, group in group_of.items()}
        for end in ends:
            batches = (on_device(self.batch(recordings), self.device) for recordings in read())
            end.adapt((batch for batch in batches if end.present(batch).any()), len(groups))

    def batch(self, recordings: Sequence[Recording]) -> Batch:
        """Return recordings as a batch; a missing modality has length 0."""
        names = pd.RangeIndex(len(recordings))
        sources = {}
        for modality in self.modalities:
            nothing = self._missing_input(modality)
            arrays = [recording.arrays.get(modality, nothing[:0]) for recording in recordings]
            length = np.array([len(array) for array in arrays])
            values = np.concatenate([*arrays, nothing])
            sources[MODALITIES[modality]] = Ragged(values, names, length.cumsum() - length, length)
        named: dict[str, Any] = {"recording": [recording.name for recording in recordings]}
        if self._group_of:
            named["speaker"] = torch.tensor([self._group_of[recording.name] for recording in recordings])
        return cast(Batch, gather(sources, range(len(recordings))) | named)  # without labels

    def _missing_input(self, modality: str) -> np.ndarray:
        """Return one empty item of a modality."""
        if modality == "audio":
            return np.zeros(1, np.int16)
        if modality == "face":
            options = faces_of(self.modalities).options
            return np.zeros((1, *options.shape), np.uint8)
        return np.zeros((1, len(unit_names(action_units_of(self.modalities).columns))), np.float32)


def network_of(run_dir: Path, device: str = "cpu") -> Network:
    """Load the network of the best epoch of a finished run.

    Raises:
        EmotionError: `run_dir` is not a finished run, or its model cannot predict a single file.
    """
    config = runs.load_config(run_dir)
    with runs.explained_build(run_dir / "config.yaml"):
        classifier = load_classifier(run_dir, config)
        modalities = _from_files(run_dir, config, classifier)
        return network_from(config, classifier, modalities, device, min_confidence_of(run_dir))


def network_from(
    config: TrainConfig, classifier: Classifier, modalities: Prepared, device: str, min_confidence: float | None
) -> Network:
    """Return the network of a classifier, with the sampling rate and the outputs of its configuration."""
    outputs, rated = outputs_of(config), config.task.is_regression
    labels, ratings = ((), outputs) if rated else (outputs, ())
    return Network(classifier, modalities, config.data.sample_rate, labels, device, min_confidence, ratings)


def min_confidence_of(run_dir: Path) -> float | None:
    """Return the confidence that two thirds of the dev recordings of a run reach, or None if it is not known."""
    try:
        return float(runs.load_metrics(run_dir)["min_confidence"])
    except (EmotionError, KeyError, TypeError, ValueError):
        return None


def _from_files(run_dir: Path, config: TrainConfig, classifier: Classifier) -> Prepared:
    modalities = modalities_of(config)
    if not {"audio", "face"} & set(modalities):
        raise EmotionError(f"{run_dir} needs {' and '.join(modalities)}, which cannot be computed from a recording")
    groups = {end.group for end in classifier.front_ends if not isinstance(end, AudioFrontEnd)} - {None}
    if groups:
        raise EmotionError(
            f"{run_dir} normalises by {groups.pop()}, which is unknown for a file; train a model with normalize=train"
        )
    return modalities


@contextmanager
def mean_squares(ends: Iterable[AudioFrontEnd]) -> Iterator[dict[AudioFrontEnd, Tensor]]:
    """Yield a dictionary that receives the mean square of the features of each item, shape (B,), of each front end."""
    found: dict[AudioFrontEnd, Tensor] = {}
    hooks = [end.register_forward_hook(partial(_keep_mean_square, found)) for end in ends]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _keep_mean_square(
    found: dict[AudioFrontEnd, Tensor], end: AudioFrontEnd, _: object, output: tuple[Tensor, Tensor]
) -> None:
    features, frames = output
    found[end] = features.square().sum(dim=(1, 2)) / (frames * features.shape[1])
