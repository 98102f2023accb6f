"""From a configuration to a data module."""

import logging

import pandas as pd
from omegaconf import DictConfig

from emotion import protocols
from emotion.config import instantiate
from emotion.corpora import Corpus
from emotion.data.datamodule import EmotionDataModule
from emotion.data.sources import prepared
from emotion.labels import scheme
from emotion.protocols.generate import make, saved

log = logging.getLogger(__name__)


def build_datamodule(config: DictConfig, splits: pd.DataFrame | None = None) -> EmotionDataModule:
    """Build the data module of a whole configuration; no sound is read yet.

    Args:
        config: The whole configuration.
        splits: The recordings of train, dev and test of a run, with the columns of its `splits.csv`, which then count
            instead of what the protocol makes of the recordings at hand.
    """
    data = config.data
    corpus = instantiate(data.corpus, Corpus)
    if data.get("download"):
        from emotion.downloads import provide

        provide(corpus, data.root, data.channel, needs_video="faces" in config.model.modalities)
    return EmotionDataModule(
        corpus,
        _protocol(corpus, config, splits),
        config.labels,
        data.root,
        data.channel,
        data.sample_rate,
        data.batch_size,
        config.seed,
        data.on_problem,
        data.get("train_channel"),
        prepared(config),
        config.model.get("only"),
    )


def _protocol(corpus: Corpus, config: DictConfig, splits: pd.DataFrame | None) -> protocols.Protocol:
    """From the committed CSVs; where a corpus has none at all, from the recordings that are there."""
    settings, members = config.protocol, tuple(member.name for member in corpus.members)
    committed, shares = protocols.available(corpus.name, members), settings.get("dev_shares_speakers", False)
    if splits is not None:
        if not committed:
            _report_added(corpus, config, splits)
        return saved(settings.name, corpus.name, splits, settings.fold, settings.speaker_independent, shares)
    if committed:
        return protocols.load(corpus.name, settings.name, settings.fold, settings.speaker_independent, shares, members)
    rows = corpus.scan(corpus.locate(config.data.root)).to_dict("records")
    return make(settings.name, corpus.name, rows, settings.fold, settings.speaker_independent)


def _report_added(corpus: Corpus, config: DictConfig, splits: pd.DataFrame) -> None:
    """Report recordings that have come to a corpus since a run divided it."""
    table = corpus.scan(corpus.locate(config.data.root), config.data.channel)
    known = table["emotion"].isin(scheme(config.labels))
    added = table.loc[known & ~table["recording"].isin(splits["recording"]), "recording"]
    if len(added):
        log.warning(
            "%s recordings at hand are not in the splits of the run and take no part, such as %s",
            f"{len(added):,}",
            added.iloc[0],
        )
