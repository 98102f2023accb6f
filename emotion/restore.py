"""Restore a finished run: its configuration, classifier and data."""

from pathlib import Path
from typing import NamedTuple

from emotion import runs
from emotion.composition import datamodule_of, load_classifier
from emotion.config.schema import TrainConfig
from emotion.data.datamodule import EmotionDataModule
from emotion.models.base import Classifier


class RestoredRun(NamedTuple):
    """A finished run, ready to predict the splits of its corpus.

    Attributes:
        config: Configuration of the run.
        classifier: Classifier with the weights of the best epoch, in evaluation mode.
        datamodule: Data module after `setup`; it serves audio as waveforms.
    """

    config: TrainConfig
    classifier: Classifier
    datamodule: EmotionDataModule


def restore_run(run_dir: Path) -> RestoredRun:
    """Restore a finished run with the splits it was trained on.

    Raises:
        EmotionError: `run_dir` is not a run directory, it is damaged, or its corpus is missing.
    """
    config = runs.load_config(runs.require(run_dir))
    classifier = load_classifier(run_dir, config)
    datamodule = datamodule_of(config, runs.load_recordings(run_dir))
    datamodule.setup()
    for front_end in classifier.front_ends:
        front_end.fit_speakers(datamodule.all_batches(), datamodule.num_speakers)
    return RestoredRun(config, classifier, datamodule)
