"""The parts of a training for a notebook: a LightningModule and a data module, for a `Trainer` of one's own."""

import pytorch_lightning as pl
import torch

from emotion import warm_start
from emotion.composition import datamodule_of, kind_of
from emotion.config.compose import compose, config_directories
from emotion.config.schema import TrainConfig
from emotion.config.validate import validate
from emotion.data.datamodule import EmotionDataModule
from emotion.errors import EmotionError
from emotion.hydra_cli.command_line import explained
from emotion.hydra_cli.overrides import check_overrides, choose_branches, quote_paths
from emotion.pipelines.results import cache_features, fit_statistics
from emotion.training.build import build_module
from emotion.training.module import EmotionModule


def configure(*overrides: str) -> TrainConfig:
    """Return the configuration of a training, as `train.py` composes it.

    Example:
        >>> configure("data=demo", "model=audio_lstm", "optimizer.lr=0.001").model.name
        'audio_lstm'

    Args:
        *overrides: Choices and values, as on the command line.

    Raises:
        EmotionError: one is wrong.
    """
    given = list(overrides)
    directories = config_directories(given)
    typed = choose_branches(quote_paths(given), "train", directories)
    checked = check_overrides(typed, "train", directories)
    with explained(checked, "train", directories):
        composed = compose("train", typed)
    return validate(warm_start.merge_initial_runs(composed, typed)[0])


def build(config: TrainConfig) -> tuple[EmotionModule, EmotionDataModule]:
    """Build the model and the data of a configuration, ready for `Trainer.fit`.

    Recordings are prepared on first use, features are cached, and the statistics of train are computed. Epochs, device
    and loggers are those of your `Trainer`, which also selects the epoch; no run directory is written.

    Args:
        config: Configuration, see `configure`.

    Returns:
        The LightningModule and the LightningDataModule.

    Raises:
        EmotionError: the corpus is missing, or the model is not trained in epochs.
    """
    datamodule = datamodule_of(config)
    datamodule.setup()
    kind = kind_of(config, len(datamodule.outputs))
    if not kind.is_neural:
        raise EmotionError(f"model={config.model.name} is not trained in epochs; train it with emotion train")
    pl.seed_everything(config.seed, verbose=False)
    classifier = kind.build()
    fresh = warm_start.load_initial_weights(classifier, config, warm_start.initial_runs(config))
    cache_features(classifier, datamodule, torch.device("cpu"), training=True)
    fit_statistics(classifier, fresh, datamodule)
    module = build_module(classifier, datamodule, config.training, config.optimizer, config.scheduler, config.augment)
    return module, datamodule
