"""Late fusion: several encoders whose embeddings are joined to one."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from emotion.batch import Batch, frame_mask, select_items
from emotion.config.fields import Count, Dropout, Positive
from emotion.errors import EmotionError
from emotion.models.base import Encoder
from emotion.models.pooling import StatisticsPooling


class Fusion(nn.Module):
    """Base class of fusions: each encoder embeds its modality, and the embeddings are joined.

    An item that lacks a modality is embedded by the other encoders.

    Args:
        encoders: Encoders by name.
        modality_dropout: Probability that one modality of an item with all of them, drawn uniformly, is masked in
            training.

    Attributes:
        embed_dim: Size of the joint embedding.
        gives_logits: True if the joint embedding holds logits, so that no head follows.
    """

    embed_dim: int
    gives_logits = False
    encoders: Mapping[str, Encoder]

    def __init__(self, encoders: Mapping[str, Encoder], modality_dropout: Dropout = 0.0) -> None:
        super().__init__()
        self.encoders = cast("Mapping[str, Encoder]", nn.ModuleDict(encoders))
        self.modality_dropout = modality_dropout

    def forward(self, batch: Batch) -> Tensor:
        """Return the joint embeddings of a batch, shape (B, embed_dim)."""
        present = torch.stack([self._usable(encoder.present(batch)) for encoder in self.encoders.values()], dim=1)
        outputs = [self._encode_present(name, batch, has) for name, has in zip(self.encoders, present.T, strict=True)]
        if self.training and self.modality_dropout:
            present = present & ~self._draw_masked(present)
        return self.join(outputs, present)

    def encode(self, name: str, batch: Batch) -> tuple[Tensor, ...]:
        """Return the output of one encoder that is joined: embeddings, shape (B, D). All items have its modality."""
        return (self.encoders[name](batch),)

    def output_shapes(self, name: str) -> list[tuple[int, ...]]:
        """Return the smallest shapes, without B, of the tensors that `encode` returns."""
        return [(self.encoders[name].embed_dim,)]

    def join(self, outputs: list[tuple[Tensor, ...]], present: Tensor) -> Tensor:
        """Join the outputs of all encoders.

        Args:
            outputs: Results of `encode` for each encoder; zeros for items that lack its modality.
            present: Which modalities are used, shape (B, M), bool.

        Returns:
            Joint embeddings, shape (B, embed_dim).
        """
        raise TypeError(f"{type(self).__name__} does not define join")

    def _usable(self, has: Tensor) -> Tensor:
        """Return which items are used: a single one is not enough for batch normalisation in training."""
        return has & (has.sum() > 1) if self.training else has

    def _encode_present(self, name: str, batch: Batch, has: Tensor) -> tuple[Tensor, ...]:
        """Return the output of one encoder, with zeros for items that lack its modality."""
        if torch.compiler.is_exporting() or has.all():
            return self.encode(name, batch)
        if "mix_partner" in batch:
            raise EmotionError("mixup needs all modalities of every recording; leave it out of augment=")
        items = has.nonzero()[:, 0]
        if len(items):
            output = self.encode(name, select_items(batch, items))
        else:
            output = tuple(torch.zeros(0, *shape, device=has.device) for shape in self.output_shapes(name))
        return tuple(each.new_zeros(len(has), *each.shape[1:]).index_copy(0, items, each) for each in output)

    def _draw_masked(self, present: Tensor) -> Tensor:
        """Draw the modality of each item that is masked, shape (B, M), bool."""
        items, modalities = present.shape
        masked = (torch.rand(items, device=present.device) < self.modality_dropout) & present.all(dim=1)
        which = torch.randint(modalities, (items,), device=present.device)
        return masked[:, None] & (torch.arange(modalities, device=present.device) == which[:, None])


class Concatenation(Fusion):
    """Concatenation of the embeddings; zeros where a modality is missing."""

    def __init__(self, encoders: Mapping[str, Encoder], modality_dropout: Dropout = 0.0) -> None:
        super().__init__(encoders, modality_dropout)
        self.embed_dim = sum(encoder.embed_dim for encoder in encoders.values())

    def join(self, outputs: list[tuple[Tensor, ...]], present: Tensor) -> Tensor:
        """See `Fusion.join`."""
        return torch.cat(zero_missing([embedding for (embedding,) in outputs], present), dim=1)


class Gated(Fusion):
    """Gated multimodal unit (Arevalo et al., 2017, https://arxiv.org/abs/1702.01992).

    Each embedding passes a layer of its own and is weighted by a gate over all embeddings. The weights of an item sum
    to 1 over the modalities that it has.

    Args:
        encoders: See `Fusion`.
        width: Size of the joint embedding.
        modality_dropout: See `Fusion`.
    """

    def __init__(self, encoders: Mapping[str, Encoder], width: Count = 128, modality_dropout: Dropout = 0.0) -> None:
        super().__init__(encoders, modality_dropout)
        sizes = [encoder.embed_dim for encoder in encoders.values()]
        self.layers = nn.ModuleList(nn.Linear(size, width) for size in sizes)
        self.gate = nn.Linear(sum(sizes), len(sizes))
        self.embed_dim = width

    def join(self, outputs: list[tuple[Tensor, ...]], present: Tensor) -> Tensor:
        """See `Fusion.join`."""
        embeddings = zero_missing([embedding for (embedding,) in outputs], present)
        hidden = [layer(embedding).tanh() for layer, embedding in zip(self.layers, embeddings, strict=True)]
        scores = self.gate(torch.cat(embeddings, dim=1))
        # Not minus infinity, since an item may have no usable modality, see `_usable`.
        weights = scores.masked_fill(~present, torch.finfo(scores.dtype).min).softmax(dim=1)
        return (torch.stack(hidden, dim=2) * weights[:, None]).sum(dim=2)


class CrossAttention(Fusion):
    """One layer of crossmodal attention (Tsai et al., 2019, https://arxiv.org/abs/1906.00295).

    The frames of each modality attend to those of the others; each is pooled over time, and the results are
    concatenated.

    Args:
        encoders: See `Fusion`.
        width: Size of a frame embedding in the attention.
        attention_heads: Number of attention heads of each modality.
        modality_dropout: See `Fusion`.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        width: Count = 64,
        attention_heads: Count = 4,
        modality_dropout: Dropout = 0.0,
    ) -> None:
        super().__init__(encoders, modality_dropout)
        self.project = nn.ModuleList(nn.Linear(encoder.frame_dim, width) for encoder in encoders.values())
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in encoders)
        self.attend = nn.ModuleList(nn.MultiheadAttention(width, attention_heads, batch_first=True) for _ in encoders)
        self.pool = StatisticsPooling(width)
        self.embed_dim = len(encoders) * self.pool.embed_dim

    def encode(self, name: str, batch: Batch) -> tuple[Tensor, ...]:
        """Return frame embeddings, shape (B, D, N), and their number for each item, shape (B,)."""
        return self.encoders[name].encode_frames(batch)

    def output_shapes(self, name: str) -> list[tuple[int, ...]]:
        """See `Fusion.output_shapes`."""
        return [(self.encoders[name].frame_dim, 1), ()]

    def join(self, outputs: list[tuple[Tensor, ...]], present: Tensor) -> Tensor:
        """See `Fusion.join`."""
        lengths = [frames.long().clamp(min=1) for _, frames in outputs]
        tokens = [
            norm(project(embedded.transpose(1, 2)))
            for norm, project, (embedded, _) in zip(self.norms, self.project, outputs, strict=True)
        ]
        masks = [frame_mask(frames, own.shape[1]) for frames, own in zip(lengths, tokens, strict=True)]
        pooled = []
        for own, attend in enumerate(self.attend):
            others = [other for other in range(len(tokens)) if other != own]
            context = torch.cat([tokens[other] for other in others], dim=1)
            visible = torch.cat([masks[other] & present[:, other, None] for other in others], dim=1)
            has_context = visible.any(dim=1)
            # Attention over no key is NaN, so an item without context attends to padding; the result is dropped below.
            hidden = ~visible & has_context[:, None]
            attended = attend(tokens[own], context, context, key_padding_mask=hidden, need_weights=False)[0]
            frames = tokens[own] + torch.where(has_context[:, None, None], attended, 0.0)
            pooled.append(self.pool(frames.transpose(1, 2), lengths[own]))
        return torch.cat(zero_missing(pooled, present), dim=1)


