"""Predictions of recordings, and recordings without one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

NO_SPEECH = "no speech"
"""The value of `Prediction.emotion` if there is no speech, and no face, in a recording."""
UNCERTAIN = "uncertain"
"""The value of `Prediction.emotion` if no emotion is as probable as required."""


@dataclass(frozen=True)
class Prediction:
    """The prediction of a recording.

    Attributes:
        name: Path or name of the recording.
        emotion: The most probable emotion, `UNCERTAIN` or `NO_SPEECH`; empty if the model predicts ratings.
        probabilities: Probability of each emotion, with a sum of 1; empty if there is no speech.
        modalities: The modalities it is based on, such as `("audio", "face")`; empty if there is no speech.
        notes: Why other modalities of the model are missing.
        distance: Mean square of the standardised features, which is 1 on average over the training recordings; None if
            the model has none. Sounds other than speech are far away.
        adapted_to: Group of recordings whose statistics normalised the features, or None. The prediction then depends
            on the other recordings of the group.
        ratings: Rated values, such as valence, by name; empty if the model predicts emotions.
    """

    name: str
    emotion: str
    probabilities: dict[str, float]
    modalities: tuple[str, ...]
    notes: tuple[str, ...] = ()
    distance: float | None = None
    adapted_to: str | None = None
    ratings: Mapping[str, float] = field(default_factory=dict)

    @property
    def confidence(self) -> float | None:
        """The largest probability; None if there is none."""
        return max(self.probabilities.values(), default=None)


@dataclass(frozen=True)
class Problem:
    """A recording that could not be predicted.

    Attributes:
        name: Path of the recording.
        reason: Reason, as a sentence.
    """

    name: str
    reason: str
