"""The kinds of models: how each is built, fitted, saved and loaded."""

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from torch import Tensor

from emotion.config.model import (
    AutoencoderModelConfig,
    EstimatorFusionModelConfig,
    EstimatorModelConfig,
    FusionModelConfig,
    ModelConfig,
    NeuralModelConfig,
)
from emotion.errors import EmotionError
from emotion.models import build
from emotion.models.base import Classifier
from emotion.models.build import InputConfig
from emotion.models.estimator import FILE, EstimatorHead
from emotion.models.estimator_encoder import estimator_encoders

if TYPE_CHECKING:  # Lightning takes long to import, and only fits need it
    from emotion.data.datamodule import EmotionDataModule
    from emotion.training.fit import FitSettings, Fitted

Config = TypeVar("Config", bound=ModelConfig)


class ModelKind(ABC, Generic[Config]):
    """Base class of the kinds of models.

    Args:
        model: Configuration of the model.
        inputs: Configuration of the inputs of its encoders.
    """

    def __init__(self, model: Config, inputs: InputConfig) -> None:
        self.model, self.inputs = model, inputs

    @abstractmethod
    def build(self) -> Classifier:
        """Build the classifier, untrained."""

    @abstractmethod
    def fit(self, settings: "FitSettings", classifier: Classifier, datamodule: "EmotionDataModule") -> "Fitted":
        """Fit the classifier on train, select it on dev, and write `checkpoints/` of the run directory."""

    def load(self, classifier: Classifier, weights: dict[str, Tensor], checkpoints: Path) -> Classifier:
        """Load the weights of a classifier.

        Args:
            classifier: As `build` returns it.
            weights: State of the classifier in a checkpoint.
            checkpoints: Directory of the checkpoint.

        Raises:
            RuntimeError: the weights do not fit.
        """
        classifier.load_state_dict(weights)
        return classifier.eval()

    def num_parameters(self, classifier: Classifier) -> int:
        """Return the number of fitted parameters."""
        return sum(parameter.numel() for parameter in classifier.parameters())

    def objective(self, monitor: str) -> str:
        """Return the key in `metrics.json` of the dev metric by which the model is selected."""
        return monitor

    @property
    def is_neural(self) -> bool:
        """True if the model is trained in epochs."""
        return True


class NeuralKind(ModelKind[NeuralModelConfig]):
    """An encoder with a head, trained by gradient."""

    def build(self) -> Classifier:
        """See `ModelKind.build`."""
        return build.build_neural(self.model, self.inputs)

    def fit(self, settings: "FitSettings", classifier: Classifier, datamodule: "EmotionDataModule") -> "Fitted":
        """See `ModelKind.fit`."""
        from emotion.training.fit import fit

        return fit(settings, classifier, datamodule)


class FusionKind(NeuralKind):
    """Several encoders with a head, trained by gradient."""

    model: FusionModelConfig

    def build(self) -> Classifier:
        """See `ModelKind.build`."""
        return build.build_fusion(self.model, self.inputs)

    def fit(self, settings: "FitSettings", classifier: Classifier, datamodule: "EmotionDataModule") -> "Fitted":
        """See `ModelKind.fit`; branches that are estimators are fitted first."""
        from emotion.training.branches import fit_branches, refit_branches

        fit_branches(self.model, settings, classifier, datamodule)
        fitted = super().fit(settings, classifier, datamodule)
        if fitted.refit is None or not estimator_encoders(classifier):
            return fitted
        return replace(fitted, refit=partial(refit_branches, settings, classifier, datamodule, fitted.refit))

    def load(self, classifier: Classifier, weights: dict[str, Tensor], checkpoints: Path) -> Classifier:
        """See `ModelKind.load`; each branch that is an estimator has a file of its own."""
        super().load(classifier, weights, checkpoints)
        for name, encoder in estimator_encoders(classifier).items():
            encoder.estimator.load(checkpoints / f"{name}.skops")
        return classifier

    def num_parameters(self, classifier: Classifier) -> int:
        """See `ModelKind.num_parameters`."""
        sizes = [encoder.estimator.size for encoder in estimator_encoders(classifier).values()]
        return super().num_parameters(classifier) + sum(sizes)


class AutoencoderKind(ModelKind[AutoencoderModelConfig]):
    """An autoencoder of one emotion."""

    def build(self) -> Classifier:
        """See `ModelKind.build`."""
        return build.build_autoencoder(self.model, self.inputs)

    def fit(self, settings: "FitSettings", classifier: Classifier, datamodule: "EmotionDataModule") -> "Fitted":
        """See `ModelKind.fit`."""
        from emotion.training.reconstruction import fit_autoencoder

        if settings.training.refit:
            raise EmotionError("training.refit=true: an autoencoder is not fitted again; leave it out")
        return fit_autoencoder(self.model.train_emotion, settings, classifier, datamodule)

    def objective(self, monitor: str) -> str:
        """See `ModelKind.objective`: the reconstruction error of its emotion."""
        return f"dev/error/{self.model.train_emotion}"


class EstimatorKind(ModelKind[EstimatorModelConfig]):
    """A scikit-learn estimator on a vector for each recording."""

    def build(self) -> Classifier:
        """See `ModelKind.build`."""
        return build.build_estimator(self.model, self.inputs)

    def fit(self, settings: "FitSettings", classifier: Classifier, datamodule: "EmotionDataModule") -> "Fitted":
        """See `ModelKind.fit`."""
        from emotion.training.estimator import fit_estimator

        return fit_estimator(self.model, settings, classifier, datamodule)

    def load(self, classifier: Classifier, weights: dict[str, Tensor], checkpoints: Path) -> Classifier:
        """See `ModelKind.load`; the estimator has a file of its own."""
        super().load(classifier, weights, checkpoints)
        _estimator(classifier).load(checkpoints / FILE)
        return classifier

    def num_parameters(self, classifier: Classifier) -> int:
        """See `ModelKind.num_parameters`; of trees, the number of nodes."""
        return super().num_parameters(classifier) + _estimator(classifier).size

    @property
    def is_neural(self) -> bool:
        """See `ModelKind.is_neural`."""
        return False


def _estimator(classifier: Classifier) -> EstimatorHead:
    return cast(EstimatorHead, classifier.head)


class EstimatorFusionKind(EstimatorKind):
    """A scikit-learn estimator on several vectors for each recording."""

    model: EstimatorFusionModelConfig

    def build(self) -> Classifier:
        """See `ModelKind.build`."""
        return build.build_estimator_fusion(self.model, self.inputs)


KINDS: dict[type[ModelConfig], type[ModelKind]] = {
    NeuralModelConfig: NeuralKind,
    FusionModelConfig: FusionKind,
    AutoencoderModelConfig: AutoencoderKind,
    EstimatorModelConfig: EstimatorKind,
    EstimatorFusionModelConfig: EstimatorFusionKind,
}
"""The kind that each configuration describes."""
