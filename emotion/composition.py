"""The composition root: from the configuration of a run to its data module and its model."""

from pathlib import Path
from typing import TYPE_CHECKING

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

    from emotion.data.datamodule import EmotionDataModule


def modalities_of(config: TrainConfig) -> Prepared:
    """Return what the model of a run takes in, and how it is prepared."""
    return prepared(config.model.modalities, config.faces, config.action_units)


def kind_of(config: TrainConfig, num_classes: int) -> ModelKind:
    """Return the kind of the model of a run."""
    inputs = InputConfig(config.features, config.action_units, config.augment, config.data.sample_rate)
    return KINDS[type(config.model)](config.model, inputs, num_classes, config.seed)


def datamodule_of(config: TrainConfig, splits: "pd.DataFrame | None" = None) -> "EmotionDataModule":
    """Return the data module of a run, not set up yet.

    Args:
        config: Configuration of the run.
        splits: Recordings of train, dev and test, with the columns of `splits.csv`, which replace the protocol's.
    """
    from emotion.data.build import build_datamodule

    only = kind_of(config, 1).only
    return build_datamodule(
        config.data, config.protocol, config.labels, modalities_of(config), config.seed, only, splits
    )


def load_classifier(run_dir: Path, config: TrainConfig, checkpoint: str = "best.ckpt") -> Classifier:
    """Rebuild the classifier of a run with the weights of one of its checkpoints.

    Args:
        run_dir: Directory of a finished run.
        config: Its configuration, see `runs.load_config`.
        checkpoint: Name of a file in `checkpoints/`.

    Raises:
        EmotionError: the checkpoint is missing, damaged, or of another model, or none can be built.
    """
    weights = runs.load_weights(run_dir, checkpoint)
    kind = kind_of(config, len(classes(config.labels)))
    with runs.explained_build(run_dir), bounded_tensors():
        classifier = kind.build()
    try:
        return kind.load(classifier, weights, run_dir / "checkpoints")
    except RuntimeError as error:
        raise EmotionError(
            f"{run_dir}/checkpoints/{checkpoint} is of another model than {run_dir}/config.yaml: {error_message(error)}"
        ) from error
