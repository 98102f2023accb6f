"""The group `features`, which a branch may also have of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Interval

from emotion.config.fields import NonNegativeInt, Positive
from emotion.config.target import Target
from emotion.errors import EmotionError


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """Acoustic features."""

    sets: dict[str, Target]
    """Feature sets by name; several are stacked."""
    n_fft: Annotated[int, Interval(ge=16, le=1 << 16)]
    """Length of a frame, in samples."""
    hop_length: Annotated[int, Interval(ge=1, le=1 << 16)]
    """Step from one frame to the next, in samples."""
    n_delta_orders: Annotated[int, Interval(ge=0, le=2)] = 0
    """Highest order of the deltas that are appended."""
    trim_db: Positive | None
    """Trim both ends where the audio is this many decibels below its maximum; null to keep them."""
    duration_s: Annotated[float, Interval(gt=0, le=3600)] | None
    """Pad or cut every clip to this length, in seconds; null to keep the lengths."""
    normalize: Literal["train", "clip", "speaker", "corpus", "none"]
    """Standardise by statistics of the train split, of each clip, of each speaker (transductive), of each corpus, or
    not."""
    cache: bool
    """Compute features once and keep them on disk."""
    n_augmented_copies: NonNegativeInt = 0
    """Number of augmented copies of each recording that are computed once and kept on disk; an epoch trains on all. 0
    to augment anew in every epoch."""

    def check(self, key: str, sample_rate: int) -> None:
        """Refuse values that contradict each other.

        Args:
            key: Key of these features, for the message.
            sample_rate: Sampling rate of the audio, in Hz.

        Raises:
            EmotionError: names the key, the value and what is allowed.
        """
        if self.n_augmented_copies and not self.cache:
            raise EmotionError(f"{key}.n_augmented_copies={self.n_augmented_copies} needs {key}.cache=true")
        for name, target in self.sets.items():
            _check_feature_set(f"{key}.sets.{name}", target.arguments, sample_rate)


COMMON = ("n_fft", "hop_length", "trim_db", "duration_s", "normalize", "cache", "n_augmented_copies")
"""The keys of a branch's features that default to those of the group `features`."""


def _check_feature_set(key: str, values: Mapping[str, Any], sample_rate: int) -> None:
    if "n_mfcc" in values and "n_mels" in values and values["n_mfcc"] > values["n_mels"]:
        raise EmotionError(f"{key}.n_mfcc={values['n_mfcc']}: at most n_mels, which is {values['n_mels']}, is allowed")
    if "f_min" in values and "f_max" in values and values["f_min"] >= values["f_max"]:
        raise EmotionError(
            f"{key}.f_min={values['f_min']:g}: less than f_max, which is {values['f_max']:g}, is allowed"
        )
    if values.get("f_min", 0) >= sample_rate / 2:
        raise EmotionError(
            f"{key}.f_min={values['f_min']:g}: less than half of data.sample_rate={sample_rate}, {sample_rate / 2:g}, "
            "is allowed"
        )