class MeanLogProbability(Fusion):
    """Weighted sum of the log-probabilities of a head for each encoder; by default their mean.

    With encoders and heads of finished runs this needs no training.

    Args:
        encoders: See `Fusion`.
        heads: Heads by the names of the encoders.
        num_classes: Number of classes.
        modality_dropout: See `Fusion`.
        weights: Weights of the encoders, by name (default: 1 divided by their number). For an item that lacks a
            modality, those of the others are scaled to the same sum.

    Raises:
        EmotionError: the weights are not those of the encoders.
    """

    gives_logits = True
    weights: Tensor

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        heads: Mapping[str, nn.Module],
        num_classes: int,
        modality_dropout: Dropout = 0.0,
        weights: Mapping[str, Positive] | None = None,
    ) -> None:
        super().__init__(encoders, modality_dropout)
        self.heads, self.embed_dim = nn.ModuleDict(heads), num_classes
        given = weights or dict.fromkeys(encoders, 1 / len(encoders))
        if set(given) != set(encoders):
            raise EmotionError(
                f"model.fusion.weights has {', '.join(given)}; the branches are {', '.join(encoders)}: give one weight "
                "for each"
            )
        self.register_buffer("weights", torch.tensor([given[name] for name in encoders]), persistent=False)

    def train(self, mode: bool = True) -> "MeanLogProbability":
        """Set the mode; a head is frozen with its encoder."""
        super().train(mode)
        for name, encoder in self.encoders.items():
            self.heads[name].train(mode and not encoder.is_frozen).requires_grad_(not encoder.is_frozen)
        return self

    def encode(self, name: str, batch: Batch) -> tuple[Tensor, ...]:
        """Return log-probabilities, shape (B, num_classes)."""
        return (self.heads[name](self.encoders[name](batch)).float().log_softmax(dim=1),)

    def output_shapes(self, name: str) -> list[tuple[int, ...]]:
        """See `Fusion.output_shapes`."""
        return [(self.embed_dim,)]

    def join(self, outputs: list[tuple[Tensor, ...]], present: Tensor) -> Tensor:
        """See `Fusion.join`."""
        logs = torch.stack(zero_missing([own for (own,) in outputs], present), dim=2)
        own = self.weights * present
        # Not divided by zero, since an item may have no usable modality, see `_usable`.
        scale = self.weights.sum() / own.sum(dim=1, keepdim=True).clamp(min=torch.finfo(own.dtype).tiny)
        return (logs * own[:, None]).sum(dim=2) * scale


def zero_missing(embeddings: list[Tensor], present: Tensor) -> list[Tensor]:
    """Set the embeddings of missing modalities to zero.

    Args:
        embeddings: Embeddings of M modalities, each of shape (B, D).
        present: Which modalities are present, shape (B, M), bool.
    """
    return [torch.where(has[:, None], own, 0.0) for own, has in zip(embeddings, present.unbind(1), strict=True)]
