"""From typed configuration to modules."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from torch import Tensor, nn

from emotion.augment.base import Augmentation, SpectrumAugmentation, WaveformAugmentation
from emotion.config.branch import (
    ActionUnitsBranchConfig,
    BranchConfig,
    EstimatorBranchConfig,
    EstimatorConfig,
    FeaturesBranchConfig,
    HeadConfig,
    Hog3dBranchConfig,
    ImagesBranchConfig,
    NetworkBranchConfig,
)
from emotion.config.features import FeaturesConfig
from emotion.config.model import (
    AutoencoderModelConfig,
    EstimatorFusionModelConfig,
    EstimatorModelConfig,
    FusionModelConfig,
    ModelConfig,
    NeuralModelConfig,
)
from emotion.config.schema import ActionUnitsConfig
from emotion.config.target import Target, instantiate
from emotion.errors import EmotionError
from emotion.features.action_units import ActionUnitFrontEnd
from emotion.features.base import AcousticFeatures, FeatureSet, Representation
from emotion.features.front_end import AudioFrontEnd
from emotion.features.hog3d import Hog3dFrontEnd
from emotion.features.images import ImageFrontEnd
from emotion.features.normalization import FrontEnd
from emotion.features.stack import FeatureStack
from emotion.models.autoencoder import ErrorHead
from emotion.models.base import (
    BackboneEncoder,
    Classifier,
    Encoder,
    FeatureBackbone,
    FeatureEncoder,
    FrameEncoder,
    ImageBackbone,
    Regressor,
)
from emotion.models.estimator import EstimatorHead
from emotion.models.estimator_encoder import EstimatorEncoder
from emotion.models.heads import MlpHead, RatingHead
from emotion.models.late_fusion import Fusion
from emotion.models.video_backbone import ClipEncoder, VideoBackbone
from emotion.prepare.action_units import unit_names


@dataclass(frozen=True)
class InputConfig:
    """Configuration of what encoders take in.

    Attributes:
        features: Acoustic features.
        action_units: Facial action units.
        augment: Augmentations by name.
        sample_rate: Sampling rate of the audio, in Hz.
        num_outputs: Number of classes, or of rated values.
        seed: Seed of estimators.
        is_regression: True if the outputs are rated values (default: False).
    """

    features: FeaturesConfig
    action_units: ActionUnitsConfig
    augment: Mapping[str, Target]
    sample_rate: int
    num_outputs: int
    seed: int
    is_regression: bool = False


def build_front_end(features: FeaturesConfig, augment: Mapping[str, Target], sample_rate: int) -> AudioFrontEnd:
    """Build an acoustic front end.

    Args:
        features: Acoustic features.
        augment: Augmentations by name.
        sample_rate: Sampling rate of the audio, in Hz.
    """
    return AudioFrontEnd(
        _features(features, sample_rate),
        sample_rate,
        features.trim_db,
        features.duration_s,
        features.normalize,
        _augmentations(augment, sample_rate, features.hop_length),
        _description(features, sample_rate),
        features.cache,
        features.n_augmented_copies,
        {
            name: {"_target_": target.name} | dict(target.arguments)
            for name, target in augment.items()
            if issubclass(target.resolve(), WaveformAugmentation | SpectrumAugmentation)
        },
    )


def _features(features: FeaturesConfig, sample_rate: int) -> FeatureStack | Representation:
    sets = {
        name: instantiate(feature_set, AcousticFeatures, sample_rate=sample_rate, n_fft=features.n_fft)
        for name, feature_set in features.sets.items()
    }
    alone = {name: feature_set for name, feature_set in sets.items() if isinstance(feature_set, Representation)}
    if not alone:
        return FeatureStack(
            cast(dict[str, FeatureSet], sets), features.n_fft, features.hop_length, features.n_delta_orders
        )
    name, representation = next(iter(alone.items()))
    if len(sets) > 1 or features.n_delta_orders:
        raise EmotionError(f"features={name} cannot be stacked with other feature sets or deltas")
    if features.normalize == "clip" and representation.one_frame:
        raise EmotionError(f"features.normalize=clip leaves nothing of features={name}, one vector: use train")
    return representation


def _description(features: FeaturesConfig, sample_rate: int) -> dict[str, Any]:
    """Return plain data that determines features before normalisation."""
    own = {
        key: value
        for key, value in vars(features).items()
        if key not in ("normalize", "cache", "n_augmented_copies", "sets")
    }
    sets = {name: {"_target_": target.name} | dict(target.arguments) for name, target in features.sets.items()}
    return own | {"sets": sets, "sample_rate": sample_rate}


def build_neural(model: NeuralModelConfig, inputs: InputConfig) -> Classifier:
    """Build an encoder with a multilayer perceptron as its head."""
    (encoder,) = _encoders(model, inputs).values()
    return _with_head(encoder, model.head, inputs)


def build_autoencoder(model: AutoencoderModelConfig, inputs: InputConfig) -> Classifier:
    """Build an autoencoder with a head on its reconstruction error."""
    (encoder,) = _encoders(model, inputs).values()
    return Classifier(encoder, ErrorHead(inputs.num_outputs))


def build_fusion(model: FusionModelConfig, inputs: InputConfig) -> Classifier:
    """Build several encoders, their fusion, and a head unless the fusion gives logits itself."""
    encoders = _encoders(model, inputs)
    heads = {name: _branch_head(branch, encoders[name], model, inputs) for name, branch in model.branches.items()}
    fusion = instantiate(model.fusion, Fusion, encoders=encoders, heads=heads, num_classes=inputs.num_outputs)
    if not fusion.gives_logits:
        return _with_head(fusion, model.head, inputs)
    if inputs.is_regression:
        raise EmotionError(
            f"task=regression: {type(fusion).__name__} joins probabilities; choose a fusion of embeddings, such as "
            "model/fusion=concatenation"
        )
    return Classifier(fusion, nn.Identity())


def build_estimator(model: EstimatorModelConfig, inputs: InputConfig) -> Classifier:
    """Build an encoder that gives a vector, and an estimator on it."""
    (encoder,) = _encoders(model, inputs).values()
    return Classifier(encoder, _estimator(model, inputs, [encoder.embed_dim], [model.vector.n_augmented_copies]))


def build_estimator_fusion(model: EstimatorFusionModelConfig, inputs: InputConfig) -> Classifier:
    """Build several encoders that give vectors, and an estimator on all of them."""
    encoders = _encoders(model, inputs)
    fusion = instantiate(model.fusion, Fusion, encoders=encoders)
    sizes = [encoder.embed_dim for encoder in encoders.values()]
    parts = [branch.n_augmented_copies for branch in model.branches.values()]
    return Classifier(fusion, _estimator(model, inputs, sizes, parts))


def _estimator(model: EstimatorConfig, inputs: InputConfig, sizes: list[int], parts: list[int]) -> EstimatorHead:
    return EstimatorHead(model.estimator, inputs.num_outputs, inputs.seed, model.scaling, sizes, parts)


def _encoders(model: ModelConfig, inputs: InputConfig) -> dict[str, Encoder]:
    """Build the encoders of a model, by the last part of the key of each."""
    encoders = {
        name.rpartition(".")[2]: _ENCODERS[type(branch)](branch, inputs) for name, branch in model.encoders.items()
    }
    audio = [module for one in encoders.values() for module in one.modules() if isinstance(module, AudioFrontEnd)]
    if audio and all(front_end.lacks_spectrum for front_end in audio):
        raise EmotionError("augment=vtlp changes a spectrum, which the features of this model do not come from")
    return encoders


def _features_encoder(branch: FeaturesBranchConfig, inputs: InputConfig) -> FeatureEncoder:
    features = branch.features or inputs.features
    return _feature_encoder(branch, build_front_end(features, inputs.augment, inputs.sample_rate))


def _images_encoder(branch: ImagesBranchConfig, inputs: InputConfig) -> FrameEncoder | ClipEncoder:
    augment = _augmentations(inputs.augment, inputs.sample_rate)
    front_end = ImageFrontEnd(**asdict(branch.images), augment=augment)
    image = {"num_channels": front_end.channels, "image_size": front_end.size}
    if issubclass(branch.backbone.resolve(), VideoBackbone):
        return ClipEncoder(front_end, instantiate(branch.backbone, VideoBackbone, **image), **_learning(branch))
    network = instantiate(branch.backbone, ImageBackbone, **image)
    return FrameEncoder(front_end, network, branch.pooling, **_learning(branch))


def _hog3d_encoder(branch: Hog3dBranchConfig, inputs: InputConfig) -> FeatureEncoder:
    return _feature_encoder(branch, Hog3dFrontEnd(**asdict(branch.hog3d)))


def _action_units_encoder(branch: ActionUnitsBranchConfig, inputs: InputConfig) -> FeatureEncoder:
    units = inputs.action_units
    return _feature_encoder(branch, ActionUnitFrontEnd(len(unit_names(units.columns)), units.normalize))


def _estimator_encoder(branch: EstimatorBranchConfig, inputs: InputConfig) -> EstimatorEncoder:
    vector = _NETWORK_ENCODERS[type(branch.vector)](replace(branch.vector, freeze=True), inputs)
    return EstimatorEncoder(vector, _estimator(branch, inputs, [vector.embed_dim], [branch.vector.n_augmented_copies]))


def _feature_encoder(branch: NetworkBranchConfig, front_end: FrontEnd) -> FeatureEncoder:
    options = {"num_features": front_end.num_features, "num_channels": front_end.num_channels}
    network = instantiate(branch.backbone, FeatureBackbone, **options)
    return FeatureEncoder(front_end, network, **_learning(branch))


def _learning(branch: NetworkBranchConfig) -> dict[str, Any]:
    return {"freeze": branch.freeze, "lr_multiplier": branch.lr_multiplier}


_NETWORK_ENCODERS: dict[type[NetworkBranchConfig], Callable[[Any, InputConfig], BackboneEncoder]] = {
    FeaturesBranchConfig: _features_encoder,
    ImagesBranchConfig: _images_encoder,
    Hog3dBranchConfig: _hog3d_encoder,
    ActionUnitsBranchConfig: _action_units_encoder,
}
_ENCODERS: dict[type[BranchConfig], Callable[[Any, InputConfig], Encoder]] = {
    **_NETWORK_ENCODERS,
    EstimatorBranchConfig: _estimator_encoder,
}
"""The function that builds the encoder of each input."""


def _with_head(encoder: Encoder | Fusion, options: HeadConfig, inputs: InputConfig) -> Classifier:
    """Return an encoder with a head for classes or for rated values."""
    head = _head(options, encoder, inputs.num_outputs)
    return (
        Regressor(encoder, RatingHead(head, inputs.num_outputs)) if inputs.is_regression else Classifier(encoder, head)
    )


def _head(options: HeadConfig, encoder: Encoder | Fusion, num_outputs: int) -> MlpHead:
    return MlpHead(encoder.embed_dim, num_outputs, tuple(options.hidden), options.dropout)


def _branch_head(branch: BranchConfig, encoder: Encoder, model: FusionModelConfig, inputs: InputConfig) -> nn.Module:
    """Build the head of one branch; that of an estimator gives log-probabilities already."""
    if not isinstance(branch, NetworkBranchConfig):
        return nn.Identity()
    return _head(branch.head or model.head, encoder, inputs.num_outputs)


def _augmentations(augment: Mapping[str, Target], sample_rate: int, hop_length: int = 512) -> list[Augmentation]:
    known = {"sample_rate": sample_rate, "hop_length": hop_length}
    return [instantiate(change, Augmentation, **known) for change in augment.values()]


_PREFIX = "classifier."
"""Start of the names of weights in a checkpoint: the LightningModule holds the classifier under this name."""


def checkpoint_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """Return the classifier's part of the state in a checkpoint."""
    state = checkpoint["state_dict"]
    return {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}


def checkpoint_state(classifier: Classifier) -> dict[str, Tensor]:
    """Return the state of a classifier, on the CPU, under the names in a checkpoint."""
    return {f"{_PREFIX}{name}": value.cpu() for name, value in classifier.state_dict().items()}
