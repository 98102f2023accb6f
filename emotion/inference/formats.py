"""The formats of `emotion export`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from emotion.config.compose import DIRECTORY, choices
from emotion.config.target import Target, instantiate
from emotion.errors import EmotionError, suggest


@dataclass(frozen=True)
class ExportReport:
    """Maximum difference between probabilities of the exported and the original model, and number of recordings."""

    difference: float
    recordings: int


class ExportFormat(ABC):
    """Base class of the formats of `emotion export`; `conf/export/NAME.yaml` names one.

    Attributes:
        output: Default path.
        is_file: False if the path is a directory.
    """

    output: str
    is_file = True

    @abstractmethod
    def export(self, run_dir: Path, path: Path, files: Sequence[str] = ()) -> ExportReport | None:
        """Write the best model of a finished run.

        Args:
            run_dir: Directory of a finished run.
            path: Path of the file or directory to write.
            files: Recordings, folders or patterns on which the file is checked (default: recordings of the run's dev
                split).

        Returns:
            The result of the check; None for formats without a check.

        Raises:
            EmotionError: the model cannot be exported.
        """


def load_format(name: str, directories: Sequence[Path] = (DIRECTORY,)) -> ExportFormat:
    """Build the format of a YAML file in `export/`.

    Args:
        name: Name of the file, such as `onnx`.
        directories: Directories of YAML files, see `emotion.config.compose.config_directories`.

    Raises:
        EmotionError: there is no such format, or its class is not allowed.
    """
    known = choices("export", directories)
    if name not in known:
        raise EmotionError(f"unknown format {name}: {suggest(name, known)}")
    node = OmegaConf.to_container(OmegaConf.load(known[name]), resolve=True)
    return instantiate(Target.parse(f"export.{name}", node), ExportFormat)
