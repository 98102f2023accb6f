"""From a configuration to a classifier."""

from omegaconf import DictConfig
from torch import nn

from emotion.config import instantiate
from emotion.features.base import FeatureSet
from emotion.features.front_end import AudioFrontEnd
from emotion.models.base import AudioEncoder, AudioNetwork, Classifier


def build_front_end(features: DictConfig, augment: DictConfig, sample_rate: int) -> AudioFrontEnd:
    """The front end that the groups `features` and `augment` describe."""
    augmentation = instantiate(augment.features, nn.Module) if augment.features else None
    return AudioFrontEnd(
        instantiate(features.extractor, FeatureSet, sample_rate=sample_rate),
        sample_rate,
        features.trim_db,
        features.seconds,
        features.normalize,
        augmentation,
    )


def build_classifier(config: DictConfig, num_classes: int) -> Classifier:
    """The classifier, not yet trained, of a whole configuration."""
    front_end = build_front_end(config.features, config.augment, config.data.sample_rate)
    network = instantiate(config.model.network, AudioNetwork, num_features=front_end.num_features)
    head = config.model.head
    return Classifier(AudioEncoder(front_end, network), num_classes, tuple(head.hidden), head.dropout)
