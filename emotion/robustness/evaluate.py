"""How a finished run does on recordings that are spoilt, more and more."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from emotion import runs
from emotion.config import to_plain
from emotion.data.datamodule import EmotionDataModule
from emotion.data.dataset import Batch
from emotion.data.feature_cache import weights_digest
from emotion.errors import EmotionError
from emotion.features.front_end import AudioFrontEnd
from emotion.files import fingerprint, write_text
from emotion.media.audio import read_audio
from emotion.metrics.predictions import predict, without
from emotion.models.base import Classifier
from emotion.prepare.waveforms import INT16_FULL_SCALE
from emotion.progress import track
from emotion.reports import systems
from emotion.restore import reopen
from emotion.robustness.corruptions import OF_FACES, Disturbance, of_action_units, of_sound
from emotion.statistics import intervals

log = logging.getLogger(__name__)

FILE = "robustness.csv"
"""In the folder of a run: of each disturbance, level and speaker how many recordings of each emotion were named right.
The rows of the disturbance `recordings` say how many there are, those of `none` are of what is not spoilt."""
_KEYS = ["disturbance", "unit", "level", "speaker"]
_COUNTS, _CLEAN = "recordings", "none"


def measure(run_dirs: Iterable[Path], noise: Path | None = None) -> None:
    """Judge the test split of runs with every disturbance at every level, and write `FILE` into their folders.

    Nothing is done where that was done before, with the same noise. What is heard by several runs is spoilt once.

    Args:
        run_dirs: Finished runs; what they were trained on must be at hand.
        noise: A recording of noise that is to be added too.
    """
    groups: dict[str, list[Path]] = {}
    for run_dir in run_dirs:
        if not _is_measured(runs.require(run_dir), noise):
            config = to_plain(runs.load_config(run_dir))
            alike = {key: config[key] for key in ("data", "protocol", "labels", "features")}
            groups.setdefault(fingerprint(alike), []).append(run_dir)
    for number, together in enumerate(groups.values(), 1):
        _measure_together(together, noise, f"judging spoilt recordings ({number}/{len(groups)})")


def _is_measured(run_dir: Path, noise: Path | None) -> bool:
    path = run_dir / FILE
    return path.exists() and (noise is None or _noise_name(noise) in set(pd.read_csv(path)["disturbance"]))


def _measure_together(run_dirs: Sequence[Path], noise: Path | None, what: str) -> None:
    """Measure runs that judge the same recordings and make the same features of their sound."""
    opened = [reopen(run_dir) for run_dir in run_dirs]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    conditions: dict[tuple[str, str, float], list[tuple[int, _Condition]]] = {}
    for number, (config, _, datamodule) in enumerate(opened):
        samples = None if noise is None else (_noise_name(noise), read_audio(noise, config.data.sample_rate))
        for condition in _conditions(datamodule, samples):
            conditions.setdefault(condition[:3], []).append((number, condition))
    parts: list[dict] = [{} for _ in opened]
    for key, tried in track(conditions.items(), what, len(conditions)):
        heard: _Heard = {}
        for number, condition in tried:
            _, classifier, datamodule = opened[number]
            change = _hearing_once(condition.spoil, classifier, heard) if condition.of_sound else condition.spoil
            judged = predict(classifier, datamodule, "test", device, change)
            if not parts[number]:
                everything = judged.assign(predicted=judged["emotion"])
                parts[number][_COUNTS, "", 0.0] = _count(everything, datamodule.classes)
            parts[number][key] = _count(judged, datamodule.classes)
    for run_dir, counts in zip(run_dirs, parts, strict=True):
        table = pd.concat(counts, names=_KEYS[:-1]).reset_index()
        write_text(run_dir / FILE, table.to_csv(index=False, lineterminator="\n"))


_Heard = dict[tuple[str, ...], tuple[torch.Tensor, torch.Tensor]]
"""Features and frames of the spoilt sound of a batch, by the weights they come from, if any, and its recordings."""


def _hearing_once(spoil: Callable[[Batch], Batch], classifier: Classifier, heard: _Heard) -> Callable[[Batch], Batch]:
    """As `spoil`, which spoils sound, and then its features, unless they were `heard` already."""
    (front_end,) = (one for one in classifier.front_ends if isinstance(one, AudioFrontEnd))
    weights = weights_digest(front_end) or ""

    def change(batch: Batch) -> Batch:
        key = (weights, *batch["recording"])
        if key not in heard:
            spoilt = spoil(batch)
            with torch.no_grad():
                heard[key] = front_end.extract(spoilt["waveform"], spoilt["waveform_length"])
        features, frames = heard[key]
        kept = {name: value for name, value in batch.items() if not name.startswith("waveform")}
        return kept | {"features": features, "frames": frames}

    return change


def _noise_name(noise: Path) -> str:
    return f"noise of {noise.name}"


def _count(judged: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    """How many recordings of each speaker (rows) and label (columns) were named right."""
    right = judged.assign(right=judged["predicted"] == judged["emotion"])
    return right.pivot_table("right", "speaker", "emotion", "sum", 0).reindex(columns=list(labels), fill_value=0)


class _Condition(NamedTuple):
    name: str
    unit: str
    level: float
    of_sound: bool
    spoil: Callable[[Batch], Batch]


def _conditions(datamodule: EmotionDataModule, noise: tuple[str, np.ndarray] | None) -> Iterator[_Condition]:
    """Each disturbance of what the model takes in, at each level."""
    yield _Condition(_CLEAN, "", 0.0, False, lambda batch: batch)
    known: list[Disturbance] = []
    if "sound" in datamodule.modalities:
        known += of_sound(datamodule.sample_rate, _voices(datamodule), noise)
    if "faces" in datamodule.modalities:
        known += OF_FACES
    if "action_units" in datamodule.modalities:
        known += of_action_units(datamodule.sources["action_units"].values.std(axis=0))
    for one in known:
        for level in one.levels:
            yield _Condition(one.name, one.unit, level, one.modality == "sound", partial(one, level=level))
    if len(datamodule.modalities) > 1:
        for modality in datamodule.modalities:
            lost = partial(without, modality=modality)
            yield _Condition(f"no {modality.replace('_', ' ')}", "", 0.0, False, lost)


def _voices(datamodule: EmotionDataModule) -> Callable[[np.random.Generator], np.ndarray]:
    """Draws what somebody of the training split says, so that nobody babbles against himself."""
    items = datamodule.sources["waveform"].select(
        datamodule.table.loc[datamodule.table["split"] == "train", "recording"].to_numpy()
    )

    def draw(random: np.random.Generator) -> np.ndarray:
        row = int(random.integers(len(items.recordings)))
        samples = items.values[items.offset[row] : items.offset[row] + items.length[row]]
        return samples.astype(np.float64) / INT16_FULL_SCALE if len(samples) else draw(random)

    return draw


def table(found: list[systems.Run]) -> pd.DataFrame:
    """Folds pooled, seeds averaged: one row for each system, disturbance and level.

    Args:
        found: Finished runs; those without `FILE` are left out.

    Returns:
        Columns `system`, `disturbance`, `unit`, `level`, `uar`, `uar_deviation` over seeds, `uar_low` and `uar_high`,
        95 % over speakers. The disturbance `none` comes first.

    Raises:
        EmotionError: no run was measured.
    """
    measured = [run for run in found if (run.directory / FILE).exists()]
    if not measured:
        raise EmotionError(f"no {FILE} was found: measure the runs first, with emotion robustness RUN…")
    rows = []
    for system in systems.systems_of(measured):
        by_unit = [_pooled(members) for members in system.units.values()]
        for condition in by_unit[0]:
            seeds = [_right_and_all(counts, condition) for counts in by_unit]
            uars = [_uar(rows) for rows in seeds]
            interval = intervals.over_speakers(seeds, _uar)
            row = {"system": system.name, **dict(zip(_KEYS, condition, strict=False)), "uar": interval.value}
            row["uar_deviation"] = np.std(uars, ddof=1) if len(uars) > 1 else np.nan
            rows.append(row | {"uar_low": interval.low, "uar_high": interval.high})
    shown = pd.DataFrame(rows)
    return shown[shown["disturbance"] != _COUNTS].reset_index(drop=True)


_Counts = dict[tuple[str, str, float], pd.DataFrame]


def _pooled(members: list[systems.Run]) -> _Counts:
    """The counts of all folds, by disturbance, unit and level: speakers by labels."""
    parts = pd.concat(pd.read_csv(run.directory / FILE, dtype={"speaker": str}) for run in members)
    sums = parts.fillna({"unit": ""}).groupby(_KEYS, sort=False).sum()
    return {condition: rows.droplevel(_KEYS[:-1]) for condition, rows in sums.groupby(level=_KEYS[:-1], sort=False)}


def _right_and_all(counts: _Counts, condition: tuple[str, str, float]) -> pd.DataFrame:
    """Of each speaker how many recordings of each label were named right, and how many (`of …`) there are."""
    return counts[condition].join(counts[_COUNTS, "", 0.0].add_prefix("of ")).reset_index()


def _uar(counts: pd.DataFrame) -> float:
    sums = counts.drop(columns="speaker").sum()
    support = sums[sums.index.str.startswith("of ")]
    recalls = [sums[name.removeprefix("of ")] / count for name, count in support.items() if count]
    return float(np.mean(recalls))


def in_words(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each disturbance and level, a column for each system."""
    what = [
        f"{row.disturbance} {row.level:g} {row.unit}".strip() if row.unit else row.disturbance
        for row in rows.itertuples()
    ]
    shown = rows.assign(disturbance=what).pivot_table("uar", "disturbance", "system", sort=False)
    return shown.map(lambda value: "" if np.isnan(value) else f"{value:.3f}").reset_index()
