"""The loss of classifiers."""

import torch
from torch import Tensor
from torch.nn import functional

from emotion.batch import Batch


def batch_loss(logits: Tensor, batch: Batch, weights: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """Compute the mean cross-entropy of a batch.

    The loss of a mixture, see `Mixup`, is the weighted mean of the losses with the labels of both items. Each is over
    the classes that its own corpus knows: classes that a corpus lacks do not count against its recordings.

    Args:
        logits: Shape (B, C).
        batch: The batch.
        weights: Weights of the classes, shape (C,) (default: equal).
        label_smoothing: Label smoothing, in [0, 1) (default: 0).

    Returns:
        The mean; with class indices and weights but without mixtures, it is weighted by the weights of the targets.
    """
    target, mask = batch.get("target", batch["label"]), batch.get("label_mask")
    losses = cross_entropy(logits, target, mask, weights, label_smoothing)
    if "mix_partner" in batch and "mix_weight" in batch:
        partner, weight = batch["mix_partner"], batch["mix_weight"]
        other = None if mask is None else mask[partner]
        losses = weight * losses + (1 - weight) * cross_entropy(
            logits, target[partner], other, weights, label_smoothing
        )
    elif weights is not None and target.dtype == torch.int64:
        return losses.sum() / weights[target].sum()
    return losses.mean()


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute the cross-entropy of each item over the classes that count for it.

    Without a mask it is `torch.nn.functional.cross_entropy`. With a mask, the softmax and the smoothing of an item are
    over its own classes; the outputs of other classes have no gradient.

    Args:
        logits: Shape (B, C).
        target: Class indices, shape (B,), int64, or the share of each class, shape (B, C).
        mask: Classes that count, shape (B, C), bool (default: all). The classes of `target` are among them.
        weights: Weights of the classes, shape (C,) (default: equal).
        label_smoothing: Label smoothing, in [0, 1) (default: 0).

    Returns:
        The losses, shape (B,).
    """
    if mask is None:
        return functional.cross_entropy(logits, target, weights, reduction="none", label_smoothing=label_smoothing)
    is_index = target.dtype == torch.int64
    shares = functional.one_hot(target, logits.shape[1]).to(logits.dtype) if is_index else target
    smooth = mask / mask.sum(dim=1, keepdim=True)
    shares = (1 - label_smoothing) * shares + label_smoothing * smooth
    log_probability = logits.masked_fill(~mask, -torch.inf).log_softmax(dim=1).masked_fill(~mask, 0.0)
    return -(shares * log_probability if weights is None else weights * shares * log_probability).sum(dim=1)
