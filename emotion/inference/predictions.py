"""Predictions of recordings, and recordings without one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """The prediction of a recording.

    Attributes:
        name: Path or name of the recording.
        emotion: The most probable emotion.
        probabilities: Probability of each emotion, with a sum of 1.
        modalities: The modalities it is based on, such as `("audio", "face")`.
        notes: Why other modalities of the model are missing.
    """

    name: str
    emotion: str
    probabilities: dict[str, float]
    modalities: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """A recording that could not be predicted.

    Attributes:
        name: Path of the recording.
        reason: Reason, as a sentence.
    """

    name: str
    reason: str
