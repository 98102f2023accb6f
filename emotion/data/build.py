"""From a configuration to a data module."""

import logging
from pathlib import Path
from typing import cast

import pandas as pd

from emotion import protocols
from emotion.config.schema import DataConfig, ProtocolConfig, TaskConfig
from emotion.config.target import instantiate
from emotion.corpora import Corpus
from emotion.corpora.copies import find_copies
from emotion.data.datamodule import EmotionDataModule
from emotion.errors import counted
from emotion.labels import EMOTIONS, FROM_DATA, emotions_in, scheme
from emotion.prepare.modalities import Prepared
from emotion.protocols.definitions import OF_ANY_CORPUS, OF_SEVERAL
from emotion.protocols.generate import from_own_splits, from_saved_splits, make

log = logging.getLogger(__name__)


def build_datamodule(
    data: DataConfig,
    protocol: ProtocolConfig,
    labels: str | list[str],
    modalities: Prepared,
    seed: int,
    train_label: str | None = None,
    splits: pd.DataFrame | None = None,
    task: TaskConfig | None = None,
) -> EmotionDataModule:
    """Build the data module; no audio is read yet.

    Args:
        data: The corpus.
        protocol: Its splits.
        labels: Label scheme, list of emotions, or `from_data`.
        modalities: Modalities of the model, and how they are prepared.
        seed: Seed of the order in which the train split is visited.
        train_label: Label to which the train split is restricted, or None.
        splits: The recordings of train, dev and test of a run, with the columns of its `splits.csv`, which replace
            those of the protocol.
        task: What is predicted (default: labels).
    """
    task = task or TaskConfig()
    corpus = instantiate(data.corpus, Corpus, on_error=data.on_error, needs_emotions=not task.is_regression)
    if data.download:
        from emotion.downloads import ensure_downloaded

        ensure_downloaded(corpus, data.root, data.channel, needs_video="face" in modalities)
    loaded = _protocol(corpus, data, protocol, labels, splits)
    ratings: list[str] = []
    if task.is_regression:
        ratings = list(map(str, corpus.ratings(corpus.locate(data.root), task.targets)))
        labels = list(EMOTIONS)  # of which nothing depends
    elif labels == FROM_DATA:
        labels = _labels_from_data(corpus, data, loaded.table)
    return EmotionDataModule(
        corpus,
        loaded,
        labels,
        data.root,
        data.channel,
        data.sample_rate,
        data.batch_size,
        seed,
        data.on_error,
        data.train_channel,
        modalities,
        train_label,
        data.sampling_temperature,
        task.name == "distribution",
        ratings,
    )


def _labels_from_data(corpus: Corpus, data: DataConfig, splits: pd.DataFrame) -> list[str]:
    """Return the emotions of the train split, or of all splits if it is empty."""
    table = corpus.scan(corpus.locate(data.root), data.channel)
    trained = splits.loc[splits["split"] == "train", "recording"]
    return emotions_in(table.loc[table["recording"].isin(trained if len(trained) else splits["recording"]), "emotion"])


def _protocol(
    corpus: Corpus,
    data: DataConfig,
    settings: ProtocolConfig,
    labels: str | list[str],
    splits: pd.DataFrame | None,
) -> protocols.Protocol:
    """Load the committed CSV files, or divide the existing recordings if there are none."""
    members = tuple(member.name for member in corpus.members)
    committed, shares = protocols.available(corpus.name, members), settings.dev_shares_speakers
    if splits is not None:
        if not committed:
            _report_added(corpus, data, labels, splits)
        return from_saved_splits(
            settings.name, corpus.name, splits, settings.fold, settings.speaker_independent, shares
        )
    if committed and not (members and settings.name in OF_SEVERAL):
        return protocols.load(corpus.name, settings.name, settings.fold, settings.speaker_independent, shares, members)
    directory = corpus.locate(data.root)
    rows = cast(list[dict[str, str]], corpus.scan(directory).to_dict("records"))
    if settings.name == corpus.own_protocol:
        own, folds = corpus.own_splits(directory, settings.fold)
        return from_own_splits(settings.name, rows, own, settings.fold, folds, settings.speaker_independent)
    divides = settings.name in OF_ANY_CORPUS | OF_SEVERAL and settings.name != "all_test"
    if corpus.may_hold_copies and divides:
        rows = _with_copies(directory, rows)
    return make(settings, corpus.name, rows, data.on_error)


def _with_copies(directory: Path, rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Mark and report recordings with byte-identical files, which must stay in one split."""
    groups = find_copies(directory, rows)
    if not groups:
        return rows
    known = {row["recording"]: row for row in rows}
    for column, what in (("emotion", "emotions"), ("speaker", "speakers")):
        differ = [group for group in groups if len({known[key][column] for key in group}) > 1]
        if differ:
            example = " and ".join(f"{key} ({known[key][column]})" for key in differ[0][:2])
            groups_of_files = counted(len(differ), "group")
            log.warning("%s of byte-identical files with different %s, such as %s", groups_of_files, what, example)
    first = {key: group[0] for group in groups for key in group}
    log.warning(
        "%s recordings are byte-identical to others and stay in one split with them, such as %s",
        f"{len(first):,}",
        " and ".join(groups[0][:2]),
    )
    return [row | {"copies": first.get(row["recording"], "")} for row in rows]


def _report_added(corpus: Corpus, data: DataConfig, labels: str | list[str], splits: pd.DataFrame) -> None:
    """Report recordings that were added to a corpus after a run divided it."""
    table = corpus.scan(corpus.locate(data.root), data.channel)
    known = table["emotion"].isin(scheme(labels))
    added = table.loc[known & ~table["recording"].isin(splits["recording"]), "recording"]
    if len(added):
        log.warning(
            "%s recordings of the corpus are not in the splits of the run and are skipped, such as %s",
            f"{len(added):,}",
            added.iloc[0],
        )
