"""Initialise encoders from finished runs: configuration, weights, and the recordings of their training."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from emotion import runs
from emotion.config.branch import BranchConfig, EstimatorBranchConfig
from emotion.config.compose import key_of, to_plain
from emotion.config.features import COMMON
from emotion.config.model import EstimatorModelConfig, FusionModelConfig, ModelConfig, SingleEncoderConfig
from emotion.config.schema import ProtocolConfig, TrainConfig
from emotion.config.validate import validate
from emotion.errors import EmotionError
from emotion.labels import classes
from emotion.models.base import Classifier, Encoder
from emotion.models.estimator import FILE
from emotion.models.estimator_encoder import EstimatorEncoder
from emotion.models.late_fusion import Fusion, MeanLogProbability

_KEPT_KEYS = ("init_from", "freeze", "lr_multiplier", "n_augmented_copies")
"""Keys of a branch that are never taken from its initial run."""
_COPIES = "features.n_augmented_copies"
_INPUT_KEYS = {
    "audio": ("data.sample_rate", "data.speech_only"),
    "action_units": ("action_units.columns", "action_units.pooling", "action_units.normalize"),
}


def initial_runs(config: TrainConfig) -> dict[str, Path]:
    """Return the runs from which encoders of a configuration are initialised, by the keys of the encoders."""
    return {key: Path(branch.init_from) for key, branch in _branches(config).items() if branch.init_from}


def merge_initial_runs(composed: DictConfig, overrides: list[str]) -> tuple[DictConfig, dict[str, Path]]:
    """Replace the configuration of encoders and of their inputs by that of the runs that initialise them.

    Args:
        composed: Composed configuration, valid.
        overrides: Overrides of the command line.

    Returns:
        The changed configuration, and the runs by the keys of their encoders.

    Raises:
        EmotionError: a run has no such encoder, or an override changes a key that comes from the run.
    """
    config = validate(composed)
    starts, branches = initial_runs(config), _branches(config)
    for key, branch in branches.items():
        if branch.freezes_untrained:
            raise EmotionError(
                f"{key}.freeze=true freezes untrained weights; name a finished run with {key}.init_from=RUN"
            )
    changed = OmegaConf.create(to_plain(composed))
    typed, common = set(map(key_of, overrides)), {}
    for key, run in starts.items():
        faces = None if any(override.startswith("faces") for override in typed) else composed.faces
        taken, cls = _taken(key, branches[key], run, isinstance(config.model, FusionModelConfig), faces)
        whole = branches[key].modality == "audio" and not _use_group(branches)
        belongs = [*taken, *(["features"] if whole else [])]
        for override in typed:
            if override == _COPIES:  # the augmentations are those of the new run
                continue
            if any(override == own or override.startswith(f"{own}.") for own in belongs):
                raise EmotionError(f"{override} cannot be changed, since {key} comes from the run {run}: leave it out")
        _replace_branch(OmegaConf.select(changed, key), type(branches[key]), cls)
        for own, value in taken.items():
            if common.setdefault(own, value) != value:
                raise EmotionError(
                    f"{key}.init_from={run} has another {own} than the other runs: use runs that share it"
                )
            OmegaConf.update(changed, own, value, merge=False, force_add=True)
    OmegaConf.update(changed, _COPIES, OmegaConf.select(composed, _COPIES), force_add=True)
    return changed, starts


def _replace_branch(node: DictConfig, old: type[BranchConfig], new: type[BranchConfig]) -> None:
    """Remove the keys of a branch that the run replaces, or that its new kind does not have."""
    kept = {field.name for field in dataclasses.fields(new)} & {*_KEPT_KEYS, "head"}
    for field in dataclasses.fields(old):
        if field.name in node and field.name not in kept:
            del node[field.name]


def _use_group(branches: Mapping[str, BranchConfig]) -> bool:
    """Return True if a branch uses the features of the group `features`."""
    return any(
        branch.modality == "audio" and not (branch.init_from or branch.own_features) for branch in branches.values()
    )


def _taken(
    key: str, branch: BranchConfig, run: Path, in_fusion: bool, faces: DictConfig | None
) -> tuple[dict[str, object], type[BranchConfig]]:
    """Return the values that are taken from a run, by their keys in the new configuration, and the kind of branch.

    Args:
        key: Key of the encoder.
        branch: Its configuration.
        run: The run.
        in_fusion: True for a branch of a neural fusion, which takes the head too, or a whole estimator.
        faces: The group `faces` of the new configuration, or None to leave it as it is.
    """
    config, composed = runs.load_config(runs.require(run)), runs.load_composed(run)
    # An estimator uses the embeddings of any input of the run.
    is_vector = key == "model.vector" or key.count(".") == 3
    modality, whole = config.model.modalities[0] if is_vector else branch.modality, in_fusion and not is_vector
    found = _as_branch(config.model, whole)
    if found is None or config.model.modalities != (modality,):
        inputs = " and ".join(config.model.modalities)
        raise EmotionError(
            f"{key}.init_from={run} has the inputs {inputs}; this branch needs {modality} and one encoder"
        )
    cls, names, vector = found
    names = [name for name in names if name in composed.model and name not in _KEPT_KEYS]
    taken: dict[str, object] = {f"{key}.{name}": composed.model[name] for name in names if name != "head" or whole}
    if vector:
        taken[f"{key}.input"] = "vector"
    if modality == "audio":
        # Branches may come from runs with different features; a single encoder has those of the group.
        taken.pop(f"{key}.features", None)
        place = f"{key}{vector}.features" if key.startswith("model.branches.") else "features"
        taken[place] = _features_of(composed, vector)
    if modality == "face" and faces is not None:
        own = OmegaConf.create(to_plain(composed.faces, resolve=True))  # also keys that interpolate `features`
        taken["faces"] = adapt_faces(own, faces)
    return taken | {name: OmegaConf.select(composed, name) for name in _INPUT_KEYS.get(modality, ())}, cls


def _as_branch(model: ModelConfig, whole: bool) -> tuple[type[BranchConfig], list[str], str] | None:
    """Return the kind of branch that the model of a run becomes, its keys below `model`, and where its encoder is.

    Args:
        model: The model of the run.
        whole: True if an estimator is taken as it is.
    """
    if isinstance(model, SingleEncoderConfig):
        return type(model.branch), [field.name for field in dataclasses.fields(model.branch)], ""
    if isinstance(model, EstimatorModelConfig) and whole:
        return EstimatorBranchConfig, ["vector", "estimator", "grid", "scaling"], ".vector"
    return None


def _features_of(composed: DictConfig, vector: str) -> dict[str, Any]:
    """Return all keys of the features of a model with a single encoder; `vector` is its place below `model`."""
    shared = to_plain(composed.features, resolve=True)
    branch = to_plain(OmegaConf.select(composed, f"model{vector}"), resolve=True)
    own = branch.get("features") or {}
    for of_training in (shared, own):
        of_training.pop("n_augmented_copies", None)
    return {key: value for key, value in shared.items() if not own or key in COMMON} | own


def adapt_faces(own: DictConfig, there: DictConfig) -> DictConfig:
    """Return the preparation of faces of another corpus for a model.

    A model that was trained on face crops has faces detected and cropped as tightly. A model that was trained on
    detected faces uses face crops as they are. A model that was trained on whole frames uses whole images.

    Args:
        own: The group `faces` of the training.
        there: The group `faces` of the other corpus.
    """
    if own.detect == there.detect:
        return own
    if (own.detect, there.detect) == ("cropped", "mtcnn"):
        return cast(DictConfig, OmegaConf.merge(own, {"detect": "mtcnn"}))
    return there


def load_initial_weights(classifier: Classifier, config: TrainConfig, starts: Mapping[str, Path]) -> list[Encoder]:
    """Load the initial weights of encoders: those of finished runs, with their normalisation, or published ones.

    Args:
        classifier: Changed in place.
        config: Configuration of the new run.
        starts: The runs from which encoders are initialised, by their keys.

    Returns:
        The encoders without an initial run, whose normalisation has yet to be fitted.

    Raises:
        EmotionError: weights are missing or damaged, or a run with a head that is used has other labels.
    """
    fusion, fresh = classifier.encoder, []
    for key in _branches(config):
        encoder = _encoder(classifier, key)
        if key not in starts:
            encoder.load_pretrained()
            fresh.append(encoder)
            continue
        run = starts[key]
        weights = runs.load_weights(run)
        try:
            if isinstance(encoder, EstimatorEncoder):
                _require_labels(run, config.labels)
                encoder.vector.load_state_dict(_below("encoder.", weights))
                encoder.estimator.load(run / "checkpoints" / FILE)
                continue
            encoder.load_state_dict(_below("encoder.", weights))
            name = key.removeprefix("model.branches.")
            if isinstance(fusion, MeanLogProbability) and name in fusion.heads:
                _require_labels(run, config.labels)
                fusion.heads[name].load_state_dict(_below("head.", weights))
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
                        f"{key}.init_from={run} was trained or selected on {own.loc[shared, column].nunique()} of the "
                        f"{column}s of the {split} split, such as {own.loc[shared, column].iloc[0]}: use a run "
                        "with the same protocol and fold"
                    )
        rows.append(runs.load_training_recordings(run, "test"))
    every = pd.concat(rows).drop_duplicates("recording")
    return every[~every["recording"].isin(table["recording"])].assign(split=runs.PRETRAINING)


def _branches(config: TrainConfig) -> dict[str, BranchConfig]:
    """Return the branches of a model by their whole keys; of an estimator that starts from no run, its vector."""
    branches = {f"model.{name}".rstrip("."): branch for name, branch in config.model.encoders.items()}
    parts = {
        key: {f"{key}.vector": branch.vector}
        if isinstance(branch, EstimatorBranchConfig) and not branch.init_from
        else {}
        for key, branch in branches.items()
    }
    return {name: part for key, branch in branches.items() for name, part in (parts[key] or {key: branch}).items()}


def _encoder(classifier: Classifier, key: str) -> Encoder:
    """Return the encoder of a key."""
    fusion, (_, *names) = classifier.encoder, key.split(".")
    encoder: Any = fusion.encoders[names[1]] if isinstance(fusion, Fusion) else fusion
    return encoder.vector if names[2:] else encoder


def _below(prefix: str, weights: Mapping[str, object]) -> dict[str, object]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _require_labels(run: Path, labels: str | list[str]) -> None:
    own = runs.load_config(run).labels
    if classes(own) != classes(labels):
        raise EmotionError(f"the run {run} has the labels {own}, but labels={labels} are required here")
