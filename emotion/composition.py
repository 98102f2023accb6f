"""The composition root: from the configuration of a run to its data module and its model."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from emotion import runs
from emotion.config.schema import TrainConfig
from emotion.data.sources import prepared
from emotion.errors import EmotionError, error_message
from emotion.kinds import KINDS, ModelKind
from emotion.labels import classes
from emotion.models.base import Classifier
from emotion.models.bounds import bounded_tensors
from emotion.models.build import InputConfig
from emotion.prepare.modalities import Prepared

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from emotion.data.datamodule import EmotionDataModule


def modalities_of(config: TrainConfig) -> Prepared:
    """Return the modalities of the model of a run, with the configuration of their preparation."""
    return prepared(config.model.modalities, config.data.speech_only, config.faces, config.action_units)


def outputs_of(config: TrainConfig) -> tuple[str, ...]:
    """Return the names of the outputs of the model of a run: its labels, or its rated values."""
    return tuple(config.task.targets or ()) if config.task.is_regression else classes(config.labels)


def require_labels(config: TrainConfig, run_dir: Path) -> None:
    """Refuse a run that predicts ratings where emotions are needed.

    Raises:
        EmotionError: it does.
    """
    if config.task.is_regression:
        raise EmotionError(f"{run_dir} predicts {', '.join(outputs_of(config))}; name the run of a model of emotions")


def kind_of(config: TrainConfig, num_outputs: int) -> ModelKind:
    """Return the kind of the model of a run."""
    inputs = InputConfig(
        config.features,
        config.action_units,
        config.augment,
        config.data.sample_rate,
        num_outputs,
        config.seed,
        config.task.is_regression,
    )
    return KINDS[type(config.model)](config.model, inputs)


def datamodule_of(config: TrainConfig, splits: "pd.DataFrame | None" = None) -> "EmotionDataModule":
    """Return the data module of a run, not set up yet.

    Args:
        config: Configuration of the run.
        splits: Recordings of train, dev and test, with the columns of `splits.csv` (default: those of the protocol).
    """
    from emotion.data.build import build_datamodule

    label, modalities = config.model.train_label, modalities_of(config)
    return build_datamodule(
        config.data, config.protocol, config.labels, modalities, config.seed, label, splits, config.task
    )


def load_classifier(run_dir: Path, config: TrainConfig, checkpoint: str = "best.ckpt") -> Classifier:
    """Rebuild the classifier of a run with the weights of one of its checkpoints.

    Args:
        run_dir: Directory of a finished run.
        config: Its configuration, see `runs.load_config`.
        checkpoint: Name of a file in `checkpoints/`.

    Raises:
        EmotionError: the checkpoint is missing, damaged or of another model, or the model cannot be built.
    """
    weights, checkpoints = runs.load_weights(run_dir, checkpoint), run_dir / "checkpoints"
    return restore_classifier(config, weights, checkpoints, checkpoints / checkpoint, run_dir / "config.yaml")


def restore_classifier(
    config: TrainConfig, weights: dict[str, "Tensor"], estimators: Path, weights_file: Path, config_file: Path
) -> Classifier:
    """Rebuild a classifier from its configuration and its weights.

    Args:
        config: The configuration.
        weights: The weights by name.
        estimators: Folder of the files of its estimators.
        weights_file: File of the weights, for messages.
        config_file: File of the configuration, for messages.

    Raises:
        EmotionError: the model cannot be built, or the weights are of another model.
    """
    kind = kind_of(config, len(outputs_of(config)))
    with runs.explained_build(config_file), bounded_tensors():
        classifier = kind.build()
    try:
        return kind.load(classifier, weights, estimators)
    except RuntimeError as error:
        raise EmotionError(f"{weights_file} is of another model than {config_file}: {error_message(error)}") from error


class RestoredRun(NamedTuple):
    """A finished run, ready to predict the splits of its corpus.

    Attributes:
        config: Configuration of the run.
        classifier: Classifier with the weights of the best epoch, in evaluation mode.
        datamodule: Data module after `setup`; it serves audio as waveforms.
    """

    config: TrainConfig
    classifier: Classifier
    datamodule: "EmotionDataModule"


def restore_run(run_dir: Path) -> RestoredRun:
    """Restore a finished run with the splits it was trained on.

    Raises:
        EmotionError: `run_dir` is not a run directory, it is damaged, or its corpus is missing.
    """
    from emotion.data.groups import fit_groups

    config = runs.load_config(runs.require(run_dir))
    require_labels(config, run_dir)
    classifier = load_classifier(run_dir, config)
    datamodule = datamodule_of(config, runs.load_recordings(run_dir))
    datamodule.setup()
    fit_groups(datamodule, classifier.front_ends)
    return RestoredRun(config, classifier, datamodule)
