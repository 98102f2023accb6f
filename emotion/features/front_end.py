"""From the waveforms of a batch to normalised features: one path for training, evaluation and prediction."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from emotion.errors import EmotionError
from emotion.features.augment import (
    Augmentation,
    FeatureAugmentation,
    SpectrumAugmentation,
    WaveformAugmentation,
    mixed,
)
from emotion.features.base import masked
from emotion.features.silence import trim_silence
from emotion.features.stack import FeatureStack

NORMALIZATIONS = ("train", "speaker", "none")


class AudioFrontEnd(nn.Module):
    """Trim, cut to a fixed length, extract features, normalise; augment, each kind of augmentation at its place.

    Normalisation makes each feature zero-mean and unit-variance over frames. `train` uses the statistics of the
    training split, which are stored with the model. `speaker` uses those of all clips of the speaker in any split; it
    looks at test clips (never at their labels), so results say `transductive`. `none` leaves the features alone.

    Args:
        features: The feature sets.
        sample_rate: Of the waveforms, in Hz.
        trim_db: Silence this many decibels below an item's loudest frame is cut off both ends; None keeps it.
        seconds: Every item becomes its first so many seconds, padded with silence; None keeps the lengths.
        normalize: `train`, `speaker` or `none`.
        augment: Applied in training only, in this order within each kind: of sound (after trimming), of its spectrum,
            of normalised features.
    """

    def __init__(
        self,
        features: FeatureStack,
        sample_rate: int,
        trim_db: float | None = None,
        seconds: float | None = None,
        normalize: str = "train",
        augment: Iterable[Augmentation] = (),
    ) -> None:
        super().__init__()
        if normalize not in NORMALIZATIONS:
            raise EmotionError(f"features.normalize={normalize} is none of {', '.join(NORMALIZATIONS)}")
        self.features = features
        self.trim_db, self.normalize = trim_db, normalize
        augment = list(augment)
        self.of_sound = nn.ModuleList(module for module in augment if isinstance(module, WaveformAugmentation))
        self.of_spectrum = nn.ModuleList(module for module in augment if isinstance(module, SpectrumAugmentation))
        self.of_features = nn.ModuleList(module for module in augment if isinstance(module, FeatureAugmentation))
        self.samples = None if seconds is None else round(seconds * sample_rate)
        self.num_features = features.num_features
        self.register_buffer("mean", torch.zeros(features.num_features))
        self.register_buffer("deviation", torch.ones(features.num_features))
        # One row a speaker of the corpus at hand; recomputed for each corpus, so never stored.
        self.register_buffer("speaker_mean", torch.zeros(0, features.num_features), persistent=False)
        self.register_buffer("speaker_deviation", torch.ones(0, features.num_features), persistent=False)

    @property
    def transductive(self) -> bool:
        """Whether the clips to be judged take part in normalisation."""
        return self.normalize == "speaker"

    @property
    def augments_sound(self) -> bool:
        """Whether training features depend on chance, so that they cannot be computed ahead of time."""
        return bool(self.of_sound) or bool(self.of_spectrum)

    def extract(self, waveform: Tensor, length: Tensor, augment: bool = False) -> tuple[Tensor, Tensor]:
        """Features before normalisation. They depend on the item alone, so they can be computed once and cached.

        Args:
            waveform: Shape (B, T), zero beyond each item's length.
            length: Shape (B,).
            augment: Change the sound and its spectrum at random on the way.

        Returns:
            As `FeatureStack.forward`.
        """
        if self.trim_db is not None:
            waveform, length = trim_silence(waveform, length, self.trim_db)
        if augment:
            for change in self.of_sound:
                waveform, length = change(waveform, length)
        if self.samples is not None:
            waveform = nn.functional.pad(waveform, (0, max(0, self.samples - waveform.shape[1])))[:, : self.samples]
            length = torch.full_like(length, self.samples)
        warp = nn.Sequential(*self.of_spectrum) if augment and self.of_spectrum else None
        return self.features(waveform, length, warp)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Normalised features, shape (B, F, N), zero beyond each item's frames, and the frames, shape (B,).

        Args:
            batch: With `waveform` and `waveform_length`, or with `features` and `frames` as `extract` gives them; and
                with `speaker` if normalisation is by speaker. It may be marked by `Mixup`.
        """
        if "features" in batch:
            features, frames = batch["features"], batch["frames"]
        else:
            features, frames = self.extract(batch["waveform"], batch["waveform_length"], self.training)
        if self.normalize == "speaker":
            speaker = batch["speaker"]
            mean, deviation = self.speaker_mean[speaker], self.speaker_deviation[speaker]
        else:
            mean, deviation = self.mean[None], self.deviation[None]
        features = masked((features - mean[..., None]) / deviation[..., None], frames)
        if self.training:
            for change in self.of_features:
                features = change(features, frames)
        return mixed(features, frames, batch)

    @torch.no_grad()
    def fit(self, batches: Iterable[dict[str, Tensor]]) -> None:
        """Take the statistics from batches, as in `forward`, of the *training split*. Does nothing unless `train`."""
        if self.normalize == "train":
            mean, deviation = _statistics(self._frames_of(batches), 1, self.num_features)
            self.mean.copy_(mean[0])
            self.deviation.copy_(deviation[0])

    @torch.no_grad()
    def fit_speakers(self, batches: Iterable[dict[str, Tensor]], num_speakers: int) -> None:
        """Take each speaker's statistics from batches of all recordings at hand. Does nothing unless `speaker`."""
        if self.normalize == "speaker":
            mean, deviation = _statistics(self._frames_of(batches), num_speakers, self.num_features, by_speaker=True)
            self.speaker_mean, self.speaker_deviation = mean.to(self.mean), deviation.to(self.mean)

    def _frames_of(self, batches: Iterable[dict[str, Tensor]]) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        for batch in batches:
            if "features" in batch:
                yield batch["features"], batch["frames"], batch["speaker"]
            else:
                yield *self.extract(batch["waveform"], batch["waveform_length"]), batch["speaker"]


def _statistics(
    batches: Iterable[tuple[Tensor, Tensor, Tensor]], groups: int, num_features: int, by_speaker: bool = False
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature over the frames of each group, each of shape (groups, F)."""
    count = torch.zeros(groups, 1, dtype=torch.float64)
    total = torch.zeros(groups, num_features, dtype=torch.float64)
    squares = torch.zeros(groups, num_features, dtype=torch.float64)
    for features, frames, speaker in batches:
        features, frames = features.cpu().double(), frames.cpu()
        group = speaker.cpu() if by_speaker else torch.zeros_like(frames)
        count.index_add_(0, group, frames[:, None].double())
        total.index_add_(0, group, features.sum(dim=2))  # zeros beyond an item's frames add nothing
        squares.index_add_(0, group, features.square().sum(dim=2))
    count = count.clamp(min=1)
    mean = total / count
    variance = (squares / count - mean.square()).clamp(min=0)
    # A feature that never varies is centred and left at that.
    return mean.float(), torch.where(variance > 1e-10, variance, 1.0).sqrt().float()
