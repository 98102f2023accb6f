"""From a configuration to a data module."""

from omegaconf import DictConfig

from emotion import protocols
from emotion.config import instantiate
from emotion.corpora import Corpus
from emotion.data.datamodule import EmotionDataModule
from emotion.data.sources import prepared
from emotion.protocols.generate import make


def build_datamodule(config: DictConfig) -> EmotionDataModule:
    """The data module of a whole configuration; no sound is read yet."""
    data = config.data
    corpus = instantiate(data.corpus, Corpus)
    if data.get("download"):
        from emotion.downloads import provide

        provide(corpus, data.root, data.channel, needs_video="faces" in config.model.modalities)
    return EmotionDataModule(
        corpus,
        _protocol(corpus, config),
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


def _protocol(corpus: Corpus, config: DictConfig) -> protocols.Protocol:
    """From the committed CSVs; where a corpus has none at all, from the recordings that are there."""
    settings, members = config.protocol, tuple(member.name for member in corpus.members)
    if protocols.available(corpus.name, members):
        shares = settings.get("dev_shares_speakers", False)
        return protocols.load(corpus.name, settings.name, settings.fold, settings.speaker_independent, shares, members)
    rows = corpus.scan(corpus.locate(config.data.root)).to_dict("records")
    return make(settings.name, corpus.name, rows, settings.fold, settings.speaker_independent)
