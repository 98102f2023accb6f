"""The kinds of models, and the branches of which they are made."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Interval, Len

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
    """Dropout after each hidden layer."""


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
class BranchConfig:
    """One encoder: what it takes in, its network, and how that learns."""

    modality: Modality
    """Input of the encoder."""
    backbone: Target
    """The network and its arguments."""
    pictures: ImagesConfig | None = None
    """Images of a face network; null for others."""
    hog3d: Hog3dConfig | None = None
    """Histograms that replace images; null for none."""
    pooling: Pooling = "mean"
    """Pooling of a face network over frames."""
    head: HeadConfig | None = None
    """Head of this branch alone; null for that of the model."""
    n_augmented_copies: Count = 1
    """Number of equal parts of a vector, each of which is an example of an estimator."""
    init_from: str | None = None
    """Directory of a finished run whose encoder is the initial one."""
    freeze: bool | Count = False
    """Freeze the encoder; a number: for so many epochs at the start."""
    lr_multiplier: Positive = 1.0
    """Multiplier of the learning rate."""


@dataclass(frozen=True, kw_only=True)
class EstimatorConfig:
    """An estimator of scikit-learn, and the search for its parameters."""

    estimator: Target
    """The class and its arguments."""
    grid: dict[str, list[Any]]
    """Parameters that are searched on dev."""
    scaling: Literal["standard", "quantiles"] = "standard"
    """Scaling of vectors."""
    refit: bool = False
    """Fit once more on train and dev after the search."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig(ABC):
    """What all kinds of models have."""

    name: str
    """Name of the model in results."""
    kind: str
    """Kind of the model: how it is built, fitted and saved."""

    @property
    @abstractmethod
    def encoders(self) -> dict[str, BranchConfig]:
        """The encoders, by the key of each below `model`; the key is empty where the model has a single one."""

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The inputs of all encoders, each once."""
        return tuple(dict.fromkeys(encoder.modality for encoder in self.encoders.values()))

    @property
    def train_label(self) -> str | None:
        """The label to which the train split is restricted, or None."""
        return None


@dataclass(frozen=True, kw_only=True)
class SingleEncoderConfig(BranchConfig, ModelConfig):
    """A model of a single encoder."""

    @property
    def encoders(self) -> dict[str, BranchConfig]:
        """See `ModelConfig.encoders`."""
        return {"": self}


@dataclass(frozen=True, kw_only=True)
class BranchedConfig(ModelConfig):
    """A model of several encoders."""

    branches: dict[str, BranchConfig]
    """The encoders by name."""
    fusion: Target
    """Class that joins the embeddings, and its arguments."""

    @property
    def encoders(self) -> dict[str, BranchConfig]:
        """See `ModelConfig.encoders`."""
        return {f"branches.{name}": branch for name, branch in self.branches.items()}


@dataclass(frozen=True, kw_only=True)
class NeuralModelConfig(SingleEncoderConfig):
    """A single encoder with a head, trained by gradient."""

    kind: Literal["neural"]
    head: HeadConfig


@dataclass(frozen=True, kw_only=True)
class AutoencoderModelConfig(SingleEncoderConfig):
    """An autoencoder of one emotion, whose reconstruction error tells that emotion from others."""

    kind: Literal["autoencoder"]
    train_emotion: str
    """The label on whose recordings it is trained."""

    @property
    def train_label(self) -> str:
        """See `ModelConfig.train_label`."""
        return self.train_emotion


@dataclass(frozen=True, kw_only=True)
class FusionModelConfig(BranchedConfig):
    """Several encoders, joined by a fusion, with a head; trained by gradient."""

    kind: Literal["fusion"]
    head: HeadConfig


@dataclass(frozen=True, kw_only=True)
class EstimatorModelConfig(EstimatorConfig, ModelConfig):
    """An estimator on one vector for each recording."""

    kind: Literal["estimator"]
    vector: BranchConfig
    """Encoder that makes the vector."""

    @property
    def encoders(self) -> dict[str, BranchConfig]:
        """See `ModelConfig.encoders`."""
        return {"vector": self.vector}


@dataclass(frozen=True, kw_only=True)
class EstimatorFusionModelConfig(EstimatorConfig, BranchedConfig):
    """An estimator on several vectors for each recording."""

    kind: Literal["estimator_fusion"]


MODEL_KINDS: dict[str, type[ModelConfig]] = {
    "neural": NeuralModelConfig,
    "fusion": FusionModelConfig,
    "estimator": EstimatorModelConfig,
    "estimator_fusion": EstimatorFusionModelConfig,
    "autoencoder": AutoencoderModelConfig,
}
"""The configuration of each kind of model."""
