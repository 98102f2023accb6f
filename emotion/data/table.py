"""The table of recordings of a data module: splits, class indices, and statistics of classes."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from emotion.labels import FROM_DATA

log = logging.getLogger(__name__)


def join_splits(recordings: pd.DataFrame, splits: pd.DataFrame, channel: str, train_channel: str) -> pd.DataFrame:
    """Return the recordings of the splits that have the channel of their split, with the column `split`.

    Args:
        recordings: Table of the corpus.
        splits: Columns `recording` and `split`.
        channel: Channel of dev and test: `speech`, `song` or `both`.
        train_channel: Channel of train.
    """
    table = recordings.merge(splits[["recording", "split"]], on="recording")
    expected = np.where(table["split"] == "train", train_channel, channel)
    return table[(expected == "both") | (table["channel"] == expected)]


def add_labels(
    table: pd.DataFrame,
    labels: Mapping[str, str],
    classes: Sequence[str],
    scheme: str | Sequence[str],
    train_label: str | None = None,
) -> pd.DataFrame:
    """Return the recordings that have a label, with the columns `label` (class index), `speaker_index`, `corpus_index`.

    Args:
        table: Table as returned by `join_splits`.
        labels: Label by emotion.
        classes: Labels in the order of their indices.
        scheme: Name of the label scheme, for the report of recordings without a label.
        train_label: Label to which the train split is restricted, or None.
    """
    is_labelled = table["emotion"].isin(labels)
    _report_unlabelled(table.loc[~is_labelled, "emotion"], scheme)
    names = table["emotion"].map(labels)
    kept = is_labelled & ((table["split"] != "train") | (names == train_label) if train_label else True)
    index = {label: number for number, label in enumerate(classes)}
    return _indexed(table[kept].assign(label=names[kept].map(index)))


def _indexed(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the columns `speaker_index` and `corpus_index`."""
    table = table.reset_index(drop=True)
    table["speaker_index"] = pd.factorize(table["speaker"], sort=True)[0]
    table["corpus_index"] = pd.factorize(corpus_of(table), sort=True)[0]
    return table


def corpus_of(table: pd.DataFrame) -> pd.Series:
    """Return the corpus of each recording: the first part of its key."""
    return table["recording"].str.split("/").str[0]


def _report_unlabelled(emotions: pd.Series, scheme: str | Sequence[str]) -> None:
    if emotions.empty:
        return
    counts = ", ".join(f"{count:,} {emotion}" for emotion, count in emotions.value_counts().items())
    log.warning(
        "%s recordings are skipped, since labels=%s has no label for their emotions (%s); labels=%s has all",
        f"{len(emotions):,}",
        scheme,
        counts,
        FROM_DATA,
    )


def soft_targets(
    table: pd.DataFrame, distributions: pd.DataFrame, labels: Mapping[str, str], classes: Sequence[str]
) -> tuple[pd.DataFrame, torch.Tensor]:
    """Return the recordings with votes for a class, and the fraction of each class in the votes of annotators.

    Args:
        table: Table as returned by `add_labels`.
        distributions: Votes by recording (rows) and emotion (columns).
        labels: Label by emotion.
        classes: Labels in the order of the columns of the result.

    Returns:
        The table, and the fractions in its order, shape (n_recordings, num_classes), float32.
    """
    votes = distributions.reindex(table["recording"])[[emotion for emotion in distributions if emotion in labels]]
    by_label = votes.T.groupby(labels.get).sum().T.reindex(columns=list(classes), fill_value=0.0)
    total = by_label.sum(axis=1).to_numpy()
    if not total.all():
        log.warning("%s recordings without votes are skipped", f"{(total == 0).sum():,}")
    shares = by_label.to_numpy()[total > 0] / total[total > 0, None]
    return table[total > 0].reset_index(drop=True), torch.tensor(shares.astype(np.float32))


def add_ratings(
    table: pd.DataFrame, ratings: pd.DataFrame, targets: Sequence[str]
) -> tuple[pd.DataFrame, torch.Tensor]:
    """Return the recordings that have a rating, with the columns of `add_labels`, and their ratings.

    Args:
        table: Table as returned by `join_splits`.
        ratings: Table as returned by `Corpus.ratings`.
        targets: Columns of `ratings`.

    Returns:
        The table, in which `label` is 0 everywhere, and the ratings in its order, shape (n_recordings, n_targets),
        float32, NaN where unknown.
    """
    values = ratings.reindex(table["recording"])[list(targets)].to_numpy(np.float32)
    is_rated = ~np.isnan(values).all(axis=1)
    if not is_rated.all():
        log.warning("%s recordings without a rating are skipped", f"{(~is_rated).sum():,}")
    return _indexed(table[is_rated].assign(label=0)), torch.from_numpy(values[is_rated])


def known_classes(table: pd.DataFrame, num_classes: int) -> torch.Tensor | None:
    """Return the classes that occur in the train split of each corpus, shape (n_corpora, num_classes), bool.

    Classes that occur in no corpus count as known to all, and all classes as known to a corpus without a train split.

    Args:
        table: Table as returned by `add_labels`.
        num_classes: Number of classes.

    Returns:
        The mask, or None if all corpora know all classes.
    """
    train = table[table["split"] == "train"]
    known = np.zeros((table["corpus_index"].max() + 1, num_classes), bool)
    known[train["corpus_index"], train["label"]] = True
    known |= ~known.any(axis=0)
    known |= ~np.isin(np.arange(len(known)), train["corpus_index"])[:, None]
    return None if known.all() else torch.from_numpy(known)


def sampling_weights(table: pd.DataFrame, temperature: float) -> np.ndarray | None:
    """Return the relative frequency at which each recording of the train split is sampled, shape (n_recordings,).

    The probability of each class of each corpus is proportional to its number of recordings to the power
    1 / temperature (Conneau et al., 2020, https://arxiv.org/abs/1911.02116, for languages).

    Args:
        table: Table as returned by `add_labels`.
        temperature: 1 for each recording equally often, infinity for each class of each corpus equally often.

    Returns:
        Weights with mean 1, or None if all are equal.
    """
    if temperature == 1:
        return None
    train = table[table["split"] == "train"]
    size = train.groupby(["corpus_index", "label"])["recording"].transform("size").to_numpy(np.float64)
    weights = size ** (1 / temperature - 1)
    return weights / weights.mean()


def class_weights(table: pd.DataFrame, num_classes: int) -> torch.Tensor:
    """Return weights that give all classes of the train split the same total, shape (num_classes,); 0 if absent."""
    labels = torch.tensor(table.loc[table["split"] == "train", "label"].to_numpy())
    counts = torch.bincount(labels, minlength=num_classes).float()
    return torch.where(counts > 0, len(labels) / ((counts > 0).sum() * counts), 0.0)


def recordings_per_class(table: pd.DataFrame, split: str, classes: Sequence[str]) -> dict[str, int]:
    """Return the number of recordings of each class in a split, in the order of `classes`."""
    counts = table.loc[table["split"] == split, "label"].value_counts()
    return {name: int(counts.get(index, 0)) for index, name in enumerate(classes)}
