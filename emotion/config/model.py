"""The configuration of each kind of model: see `ModelConfig`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from emotion.config.branch import BranchConfig, EstimatorConfig, HeadConfig, Modality, NetworkBranchConfig
from emotion.config.features import FeaturesConfig
from emotion.config.target import Target

INLINE = {"inline": True}
"""Metadata of a field with a nested group whose keys are on the level of the outer group."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig(ABC):
    """The configuration that all kinds of models share."""

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
    def own_features(self) -> dict[str, FeaturesConfig]:
        """The branches' own acoustic features, by their keys below `model`."""
        return {
            f"{name}.{key}".lstrip("."): features
            for name, encoder in self.encoders.items()
            for key, features in encoder.own_features.items()
        }

    @property
    def train_label(self) -> str | None:
        """The label to which the train split is restricted, or None."""
        return None

    @property
    def has_other_tasks(self) -> bool:
        """True if it can be trained on votes and on ratings too."""
        return False


@dataclass(frozen=True, kw_only=True)
class SingleEncoderConfig(ModelConfig):
    """A model of a single encoder; the keys of the branch are on the level of the model."""

    branch: NetworkBranchConfig = field(metadata=INLINE)

    @property
    def encoders(self) -> dict[str, BranchConfig]:
        """See `ModelConfig.encoders`."""
        return {"": self.branch}


@dataclass(frozen=True, kw_only=True)
class BranchedConfig(ModelConfig):
    """A model of several encoders."""

    branches: Mapping[str, BranchConfig]
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
    encoder: str | None = None
    """Name or folder of a pretrained speech encoder, to which the features refer."""

    @property
    def has_other_tasks(self) -> bool:
        """See `ModelConfig.has_other_tasks`."""
        return True


@dataclass(frozen=True, kw_only=True)
class AutoencoderModelConfig(SingleEncoderConfig):
    """An autoencoder of one emotion; a large reconstruction error means another emotion."""

    kind: Literal["autoencoder"]
    train_emotion: str
    """The label of the recordings on which it is trained."""

    @property
    def train_label(self) -> str:
        """See `ModelConfig.train_label`."""
        return self.train_emotion


@dataclass(frozen=True, kw_only=True)
class FusionModelConfig(BranchedConfig):
    """Several encoders, joined by a fusion, with a head; trained by gradient."""

    kind: Literal["fusion"]
    head: HeadConfig

    @property
    def has_other_tasks(self) -> bool:
        """See `ModelConfig.has_other_tasks`."""
        return True


@dataclass(frozen=True, kw_only=True)
class EstimatorModelConfig(EstimatorConfig, ModelConfig):
    """An estimator on one vector for each recording."""

    kind: Literal["estimator"]
    vector: NetworkBranchConfig
    """Encoder of the vector."""

    @property
    def encoders(self) -> dict[str, BranchConfig]:
        """See `ModelConfig.encoders`."""
        return {"vector": self.vector}


@dataclass(frozen=True, kw_only=True)
class EstimatorFusionModelConfig(EstimatorConfig, BranchedConfig):
    """An estimator on several vectors for each recording."""

    kind: Literal["estimator_fusion"]
    branches: Mapping[str, NetworkBranchConfig]


MODEL_KINDS: dict[str, type[ModelConfig]] = {
    "neural": NeuralModelConfig,
    "fusion": FusionModelConfig,
    "estimator": EstimatorModelConfig,
    "estimator_fusion": EstimatorFusionModelConfig,
    "autoencoder": AutoencoderModelConfig,
}
"""The configuration of each kind of model."""
