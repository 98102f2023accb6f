"""Front end of audio: from waveforms to normalised features, in training, evaluation and prediction alike."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from emotion.augment.base import Augmentation, FeatureAugmentation, SpectrumAugmentation, WaveformAugmentation
from emotion.augment.mixup import mix_features
from emotion.batch import Batch, get_audio
from emotion.errors import EmotionError
from emotion.features.base import Representation
from emotion.features.normalization import FrontEnd
from emotion.features.silence import trim_silence
from emotion.features.stack import FeatureStack
from emotion.files import fingerprint


class AudioFrontEnd(FrontEnd):
    """Trim waveforms, pad or cut them, extract and normalise features; augment them in training.

    Args:
        features: Stacked feature sets, or features that cannot be stacked.
        sample_rate: Sampling rate, in Hz.
        trim_db: Trim both ends where the level is this many decibels below the loudest frame; None keeps them.
        duration_s: Pad or cut each item to this duration, in seconds; None keeps the lengths.
        normalize: See `FrontEnd`.
        augment: Augmentations, applied in training only, in this order within each kind: of waveforms (after trimming),
            of spectra, of normalised features.
        description: Plain data that determines the features before normalisation, which are cached under its
            fingerprint.
        cache: Compute the features once (default: False).
        n_augmented_copies: Number of augmented copies of each recording that are computed once; 0 (default) to augment
            in every step.
        augment_description: Plain data that determines the augmentations of waveforms and spectra, whose copies are
            cached under its fingerprint.

    Raises:
        EmotionError: copies are asked for, but nothing augments audio.
    """

    def __init__(
        self,
        features: FeatureStack | Representation,
        sample_rate: int,
        trim_db: float | None = None,
        duration_s: float | None = None,
        normalize: str = "train",
        augment: Iterable[Augmentation] = (),
        description: Mapping[str, Any] | None = None,
        cache: bool = False,
        n_augmented_copies: int = 0,
        augment_description: Mapping[str, Any] | None = None,
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
        self.samples = None if duration_s is None else round(duration_s * sample_rate)
        self.description, self.features_key, self.cache = description, fingerprint(description), cache
        self.n_augmented_copies, self.augment_description = n_augmented_copies, augment_description
        if n_augmented_copies and not self.augments_audio:
            raise EmotionError(
                f"features.n_augmented_copies={n_augmented_copies} needs augmentations of audio that apply to these "
                "features, such as augment=[noise,equalizer]"
            )

    @property
    def is_trainable(self) -> bool:
        """True if training changes the features before normalisation, so that they cannot be cached."""
        return isinstance(self.features, Representation) and not self.features.freeze

    @property
    def augments_audio(self) -> bool:
        """True if waveforms or spectra are augmented, so that the features of training cannot be cached."""
        return bool(self.waveform_augmentations) or (bool(self.spectrum_augmentations) and not self.lacks_spectrum)

    @property
    def lacks_spectrum(self) -> bool:
        """True if there are augmentations of spectra, but the features are not computed from spectra."""
        return (
            bool(self.spectrum_augmentations)
            and isinstance(self.features, Representation)
            and not self.features.has_spectrum
        )

    @property
    def is_cacheable(self) -> bool:
        """True if the features are computed once and cached."""
        return self.cache and not self.is_trainable

    def load_pretrained(self) -> None:
        """See `FrontEnd.load_pretrained`."""
        if isinstance(self.features, Representation):
            self.features.load_pretrained()

    def extract(self, waveform: Tensor, length: Tensor, augment: bool = False) -> tuple[Tensor, Tensor]:
        """Compute features before normalisation; those of an item do not depend on the others.

        Args:
            waveform: Waveforms, shape (B, T), zero beyond each item's length.
            length: Number of samples of each item, shape (B,).
            augment: Augment waveforms and spectra (default: False).

        Returns:
            See `FeatureStack.forward`.
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
        """Return normalised features, shape (B, F, N), zero beyond each item's frames, and their number, shape (B,).

        Args:
            batch: Batch with waveforms, or with the results of `extract` under `features_key`.
        """
        features, frames = self.normalized(batch)
        if self.training:
            for change in self.feature_augmentations:
                features = change(features, frames)
        return mix_features(features, frames, batch)

    def present(self, batch: Batch) -> Tensor:
        """See `FrontEnd.present`."""
        cached = self._cached(batch)
        return (cached or get_audio(batch))[1] > 0

    def compute_features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `FrontEnd.compute_features`."""
        return self._cached(batch) or self.extract(*get_audio(batch), self.training)

    def _cached(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        return batch["features"].get(self.features_key) if "features" in batch else None
