"""From a configuration to a classifier."""

from typing import Any

from omegaconf import DictConfig
from torch import Tensor, nn

from emotion.config import instantiate
from emotion.errors import EmotionError
from emotion.features.action_units import ActionUnitFrontEnd
from emotion.features.augment import Augmentation
from emotion.features.base import FeatureSet
from emotion.features.front_end import AudioFrontEnd
from emotion.features.pictures import PictureFrontEnd
from emotion.features.stack import FeatureStack
from emotion.models.base import (
    Classifier,
    Encoder,
    FeatureEncoder,
    FeatureNetwork,
    MlpHead,
    PictureEncoder,
    PictureNetwork,
)
from emotion.models.estimator import EstimatorHead
from emotion.models.late_fusion import Fusion
from emotion.prepare.action_units import unit_names

PARTS = ("audio", "visual")
"""What a fusion is made of, as its configuration calls them."""


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
        _augmentations(augment, sample_rate),
    )


def build_classifier(config: DictConfig, num_classes: int) -> Classifier:
    """The classifier, not yet trained, of a whole configuration."""
    model = config.model
    if "fusion" not in model:
        if "vector" in model:
            return Classifier(_encoder(config, model.vector), EstimatorHead(model.estimator, num_classes, config.seed))
        encoder = _encoder(config, model)
        return Classifier(encoder, _head(model.head, encoder, num_classes))
    encoders = {name: _encoder(config, model[name]) for name in PARTS}
    heads = {name: _head(model[name].get("head", model.head), encoders[name], num_classes) for name in PARTS}
    fusion = instantiate(model.fusion, Fusion, encoders=encoders, heads=heads, num_classes=num_classes)
    return Classifier(fusion, nn.Identity() if fusion.gives_logits else _head(model.head, fusion, num_classes))


def _encoder(config: DictConfig, part: DictConfig) -> Encoder:
    learning = {"frozen": part.frozen, "learning_rate_factor": part.learning_rate_factor}
    if part.modality == "faces":
        pictures = PictureFrontEnd(**part.pictures, augment=_augmentations(config.augment, config.data.sample_rate))
        network = instantiate(part.network, PictureNetwork, num_channels=pictures.channels)
        return PictureEncoder(pictures, network, part.pooling, **learning)
    if part.modality == "action_units":
        units = config.action_units
        if units.normalize == "clip" and units.over_time == "mean":
            raise EmotionError("action_units.normalize=clip leaves nothing of a clip's mean: use train")
        front_end, orders = ActionUnitFrontEnd(len(unit_names(units.kinds)), units.normalize), 1
    else:
        front_end = build_front_end(config.features, config.augment, config.data.sample_rate)
        orders = 1 + config.features.deltas
    network = instantiate(part.network, FeatureNetwork, num_features=front_end.num_features, orders=orders)
    return FeatureEncoder(front_end, network, **learning)


def _head(options: DictConfig, encoder: Encoder | Fusion, num_classes: int) -> MlpHead:
    return MlpHead(encoder.embed_dim, num_classes, tuple(options.hidden), options.dropout)


def _augmentations(augment: DictConfig, sample_rate: int) -> list[Augmentation]:
    return [instantiate(change, Augmentation, sample_rate=sample_rate) for change in augment.values()]


def checkpoint_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The classifier's part of a checkpoint's state."""
    prefix = "classifier."
    state = checkpoint["state_dict"]
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
