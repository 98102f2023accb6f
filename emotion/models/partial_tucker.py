"""Partial Tucker decomposition."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from emotion.config.fields import Count
from emotion.errors import EmotionError
from emotion.models.base import FeatureBackbone


class PartialTucker(FeatureBackbone):
    """The core of a partial Tucker decomposition with factors of the train split (Tucker, 1966).

    https://doi.org/10.1007/BF02289464; fitted by TensorLy's higher-order orthogonal iteration. The features of a
    recording are a tensor; each axis with a rank is projected onto that many factors.

    Args:
        num_features: Number of features of a frame; the product of `feature_shape`.
        feature_shape: Axes of the features.
        frame_shape: Axes of the frames; a recording with fewer frames is padded with zeros.
        ranks: Rank for each axis of `feature_shape`, then of `frame_shape`; None keeps the axis.
        max_values: Maximum number of values of the train split to which factors are fitted, of a random sample of
            recordings. Fitting needs about 20 bytes for each.

    Raises:
        EmotionError: the shapes or the ranks do not fit.
    """

    def __init__(
        self,
        num_features: int,
        feature_shape: Sequence[int],
        frame_shape: Sequence[int],
        ranks: Sequence[int | None],
        max_values: Count = 10_000_000,
    ) -> None:
        super().__init__()
        self.shape, self.max_values = (*feature_shape, *frame_shape), max_values
        if math.prod(feature_shape) != num_features:
            raise EmotionError(
                f"feature_shape={list(feature_shape)} has {math.prod(feature_shape)} features; "
                f"the input has {num_features}"
            )
        if len(ranks) != len(self.shape) or any(r and not 1 <= r <= n for r, n in zip(ranks, self.shape, strict=True)):
            raise EmotionError(f"ranks={list(ranks)} have to be one for each of {list(self.shape)}, and none larger")
        self.ranks, self.frames = {axis: rank for axis, rank in enumerate(ranks) if rank}, math.prod(frame_shape)
        for axis, rank in self.ranks.items():
            self.register_buffer(f"factor_{axis}", torch.eye(self.shape[axis], rank))
        self.frame_dim = self.embed_dim = math.prod(self.ranks.get(axis, n) for axis, n in enumerate(self.shape))
        self.pool = nn.Flatten()

    def fit(self, inputs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """See `Network.fit`."""
        try:
            from tensorly.decomposition import partial_tucker
        except ImportError as error:
            raise EmotionError("tensorly is not installed: pip install 'emotion[tensorly]'") from error
        items = (item for features, _ in inputs for item in features)
        sample = _reservoir_sample(items, self.max_values // math.prod(self.shape))
        tensors = np.stack([self._tensor(item[None])[0].cpu().numpy() for item in sample])
        axes = [1 + axis for axis in self.ranks]
        (_, factors), _ = partial_tucker(tensors, rank=list(self.ranks.values()), modes=axes, tol=1e-5)
        for axis, factor in zip(self.ranks, factors, strict=True):
            # The sign of a factor is arbitrary, so it is fixed here.
            sign = np.sign(factor[np.abs(factor).argmax(axis=0), range(factor.shape[1])])
            getattr(self, f"factor_{axis}").copy_(torch.from_numpy(np.ascontiguousarray(factor * sign)))

    def encode_frames(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatureBackbone.encode_frames`; each item has one frame."""
        return self.forward(features, frames)[..., None], torch.ones_like(frames)

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """See `FeatureBackbone.forward`."""
        core = self._tensor(features)
        for axis in self.ranks:
            axes = ([1 + axis], [0])
            # torch hides the overloads of `tensordot` from type checkers.
            core = torch.tensordot(core, getattr(self, f"factor_{axis}"), axes)  # pyright: ignore[reportArgumentType]
            core = core.movedim(-1, 1 + axis)
        return core.flatten(1)

    def _tensor(self, features: Tensor) -> Tensor:
        """Return features of shape (B, F, N) as a tensor of shape (B, *feature_shape, *frame_shape)."""
        missing = self.frames - features.shape[2]
        if missing < 0:
            raise EmotionError(f"frame_shape has {self.frames} frames; a recording has {features.shape[2]}")
        return nn.functional.pad(features, (0, missing)).reshape(len(features), *self.shape)


def _reservoir_sample(items: Iterable[Tensor], count: int) -> list[Tensor]:
    """Return a uniform random sample of up to `count` items, and at least one, with a constant seed (Vitter, 1985)."""
    random, kept = np.random.default_rng(0), []
    for number, item in enumerate(items):
        if len(kept) < max(1, count):
            kept.append(item.clone())  # a view would keep its whole batch in memory
        elif (place := int(random.integers(number + 1))) < len(kept):
            kept[place] = item.clone()
    return kept
