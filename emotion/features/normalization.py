"""Base class of front ends, with normalisation of features."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from emotion.batch import Batch, frame_mask, mask_frames
from emotion.errors import EmotionError

NORMALIZATIONS = ("train", "clip", "speaker", "none")


class FrontEnd(nn.Module):
    """Base class of front ends: from one modality of a batch to normalised features over time.

    Normalisation gives each feature zero mean and unit variance over frames. `train` uses the statistics of the train
    split, which are stored with the model. `clip` uses those of the recording, which removes differences between voices
    and rooms, and the level. `speaker` uses those of all recordings of the speaker in any split, test included but
    without labels; results are marked as `transductive`. `none` does not normalise.

    Args:
        num_features: Number of features of a frame.
        normalize: `train`, `clip`, `speaker` or `none`.

    Attributes:
        num_channels: Number of equal parts of the features, such as the features and their deltas.

    Raises:
        EmotionError: `normalize` is unknown.
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
        # One row for each speaker of a corpus; computed for each corpus, so not saved.
        self.register_buffer("speaker_mean", torch.zeros(0, num_features), persistent=False)
        self.register_buffer("speaker_std", torch.ones(0, num_features), persistent=False)

    @property
    def transductive(self) -> bool:
        """True if normalisation uses statistics of the recordings that are evaluated."""
        return self.normalize == "speaker"

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
        # In place, since features of a speech encoder are hundreds of megabytes for a batch.
        inside = frame_mask(frames, features.shape[-1])[:, None]
        return (features - mean[..., None]).div_(std[..., None]).mul_(inside), frames

    @torch.no_grad()
    def fit(self, batches: Iterable[Batch]) -> None:
        """Compute the statistics of `train` normalisation; does nothing for other ones.

        Args:
            batches: Batches of the train split.
        """
        if self.normalize == "train":
            mean, std = self._statistics(batches)
            self.mean.copy_(mean[0])
            self.std.copy_(std[0])

    @torch.no_grad()
    def fit_speakers(self, batches: Iterable[Batch], num_speakers: int) -> None:
        """Compute the statistics of `speaker` normalisation; does nothing for other ones.

        Args:
            batches: Batches of all recordings.
            num_speakers: Number of speakers.
        """
        if self.normalize == "speaker":
            mean, std = self._statistics(batches, num_speakers)
            self.speaker_mean, self.speaker_std = mean.to(self.mean), std.to(self.mean)

    def _statistics(self, batches: Iterable[Batch], speakers: int | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and std of each feature over all frames, or over those of each speaker, each (n_groups, F)."""
        groups = speakers or 1
        count = torch.zeros(groups, 1, dtype=torch.float64)
        total, squares = (torch.zeros(groups, self.num_features, dtype=torch.float64) for _ in range(2))
        training = self.training
        self.eval()  # without augmentation
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
        # A constant feature is centred only.
        return mean.float(), torch.where(variance > 1e-10, variance, 1.0).sqrt().float()
