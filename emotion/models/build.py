"""From a configuration to a classifier."""

from omegaconf import DictConfig

from emotion.config import instantiate
from emotion.features.augment import Augmentation
from emotion.features.base import FeatureSet
from emotion.features.front_end import AudioFrontEnd
from emotion.features.stack import FeatureStack
from emotion.models.base import AudioEncoder, AudioNetwork, Classifier


def build_front_end(features: DictConfig, augment: DictConfig, sample_rate: int) -> AudioFrontEnd:
    """The front end that the groups `features` and `augment` describe."""
    sets = {
        str(name): instantiate(feature_set, FeatureSet, sample_rate=sample_rate, n_fft=features.n_fft)
        for name, feature_set in features.sets.items()
    }
    return AudioFrontEnd(
        FeatureStack(sets, features.n_fft, features.hop_length, features.deltas),
        sample_rate,
        features.trim_db,
        features.seconds,
        features.normalize,
        [instantiate(change, Augmentation, sample_rate=sample_rate) for change in augment.values()],
    )


def build_classifier(config: DictConfig, num_classes: int) -> Classifier:
    """The classifier, not yet trained, of a whole configuration."""
    front_end = build_front_end(config.features, config.augment, config.data.sample_rate)
    orders = 1 + config.features.deltas
    network = instantiate(config.model.network, AudioNetwork, num_features=front_end.num_features, orders=orders)
    head = config.model.head
    return Classifier(AudioEncoder(front_end, network), num_classes, tuple(head.hidden), head.dropout)
