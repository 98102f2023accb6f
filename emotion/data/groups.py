"""Normalisation by groups of recordings: speakers and corpora."""

from collections.abc import Iterable, Iterator

import torch

from emotion.batch import Batch, select_items
from emotion.corpora.base import UNKNOWN_SPEAKER
from emotion.data.datamodule import EmotionDataModule
from emotion.errors import EmotionError, suggest
from emotion.features.normalization import GROUPS, FrontEnd
from emotion.protocols import SPLITS


def is_transductive(datamodule: EmotionDataModule, group: str | None, *splits: str) -> bool:
    """Return True if normalisation by a group uses statistics of recordings of `splits`.

    Args:
        datamodule: Data module after `setup`.
        group: `speaker`, `corpus` or None.
        *splits: The splits that are evaluated.
    """
    table = datamodule.table
    evaluated = table[table["split"].isin(splits)]
    without_train = ~evaluated["corpus_index"].isin(_trained_corpora(datamodule))
    return group == "speaker" or (group == "corpus" and bool(without_train.any()))


def fit_groups(datamodule: EmotionDataModule, front_ends: Iterable[FrontEnd]) -> None:
    """Compute the statistics of speakers and corpora that front ends normalise by.

    Args:
        datamodule: Data module after `setup`.
        front_ends: Changed in place; those that do not normalise by groups stay as they are.
    """
    for front_end in front_ends:
        if front_end.group:
            number = int(datamodule.table[f"{front_end.group}_index"].max()) + 1
            front_end.fit_groups(_batches(datamodule, front_end.group), number)


def adapt_to_groups(datamodule: EmotionDataModule, front_ends: Iterable[FrontEnd], split: str, group: str) -> None:
    """Normalise by the statistics of the speakers or corpora of a split, see `FrontEnd.adapt`.

    Args:
        datamodule: Data module after `setup`.
        front_ends: Changed in place; those that cannot be adapted stay as they are.
        split: The split that is evaluated.
        group: `speaker` or `corpus`.

    Raises:
        EmotionError: the group is unknown, the speaker of a recording is, or no front end can be adapted.
    """
    if group not in GROUPS:
        raise EmotionError(f"adapt={group}: {suggest(group, GROUPS)}")
    table = datamodule.table[datamodule.table["split"] == split]
    if group == "speaker" and (table["speaker"] == UNKNOWN_SPEAKER).any():
        raise EmotionError("adapt=speaker needs the speaker of every recording; use adapt=corpus")
    adaptable = [front_end for front_end in front_ends if front_end.is_adaptable]
    if not adaptable:
        raise EmotionError(f"adapt={group}: no statistics of other recordings normalise the features of this model")
    for front_end in adaptable:
        front_end.adapt(datamodule.batches(split), int(datamodule.table[f"{group}_index"].max()) + 1, group)


def _batches(datamodule: EmotionDataModule, group: str) -> Iterator[Batch]:
    """Yield what the statistics of groups are computed on: train if a corpus has it, for speakers everything."""
    if group == "speaker":
        yield from datamodule.all_batches()
        return
    trained = torch.tensor(_trained_corpora(datamodule))
    for split in SPLITS:
        if (datamodule.table["split"] == split).any():
            for batch in datamodule.batches(split):
                used = torch.isin(batch["corpus"], trained) == (split == "train")
                if used.any():
                    yield batch if used.all() else select_items(batch, used)


def _trained_corpora(datamodule: EmotionDataModule) -> list[int]:
    """Return the indices of the corpora with recordings in the train split."""
    table = datamodule.table
    return table.loc[table["split"] == "train", "corpus_index"].unique().tolist()
