"""An estimator of scikit-learn as the head of a classifier."""

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
"""What may be in a file besides what skops itself takes to be safe; none of it runs code of the file."""
_TINY = 1e-6  # probability, so that its logarithm is finite


class EstimatorHead(nn.Module):
    """Scales vectors and classifies them; it is fitted, not trained.

    Every value is brought to a variance of 1; where vectors are several, one after the other, each of them to the same
    total, or a long one would drown a short one. Before that, by `quantiles`, it may be given the place on a normal
    distribution that it has among those of training, which takes their weight from values that lie far out.

    Args:
        estimator: Class of the estimator, and its parameters.
        num_classes: Of the label scheme; not all of them need to occur in training.
        seed: For what an estimator draws at random.
        scaling: `standard` or `quantiles`.
        sizes: Of each of the vectors that come one after the other; by default they are one.
        n_augmented_copies: Number of equal parts of each vector, such as augmented copies of a recording. Each part is
            an example of its own; a vector of one part is repeated for each. The log-probabilities of the examples of a
            recording are averaged.
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
        """Fit anew.

        Args:
            vectors: Shape (N, D).
            labels: Shape (N,), class indices.
            weights: Of each recording, shape (N,).
            **parameters: Of the estimator, instead of those that it has.

        Raises:
            EmotionError: it does not take these.
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
        """Logarithms of probabilities, shape (B, num_classes), of vectors of shape (B, D)."""
        given, last = self._examples(vectors.detach().cpu().double().numpy()), self.pipeline[-1]
        if not self.is_fitted:
            raise EmotionError("this estimator was not fitted")
        logs = torch.full((len(given), self.num_classes), float(np.log(_TINY)), dtype=torch.float64)
        if hasattr(last, "predict_proba"):
            known = np.log(np.maximum(self.pipeline.predict_proba(given), _TINY))
        else:  # a machine that knows only on which side of its borders a vector lies, and how far
            scores = self.pipeline.decision_function(given)
            known = np.stack([-scores / 2, scores / 2], axis=1) if scores.ndim == 1 else scores
        logs[:, torch.from_numpy(last.classes_.astype(np.int64))] = torch.from_numpy(known).double()
        return logs.unflatten(0, (len(vectors), self.examples)).mean(dim=1).float().to(vectors.device)

    def _examples(self, vectors: np.ndarray) -> np.ndarray:
        """Shape (N, D) to (N × examples, D'), those of a recording one after the other."""
        if self.examples == 1:
            return vectors
        each = np.split(vectors, np.cumsum(self.sizes)[:-1], axis=1)
        split = [one.reshape(len(one), own, -1) for one, own in zip(each, self.n_augmented_copies, strict=True)]
        beside = [np.broadcast_to(one, (len(one), self.examples, one.shape[2])) for one in split]
        return np.concatenate(beside, axis=2).reshape(len(vectors) * self.examples, -1)

    @property
    def size(self) -> int:
        """How many numbers it has learnt; of trees the number of nodes."""
        return _numbers(self.pipeline[-1])

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
        """Read what `save` wrote; nothing in it is executed.

        Raises:
            EmotionError: it is missing, damaged, or holds what no estimator needs.
        """
        import skops.io
        from sklearn.pipeline import Pipeline

        if not path.is_file():
            raise EmotionError(f"{path} does not exist: was the run finished?")
        try:
            strange = sorted(set(skops.io.get_untrusted_types(file=path)) - set(_TRUSTED))
            if strange:
                raise EmotionError(
                    f"{path} is refused: it holds {strange[0]}, which no estimator of this package needs"
                )
            pipeline = skops.io.load(path, trusted=list(_TRUSTED))
        except EmotionError:
            raise
        except Exception as error:  # a damaged file fails in many ways, all of which mean the same
            raise EmotionError(f"{path} is no estimator that can be read: {error_message(error)}") from error
        if not isinstance(pipeline, Pipeline) or type(pipeline[-1]) is not type(self.pipeline[-1]):
            raise EmotionError(f"{path} holds another estimator than config.yaml")
        self.pipeline = pipeline


def _numbers(fitted: Any) -> int:
    if hasattr(fitted, "node_count"):
        return int(fitted.node_count)
    if isinstance(fitted, np.ndarray):
        return sum(map(_numbers, fitted)) if fitted.dtype == object else fitted.size * (fitted.dtype.kind == "f")
    if isinstance(fitted, list):
        return sum(map(_numbers, fitted))
    if hasattr(fitted, "get_booster"):
        return len(fitted.get_booster().trees_to_dataframe())
    if hasattr(fitted, "get_params"):
        own = {name: value for name, value in vars(fitted).items() if name.endswith("_") and not name.startswith("_")}
        return sum(map(_numbers, own.values()))
    return 0
