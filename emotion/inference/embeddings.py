"""Embeddings of recordings: the input of the head of a model."""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from emotion import runs
from emotion.errors import EmotionError, suggest
from emotion.files import write_bytes
from emotion.inference.networks import network_of
from emotion.inference.output import encodable
from emotion.inference.predictions import Problem
from emotion.inference.predictor import Predictor, batches
from emotion.inference.shipped import DIRECTORY
from emotion.models.estimator import FILE

SHIPPED_RUN = DIRECTORY / "audio"
"""The run whose embeddings are used by default, the audio part of the model that comes with the package."""


@dataclass(frozen=True)
class Embedding:
    """The embedding of a recording.

    Attributes:
        name: Path of the recording.
        values: Shape (D,), float32.
    """

    name: str
    values: np.ndarray


class Embedder:
    """Compute embeddings with a finished run.

    Args:
        run_dir: Run directory (default: `SHIPPED_RUN`).
        device: `cpu` (default) or `cuda`.

    Attributes:
        model: Name of the run, see `name=` of `train.py`.
        version: Version of this package that wrote the run, and the start of the SHA-256 of its weights, such as
            `0.3.0+9f86d081884c`.

    Raises:
        EmotionError: `run_dir` is not a finished run.
    """

    def __init__(self, run_dir: str | Path = SHIPPED_RUN, device: str = "cpu") -> None:
        run_dir = Path(run_dir)
        self._network = network_of(run_dir, device)
        self._predictor = Predictor(self._network)
        self.model, self.version = str(runs.load_config(run_dir).name), _version(run_dir)

    def embed(self, paths: Iterable[str | Path]) -> Iterator[Embedding | Problem]:
        """Embed files in batches, and yield an embedding or a problem for each, in their order.

        A recording without speech is a problem for a model of speech.
        """
        for batch in self._predictor.read_batches(paths):
            usable = (one for one in batch if not isinstance(one, Problem) and one.arrays)
            values = (row for small in batches(usable) for row in self._network.embed(small))
            for one in batch:
                if isinstance(one, Problem):
                    yield one
                elif one.arrays:
                    yield Embedding(one.name, next(values))
                else:
                    yield Problem(one.name, "; ".join(one.notes) or "there is no speech")


def _version(run_dir: Path) -> str:
    digest = hashlib.sha256()
    for name in ("best.ckpt", FILE):
        if (file := run_dir / "checkpoints" / name).is_file():
            digest.update(file.read_bytes())
    return f"{runs.load_metrics(run_dir).get('version', 'unknown')}+{digest.hexdigest()[:12]}"


def to_frame(embeddings: Sequence[Embedding], model: str, version: str) -> pd.DataFrame:
    """Return a table with the columns `name`, `embedding`, `model` and `version`.

    Args:
        embeddings: Embeddings of one model.
        model: See `Embedder.model`.
        version: See `Embedder.version`.
    """
    columns = {
        "name": [encodable(embedding.name) for embedding in embeddings],
        "embedding": [embedding.values for embedding in embeddings],
    }
    return pd.DataFrame(columns).assign(model=model, version=version)


def write_parquet(table: pd.DataFrame, path: Path) -> list[Path]:
    """Write the table of `to_frame` as Parquet, with embeddings as lists of float32; return the written files."""
    file = io.BytesIO()
    table.to_parquet(file, engine="pyarrow", index=False)
    write_bytes(path, file.getvalue())
    return [path]


def write_npy(table: pd.DataFrame, path: Path) -> list[Path]:
    """Write the embeddings of `to_frame`, shape (N, D), float32, and a CSV of the other columns beside them.

    Returns:
        The written files.
    """
    file = io.BytesIO()
    np.save(file, np.stack(list(table["embedding"])).astype(np.float32), allow_pickle=False)
    write_bytes(path, file.getvalue())
    rest = table.drop(columns="embedding").to_csv(index=False, lineterminator="\n")
    write_bytes(path.with_suffix(".csv"), rest.encode())
    return [path, path.with_suffix(".csv")]


FORMATS: dict[str, Callable[[pd.DataFrame, Path], list[Path]]] = {"parquet": write_parquet, "npy": write_npy}
"""The formats of `emotion embed`, whose names are their suffixes."""


def choose_format(name: str | None, output: Path) -> str:
    """Return the name of the format: `name`, else the suffix of the output.

    Raises:
        EmotionError: there is no such format, its package is missing, or a NumPy array has another suffix.
    """
    chosen = output.suffix.lower().removeprefix(".") if name is None else name
    if chosen not in FORMATS:
        if name is None:
            raise EmotionError(f"{output}: its suffix names no format; use .parquet or .npy, or --format")
        raise EmotionError(f"unknown format {name}: {suggest(name, FORMATS)}")
    if chosen == "npy" and output.suffix.lower() != ".npy":
        raise EmotionError(f"{output}: the suffix of a NumPy array must be .npy, since a .csv is written beside it")
    if chosen == "parquet" and find_spec("pyarrow") is None:
        raise EmotionError("--format parquet needs pyarrow: pip install 'emotion[parquet]'; or use --format npy")
    return chosen


def outputs_of(form: str, output: Path) -> list[Path]:
    """Return the files that a format writes."""
    return [output, output.with_suffix(".csv")] if form == "npy" else [output]
