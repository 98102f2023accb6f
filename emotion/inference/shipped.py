"""The model that comes with the package: an audio model and a face model, joined by their mean log-probability."""

from pathlib import Path

from torch import nn

from emotion import runs
from emotion.composition import load_classifier, modalities_of
from emotion.inference.networks import Network
from emotion.labels import classes
from emotion.models.base import Classifier
from emotion.models.late_fusion import MeanLogProbability

DIRECTORY = Path(__file__).parents[1] / "shipped"
PARTS = ("audio", "face")
"""Run directories below `DIRECTORY`, as `emotion.inference.bundle.bundle` writes them."""


def shipped_network(device: str = "cpu") -> Network:
    """Load both parts as one network; a recording without audio or without a face is predicted by the other part.

    Args:
        device: Device of the network, such as `cpu` (default) or `cuda`.
    """
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
