"""The model that comes with the package: an audio model and a face model, joined by their mean log-probability."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emotion.inference.onnx_model import OnnxModel
from emotion.inference.recordings import Recording
from emotion.prepare.modalities import Prepared

if TYPE_CHECKING:
    from emotion.inference.networks import Network

DIRECTORY = Path(__file__).parents[1] / "shipped"
PARTS = ("audio", "face")
"""Run directories below `DIRECTORY`, named after their modality, as `emotion.inference.bundle.bundle` writes them."""
EXPORTED = "model.onnx"
"""The model of a part, exported from its run directory in the format `onnx_int8`."""


class ShippedModel:
    """The exported models of both parts; see `emotion.inference.predictor.Model`.

    A recording without audio or without a face is predicted by the other part. torch is needed for faces, which are
    detected with it, and to adapt.
    """

    needs_groups = False
    ratings: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._models = {part: OnnxModel(DIRECTORY / part / EXPORTED) for part in PARTS}
        audio = self._models["audio"]
        self.labels, self.sample_rate, self.min_confidence = audio.labels, audio.sample_rate, audio.min_confidence
        self.modalities: Prepared = {}
        for model in self._models.values():
            self.modalities |= model.modalities
        self._adapted: Network | None = None

    def __call__(self, recordings: Sequence[Recording]) -> tuple[np.ndarray, np.ndarray | None]:
        """See `emotion.inference.predictor.Model`."""
        if self._adapted:
            return self._adapted(recordings)
        logs = np.zeros((len(recordings), len(self.labels)))
        distance = np.full(len(recordings), np.nan)
        present = np.zeros((len(recordings), 1))
        for part, model in self._models.items():
            rows = [row for row, one in enumerate(recordings) if len(one.arrays.get(part, ()))]
            if not rows:
                continue
            probabilities, own = model([recordings[row] for row in rows])
            logs[rows] += np.log(probabilities.clip(min=1e-30))
            present[rows] += 1
            if own is not None:
                distance[rows] = own
        joint = np.exp(logs / present.clip(min=1))
        return joint / joint.sum(axis=1, keepdims=True), distance

    def adapt(self, read: Callable[[], Iterable[Sequence[Recording]]], group_of: Mapping[str, str]) -> None:
        """See `emotion.inference.predictor.Model`; the runs are used from now on."""
        self._adapted = shipped_network()
        self._adapted.adapt(read, group_of)


def shipped_network(device: str = "cpu") -> "Network":
    """Load the runs of both parts as one network.

    Args:
        device: Device of the network, such as `cpu` (default) or `cuda`.
    """
    from torch import nn

    from emotion import runs
    from emotion.composition import load_classifier, modalities_of
    from emotion.inference.networks import Network
    from emotion.labels import classes
    from emotion.models.base import Classifier
    from emotion.models.late_fusion import MeanLogProbability

    encoders, heads, modalities = {}, {}, {}
    configs = {part: runs.load_config(DIRECTORY / part) for part in PARTS}
    for part, config in configs.items():
        classifier = load_classifier(DIRECTORY / part, config)
        encoders[part], heads[part] = classifier.encoder, classifier.head
        modalities |= modalities_of(config)
    config = configs["audio"]
    labels = classes(config.labels)
    fusion = MeanLogProbability(encoders, heads, len(labels))
    return Network(Classifier(fusion, nn.Identity()), modalities, config.data.sample_rate, labels, device)
