"""What a model may take in of a recording, and how each is made ready."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from emotion.prepare.faces import FaceOptions

MODALITIES = {"audio": "waveform", "face": "faces", "action_units": "action_units"}
"""From what a model takes in to what it is called in a batch."""


@dataclass(frozen=True)
class Faces:
    """How faces are prepared.

    Attributes:
        options: How they are cut out.
        trim_db: Frames are taken from where the sound is less than this many decibels below its loudest; None takes
            them from the whole clip.
        seconds: And from the first so many seconds of that; None from all of it.
    """

    options: FaceOptions
    trim_db: float | None = None
    seconds: float | None = None

    @property
    def follow_sound(self) -> bool:
        """Whether the sound tells which frames are looked at."""
        return self.trim_db is not None or self.seconds is not None

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> "Faces":
        """From plain data, as the configuration group `faces` has it."""
        rest = {key: value for key, value in described.items() if key not in ("trim_db", "seconds")}
        return cls(FaceOptions(**rest), described["trim_db"], described["seconds"])

    def to_dict(self) -> dict[str, Any]:
        """The reverse of `from_dict`."""
        return asdict(self.options) | {"trim_db": self.trim_db, "seconds": self.seconds}


@dataclass(frozen=True)
class ActionUnits:
    """Where action units are read from, and how; see `emotion.prepare.action_units.read_action_units`.

    Attributes:
        table: A CSV or a folder of them.
        kinds: Of `intensity` and `presence`.
        over_time: `mean` or `frames`.
    """

    table: str | None
    kinds: tuple[str, ...] = ("intensity", "presence")
    over_time: str = "mean"


Prepared = Mapping[str, Faces | ActionUnits | None]
"""What a model takes in, of `MODALITIES`, and how it is prepared."""
