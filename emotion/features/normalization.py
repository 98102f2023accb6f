"""Base class of front ends, with normalisation of features."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from emotion.batch import Batch, frame_mask, mask_frames
from emotion.errors import EmotionError

NORMALIZATIONS = ("train", "clip", "speaker", "corpus", "none")
GROUPS = ("speaker", "corpus")
"""The normalisations by statistics of groups of recordings; each is the name of the group's index in a batch."""


class FrontEnd(nn.Module):
    """Base class of front ends: from one modality of a batch to normalised features over time.

    Normalisation gives each feature zero mean and unit variance over frames. `train` uses the statistics of the train
    split, which are stored with the model. `clip` uses those of the recording, which removes differences between voices
    and rooms, and the level. `speaker` uses those of all recordings of the speaker in any split, test included but
    without labels; results are marked as `transductive`. `corpus` uses those of the train split of the recording's
    corpus; a corpus without one uses all of its recordings, which is transductive too. `none` does not normalise.

    Args:
        num_features: Number of features of a frame.
        normalize: `train`, `clip`, `speaker`, `corpus` or `none`.

    Attributes:
        num_channels: Number of equal parts of the features, such as the features and their deltas.

    Raises:
        EmotionError: `normalize` is unknown.
    """

    num_channels = 1
    mean: Tensor
    std: Tensor
    group_mean: Tensor
    group_std: Tensor

    def __init__(self, num_features: int, normalize: str) -> None:
        super().__init__()
        if normalize not in NORMALIZATIONS:
            raise EmotionError(f"normalize={normalize} is none of {', '.join(NORMALIZATIONS)}")
        self.num_features, self.normalize = num_features, normalize
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("std", torch.ones(num_features))
        # One row for each speaker or corpus; computed for each corpus, so not saved.
        self.register_buffer("group_mean", torch.zeros(0, num_features), persistent=False)
        self.register_buffer("group_std", torch.ones(0, num_features), persistent=False)

    @property
    def group(self) -> str | None:
        """The groups whose statistics normalise, `speaker` or `corpus`, or None."""
        return self.normalize if self.normalize in GROUPS else None

    def load_pretrained(self) -> None:
        """Load published weights, if there are any; most front ends have none."""

    def present(self, batch: Batch) -> Tensor:
        """Return which items have the modality, shape (B,), bool."""
        raise TypeError(f"{type(self).__name__} does not define present")

    def compute_features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return features before normalisation, shape (B, F, N), zero beyond each item's frames, shape (B,)."""
        raise TypeError(f"{type(self).__name__} does not define compute_features")

    def normalized(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the normalised result of `compute_features`."""
        features, frames = self.compute_features(batch)
        if self.group:
            rows = batch[self.group]
            mean, std = self.group_mean[rows], self.group_std[rows]
        elif self.normalize == "clip":
            count = frames[:, None].clamp(min=1)
            mean = features.sum(dim=2) / count
            variance = mask_frames((features - mean[..., None]).square(), frames).sum(dim=2) / count
            std = torch.where(variance > 1e-10, variance, 1.0).sqrt()
        else:
            mean, std = self.mean[None], self.std[None]
        # In place, since features of a speech encoder are hundreds of megabytes for a batch.
        inside = frame_mask(frames, features.shape[-1])[:, None]
        return (features - mean[..., None]).div_(std[..., None]).mul_(inside), frames

    @torch.no_grad()
    def fit(self, batches: Iterable[Batch]) -> None:
        """Compute the statistics of the train split; does nothing for normalisations that do not use them.

        Normalisations by groups use them in `adapt` alone.

        Args:
            batches: Batches of the train split.
        """
        if self.is_adaptable:
            mean, std = self._statistics(batches)
            self.mean.copy_(mean[0])
            self.std.copy_(std[0])

    @torch.no_grad()
    def fit_groups(self, batches: Iterable[Batch], num_groups: int) -> None:
        """Compute the statistics of each group; does nothing for normalisations without groups.

        Args:
            batches: Batches of the recordings whose statistics are used.
            num_groups: Number of groups.
        """
        if self.group:
            mean, std = self._statistics(batches, num_groups)
            self.group_mean, self.group_std = mean.to(self.mean), std.to(self.mean)

    @property
    def is_adaptable(self) -> bool:
        """True if `adapt` can be used: statistics of the train split or of groups normalise."""
        return self.normalize == "train" or self.group is not None

    @torch.no_grad()
    def adapt(self, batches: Iterable[Batch], num_groups: int, group: str = "speaker") -> None:
        """Normalise by the statistics of groups of recordings from now on, without labels.

        The train split counts as one more recording of each group, so that a small group changes little.

        Args:
            batches: Batches with the group of each recording.
            num_groups: Number of groups.
            group: Name of the groups in a batch, `speaker` (default) or `corpus`.
        """
        prior = (self.mean.cpu().double(), self.std.cpu().double())
        self.normalize = group
        mean, std = self._statistics(batches, num_groups, prior)
        self.group_mean, self.group_std = mean.to(self.mean), std.to(self.mean)

    def _statistics(
        self, batches: Iterable[Batch], num_groups: int | None = None, prior: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return mean and std of each feature over all frames of each group, each (num_groups, F).

        Without `num_groups`, all recordings are one group.
        Mean and std of `prior`, shape (F,) each, count as those of one more recording of a group.
        """
        by_group, rows = num_groups is not None, num_groups or 1
        count, items = (torch.zeros(rows, 1, dtype=torch.float64) for _ in range(2))
        total, squares = (torch.zeros(rows, self.num_features, dtype=torch.float64) for _ in range(2))
        training = self.training
        self.eval()  # without augmentation
        for batch in batches:
            features, frames = self.compute_features(batch)
            present = self.present(batch).cpu()
            features, frames = features.cpu().double()[present], frames.cpu()[present]
            group = batch[cast(str, self.group)].cpu()[present] if by_group else torch.zeros_like(frames)
            count.index_add_(0, group, frames[:, None].double())
            items.index_add_(0, group, torch.ones(len(group), 1, dtype=torch.float64))
            total.index_add_(0, group, features.sum(dim=2))  # zeros beyond an item's frames add nothing
            squares.index_add_(0, group, features.square().sum(dim=2))
        self.train(training)
        if prior is not None:
            mean, std = prior
            frames_of_one = torch.where(items > 0, count / items, 1.0)
            count = count + frames_of_one
            total = total + frames_of_one * mean
            squares = squares + frames_of_one * (std.square() + mean.square())
        count = count.clamp(min=1)
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        # A constant feature is centred only.
        return mean.float(), torch.where(variance > 1e-10, variance, 1.0).sqrt().float()
