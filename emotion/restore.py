"""A finished run, ready to answer about the corpus on which it was trained."""

from pathlib import Path

from omegaconf import DictConfig

from emotion import runs
from emotion.data.build import build_datamodule
from emotion.data.datamodule import EmotionDataModule
from emotion.labels import classes
from emotion.models.base import Classifier


def reopen(run_dir: Path) -> tuple[DictConfig, Classifier, EmotionDataModule]:
    """The configuration of a run, its best model, and its corpus, set up; sound is served as waveforms."""
    config = runs.load_config(runs.require(run_dir))
    classifier = runs.load_classifier(run_dir, config, len(classes(config.labels)))
    datamodule = build_datamodule(config, runs.load_sides(run_dir))
    datamodule.setup()
    for front_end in classifier.front_ends:
        front_end.fit_speakers(datamodule.all_batches(), datamodule.num_speakers)
    return config, classifier, datamodule
