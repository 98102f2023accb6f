"""The loss of classifiers."""

import torch
from torch import Tensor
from torch.nn import functional


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute the mean cross-entropy of a batch over the classes that count for each item.

    Without a mask it is `torch.nn.functional.cross_entropy`. With a mask, the softmax and the smoothing of an item are
    over its own classes; the outputs of other classes have no gradient.

    Args:
        logits: Shape (B, C).
        target: Class indices, shape (B,), int64, or the share of each class, shape (B, C).
        mask: Classes that count, shape (B, C), bool (default: all). The classes of `target` are among them.
        weights: Weights of the classes, shape (C,) (default: equal).
        label_smoothing: Label smoothing, in [0, 1) (default: 0).

    Returns:
        The mean; with class indices and weights, it is weighted by the weights of the targets.
    """
    if mask is None:
        return functional.cross_entropy(logits, target, weights, label_smoothing=label_smoothing)
    is_index = target.dtype == torch.int64
    shares = functional.one_hot(target, logits.shape[1]).to(logits.dtype) if is_index else target
    smooth = mask / mask.sum(dim=1, keepdim=True)
    shares = (1 - label_smoothing) * shares + label_smoothing * smooth
    log_probability = logits.masked_fill(~mask, -torch.inf).log_softmax(dim=1).masked_fill(~mask, 0.0)
    if weights is None:
        return -(shares * log_probability).sum(dim=1).mean()
    losses = -(weights * shares * log_probability).sum(dim=1)
    return losses.sum() / weights[target].sum() if is_index else losses.mean()
