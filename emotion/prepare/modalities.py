"""The modalities of a recording, and how each is prepared."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from emotion.prepare.faces import FaceOptions

MODALITIES = {"audio": "waveform", "face": "faces", "action_units": "action_units"}
"""The key of each modality in a batch."""


@dataclass(frozen=True)
class Audio:
    """Preparation of audio.

    Attributes:
        speech_only: Use only the parts that are speech, see `emotion.prepare.speech` (default: False).
    """

    speech_only: bool = False

    @classmethod
    def from_dict(cls, described: Mapping[str, Any] | None) -> "Audio":
        """Create from plain data."""
        return cls(**(described or {}))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for `from_dict`."""
        return asdict(self)


@dataclass(frozen=True)
class Faces:
    """Preparation of faces.

    Attributes:
        options: Options of detection and cropping.
        trim_db: Use frames only where the audio is less than this many decibels below its maximum; None for all.
        max_duration_s: Use frames only from the first so many seconds of that part; None for all.
    """

    options: FaceOptions
    trim_db: float | None = None
    max_duration_s: float | None = None

    @property
    def follow_audio(self) -> bool:
        """True if the frames are selected by the audio."""
        return self.trim_db is not None or self.max_duration_s is not None

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> "Faces":
        """Create from plain data with the keys of the configuration group `faces`."""
        rest = {key: value for key, value in described.items() if key not in ("trim_db", "max_duration_s")}
        return cls(FaceOptions(**rest), described["trim_db"], described["max_duration_s"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for `from_dict`."""
        return asdict(self.options) | {"trim_db": self.trim_db, "max_duration_s": self.max_duration_s}


@dataclass(frozen=True)
class ActionUnits:
    """Preparation of action units; see `emotion.prepare.action_units.read_action_units`.

    Attributes:
        table: CSV file, or folder of CSV files.
        columns: `intensity`, `presence`, or both.
        pooling: `mean` or `none`.
    """

    table: str | None
    columns: tuple[str, ...] = ("intensity", "presence")
    pooling: str = "mean"


Prepared = Mapping[str, Audio | Faces | ActionUnits]
"""The modalities of a model by name, and how each is prepared."""


def audio_of(modalities: Prepared) -> Audio:
    """Return how the audio of a model that takes it in is prepared."""
    return cast(Audio, modalities["audio"])


def faces_of(modalities: Prepared) -> Faces:
    """Return how the faces of a model that takes them in are prepared."""
    return cast(Faces, modalities["face"])


def action_units_of(modalities: Prepared) -> ActionUnits:
    """Return how the action units of a model that takes them in are prepared."""
    return cast(ActionUnits, modalities["action_units"])
