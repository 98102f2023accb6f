"""What a classifier says of every recording of a split, and the files that keep it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from emotion import metrics
from emotion.data.datamodule import EmotionDataModule
from emotion.data.dataset import Batch, on_device
from emotion.files import atomic_path
from emotion.models.base import Classifier

KEYS = ("split", "recording", "speaker", "emotion", "predicted")


def predict(
    classifier: Classifier,
    datamodule: EmotionDataModule,
    split: str,
    device: torch.device,
    change: Callable[[Batch], Batch] | None = None,
) -> pd.DataFrame:
    """Judge every recording of `split`, each once.

    Args:
        classifier: Is moved to `device`.
        datamodule: Already set up.
        split: Of which.
        device: Where it is computed.
        change: What happens to each batch before it is judged.

    Returns:
        One row a recording: `split`, `recording`, `speaker`, `emotion` (the true label), `predicted`, and a column of
        probabilities for each label, named after it.
    """
    classifier = classifier.to(device)
    batches = map(change, datamodule.batches(split)) if change else datamodule.batches(split)
    probabilities = [classifier.probabilities(on_device(batch, device)).cpu() for batch in batches]
    rows = datamodule.table[datamodule.table["split"] == split]
    classes = np.array(datamodule.classes)
    scores = torch.cat(probabilities).numpy()
    table = rows[["split", "recording", "speaker"]].assign(
        emotion=classes[rows["label"]], predicted=classes[scores.argmax(axis=1)]
    )
    return table.join(pd.DataFrame(scores, columns=classes, index=table.index)).reset_index(drop=True)


_LENGTHS = {"sound": ("waveform_length", "frames"), "faces": ("face_mask",), "action_units": ("action_unit_frames",)}


def without(batch: Batch, modality: str) -> Batch:
    """The batch as if its recordings lacked `modality`."""
    return batch | {name: torch.zeros_like(batch[name]) for name in _LENGTHS[modality] if name in batch}


def figures(predictions: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, float]:
    """The figures of a table of predictions, keyed `<split>/<figure>`; see `metrics.summary`.

    Where the recordings are of several corpora, `<split>/<corpus>/<figure>` as well.
    """
    corpus = corpus_of(predictions)
    result = {}
    for split, rows in predictions.groupby("split", sort=True):
        parts = {"": rows}
        if corpus[rows.index].nunique() > 1:
            parts |= {f"{name}/": part for name, part in rows.groupby(corpus[rows.index])}
        for prefix, part in parts.items():
            result |= {f"{split}/{prefix}{key}": value for key, value in _summary(part, classes).items()}
    return result


def corpus_of(predictions: pd.DataFrame) -> pd.Series:
    """The corpus of each recording."""
    return predictions["recording"].str.split("/").str[0]


def _summary(rows: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, float]:
    index = {label: number for number, label in enumerate(classes)}
    return metrics.summary(rows["emotion"].map(index).to_numpy(), rows[list(classes)].to_numpy(), classes)


def write_predictions(path: Path, predictions: pd.DataFrame) -> None:
    """Write `predictions.csv`; probabilities with six decimals."""
    with atomic_path(path) as temporary:
        predictions.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
