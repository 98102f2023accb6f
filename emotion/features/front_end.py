"""From the waveforms of a batch to normalised features: one path for training, evaluation and prediction."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from emotion.batch import Batch, get_audio
from emotion.features.augment import (
    Augmentation,
    FeatureAugmentation,
    SpectrumAugmentation,
    WaveformAugmentation,
    mixed,
)
from emotion.features.base import Representation
from emotion.features.normalization import FrontEnd
from emotion.features.silence import trim_silence
from emotion.features.stack import FeatureStack
from emotion.files import fingerprint


class AudioFrontEnd(FrontEnd):
    """Trim, cut to a fixed length, extract features, normalise; augment, each kind of augmentation at its place.

    Args:
        features: The feature sets, or features with frames of their own.
        sample_rate: Of the waveforms, in Hz.
        trim_db: Silence this many decibels below an item's loudest frame is cut off both ends; None keeps it.
        seconds: Every item becomes its first so many seconds, padded with silence; None keeps the lengths.
        normalize: See `FrontEnd`.
        augment: Applied in training only, in this order within each kind: of sound (after trimming), of its spectrum,
            of normalised features.
        description: Plain data that determines the features before normalisation; they are cached under its
            fingerprint.
        cache: True if the features are to be computed once.
    """

    def __init__(
        self,
        features: FeatureStack | Representation,
        sample_rate: int,
        trim_db: float | None = None,
        seconds: float | None = None,
        normalize: str = "train",
        augment: Iterable[Augmentation] = (),
        description: Mapping[str, Any] | None = None,
        cache: bool = False,
    ) -> None:
        super().__init__(features.num_features, normalize)
        self.features, self.trim_db, self.num_channels = features, trim_db, features.num_channels
        augment = list(augment)
        self.waveform_augmentations = nn.ModuleList(
            module for module in augment if isinstance(module, WaveformAugmentation)
        )
        self.spectrum_augmentations = nn.ModuleList(
            module for module in augment if isinstance(module, SpectrumAugmentation)
        )
        self.feature_augmentations = nn.ModuleList(
            module for module in augment if isinstance(module, FeatureAugmentation)
        )
        self.samples = None if seconds is None else round(seconds * sample_rate)
        self.description, self.features_key, self.cache = description, fingerprint(description), cache

    @property
    def learns(self) -> bool:
        """Whether training changes the features, so that none can be computed ahead of time."""
        return isinstance(self.features, Representation) and not self.features.freeze

    @property
    def augments_audio(self) -> bool:
        """Whether training features depend on chance, so that they cannot be computed ahead of time."""
        return bool(self.waveform_augmentations) or (bool(self.spectrum_augmentations) and not self.lacks_spectrum)

    @property
    def lacks_spectrum(self) -> bool:
        """True if there are augmentations of a spectrum, which the features do not come from."""
        return bool(self.spectrum_augmentations) and isinstance(self.features, Representation)

    @property
    def is_cacheable(self) -> bool:
        """True if the features are to be computed once."""
        return self.cache and not self.learns

    def load_pretrained(self) -> None:
        """See `FrontEnd.load_pretrained`."""
        if isinstance(self.features, Representation):
            self.features.load_pretrained()

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
            for change in self.waveform_augmentations:
                waveform, length = change(waveform, length)
        if self.samples is not None:
            waveform = nn.functional.pad(waveform, (0, self.samples))[:, : self.samples]
            length = torch.full_like(length, self.samples)
        if augment and self.spectrum_augmentations and not self.lacks_spectrum:
            return self.features(waveform, length, nn.Sequential(*self.spectrum_augmentations))
        return self.features(waveform, length)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Normalised features, shape (B, F, N), zero beyond each item's frames, and the frames, shape (B,).

        Args:
            batch: With waveforms, or with features as `extract` gives them under `features_key`; and with `speaker` if
                normalisation is by speaker. It may be marked by `Mixup`.
        """
        features, frames = self.normalized(batch)
        if self.training:
            for change in self.feature_augmentations:
                features = change(features, frames)
        return mixed(features, frames, batch)

    def present(self, batch: Batch) -> Tensor:
        """See `FrontEnd.present`."""
        cached = self._cached(batch)
        return (cached or get_audio(batch))[1] > 0

    def compute_features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `FrontEnd.compute_features`."""
        return self._cached(batch) or self.extract(*get_audio(batch), self.training)

    def _cached(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        return batch["features"].get(self.features_key) if "features" in batch else None
