"""What TensorBoard shows of a finished run besides its curves."""

from pathlib import Path

import pandas as pd
import torch
from omegaconf import DictConfig
from torch.utils.tensorboard import SummaryWriter

from emotion.config import flat
from emotion.data import EmotionDataModule
from emotion.evaluation.figures import confusion_figure, features_figure
from emotion.features.front_end import AudioFrontEnd
from emotion.models.base import Classifier

_HYPERPARAMETERS = ("model", "features", "augment", "optimizer", "scheduler", "training")


def write_summary(
    run_dir: Path,
    config: DictConfig,
    classifier: Classifier,
    datamodule: EmotionDataModule,
    predictions: pd.DataFrame,
    figures: dict[str, float],
) -> None:
    """Add the confusion matrices, the features of one dev clip of each emotion, and the row of hyperparameters."""
    with SummaryWriter(str(run_dir / "tensorboard")) as writer:
        for split, rows in predictions.groupby("split"):
            figure = confusion_figure(rows, datamodule.classes, f"{split}, per cent of each true emotion")
            writer.add_figure(f"confusion_matrix/{split}", figure)
        for front_end in classifier.cpu().eval().front_ends:
            if isinstance(front_end, AudioFrontEnd):
                figure = _some_features(front_end, datamodule, "+".join(config.features.sets))
                writer.add_figure("features/dev", figure)
        row = {name: value for name, value in flat(config, *_HYPERPARAMETERS).items() if not name.endswith("_target_")}
        row |= {
            "data": config.data.name,
            "protocol": config.protocol.name,
            "fold": config.protocol.fold,
            "seed": config.seed,
            "batch_size": config.data.batch_size,
            "max_epochs": config.trainer.max_epochs,
        }
        final = {f"final/{key}": figures[key] for key in ("dev/uar", "dev/war", "test/uar", "test/war", "test/loss")}
        writer.add_hparams(row, final, run_name=".")


@torch.no_grad()
def _some_features(front_end: AudioFrontEnd, datamodule: EmotionDataModule, name: str):  # noqa: ANN202
    dataset = datamodule.dataset("dev")
    rows = [int((dataset.label == label).nonzero()[0]) for label in dataset.label.unique()]
    batch = dataset.__getitems__(rows)
    features, frames = front_end(batch)
    items = [
        (f"{datamodule.classes[label]}\n{recording}", item[:, :count].numpy())
        for label, recording, item, count in zip(batch["label"], batch["recording"], features, frames, strict=True)
    ]
    return features_figure(items, f"{name}, normalised, one dev clip of each emotion")
