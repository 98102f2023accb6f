"""A finished run, ready to answer about the corpus on which it was trained."""

from pathlib import Path

from emotion import runs
from emotion.composition import datamodule_of, load_classifier
from emotion.config.schema import TrainConfig
from emotion.data.datamodule import EmotionDataModule
from emotion.models.base import Classifier


def reopen(run_dir: Path) -> tuple[TrainConfig, Classifier, EmotionDataModule]:
    """The configuration of a run, its best model, and its corpus, set up; sound is served as waveforms."""
    config = runs.load_config(runs.require(run_dir))
    classifier = load_classifier(run_dir, config)
    datamodule = datamodule_of(config, runs.load_recordings(run_dir))
    datamodule.setup()
    for front_end in classifier.front_ends:
        front_end.fit_speakers(datamodule.all_batches(), datamodule.num_speakers)
    return config, classifier, datamodule
