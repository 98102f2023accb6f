"""From typed configuration to modules."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from emotion.config.model import (
    AutoencoderModelConfig,
    BranchConfig,
    EstimatorConfig,
    EstimatorFusionModelConfig,
    EstimatorModelConfig,
    FusionModelConfig,
    HeadConfig,
    NeuralModelConfig,
)
from emotion.config.schema import ActionUnitsConfig, FeaturesConfig
from emotion.config.target import Target, instantiate
from emotion.errors import EmotionError
from emotion.features.action_units import ActionUnitFrontEnd
from emotion.features.augment import Augmentation
from emotion.features.base import AcousticFeatures, Representation
from emotion.features.front_end import AudioFrontEnd
from emotion.features.hog3d import Hog3dFrontEnd
from emotion.features.images import ImageFrontEnd
from emotion.features.stack import FeatureStack
from emotion.models.autoencoder import ErrorHead
from emotion.models.base import (
    Classifier,
    Encoder,
    FeatureBackbone,
    FeatureEncoder,
    FrameEncoder,
    ImageBackbone,
    MlpHead,
)
from emotion.models.estimator import EstimatorHead
from emotion.models.late_fusion import Fusion
from emotion.prepare.action_units import unit_names


@dataclass(frozen=True)
class InputConfig:
    """Configuration of what encoders take in.

    Attributes:
        features: Acoustic features.
        action_units: Facial action units.
        augment: Augmentations by name.
        sample_rate: Sampling rate of the audio, in Hz.
    """

    features: FeaturesConfig
    action_units: ActionUnitsConfig
    augment: Mapping[str, Target]
    sample_rate: int


def build_front_end(features: FeaturesConfig, augment: Mapping[str, Target], sample_rate: int) -> AudioFrontEnd:
    """Build the acoustic front end.

    Args:
        features: Acoustic features.
        augment: Augmentations by name.
        sample_rate: Sampling rate of the audio, in Hz.
    """
    front_end = AudioFrontEnd(
        _features(features, sample_rate),
        sample_rate,
        features.trim_db,
        features.duration_s,
        features.normalize,
        _augmentations(augment, sample_rate),
    )
    if isinstance(front_end.features, Representation) and len(front_end.spectrum_augmentations):
        raise EmotionError(
            f"augment=vtlp changes a spectrum, which features={next(iter(features.sets))} do not come from"
        )
    return front_end


def _features(features: FeaturesConfig, sample_rate: int) -> FeatureStack | Representation:
    sets = {
        name: instantiate(feature_set, AcousticFeatures, sample_rate=sample_rate, n_fft=features.n_fft)
        for name, feature_set in features.sets.items()
    }
    alone = {name: feature_set for name, feature_set in sets.items() if isinstance(feature_set, Representation)}
    if not alone:
        return FeatureStack(sets, features.n_fft, features.hop_length, features.n_delta_orders)
    name, representation = next(iter(alone.items()))
    if len(sets) > 1 or features.n_delta_orders:
        raise EmotionError(f"features={name} has frames of its own, so it stands alone: no other sets, no deltas")
    if features.normalize == "clip" and representation.one_frame:
        raise EmotionError(f"features.normalize=clip leaves nothing of features={name}, one vector: use train")
    return representation


def build_neural(model: NeuralModelConfig, inputs: InputConfig, num_classes: int) -> Classifier:
    """Build an encoder with a multilayer perceptron as its head."""
    encoder = build_encoder(model, inputs)
    return Classifier(encoder, _head(model.head, encoder, num_classes))


def build_autoencoder(model: AutoencoderModelConfig, inputs: InputConfig, num_classes: int) -> Classifier:
    """Build an autoencoder with a head on its reconstruction error."""
    return Classifier(build_encoder(model, inputs), ErrorHead(num_classes))


def build_fusion(model: FusionModelConfig, inputs: InputConfig, num_classes: int) -> Classifier:
    """Build several encoders, their fusion, and a head unless the fusion gives logits itself."""
    encoders = {name: build_encoder(branch, inputs) for name, branch in model.branches.items()}
    heads = {
        name: _head(branch.head or model.head, encoders[name], num_classes) for name, branch in model.branches.items()
    }
    fusion = instantiate(model.fusion, Fusion, encoders=encoders, heads=heads, num_classes=num_classes)
    return Classifier(fusion, nn.Identity() if fusion.gives_logits else _head(model.head, fusion, num_classes))


def build_estimator(model: EstimatorModelConfig, inputs: InputConfig, num_classes: int, seed: int) -> Classifier:
    """Build an encoder that gives a vector, and an estimator on it."""
    encoder = build_encoder(model.vector, inputs)
    return Classifier(
        encoder, _estimator(model, num_classes, seed, [encoder.embed_dim], [model.vector.n_augmented_copies])
    )


def build_estimator_fusion(
    model: EstimatorFusionModelConfig, inputs: InputConfig, num_classes: int, seed: int
) -> Classifier:
    """Build several encoders that give vectors, and an estimator on all of them."""
    encoders = {name: build_encoder(branch, inputs) for name, branch in model.branches.items()}
    fusion = instantiate(model.fusion, Fusion, encoders=encoders)
    sizes = [encoder.embed_dim for encoder in encoders.values()]
    parts = [branch.n_augmented_copies for branch in model.branches.values()]
    return Classifier(fusion, _estimator(model, num_classes, seed, sizes, parts))


def _estimator(
    model: EstimatorConfig, num_classes: int, seed: int, sizes: list[int], parts: list[int]
) -> EstimatorHead:
    return EstimatorHead(model.estimator, num_classes, seed, model.scaling, sizes, parts)


def build_encoder(branch: BranchConfig, inputs: InputConfig) -> Encoder:
    """Build the front end and the network of a branch."""
    learning = {"freeze": branch.freeze, "lr_multiplier": branch.lr_multiplier}
    if branch.pictures:
        augment = _augmentations(inputs.augment, inputs.sample_rate)
        pictures = ImageFrontEnd(**asdict(branch.pictures), augment=augment)
        network = instantiate(branch.backbone, ImageBackbone, num_channels=pictures.channels)
        return FrameEncoder(pictures, network, branch.pooling, **learning)
    if branch.hog3d:
        front_end = Hog3dFrontEnd(**asdict(branch.hog3d))
    elif branch.modality == "action_units":
        units = inputs.action_units
        front_end = ActionUnitFrontEnd(len(unit_names(units.columns)), units.normalize)
    else:
        front_end = build_front_end(inputs.features, inputs.augment, inputs.sample_rate)
    options = {"num_features": front_end.num_features, "num_channels": front_end.num_channels}
    return FeatureEncoder(front_end, instantiate(branch.backbone, FeatureBackbone, **options), **learning)


def _head(options: HeadConfig, encoder: Encoder | Fusion, num_classes: int) -> MlpHead:
    return MlpHead(encoder.embed_dim, num_classes, tuple(options.hidden), options.dropout)


def _augmentations(augment: Mapping[str, Target], sample_rate: int) -> list[Augmentation]:
    return [instantiate(change, Augmentation, sample_rate=sample_rate) for change in augment.values()]


def checkpoint_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """Return the classifier's part of the state in a checkpoint."""
    prefix = "classifier."
    state = checkpoint["state_dict"]
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
