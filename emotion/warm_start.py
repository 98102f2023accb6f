"""Encoders that start from finished runs: their configuration, their weights, and what they have been trained on."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from emotion import runs
from emotion.config.compose import key_of
from emotion.config.model import BranchConfig, FusionModelConfig
from emotion.config.schema import ProtocolConfig, TrainConfig
from emotion.config.validate import validate
from emotion.errors import EmotionError
from emotion.labels import classes
from emotion.models.base import Classifier, Encoder
from emotion.models.late_fusion import Fusion, MeanLogProbability

_ENCODER_KEYS = ("backbone", "pictures", "hog3d", "pooling", "head")
_INPUT_KEYS = {
    "audio": ("features", "data.sample_rate"),
    "action_units": ("action_units.columns", "action_units.pooling", "action_units.normalize"),
}


def initial_runs(config: TrainConfig) -> dict[str, Path]:
    """Return the runs that the encoders of a configuration start from, by the keys of the encoders."""
    encoders = {_key(name): branch for name, branch in config.model.encoders.items()}
    return {key: Path(branch.init_from) for key, branch in encoders.items() if branch.init_from}


def merge_initial_runs(composed: DictConfig, overrides: list[str]) -> tuple[DictConfig, dict[str, Path]]:
    """Take the encoders, and the configuration of their inputs, from the runs that they start from.

    Args:
        composed: Composed configuration, valid.
        overrides: Overrides of the command line.

    Returns:
        The changed configuration, and the runs by the keys of their encoders.

    Raises:
        EmotionError: a run has no such encoder, or an override belongs to the run.
    """
    config = validate(composed)
    starts = initial_runs(config)
    for name, branch in config.model.encoders.items():
        _refuse_freezing_untrained(_key(name), branch)
    changed = OmegaConf.create(OmegaConf.to_container(composed))
    typed = set(map(key_of, overrides))
    for name, branch in config.model.encoders.items():
        key = _key(name)
        if key not in starts:
            continue
        run = starts[key]
        faces = None if any(override.startswith("faces") for override in typed) else composed.faces
        taken = _taken(key, branch, run, isinstance(config.model, FusionModelConfig), faces)
        node = OmegaConf.select(changed, key)
        for part in [part for part in _ENCODER_KEYS if part != "head" and part in node]:
            del node[part]
        for own, value in taken.items():
            for override in typed:
                if override == own or override.startswith(f"{own}."):
                    raise EmotionError(f"{override} belongs to the run {run}, from which {key} starts: leave it out")
            OmegaConf.update(changed, own, value, merge=False, force_add=True)
    return changed, starts


def _taken(key: str, branch: BranchConfig, run: Path, with_head: bool, faces: DictConfig | None) -> dict[str, object]:
    """Return the values that are taken from a run, by their keys in the new configuration.

    Args:
        key: Key of the encoder.
        branch: Its configuration.
        run: The run.
        with_head: True to take the head too.
        faces: The group `faces` of the new configuration, or None to leave it as it is.
    """
    config, composed = runs.load_config(runs.require(run)), runs.load_composed(run)
    # An estimator takes the embeddings of whatever the run takes in.
    modality = config.model.modalities[0] if key == "model.vector" else branch.modality
    if not isinstance(config.model, BranchConfig) or config.model.modality != modality:
        inputs = " and ".join(config.model.modalities)
        raise EmotionError(f"{key}.init_from={run} takes in {inputs}, and this branch needs {branch.modality}")
    parts = [name for name in _ENCODER_KEYS if name in composed.model and (name != "head" or with_head)]
    taken: dict[str, object] = {f"{key}.{name}": composed.model[name] for name in parts}
    taken[f"{key}.modality"] = modality
    if modality == "face" and faces is not None:
        taken["faces"] = adapt_faces(composed.faces, faces)
    return taken | {name: OmegaConf.select(composed, name) for name in _INPUT_KEYS.get(modality, ())}


def adapt_faces(own: DictConfig, there: DictConfig) -> DictConfig:
    """Return how faces of another corpus are prepared for a model.

    A model that was trained on face crops has faces detected and cropped as tightly. A model that was trained on
    detected faces takes face crops as they are. A model that was trained on whole frames takes what is there.

    Args:
        own: The group `faces` of the training.
        there: The group `faces` that the other corpus brings.
    """
    if own.detect == there.detect:
        return own
    if (own.detect, there.detect) == ("cropped", "mtcnn"):
        return OmegaConf.merge(own, {"detect": "mtcnn"})
    return there


def _refuse_freezing_untrained(key: str, branch: BranchConfig) -> None:
    if branch.freeze is True and not branch.init_from and branch.backbone.arguments.get("weights", "none") == "none":
        raise EmotionError(
            f"{key}.freeze=true freezes weights that nobody has trained: name a finished run with {key}.init_from=RUN"
        )


def load_initial_weights(classifier: Classifier, config: TrainConfig, starts: Mapping[str, Path]) -> list[Encoder]:
    """Load the weights that encoders start from: those of runs, with their normalisation, or published ones.

    Args:
        classifier: Changed in place.
        config: Configuration of the new run.
        starts: The runs that encoders start from, by the keys of the encoders.

    Returns:
        The encoders that start from no run, whose normalisation has yet to be fitted.

    Raises:
        EmotionError: weights are missing or damaged, or a run whose head is used has other labels.
    """
    fusion, fresh = classifier.encoder, []
    for name in config.model.encoders:
        key, part = _key(name), name.rpartition(".")[2]
        encoder = fusion.encoders[part] if isinstance(fusion, Fusion) else fusion
        if key not in starts:
            encoder.load_pretrained()
            fresh.append(encoder)
            continue
        run = starts[key]
        weights = runs.load_weights(run)
        try:
            encoder.load_state_dict(_below("encoder.", weights))
            if isinstance(fusion, MeanLogProbability):
                _require_labels(run, config.labels)
                fusion.heads[part].load_state_dict(_below("head.", weights))
        except RuntimeError as error:
            raise EmotionError(f"the checkpoint of {run} does not fit its config.yaml: {error}") from error
    return fresh


def pretraining_recordings(protocol: ProtocolConfig, starts: Mapping[str, Path], table: pd.DataFrame) -> pd.DataFrame:
    """Return the recordings on which the initial runs were trained or selected, without those of the run itself.

    Args:
        protocol: Protocol of the new run.
        starts: The runs that encoders start from, by the keys of the encoders.
        table: Recordings of the new run, with the columns `split`, `recording` and `speaker`.

    Returns:
        Rows for `splits.csv`.

    Raises:
        EmotionError: a recording of the dev or test split, or a speaker that should be unseen, is among them.
    """
    if not starts:
        return table.iloc[:0]
    promises = protocol.speaker_independent
    strict = {"test": promises, "dev": promises and not protocol.dev_shares_speakers}
    rows = []
    for key, run in starts.items():
        for split in ("test", "dev"):
            known, own = runs.load_training_recordings(run, split), table[table["split"] == split]
            for column in ("recording", "speaker") if strict[split] else ("recording",):
                shared = own[column].isin(known[column])
                if shared.any():
                    raise EmotionError(
                        f"{key}.init_from={run} was trained or chosen on {own.loc[shared, column].nunique()} of the "
                        f"{column}s of the {split} split, such as {own.loc[shared, column].iloc[0]}: start from a run "
                        "with the same protocol and fold"
                    )
        rows.append(runs.load_training_recordings(run, "test"))
    every = pd.concat(rows).drop_duplicates("recording")
    return every[~every["recording"].isin(table["recording"])].assign(split=runs.PRETRAINING)


def _key(name: str) -> str:
    return f"model.{name}" if name else "model"


def _below(prefix: str, weights: Mapping[str, object]) -> dict[str, object]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _require_labels(run: Path, labels: str | list[str]) -> None:
    own = runs.load_config(run).labels
    if classes(own) != classes(labels):
        raise EmotionError(f"the run {run} answers with the labels {own}, and here labels={labels} are wanted")
