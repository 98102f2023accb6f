"""The branches of models: the input of each, and the encoder that embeds it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Interval, Len

from emotion.config.features import FeaturesConfig
from emotion.config.fields import Count, Dropout, Positive
from emotion.config.target import Target

Modality = Literal["audio", "face", "action_units"]
Pooling = Literal["mean", "attention", "average"]


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The multilayer perceptron from embeddings to logits."""

    hidden: list[Count]
    """Widths of the hidden layers; empty for a linear head."""
    dropout: Dropout
    """Dropout after each hidden layer; of the embedding without hidden layers."""


@dataclass(frozen=True, kw_only=True)
class ImagesConfig:
    """The images that a face network takes."""

    size: Annotated[int, Interval(ge=8, le=1024)]
    """Side of an image, in pixels."""
    color: Literal["rgb", "grey"] = "rgb"
    """Color space."""
    relative_to: Literal["nothing", "mean", "first"] = "nothing"
    """Subtract nothing, the mean image of the clip, or its first image."""
    frame_dropout: Dropout = 0.0
    """Probability that a frame is left out in training."""
    mirror: bool = False
    """Average the embeddings of each image and its mirror image in evaluation."""


@dataclass(frozen=True, kw_only=True)
class Hog3dConfig:
    """Histograms of gradients in space and time."""

    frames: Count
    """Number of frames to which a clip is resampled."""
    cell: Annotated[list[Count], Len(3, 3)]
    """Size of a cell: frames, rows, columns."""
    bins: Count
    """Number of bins of azimuths, and of polar angles."""


@dataclass(frozen=True, kw_only=True)
class BranchConfig(ABC):
    """One encoder and its input. The key `input` names the subclass, see `BRANCH_INPUTS`."""

    input: str
    """Input of the encoder."""
    init_from: str | None = None
    """Directory of a finished run from which the encoder is initialised."""

    @property
    @abstractmethod
    def modality(self) -> Modality:
        """The modality of a recording from which the input is made."""

    @property
    def own_features(self) -> dict[str, FeaturesConfig]:
        """The branch's own acoustic features, by the key of each below the branch."""
        return {}

    @property
    def freezes_untrained(self) -> bool:
        """True if untrained weights are frozen."""
        return False


@dataclass(frozen=True, kw_only=True)
class NetworkBranchConfig(BranchConfig):
    """One encoder with a network."""

    backbone: Target
    """The backbone and its arguments."""
    head: HeadConfig | None = None
    """Head of this branch alone; null for that of the model."""
    n_augmented_copies: Count = 1
    """Number of equal parts of a vector that are separate examples of an estimator."""
    freeze: bool | Count = False
    """Freeze the encoder, always or for a number of epochs at the start."""
    lr_multiplier: Positive = 1.0
    """Multiplier of the learning rate."""

    @property
    def freezes_untrained(self) -> bool:
        """See `BranchConfig.freezes_untrained`."""
        return self.freeze is True and not self.init_from and self.backbone.arguments.get("weights", "none") == "none"


@dataclass(frozen=True, kw_only=True)
class FeaturesBranchConfig(NetworkBranchConfig):
    """An encoder of acoustic features."""

    input: Literal["features"]
    features: FeaturesConfig | None = None
    """Acoustic features of this branch alone; null for the group `features`."""

    @property
    def modality(self) -> Modality:
        """See `BranchConfig.modality`."""
        return "audio"

    @property
    def own_features(self) -> dict[str, FeaturesConfig]:
        """See `BranchConfig.own_features`."""
        return {"features": self.features} if self.features else {}


@dataclass(frozen=True, kw_only=True)
class ImagesBranchConfig(NetworkBranchConfig):
    """An encoder of the face on each frame, pooled over frames."""

    input: Literal["images"]
    images: ImagesConfig
    pooling: Pooling = "mean"
    """Pooling over frames."""

    @property
    def modality(self) -> Modality:
        """See `BranchConfig.modality`."""
        return "face"


@dataclass(frozen=True, kw_only=True)
class Hog3dBranchConfig(NetworkBranchConfig):
    """An encoder of histograms of gradients of a whole clip."""

    input: Literal["hog3d"]
    hog3d: Hog3dConfig

    @property
    def modality(self) -> Modality:
        """See `BranchConfig.modality`."""
        return "face"


@dataclass(frozen=True, kw_only=True)
class ActionUnitsBranchConfig(NetworkBranchConfig):
    """An encoder of facial action units."""

    input: Literal["action_units"]

    @property
    def modality(self) -> Modality:
        """See `BranchConfig.modality`."""
        return "action_units"


@dataclass(frozen=True, kw_only=True)
class EstimatorConfig:
    """A scikit-learn estimator, and the search for its parameters."""

    estimator: Target
    """The class and its arguments."""
    grid: dict[str, Annotated[list[Any], Len(1)]]
    """Parameters to search on dev."""
    scaling: Literal["standard", "quantiles"] = "standard"
    """Scaling of vectors."""


@dataclass(frozen=True, kw_only=True)
class EstimatorBranchConfig(EstimatorConfig, BranchConfig):
    """An estimator on a vector, whose log-probabilities are the embedding."""

    input: Literal["vector"]
    vector: NetworkBranchConfig

    @property
    def modality(self) -> Modality:
        """See `BranchConfig.modality`."""
        return self.vector.modality

    @property
    def own_features(self) -> dict[str, FeaturesConfig]:
        """See `BranchConfig.own_features`."""
        return {f"vector.{key}": features for key, features in self.vector.own_features.items()}


NETWORK_INPUTS: dict[str, type[NetworkBranchConfig]] = {
    "features": FeaturesBranchConfig,
    "images": ImagesBranchConfig,
    "hog3d": Hog3dBranchConfig,
    "action_units": ActionUnitsBranchConfig,
}
"""The configuration of a branch with a network for each input."""
BRANCH_INPUTS: dict[str, type[BranchConfig]] = {**NETWORK_INPUTS, "vector": EstimatorBranchConfig}
"""The configuration of a branch for each input."""
