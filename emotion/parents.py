"""Encoders that start from finished runs: what they take over, and what they have seen before."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from emotion import runs
from emotion.config import key_of
from emotion.errors import EmotionError
from emotion.labels import classes
from emotion.models.base import Classifier, Encoder
from emotion.models.build import PARTS
from emotion.models.late_fusion import Fusion, MeanLogProbability

_PARTS_OF_AN_ENCODER = ("network", "pictures", "hog3d", "pooling", "head")
_HOW_IT_PERCEIVES = {
    "sound": ("features", "data.sample_rate"),
    "action_units": ("action_units.kinds", "action_units.over_time", "action_units.normalize"),
}


def adopt(config: DictConfig, overrides: list[str]) -> tuple[DictConfig, dict[str, Path]]:
    """Take over from finished runs what their encoders are and how they perceive.

    Args:
        config: A whole configuration; `model.run`, or `model.audio.run` and `model.visual.run`, name the runs.
        overrides: What was typed.

    Returns:
        The changed configuration, and the runs by the keys of their encoders.

    Raises:
        EmotionError: a run has no such encoder, or something was typed that belongs to it.
    """
    keys = _keys(config)
    parents = {key: Path(run) for key in keys if (run := OmegaConf.select(config, f"{key}.run"))}
    for key in keys:
        _refuse_freezing_chance(config, key, parents)
    changed = OmegaConf.create(OmegaConf.to_container(config))
    typed = set(map(key_of, overrides))
    for key, run in parents.items():
        saved, own = runs.load_config(runs.require(run)), OmegaConf.select(config, key)
        if key == "model.vector" and "modality" in saved.model:
            own = OmegaConf.merge(own, {"modality": saved.model.modality})  # the vector is of whatever the run takes in
        if saved.model.get("modality") != own.modality:
            takes = " and ".join(saved.model.modalities)
            raise EmotionError(f"{key}.run={run} is a model of {takes}; here one of {own.modality} is wanted")
        fused = "fusion" in config.model
        parts = [name for name in _PARTS_OF_AN_ENCODER if name in saved.model and (name != "head" or fused)]
        taken = {f"{key}.{name}": saved.model[name] for name in parts} | {f"{key}.modality": own.modality}
        if own.modality != "faces":
            taken |= {name: OmegaConf.select(saved, name) for name in _HOW_IT_PERCEIVES[own.modality]}
        elif not any(name.startswith("faces") for name in typed):
            taken["faces"] = faces_elsewhere(saved.faces, config.faces)
        for name in _PARTS_OF_AN_ENCODER:
            if name != "head" and name not in saved.model and OmegaConf.select(changed, f"{key}.{name}") is not None:
                del OmegaConf.select(changed, key)[name]
        for name, value in taken.items():
            for override in typed:
                if override == name or override.startswith(f"{name}."):
                    raise EmotionError(f"{override} belongs to the run {run}, from which {key} starts: leave it out")
            OmegaConf.update(changed, name, value, merge=False, force_add=True)
    return changed, parents


def faces_elsewhere(own: DictConfig, there: DictConfig) -> DictConfig:
    """How a model that learnt from faces taken as `own` says takes those of a corpus that brings the group `there`.

    What learnt from crops has them found and cut out as tightly. What learnt from faces that were found takes crops as
    they are, and what learnt from whole frames takes what is there.
    """
    if own.detect == there.detect:
        return own
    if (own.detect, there.detect) == ("cropped", "mtcnn"):
        return OmegaConf.merge(own, {"detect": "mtcnn"})
    return there


def _refuse_freezing_chance(config: DictConfig, key: str, parents: Mapping[str, Path]) -> None:
    part = OmegaConf.select(config, key)
    if part.frozen is True and key not in parents and part.network.get("weights", "none") == "none":
        raise EmotionError(
            f"{key}.frozen=true freezes weights that nobody has trained: name a finished run with {key}.run=RUN"
        )


def load(classifier: Classifier, config: DictConfig, parents: Mapping[str, Path]) -> list[Encoder]:
    """Give the encoders the weights that they start from: of runs, whose normalisation comes with them, or published.

    Returns:
        The encoders that come from no run, so that their normalisation has yet to be fitted.

    Raises:
        EmotionError: weights are missing or damaged, or a run answers with other labels where its answer is used.
    """
    fusion, fresh = classifier.encoder, []
    for key in _keys(config):
        part = key.rpartition(".")[2]
        encoder = fusion.encoders[part] if isinstance(fusion, Fusion) else fusion
        if key not in parents:
            encoder.load_pretrained()
            fresh.append(encoder)
            continue
        run = parents[key]
        weights = runs.load_weights(run)
        try:
            encoder.load_state_dict(_below("encoder.", weights))
            if isinstance(fusion, MeanLogProbability):
                _require_labels(run, config.labels)
                fusion.heads[part].load_state_dict(_below("head.", weights))
        except RuntimeError as error:
            raise EmotionError(f"the checkpoint of {run} does not fit its config.yaml: {error}") from error
    return fresh


def seen_before(config: DictConfig, parents: Mapping[str, Path], table: pd.DataFrame) -> pd.DataFrame:
    """What the parents were trained or chosen on and the run itself will not be: rows for `splits.csv`.

    Args:
        config: Of the run.
        parents: The runs that it starts from.
        table: Its own recordings, with `split`, `recording` and `speaker`.

    Raises:
        EmotionError: that is something of the run's dev or test split, or of a person in it who ought to be unknown.
    """
    if not parents:
        return table.iloc[:0]
    promises = config.protocol.speaker_independent
    strict = {"test": promises, "dev": promises and not config.protocol.get("dev_shares_speakers", False)}
    rows = []
    for key, run in parents.items():
        for split in ("test", "dev"):
            known, own = runs.load_seen(run, split), table[table["split"] == split]
            for column in ("recording", "speaker") if strict[split] else ("recording",):
                shared = own[column].isin(known[column])
                if shared.any():
                    raise EmotionError(
                        f"{key}.run={run} was trained or chosen on {own.loc[shared, column].nunique()} of the "
                        f"{column}s of the {split} split, such as {own.loc[shared, column].iloc[0]}: start from a run "
                        "with the same protocol and fold"
                    )
        rows.append(runs.load_seen(run, "test"))
    every = pd.concat(rows).drop_duplicates("recording")
    return every[~every["recording"].isin(table["recording"])].assign(split=runs.INHERITED)


def _keys(config: DictConfig) -> list[str]:
    """Where the configuration describes encoders."""
    if "vector" in config.model:
        return ["model.vector"]
    return [f"model.{part}" for part in PARTS] if "fusion" in config.model else ["model"]


def _below(prefix: str, weights: Mapping[str, object]) -> dict[str, object]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _require_labels(run: Path, labels: str) -> None:
    own = runs.load_config(run).labels
    if classes(own) != classes(labels):
        raise EmotionError(f"the run {run} answers with the labels {own}, and here labels={labels} are wanted")
