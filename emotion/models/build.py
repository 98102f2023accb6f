"""From a configuration to a classifier."""

from typing import Any

from omegaconf import DictConfig
from torch import Tensor, nn

from emotion.config import instantiate
from emotion.errors import EmotionError
from emotion.features.action_units import ActionUnitFrontEnd
from emotion.features.augment import Augmentation
from emotion.features.base import Representation, SoundFeatures
from emotion.features.front_end import AudioFrontEnd
from emotion.features.hog3d import Hog3dFrontEnd
from emotion.features.pictures import PictureFrontEnd
from emotion.features.stack import FeatureStack
from emotion.models.autoencoder import ErrorHead
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
    front_end = AudioFrontEnd(
        _features(features, sample_rate),
        sample_rate,
        features.trim_db,
        features.seconds,
        features.normalize,
        _augmentations(augment, sample_rate),
    )
    if isinstance(front_end.features, Representation) and len(front_end.of_spectrum):
        raise EmotionError(
            f"augment=vtlp changes a spectrum, which features={next(iter(features.sets))} do not come from"
        )
    return front_end


def _features(features: DictConfig, sample_rate: int) -> FeatureStack | Representation:
    sets = {
        str(name): instantiate(feature_set, SoundFeatures, sample_rate=sample_rate, n_fft=features.n_fft)
        for name, feature_set in features.sets.items()
    }
    alone = [name for name, feature_set in sets.items() if isinstance(feature_set, Representation)]
    if not alone:
        return FeatureStack(sets, features.n_fft, features.hop_length, features.deltas)
    if len(sets) > 1 or features.deltas:
        raise EmotionError(f"features={alone[0]} has frames of its own, so it stands alone: no other sets, no deltas")
    if features.normalize == "clip" and sets[alone[0]].one_frame:
        raise EmotionError(f"features.normalize=clip leaves nothing of features={alone[0]}, one vector: use train")
    return sets[alone[0]]


def build_classifier(config: DictConfig, num_classes: int) -> Classifier:
    """The classifier, not yet trained, of a whole configuration."""
    model = config.model
    if "fusion" not in model:
        if "vector" in model:
            return _classical(config, num_classes, _encoder(config, model.vector), [model.vector])
        encoder = _encoder(config, model)
        head = ErrorHead(num_classes) if "only" in model else _head(model.head, encoder, num_classes)
        return Classifier(encoder, head)
    encoders = {name: _encoder(config, model[name]) for name in PARTS}
    if "estimator" in model:
        fusion = instantiate(model.fusion, Fusion, encoders=encoders)
        return _classical(config, num_classes, fusion, [model[name] for name in PARTS])
    heads = {name: _head(model[name].get("head", model.head), encoders[name], num_classes) for name in PARTS}
    fusion = instantiate(model.fusion, Fusion, encoders=encoders, heads=heads, num_classes=num_classes)
    return Classifier(fusion, nn.Identity() if fusion.gives_logits else _head(model.head, fusion, num_classes))


def _classical(
    config: DictConfig, num_classes: int, encoder: Encoder | Fusion, vectors: list[DictConfig]
) -> Classifier:
    """A classifier with an estimator on what `encoder` makes, which `vectors` describe, one after the other."""
    sizes = [each.embed_dim for each in encoder.encoders.values()] if len(vectors) > 1 else [encoder.embed_dim]
    parts, scaling = [vector.get("parts", 1) for vector in vectors], config.model.get("scaling", "standard")
    head = EstimatorHead(config.model.estimator, num_classes, config.seed, scaling, sizes, parts)
    return Classifier(encoder, head)


def _encoder(config: DictConfig, part: DictConfig) -> Encoder:
    learning = {"frozen": part.frozen, "learning_rate_factor": part.learning_rate_factor}
    if "hog3d" in part:
        front_end = Hog3dFrontEnd(**part.hog3d)
    elif part.modality == "faces":
        pictures = PictureFrontEnd(**part.pictures, augment=_augmentations(config.augment, config.data.sample_rate))
        network = instantiate(part.network, PictureNetwork, num_channels=pictures.channels)
        return PictureEncoder(pictures, network, part.pooling, **learning)
    elif part.modality == "action_units":
        units = config.action_units
        if units.normalize == "clip" and units.over_time == "mean":
            raise EmotionError("action_units.normalize=clip leaves nothing of a clip's mean: use train")
        front_end = ActionUnitFrontEnd(len(unit_names(units.kinds)), units.normalize)
    else:
        front_end = build_front_end(config.features, config.augment, config.data.sample_rate)
    options = {"num_features": front_end.num_features, "orders": front_end.orders}
    network = instantiate(part.network, FeatureNetwork, **options)
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
