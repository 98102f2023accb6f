"""Training on rated values, such as valence: the losses and the LightningModule."""

from typing import cast

from torch import Tensor

from emotion.batch import Batch
from emotion.metrics.regression import regression_metrics
from emotion.models.heads import RatingHead
from emotion.training.module import EmotionModule

_TINY = 1e-8  # added to the denominator of the CCC, which is 0 where all values are equal


def ccc_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Compute 1 - CCC over a batch, the mean over targets; see `emotion.metrics.regression.concordance_correlation`.

    Args:
        predicted: Predicted values, shape (B, T).
        target: Rated values, shape (B, T), NaN where unknown; targets with fewer than two ratings do not count.

    Returns:
        The loss, in [0, 2]; 0, without a gradient, if no target counts.
    """
    is_rated = ~target.isnan()
    count = is_rated.sum(dim=0).clamp(min=1)
    truth, values = target.nan_to_num() * is_rated, predicted * is_rated
    truth_mean, mean = truth.sum(dim=0) / count, values.sum(dim=0) / count
    truth_part, part = (truth - truth_mean) * is_rated, (values - mean) * is_rated
    covariance = (truth_part * part).sum(dim=0) / count
    variances = (truth_part.square().sum(dim=0) + part.square().sum(dim=0)) / count
    ccc = 2 * covariance / (variances + (truth_mean - mean).square() + _TINY)
    counts = is_rated.sum(dim=0) > 1
    return ((1 - ccc) * counts).sum() / counts.sum().clamp(min=1)


def squared_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Compute the mean squared error over the known ratings; arguments as of `ccc_loss`."""
    is_rated = ~target.isnan()
    return (predicted - target.nan_to_num()).square().mul(is_rated).sum() / is_rated.sum().clamp(min=1)


_LOSSES = {"ccc": ccc_loss, "mse": squared_loss}


class RegressionModule(EmotionModule):
    """A LightningModule that trains a `Regressor` on rated values; the loss is of standardised values.

    Ratings of a mixture, see `Mixup`, are the weighted mean of those of both items, where both are known.

    Args:
        loss: `ccc` or `mse`.
        **options: See `EmotionModule`; `outputs` are the names of the ratings.
    """

    main = "ccc"
    details = "dev_by_rating"
    of_train = ("loss", "ccc", "mse")

    def __init__(self, *arguments: object, loss: str = "ccc", **options: object) -> None:
        super().__init__(*arguments, **options)  # pyright: ignore[reportArgumentType] (passed on as they are)
        self.loss = _LOSSES[loss]

    def compute_loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """See `EmotionModule.compute_loss`."""
        target = self.truth_of(batch)
        if "mix_partner" in batch and "mix_weight" in batch:
            weight = batch["mix_weight"][:, None]
            target = weight * target + (1 - weight) * target[batch["mix_partner"]]
        return self._standardised_loss(outputs, target)

    def truth_of(self, batch: Batch) -> Tensor:
        """Return the rated values of a batch, shape (B, T)."""
        if "target" not in batch:
            raise KeyError("target")
        return batch["target"]

    def compute_metrics(self, truth: Tensor, outputs: Tensor) -> dict[str, float]:
        """See `EmotionModule.compute_metrics`."""
        loss = float(self._standardised_loss(outputs, truth.to(outputs.device)))
        return {"loss": loss} | regression_metrics(truth.numpy(), outputs.numpy(), self.outputs)

    def _standardised_loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        head = cast(RatingHead, self.classifier.head)
        mean, std = head.mean.to(outputs.device), head.std.to(outputs.device)
        return self.loss((outputs - mean) / std, (target - mean) / std)
