"""The model that comes with the package: one of sound and one of faces, and of both the mean of what they say."""

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
"""Each is a run directory, as `emotion.inference.bundle.bundle` leaves it."""


def shipped_network(device: str = "cpu") -> Network:
    """Both parts as one network; of a recording that lacks sound or a face, the other one answers.

    Args:
        device: Where it is computed.
    """
    encoders, heads, modalities = {}, {}, {}
    for part in PARTS:
        config = runs.load_config(DIRECTORY / part)
        labels = classes(config.labels)
        classifier = load_classifier(DIRECTORY / part, config)
        encoders[part], heads[part] = classifier.encoder, classifier.head
        modalities |= modalities_of(config)
    fusion = MeanLogProbability(encoders, heads, len(labels))
    return Network(Classifier(fusion, nn.Identity()), modalities, config.data.sample_rate, labels, device)
