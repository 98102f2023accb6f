"""TensorBoard summary of a finished run: confusion matrices, features, embeddings, hyperparameters."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from torch.utils.tensorboard import SummaryWriter

from emotion import runs
from emotion.batch import Batch, get_faces
from emotion.data.datamodule import EmotionDataModule
from emotion.data.dataset import RecordingDataset
from emotion.features.front_end import AudioFrontEnd
from emotion.models.base import Classifier
from emotion.plots.metrics import plot_confusion_matrix, plot_ratings
from emotion.plots.recording import plot_features

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_EMBEDDINGS = 1000
_THUMBNAIL_SIZE = 32  # pixels
_HEADLINE = ("dev/uar", "dev/war", "test/uar", "test/war", "test/loss", "dev/ccc", "dev/mse", "test/ccc", "test/mse")
_OF_EACH_EMOTION = "one dev recording of each emotion"
_EXAMPLES = 6  # recordings with ratings whose features are shown


def write_summary(
    run_dir: Path,
    config: DictConfig,
    classifier: Classifier,
    datamodule: EmotionDataModule,
    predictions: pd.DataFrame,
    metrics: dict[str, float],
) -> None:
    """Write the TensorBoard summary of a finished run.

    It has the confusion matrix (or the ratings) of each split, the features of one dev recording of each emotion (or of
    some recordings), the embeddings of dev for the projector, and the hyperparameters with the final metrics.

    Args:
        run_dir: Directory of the run.
        config: Configuration of the run.
        classifier: Classifier; it is moved to the CPU.
        datamodule: Data module after `setup`.
        predictions: Predictions of the splits.
        metrics: Metrics by key, as in `metrics.json`.
    """
    with SummaryWriter(str(run_dir / "tensorboard")) as writer:
        for key, figure in result_figures(predictions, datamodule).items():
            writer.add_figure(key, figure)
        for front_end in classifier.cpu().eval().front_ends:
            if isinstance(front_end, AudioFrontEnd):
                figure = _plot_dev_features(front_end, datamodule, "+".join(config.features.sets))
                writer.add_figure("figures/features_dev", figure)
        _add_embeddings(writer, classifier, datamodule)
        writer.add_hparams(runs.hyperparameters(run_dir, config), final_metrics(metrics), run_name=".")


def result_figures(predictions: pd.DataFrame, datamodule: EmotionDataModule) -> dict[str, "Figure"]:
    """Return the confusion matrix, or the ratings, of each split, by the key under which loggers show it."""
    splits = predictions.groupby("split")
    if datamodule.ratings:
        return {
            f"figures/ratings_{split}": plot_ratings(rows, datamodule.ratings, str(split)) for split, rows in splits
        }
    return {
        f"figures/confusion_matrix_{split}": plot_confusion_matrix(rows, datamodule.classes, str(split))
        for split, rows in splits
    }


def final_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the main metrics of a finished run, by the key under which loggers show them."""
    return {f"final/{key}": metrics[key] for key in _HEADLINE if key in metrics}


@torch.no_grad()
def _add_embeddings(writer: SummaryWriter, classifier: Classifier, datamodule: EmotionDataModule) -> None:
    """Add the embeddings of dev recordings, with emotion, speaker and thumbnail."""
    dataset = datamodule.dataset("dev")
    count = min(len(dataset), _MAX_EMBEDDINGS)
    indices = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int)).tolist()
    speakers = datamodule.table.loc[datamodule.table["split"] == "dev", "speaker"].to_numpy()
    embeddings, thumbnails = [], []
    for start in range(0, len(indices), datamodule.batch_size):
        batch = dataset.__getitems__(indices[start : start + datamodule.batch_size])
        embeddings.append(classifier.encoder(batch))
        thumbnails.append(_thumbnails(classifier, batch))
    names = _names(datamodule, dataset, indices)
    metadata = [[*own, speakers[i], dataset.recordings[i]] for own, i in zip(names, indices, strict=True)]
    for before in Path(writer.log_dir).glob("0*/dev"):  # of a resumed run, which would be listed twice
        shutil.rmtree(before)
    (Path(writer.log_dir) / "projector_config.pbtxt").unlink(missing_ok=True)
    header = [*(datamodule.ratings or ("emotion",)), "speaker", "recording"]
    writer.add_embedding(torch.cat(embeddings), metadata, torch.cat(thumbnails), metadata_header=header, tag="dev")


def _names(datamodule: EmotionDataModule, dataset: RecordingDataset, indices: Sequence[int]) -> list[list[str]]:
    """Return the emotion, or the ratings, of items as text."""
    if datamodule.ratings and dataset.targets is not None:
        return [[f"{value:.2f}" for value in dataset.targets[i].tolist()] for i in indices]
    return [[datamodule.classes[dataset.label[i]]] for i in indices]


def _thumbnails(classifier: Classifier, batch: Batch) -> torch.Tensor:
    """Return the middle face of each recording, or else its features, shape (B, 3, 32, 32), in [0, 1]."""
    if "faces" in batch:
        faces, mask = get_faces(batch)
        middle = mask.sum(dim=1) // 2
        images = faces[torch.arange(len(middle)), middle].float() / 255
    else:
        features, _ = classifier.front_ends[0](batch)
        images = ((features[:, None] + 3) / 6).flip(2)  # low frequencies at the bottom
    small = torch.nn.functional.interpolate(images, size=(_THUMBNAIL_SIZE, _THUMBNAIL_SIZE), mode="area")
    return small.clamp(0, 1).expand(-1, 3, -1, -1)


@torch.no_grad()
def _plot_dev_features(front_end: AudioFrontEnd, datamodule: EmotionDataModule, name: str) -> "Figure":
    dataset = datamodule.dataset("dev")
    if datamodule.ratings:
        indices = list(range(min(_EXAMPLES, len(dataset))))
    else:
        indices = [int((dataset.label == label).nonzero()[0]) for label in dataset.label.unique()]
    batch = dataset.__getitems__(indices)
    features, frames = front_end(batch)
    clips = [
        (f"{', '.join(own)}\n{recording}", item[:, :count].numpy())
        for own, recording, item, count in zip(
            _names(datamodule, dataset, indices), batch["recording"], features, frames, strict=True
        )
    ]
    which = f"dev recordings with {', '.join(datamodule.ratings)}" if datamodule.ratings else _OF_EACH_EMOTION
    return plot_features(clips, f"{name} (normalised), {which}")
