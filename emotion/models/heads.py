"""Heads: from embeddings to logits, or to rated values."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class MlpHead(nn.Sequential):
    """Multilayer perceptron from embeddings to logits; each hidden layer is linear, batch norm, ReLU and dropout.

    Without hidden layers, the dropout is of the embedding.

    Args:
        embed_dim: Size of the embedding.
        num_classes: Number of classes.
        hidden: Widths of the hidden layers; empty for a linear head.
        dropout: Dropout probability in [0, 1).
    """

    def __init__(self, embed_dim: int, num_classes: int, hidden: tuple[int, ...] = (), dropout: float = 0.0) -> None:
        widths = [embed_dim, *hidden]
        # Without dropout there is no layer for it, so that the weights keep their names.
        first: list[nn.Module] = [nn.Dropout(dropout)] if dropout and not hidden else []
        super().__init__(*first, *hidden_layers(widths, dropout), nn.Linear(widths[-1], num_classes))


def hidden_layers(widths: Sequence[int], dropout: float) -> list[nn.Module]:
    """Return layers from each of `widths` to the next: linear, batch norm, ReLU and dropout."""
    layers: list[nn.Module] = []
    for narrow, wide in pairwise(widths):
        layers += [nn.Linear(narrow, wide), nn.BatchNorm1d(wide), nn.ReLU(), nn.Dropout(dropout)]
    return layers


class RatingHead(nn.Module):
    """A head whose outputs are on the scale of the ratings: those of a perceptron, times their std, plus their mean.

    Args:
        layers: The perceptron, from embeddings to one standardised output for each target.
        num_targets: Number of targets.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layers: MlpHead, num_targets: int) -> None:
        super().__init__()
        self.layers = layers
        self.register_buffer("mean", torch.zeros(num_targets))
        self.register_buffer("std", torch.ones(num_targets))

    def fit(self, ratings: Tensor) -> None:
        """Set the scale to that of ratings.

        Args:
            ratings: Ratings of the train split, shape (n, num_targets), NaN where unknown. Each target has a rating.
        """
        mean = ratings.nanmean(dim=0)
        std = (ratings - mean).square().nanmean(dim=0).sqrt()
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 0, std, 1.0))

    def forward(self, embedding: Tensor) -> Tensor:
        """Return rated values, shape (B, num_targets)."""
        return self.layers(embedding) * self.std + self.mean
