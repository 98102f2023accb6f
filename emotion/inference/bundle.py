"""Bundles: run directories with the files that prediction needs, and weights in half precision."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from emotion import runs
from emotion.errors import EmotionError
from emotion.inference.formats import ExportFormat
from emotion.training.callbacks import AtomicCheckpoints

_KEPT = (
    "config.yaml",
    "overrides.yaml",
    "splits.csv",
    "metrics.json",
    "robustness.csv",
    "evaluations/*/metrics.json",
    "checkpoints/*.skops",
)


def bundle(run_dir: Path, directory: Path) -> None:
    """Copy the files of a finished run that prediction needs, with weights in half precision.

    The result is a run directory for `emotion predict --run`, `evaluate.py` and `emotion export`.

    Args:
        run_dir: Directory of the run.
        directory: New or empty directory.

    Raises:
        EmotionError: the run is not finished, or `directory` is not empty.
    """
    if directory.exists() and any(directory.iterdir()):
        raise EmotionError(f"{directory} is not empty; choose another folder")
    weights = runs.load_weights(run_dir)
    for pattern in _KEPT:
        for file in run_dir.glob(pattern):
            target = directory / file.relative_to(run_dir)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    state = {
        f"classifier.{name}": value.half() if value.is_floating_point() else value for name, value in weights.items()
    }
    AtomicCheckpoints().save_checkpoint({"state_dict": state}, directory / "checkpoints" / "best.ckpt")


class Bundle(ExportFormat):
    """A small run directory, see `bundle`."""

    output = "bundle"
    is_file = False

    def export(self, run_dir: Path, path: Path, files: Sequence[str] = ()) -> None:
        """See `ExportFormat.export`."""
        bundle(run_dir, path)
