"""Train, honestly evaluate and use models that recognise emotion in recordings of people."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emotion.inference import Predictor

__version__ = "0.3.0"


def from_pretrained(source: str | Path, revision: str | None = None, device: str = "cpu") -> "Predictor":
    """Load a model by its place, see `emotion.inference.Predictor.from_pretrained`."""
    from emotion.inference import Predictor

    return Predictor.from_pretrained(source, revision, device)
