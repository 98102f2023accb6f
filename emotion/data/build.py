"""From a configuration to a data module."""

from omegaconf import DictConfig

from emotion import protocols
from emotion.config import instantiate, to_plain
from emotion.corpora import Corpus
from emotion.data.datamodule import EmotionDataModule
from emotion.data.sources import ActionUnits, Faces
from emotion.prepare.faces import FaceOptions
from emotion.protocols.generate import make


def build_datamodule(config: DictConfig) -> EmotionDataModule:
    """The data module of a whole configuration; no sound is read yet."""
    data = config.data
    corpus = instantiate(data.corpus, Corpus)
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
    )


def prepared(config: DictConfig) -> dict[str, Faces | ActionUnits | None]:
    """What the model takes in, of `sources.MODALITIES`, and how it is prepared."""
    return {modality: _prepared(modality, config) for modality in config.model.modalities}


def _prepared(modality: str, config: DictConfig) -> Faces | ActionUnits | None:
    if modality == "faces":
        own = to_plain(config.faces)
        return Faces(trim_db=own.pop("trim_db"), seconds=own.pop("seconds"), options=FaceOptions(**own))
    if modality == "action_units":
        own = to_plain(config.action_units)
        return ActionUnits(own["table"], tuple(own["kinds"]), own["over_time"])
    return None


def _protocol(corpus: Corpus, config: DictConfig) -> protocols.Protocol:
    """From the committed CSVs; where a corpus has none at all, from the recordings that are there."""
    settings, members = config.protocol, tuple(member.name for member in corpus.members)
    if protocols.available(corpus.name, members):
        shares = settings.get("dev_shares_speakers", False)
        return protocols.load(corpus.name, settings.name, settings.fold, settings.speaker_independent, shares, members)
    rows = corpus.scan(corpus.locate(config.data.root)).to_dict("records")
    return make(settings.name, corpus.name, rows, settings.fold, settings.speaker_independent)
