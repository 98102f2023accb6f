"""From typed configuration to a LightningModule."""

from collections.abc import Mapping

from emotion.augment.mixup import Mixup
from emotion.config.schema import OptimizerConfig, SchedulerConfig, TrainingConfig
from emotion.config.target import Target, instantiate
from emotion.data.datamodule import EmotionDataModule
from emotion.data.table import class_weights
from emotion.models.base import Classifier
from emotion.training.module import EmotionModule
from emotion.training.regression import RegressionModule


def build_module(
    classifier: Classifier,
    datamodule: EmotionDataModule,
    training: TrainingConfig,
    optimizer: OptimizerConfig,
    scheduler: SchedulerConfig,
    augment: Mapping[str, Target],
) -> EmotionModule:
    """Build the LightningModule that trains a classifier.

    Args:
        classifier: Changed in place.
        datamodule: Set up already.
        training: Loss.
        optimizer: Optimiser.
        scheduler: Learning-rate scheduler.
        augment: Augmentations by name, of which `Mixup` is applied to whole batches.
    """
    mixup = [target for target in augment.values() if issubclass(target.resolve(), Mixup)]
    mix = instantiate(mixup[0], Mixup) if mixup else None
    if datamodule.ratings:
        return RegressionModule(classifier, datamodule.ratings, optimizer, scheduler, mixup=mix, loss=training.loss)
    weights = class_weights(datamodule.table, len(datamodule.classes)) if training.class_weights else None
    return EmotionModule(classifier, datamodule.classes, optimizer, scheduler, weights, training.label_smoothing, mix)
