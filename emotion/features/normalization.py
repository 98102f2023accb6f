"""Features on one scale, whatever they are of: what the front ends of sound and of action units share."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from emotion.batch import Batch
from emotion.errors import EmotionError
from emotion.features.base import frame_mask, mask_frames

NORMALIZATIONS = ("train", "clip", "speaker", "none")


class FrontEnd(nn.Module):
    """Turns a part of a batch into features over time and normalises them.

    Normalisation makes each feature zero-mean and unit-variance over frames. `train` uses the statistics of the
    training split, which are stored with the model. `clip` uses those of the clip itself, which takes away what tells
    voices and rooms apart, and the level too. `speaker` uses those of all clips of the speaker in any split; it looks
    at test clips (never at their labels), so results say `transductive`. `none` leaves the features alone.

    Args:
        num_features: Of a frame.
        normalize: `train`, `clip`, `speaker` or `none`.

    Attributes:
        num_channels: How many equal parts the features have, such as they themselves and their deltas.
    """

    num_channels = 1
    mean: Tensor
    std: Tensor
    speaker_mean: Tensor
    speaker_std: Tensor

    def __init__(self, num_features: int, normalize: str) -> None:
        super().__init__()
        if normalize not in NORMALIZATIONS:
            raise EmotionError(f"normalize={normalize} is none of {', '.join(NORMALIZATIONS)}")
        self.num_features, self.normalize = num_features, normalize
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("std", torch.ones(num_features))
        # One row a speaker of the corpus at hand; recomputed for each corpus, so never stored.
        self.register_buffer("speaker_mean", torch.zeros(0, num_features), persistent=False)
        self.register_buffer("speaker_std", torch.ones(0, num_features), persistent=False)

    @property
    def transductive(self) -> bool:
        """True if normalisation uses statistics of the recordings that are evaluated."""
        return self.normalize == "speaker"

    def load_pretrained(self) -> None:
        """Start from weights that were trained elsewhere, if there are any; most front ends have none."""

    def present(self, batch: Batch) -> Tensor:
        """Which items have what the features are made of, shape (B,)."""
        raise TypeError(f"{type(self).__name__} does not define present")

    def compute_features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The features of a batch before normalisation, shape (B, F, N), zero beyond each item's frames, shape (B,)."""
        raise TypeError(f"{type(self).__name__} does not define compute_features")

    def normalized(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What `compute_features` gives, normalised; with `speaker` in the batch if that is by speaker."""
        features, frames = self.compute_features(batch)
        if self.normalize == "speaker":
            speaker = batch["speaker"]
            mean, std = self.speaker_mean[speaker], self.speaker_std[speaker]
        elif self.normalize == "clip":
            count = frames[:, None].clamp(min=1)
            mean = features.sum(dim=2) / count
            variance = mask_frames((features - mean[..., None]).square(), frames).sum(dim=2) / count
            std = torch.where(variance > 1e-10, variance, 1.0).sqrt()
        else:
            mean, std = self.mean[None], self.std[None]
        # Not three tensors but one: features of a speech encoder are hundreds of megabytes a batch.
        inside = frame_mask(frames, features.shape[-1])[:, None]
        return (features - mean[..., None]).div_(std[..., None]).mul_(inside), frames

    @torch.no_grad()
    def fit(self, batches: Iterable[Batch]) -> None:
        """Take the statistics from batches, as in `forward`, of the *training split*. Does nothing unless `train`."""
        if self.normalize == "train":
            mean, std = self._statistics(batches)
            self.mean.copy_(mean[0])
            self.std.copy_(std[0])

    @torch.no_grad()
    def fit_speakers(self, batches: Iterable[Batch], num_speakers: int) -> None:
        """Take each speaker's statistics from batches of all recordings at hand. Does nothing unless `speaker`."""
        if self.normalize == "speaker":
            mean, std = self._statistics(batches, num_speakers)
            self.speaker_mean, self.speaker_std = mean.to(self.mean), std.to(self.mean)

    def _statistics(self, batches: Iterable[Batch], speakers: int | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard std of each feature over all frames, or over those of each speaker: (groups, F)."""
        groups = speakers or 1
        count = torch.zeros(groups, 1, dtype=torch.float64)
        total, squares = (torch.zeros(groups, self.num_features, dtype=torch.float64) for _ in range(2))
        training = self.training
        self.eval()  # statistics are of clips as they are
        for batch in batches:
            features, frames = self.compute_features(batch)
            present = self.present(batch).cpu()
            features, frames = features.cpu().double()[present], frames.cpu()[present]
            group = batch["speaker"].cpu()[present] if speakers else torch.zeros_like(frames)
            count.index_add_(0, group, frames[:, None].double())
            total.index_add_(0, group, features.sum(dim=2))  # zeros beyond an item's frames add nothing
            squares.index_add_(0, group, features.square().sum(dim=2))
        self.train(training)
        count = count.clamp(min=1)
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        # A feature that never varies is centred and left at that.
        return mean.float(), torch.where(variance > 1e-10, variance, 1.0).sqrt().float()
