"""Name and version of a served model."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import emotion
from emotion.inference.shipped import DIRECTORY

_WEIGHTS = ("*/model.onnx", "checkpoints/best.*", "*.safetensors")
"""Files of weights in the folder of the shipped model, in a run directory, and in a folder of the Hub."""


class ModelVersion(NamedTuple):
    """Name and version of a model.

    Attributes:
        name: `shipped`, the name of its file or folder, or of a repository.
        version: Version of this package and the start of the SHA-256 of the weights, such as `0.3.0+83d501695fb5`; of
            a repository, its branch, tag or commit.
    """

    name: str
    version: str


def model_version(model: str | None, run: Path | None, revision: str | None) -> ModelVersion:
    """Return the name and the version of a model.

    Args:
        model: See `Predictor.from_pretrained`; None for a run, or the shipped model.
        run: Run directory, or None.
        revision: Branch, tag or commit of a repository, or None.
    """
    is_shipped = run is None and model in (None, "shipped")
    place = DIRECTORY if is_shipped else run or Path(model or "")
    if not place.exists():
        return ModelVersion(str(model), revision or "main")
    files = [place] if place.is_file() else sorted(file for pattern in _WEIGHTS for file in place.glob(pattern))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    name = "shipped" if is_shipped else place.resolve().name
    return ModelVersion(name, f"{emotion.__version__}+{digest.hexdigest()[:12]}")
