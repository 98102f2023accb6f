"""Mixup: mixtures of the items of a batch."""

from typing import cast

import torch
from torch import Tensor

from emotion.augment.base import Augmentation
from emotion.batch import Batch
from emotion.config.fields import Positive
from emotion.errors import EmotionError


class Mixup(Augmentation):
    """Mix each item with another item of the batch (Zhang et al., 2018).

    https://arxiv.org/abs/1710.09412. Each modality is mixed after normalisation, and so are the losses of both labels,
    see `emotion.training.loss.batch_loss`.

    Args:
        alpha: Parameter of the symmetric Beta distribution of the weights (default: 0.2); small values mix little.
    """

    def __init__(self, alpha: Positive = 0.2) -> None:
        super().__init__()
        if alpha <= 0:
            raise EmotionError(f"augment.mixup.alpha={alpha:g} must be greater than 0; leave out mixup for none")
        self.alpha = alpha

    def forward(self, batch: Batch) -> Batch:
        """Draw the mixture of a batch: add `mix_weight` and `mix_partner`, see `Batch`."""
        label = batch["label"]
        alpha = torch.full((len(label),), self.alpha, device=label.device)
        drawn = torch.distributions.Beta(alpha, alpha).sample()
        weight, partner = torch.maximum(drawn, 1 - drawn), torch.randperm(len(label), device=label.device)
        return cast(Batch, batch | {"mix_weight": weight, "mix_partner": partner})


def mix_features(features: Tensor, frames: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mix normalised features as drawn by `Mixup`, if at all; a mixture is as long as the longer item.

    Args:
        features: Features, shape (B, F, N).
        frames: Number of frames of each item, shape (B,).
        batch: The batch.
    """
    if "mix_partner" not in batch or "mix_weight" not in batch:
        return features, frames
    partner, weight = batch["mix_partner"], batch["mix_weight"][:, None, None]
    return weight * features + (1 - weight) * features[partner], torch.maximum(frames, frames[partner])
