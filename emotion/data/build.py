"""From a configuration to a data module."""

from omegaconf import DictConfig

from emotion import protocols
from emotion.config import instantiate
from emotion.corpora import Corpus
from emotion.data.datamodule import EmotionDataModule


def build_datamodule(config: DictConfig) -> EmotionDataModule:
    """The data module of a whole configuration; nothing is read from the corpus yet."""
    data, protocol = config.data, config.protocol
    corpus = instantiate(data.corpus, Corpus)
    return EmotionDataModule(
        corpus,
        protocols.load(corpus.name, protocol.name, protocol.fold, protocol.speaker_independent),
        config.labels,
        data.root,
        data.channel,
        data.sample_rate,
        data.batch_size,
        config.seed,
        data.on_problem,
    )
