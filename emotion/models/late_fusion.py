"""Encoders of several modalities as one encoder."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from emotion.errors import EmotionError
from emotion.models.base import FeatureEncoder


class Fusion(nn.Module):
    """Embeds each modality by its own encoder and joins the embeddings. What every fusion defines.

    An item that lacks a modality is embedded by the others.

    Args:
        encoders: By name.
        modality_dropout: Probability that an item loses one of its modalities in training, drawn evenly; it never
            loses its last.
    """

    embed_dim: int

    def __init__(self, encoders: Mapping[str, FeatureEncoder], modality_dropout: float = 0.0) -> None:
        super().__init__()
        self.encoders, self.modality_dropout = nn.ModuleDict(encoders), modality_dropout

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Embed a batch; shape (B, embed_dim)."""
        there = torch.stack([encoder.present(batch) for encoder in self.encoders.values()], dim=1)
        embeddings = [
            _embed(encoder, batch, has) for encoder, has in zip(self.encoders.values(), there.unbind(1), strict=True)
        ]
        if self.training and self.modality_dropout:
            there = there & ~self._lost(there)
        return self.join(embeddings, there)

    def join(self, embeddings: list[Tensor], there: Tensor) -> Tensor:
        """Make one embedding, shape (B, embed_dim), of several.

        Args:
            embeddings: Of each modality, shape (B, D).
            there: Which of them an item has, shape (B, M).
        """
        raise TypeError(f"{type(self).__name__} does not define join")

    def _lost(self, there: Tensor) -> Tensor:
        """True for the modality that an item loses, shape (B, M)."""
        items, modalities = there.shape
        loses = (torch.rand(items, device=there.device) < self.modality_dropout) & there.all(dim=1)
        which = torch.randint(modalities, (items,), device=there.device)
        return loses[:, None] & (torch.arange(modalities, device=there.device) == which[:, None])


class Concatenation(Fusion):
    """The embeddings one after the other; zeros where a modality is missing."""

    def __init__(self, encoders: Mapping[str, FeatureEncoder], modality_dropout: float = 0.0) -> None:
        super().__init__(encoders, modality_dropout)
        self.embed_dim = sum(encoder.embed_dim for encoder in encoders.values())

    def join(self, embeddings: list[Tensor], there: Tensor) -> Tensor:
        """See `Fusion.join`."""
        parts = zip(embeddings, there.unbind(1), strict=True)
        return torch.cat([torch.where(has[:, None], embedding, 0.0) for embedding, has in parts], dim=1)


def _embed(encoder: FeatureEncoder, batch: dict[str, Any], has: Tensor) -> Tensor:
    """The embeddings of the items that have what the encoder takes in, zeros for the others."""
    if has.all():
        return encoder(batch)
    if "mix_partner" in batch:
        raise EmotionError("mixup needs both modalities of every recording: leave it out of augment=")
    embedding = torch.zeros(len(has), encoder.embed_dim, device=has.device)
    rows = has.nonzero()[:, 0]
    # Batch normalisation cannot learn from a single item, which then counts as missing.
    if len(rows) > (1 if encoder.training else 0):
        some = {key: value[rows] if torch.is_tensor(value) else value for key, value in batch.items()}
        embedding = embedding.index_copy(0, rows, encoder(some).float())
    return embedding
