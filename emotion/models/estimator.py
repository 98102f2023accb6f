"""A scikit-learn estimator as the head of a classifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from emotion.config.target import Target, instantiate
from emotion.errors import EmotionError, error_message
from emotion.files import atomic_path

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

FILE = "best.skops"
"""File of the estimator that is a model; that of a branch is named after it."""
SCALINGS = ("standard", "quantiles")
_TRUSTED = (
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
)
"""Types that a file may hold besides those that skops trusts; none of them executes code of the file."""
_TINY = 1e-6  # minimum probability, so that its logarithm is finite


class EstimatorHead(nn.Module):
    """Scale vectors and classify them by an estimator, which is fitted at once, not by gradient.

    Each value is scaled to unit variance. If vectors of several branches are concatenated, each vector is scaled to the
    same total variance, so that long ones do not dominate. `quantiles` maps each value to a normal distribution before,
    which reduces the influence of outliers.

    Args:
        estimator: Class of the estimator, and its parameters.
        num_classes: Number of classes; not all of them have to occur in training.
        seed: Seed of the estimator.
        scaling: `standard` (default) or `quantiles`.
        sizes: Sizes of the concatenated vectors (default: one vector).
        n_augmented_copies: Number of equal parts of each vector, such as augmented copies of a recording. Each part is
            an example of its own; a vector of one part is repeated for each. The log-probabilities of the examples of a
            recording are averaged.

    Raises:
        EmotionError: the scaling is unknown, or vectors cannot be divided into copies.
    """

    pipeline: "Pipeline"

    def __init__(
        self,
        estimator: Target,
        num_classes: int,
        seed: int,
        scaling: str = "standard",
        sizes: Sequence[int] = (1,),
        n_augmented_copies: Sequence[int] = (1,),
    ) -> None:
        super().__init__()
        from sklearn.base import BaseEstimator, ClassifierMixin
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import QuantileTransformer, StandardScaler

        if scaling not in SCALINGS:
            raise EmotionError(f"model.scaling={scaling} is none of {', '.join(SCALINGS)}")
        built = cast(BaseEstimator, instantiate(estimator, ClassifierMixin))
        if "random_state" in built.get_params():
            built.set_params(random_state=seed)
        first = [QuantileTransformer(n_quantiles=100, output_distribution="normal")] * (scaling == "quantiles")
        self.num_classes, self.pipeline = num_classes, make_pipeline(*first, StandardScaler(), built)
        copies = tuple(n_augmented_copies)
        self.sizes, self.n_augmented_copies, self.examples = tuple(sizes), copies, max(copies)
        if any(own not in (1, self.examples) or size % own for size, own in zip(sizes, copies, strict=True)):
            raise EmotionError(
                f"n_augmented_copies={list(copies)}: vectors of {list(sizes)} values cannot be divided so"
            )
        shares = [size // own for size, own in zip(sizes, copies, strict=True)]
        of_each = [np.full(share, np.sqrt(len(shares) * share / sum(shares))) for share in shares]
        self.divisor = np.concatenate(of_each) if len(sizes) > 1 else 1.0

    def fit(self, vectors: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, **parameters: Any) -> None:
        """Fit scaling and estimator.

        Args:
            vectors: Vectors, shape (N, D), float64.
            labels: Class indices, shape (N,), int64.
            weights: Weight of each recording, shape (N,), or None.
            **parameters: Parameters of the estimator that are changed.

        Raises:
            EmotionError: the estimator does not accept the parameters.
        """
        from sklearn.base import clone

        vectors, labels = self._examples(vectors), labels.repeat(self.examples)
        weights = None if weights is None else weights.repeat(self.examples)
        self.pipeline = cast("Pipeline", clone(self.pipeline))
        *first, scaler, estimator = [step for _, step in self.pipeline.steps]
        for step in first:
            vectors = step.fit_transform(vectors)
        scaler.fit(vectors).scale_ *= self.divisor
        try:
            estimator.set_params(**parameters)
            estimator.fit(scaler.transform(vectors), labels, **({} if weights is None else {"sample_weight": weights}))
        except (TypeError, ValueError) as error:
            raise EmotionError(f"{type(estimator).__name__}: {error_message(error)}") from error

    def forward(self, vectors: Tensor) -> Tensor:
        """Return log-probabilities, shape (B, num_classes), of vectors of shape (B, D)."""
        examples, last = self._examples(vectors.detach().cpu().double().numpy()), self.pipeline[-1]
        if not self.is_fitted:
            raise EmotionError("the estimator is not fitted")
        logs = torch.full((len(examples), self.num_classes), float(np.log(_TINY)), dtype=torch.float64)
        if hasattr(last, "predict_proba"):
            own = np.log(np.maximum(self.pipeline.predict_proba(examples), _TINY))
        else:  # a support-vector machine without probabilities has distances to its decision boundaries
            scores = self.pipeline.decision_function(examples)
            own = np.stack([-scores / 2, scores / 2], axis=1) if scores.ndim == 1 else scores
        logs[:, torch.from_numpy(last.classes_.astype(np.int64))] = torch.from_numpy(own).double()
        return logs.unflatten(0, (len(vectors), self.examples)).mean(dim=1).float().to(vectors.device)

    def _examples(self, vectors: np.ndarray) -> np.ndarray:
        """Return the examples of vectors of shape (N, D), shape (N * examples, D'), sorted by recording."""
        if self.examples == 1:
            return vectors
        parts = np.split(vectors, np.cumsum(self.sizes)[:-1], axis=1)
        copies = [part.reshape(len(part), own, -1) for part, own in zip(parts, self.n_augmented_copies, strict=True)]
        repeated = [np.broadcast_to(own, (len(own), self.examples, own.shape[2])) for own in copies]
        return np.concatenate(repeated, axis=2).reshape(len(vectors) * self.examples, -1)

    @property
    def size(self) -> int:
        """The number of fitted parameters; of trees, the number of nodes."""
        return _count_parameters(self.pipeline[-1])

    @property
    def is_fitted(self) -> bool:
        """True after `fit` or `load`."""
        return hasattr(self.pipeline[-1], "classes_")

    def save(self, path: Path) -> None:
        """Write the fitted pipeline to a file."""
        import skops.io

        with atomic_path(path) as temporary:
            temporary.write_bytes(skops.io.dumps(self.pipeline))

    def load(self, path: Path) -> None:
        """Load a file of `save`; nothing in it is executed.

        Raises:
            EmotionError: the file is missing or damaged, or holds untrusted types.
        """
        import skops.io
        from sklearn.pipeline import Pipeline

        if not path.is_file():
            raise EmotionError(f"{path} does not exist: was the run finished?")
        try:
            untrusted = sorted(set(skops.io.get_untrusted_types(file=path)) - set(_TRUSTED))
            if untrusted:
                raise EmotionError(
                    f"{path} is refused: it holds {untrusted[0]}, which no estimator of this package needs"
                )
            pipeline = skops.io.load(path, trusted=list(_TRUSTED))
        except EmotionError:
            raise
        except Exception as error:  # a damaged file raises many types of exceptions
            raise EmotionError(f"{path} is not an estimator that can be read: {error_message(error)}") from error
        if not isinstance(pipeline, Pipeline) or type(pipeline[-1]) is not type(self.pipeline[-1]):
            raise EmotionError(f"{path} holds another estimator than config.yaml")
        self.pipeline = pipeline


def _count_parameters(fitted: Any) -> int:
    if hasattr(fitted, "node_count"):
        return int(fitted.node_count)
    if isinstance(fitted, np.ndarray):
        if fitted.dtype == object:
            return sum(map(_count_parameters, fitted))
        return fitted.size * (fitted.dtype.kind == "f")
    if isinstance(fitted, list):
        return sum(map(_count_parameters, fitted))
    if hasattr(fitted, "get_booster"):
        return len(fitted.get_booster().trees_to_dataframe())
    if hasattr(fitted, "get_params"):
        own = {name: value for name, value in vars(fitted).items() if name.endswith("_") and not name.startswith("_")}
        return sum(map(_count_parameters, own.values()))
    return 0
