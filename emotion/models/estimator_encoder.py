"""An estimator of scikit-learn as a branch of a neural fusion."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from emotion.batch import Batch
from emotion.errors import EmotionError
from emotion.models.base import BackboneEncoder, Classifier, Encoder
from emotion.models.estimator import EstimatorHead
from emotion.models.late_fusion import Fusion


class EstimatorEncoder(Encoder):
    """An encoder whose embeddings are the log-probabilities of an estimator on the vectors of another encoder.

    In training, recordings of the train split get cross-fitted log-probabilities, of estimators that were fitted
    without them (Wolpert, 1992, https://doi.org/10.1016/S0893-6080(05)80023-1). An estimator is overconfident on the
    recordings on which it was fitted, so a fusion trained on such log-probabilities would weight it too much.

    Args:
        vector: Frozen encoder that makes the vectors.
        estimator: The estimator.
    """

    def __init__(self, vector: BackboneEncoder, estimator: EstimatorHead) -> None:
        super().__init__()
        self.vector, self.estimator, self.is_frozen = vector, estimator, True
        self.frame_dim = self.embed_dim = estimator.num_classes
        self._rows: dict[str, int] = {}
        # Used in training only, so not part of the state.
        self.register_buffer("cross_fitted", torch.zeros(0, self.embed_dim), persistent=False)

    def load_pretrained(self) -> None:
        """See `Encoder.load_pretrained`."""
        self.vector.load_pretrained()

    def fit(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """See `Encoder.fit`: the normalisation of the vectors; the estimator is fitted by `fit_branches`."""
        self.vector.fit(batches)

    def set_cross_fitted(self, recordings: Sequence[str], log_probabilities: Tensor) -> None:
        """Set the log-probabilities that recordings of the train split get in training.

        Args:
            recordings: Keys of the N recordings.
            log_probabilities: Shape (N, num_classes), float32.
        """
        self._rows = {recording: row for row, recording in enumerate(recordings)}
        self.cross_fitted = log_probabilities.to(self.cross_fitted)

    def present(self, batch: Batch) -> Tensor:
        """See `Encoder.present`."""
        return self.vector.present(batch)

    def encode_frames(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `Encoder.encode_frames`; an item has a single frame."""
        embedded = self(batch)
        return embedded[..., None], torch.ones(len(embedded), dtype=torch.int64, device=embedded.device)

    def forward(self, batch: Batch) -> Tensor:
        """Return log-probabilities, shape (B, num_classes)."""
        if self.training and self._rows:
            return self._cross_fitted_of(batch)
        with torch.no_grad():
            return self.estimator(self.vector(batch)).log_softmax(dim=1)

    def _cross_fitted_of(self, batch: Batch) -> Tensor:
        unknown = [recording for recording in batch["recording"] if recording not in self._rows]
        if unknown:
            raise EmotionError(f"{unknown[0]} has no cross-fitted log-probabilities: the train split was changed")
        logs = self.cross_fitted[[self._rows[recording] for recording in batch["recording"]]].log_softmax(dim=1)
        if "mix_partner" not in batch or "mix_weight" not in batch:
            return logs
        weight = batch["mix_weight"][:, None]
        return weight * logs + (1 - weight) * logs[batch["mix_partner"]]


def estimator_encoders(classifier: Classifier) -> dict[str, EstimatorEncoder]:
    """Return the branches of a classifier that are estimators, by name."""
    branches = dict(classifier.encoder.encoders.items()) if isinstance(classifier.encoder, Fusion) else {}
    return {name: encoder for name, encoder in branches.items() if isinstance(encoder, EstimatorEncoder)}
