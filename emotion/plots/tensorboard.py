"""What TensorBoard shows of a finished run besides its curves."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf
from torch.utils.tensorboard import SummaryWriter

from emotion import runs
from emotion.config import key_of
from emotion.data.datamodule import EmotionDataModule
from emotion.data.dataset import Batch
from emotion.features.front_end import AudioFrontEnd
from emotion.models.base import Classifier
from emotion.plots.figures import confusion_figure, features_figure

_MOST, _THUMBNAIL = 1000, 32  # recordings in the projector, and the side of their pictures


def write_summary(
    run_dir: Path,
    config: DictConfig,
    classifier: Classifier,
    datamodule: EmotionDataModule,
    predictions: pd.DataFrame,
    figures: dict[str, float],
) -> None:
    """Add the confusion matrices, the features of one dev clip of each emotion, the embeddings of dev for the
    projector, and the row of hyperparameters.
    """
    with SummaryWriter(str(run_dir / "tensorboard")) as writer:
        for split, rows in predictions.groupby("split"):
            figure = confusion_figure(rows, datamodule.classes, f"{split}, per cent of each true emotion")
            writer.add_figure(f"pictures/confusion_matrix_{split}", figure)
        for front_end in classifier.cpu().eval().front_ends:
            if isinstance(front_end, AudioFrontEnd):
                figure = _some_features(front_end, datamodule, "+".join(config.features.sets))
                writer.add_figure("pictures/features_dev", figure)
        _add_embeddings(writer, classifier, datamodule)
        headline = ("dev/uar", "dev/war", "test/uar", "test/war", "test/loss")
        final = {f"final/{key}": figures[key] for key in headline if key in figures}
        writer.add_hparams(_hyperparameters(run_dir, config), final, run_name=".")


def _hyperparameters(run_dir: Path, config: DictConfig) -> dict[str, Any]:
    """What tells runs apart at a glance, and whatever was typed."""
    row = {
        "name": config.name,
        "model": config.model.name,
        "features": "+".join(config.features.sets),
        "augment": "+".join(config.augment) or "none",
        "data": config.data.name,
        "protocol": config.protocol.name,
        "fold": config.protocol.fold,
        "seed": config.seed,
        "batch_size": config.data.batch_size,
        "max_epochs": config.trainer.max_epochs,
        "learning_rate": config.optimizer.lr,
    }
    for key in map(key_of, runs.load_overrides(run_dir)):
        value = OmegaConf.select(config, key)
        if isinstance(value, str | int | float):
            row[key] = value
    return row


@torch.no_grad()
def _add_embeddings(writer: SummaryWriter, classifier: Classifier, datamodule: EmotionDataModule) -> None:
    """Where dev recordings lie in the space of embeddings, with emotion, speaker and a small picture of each."""
    dataset = datamodule.dataset("dev")
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), _MOST)).round().astype(int)).tolist()
    speakers = datamodule.table.loc[datamodule.table["split"] == "dev", "speaker"].to_numpy()
    embeddings, pictures = [], []
    for start in range(0, len(chosen), datamodule.batch_size):
        batch = dataset.__getitems__(chosen[start : start + datamodule.batch_size])
        embeddings.append(classifier.encoder(batch))
        pictures.append(_thumbnails(classifier, batch))
    told = [[datamodule.classes[dataset.label[row]], speakers[row], dataset.recordings[row]] for row in chosen]
    for before in Path(writer.log_dir).glob("0*/dev"):  # of a run that went on; they would be listed twice
        shutil.rmtree(before)
    (Path(writer.log_dir) / "projector_config.pbtxt").unlink(missing_ok=True)
    writer.add_embedding(
        torch.cat(embeddings), told, torch.cat(pictures), metadata_header=["emotion", "speaker", "recording"], tag="dev"
    )


def _thumbnails(classifier: Classifier, batch: Batch) -> torch.Tensor:
    """The middle face of each item, or else its features; shape (B, 3, 32, 32), in [0, 1]."""
    if "faces" in batch:
        middle = batch["face_mask"].sum(dim=1) // 2
        images = batch["faces"][torch.arange(len(middle)), middle].float() / 255
    else:
        features, _ = classifier.front_ends[0](batch)
        images = ((features[:, None] + 3) / 6).flip(2)  # low bands below
    small = torch.nn.functional.interpolate(images, size=(_THUMBNAIL, _THUMBNAIL), mode="area")
    return small.clamp(0, 1).expand(-1, 3, -1, -1)


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
