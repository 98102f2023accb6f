"""Evaluation of finished runs on corrupted test recordings."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
import torch

from emotion import runs
from emotion.batch import Batch, get_audio
from emotion.composition import restore_run
from emotion.config.compose import to_plain
from emotion.data.datamodule import EmotionDataModule
from emotion.data.feature_cache import weights_digest
from emotion.errors import EmotionError
from emotion.features.front_end import AudioFrontEnd
from emotion.files import fingerprint, write_text
from emotion.media.audio import read_audio
from emotion.media.int16 import INT16_FULL_SCALE
from emotion.metrics.predictions import mask_modality, predict
from emotion.models.base import Classifier
from emotion.progress import track
from emotion.robustness.corruptions import FACE_CORRUPTIONS, action_unit_corruptions, audio_corruptions

FILE = "robustness.csv"
"""File in a run directory with the number of correct recordings by corruption, level, speaker (rows) and emotion.
The rows of `TOTAL` hold the number of recordings, those of `CLEAN` are of recordings without corruption."""
KEYS = ["corruption", "unit", "level", "speaker"]
TOTAL, CLEAN = "recordings", "none"


def evaluate_robustness(run_dirs: Iterable[Path], noise: Path | None = None) -> None:
    """Predict the test split of runs under every corruption and level, and write `FILE` to their directories.

    Runs that were evaluated before with the same noise are skipped. Runs with the same data and features share the
    corrupted audio.

    Args:
        run_dirs: Directories of finished runs, whose corpus must be available.
        noise: Noise recording to add as another corruption (default: none).
    """
    groups: dict[str, list[Path]] = {}
    for run_dir in run_dirs:
        if not _is_evaluated(runs.require(run_dir), noise):
            config = to_plain(runs.load_composed(run_dir), resolve=True)
            shared = {key: config[key] for key in ("data", "protocol", "labels", "features")}
            groups.setdefault(fingerprint(shared), []).append(run_dir)
    for number, group in enumerate(groups.values(), 1):
        _evaluate_group(group, noise, f"evaluating on corrupted recordings ({number}/{len(groups)})")


def _is_evaluated(run_dir: Path, noise: Path | None) -> bool:
    path = run_dir / FILE
    return path.exists() and (noise is None or _noise_name(noise) in set(read_counts(path)["corruption"]))


def read_counts(path: Path) -> pd.DataFrame:
    """Read `FILE` of a run.

    Raises:
        EmotionError: it lacks a column, as files of version 0.1 do.
    """
    table = pd.read_csv(path, dtype={"speaker": str})
    if missing := set(KEYS) - set(table):
        raise EmotionError(
            f"{path} lacks the column {min(missing)}, as in version 0.1; delete it and run emotion robustness again"
        )
    return table


def _evaluate_group(run_dirs: Sequence[Path], noise: Path | None, description: str) -> None:
    """Evaluate runs with the same recordings and audio features."""
    restored = [restore_run(run_dir) for run_dir in run_dirs]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    conditions: dict[tuple[str, str, float], list[tuple[int, _Condition]]] = {}
    for number, run in enumerate(restored):
        samples = None if noise is None else (_noise_name(noise), read_audio(noise, run.config.data.sample_rate))
        for condition in _conditions(run.datamodule, samples):
            conditions.setdefault(condition[:3], []).append((number, condition))
    counts: list[dict] = [{} for _ in restored]
    for key, group in track(conditions.items(), description, len(conditions)):
        cache: _FeatureCache = {}
        for number, condition in group:
            _, classifier, datamodule = restored[number]
            transform = condition.corrupt
            if condition.is_audio:
                transform = _with_cached_features(condition.corrupt, classifier, cache)
            predictions = predict(classifier, datamodule, "test", device, transform)
            if not counts[number]:
                total = predictions.assign(predicted=predictions["emotion"])
                counts[number][TOTAL, "", 0.0] = _count_correct(total, datamodule.classes)
            counts[number][key] = _count_correct(predictions, datamodule.classes)
    for run_dir, tables in zip(run_dirs, counts, strict=True):
        table = pd.concat(tables, names=KEYS[:-1]).reset_index()
        write_text(run_dir / FILE, table.to_csv(index=False, lineterminator="\n"))


_FeatureCache = dict[tuple[str, ...], tuple[torch.Tensor, torch.Tensor]]
"""Features and number of frames of corrupted batches, by `features_key`, pretrained weights and recordings."""


def _with_cached_features(
    corrupt: Callable[[Batch], Batch], classifier: Classifier, cache: _FeatureCache
) -> Callable[[Batch], Batch]:
    """Return a function that corrupts the audio of a batch and computes its features, unless they are in `cache`."""
    front_ends = {one.features_key: one for one in classifier.front_ends if isinstance(one, AudioFrontEnd)}
    weights = {key: weights_digest(front_end) or "" for key, front_end in front_ends.items()}

    def transform(batch: Batch) -> Batch:
        names = {key: (key, weights[key], *batch["recording"]) for key in front_ends}
        if missing := [key for key, name in names.items() if name not in cache]:
            waveform, length = get_audio(corrupt(batch))
            for key in missing:
                with torch.no_grad():
                    cache[names[key]] = front_ends[key].extract(waveform, length)
        rest = {name: value for name, value in batch.items() if not name.startswith("waveform")}
        return cast(Batch, rest | {"features": {key: cache[name] for key, name in names.items()}})

    return transform


def _noise_name(noise: Path) -> str:
    return f"noise of {noise.name}"


def _count_correct(predictions: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    """Count the correctly classified recordings of each speaker (rows) and label (columns)."""
    table = predictions.assign(correct=predictions["predicted"] == predictions["emotion"])
    return table.pivot_table("correct", "speaker", "emotion", "sum", 0).reindex(columns=list(labels), fill_value=0)


class _Condition(NamedTuple):
    """A corruption at one level, or a missing modality."""

    corruption: str
    unit: str
    level: float
    is_audio: bool
    corrupt: Callable[[Batch], Batch]


def _conditions(datamodule: EmotionDataModule, noise: tuple[str, np.ndarray] | None) -> Iterator[_Condition]:
    """Yield all conditions of the modalities of a model."""
    yield _Condition(CLEAN, "", 0.0, False, lambda batch: batch)
    corruptions = []
    if "audio" in datamodule.modalities:
        corruptions += audio_corruptions(datamodule.sample_rate, _voices(datamodule), noise)
    if "face" in datamodule.modalities:
        corruptions += FACE_CORRUPTIONS
    if "action_units" in datamodule.modalities:
        corruptions += action_unit_corruptions(datamodule.sources["action_units"].values.std(axis=0))
    for one in corruptions:
        for level in one.levels:
            yield _Condition(one.name, one.unit, level, one.modality == "audio", partial(one, level=level))
    if len(datamodule.modalities) > 1:
        for modality in datamodule.modalities:
            mask = partial(mask_modality, modality=modality)
            yield _Condition(f"no {modality.replace('_', ' ')}", "", 0.0, False, mask)


def _voices(datamodule: EmotionDataModule) -> Callable[[np.random.Generator], np.ndarray]:
    """Return a function that draws a waveform of the training split, whose speakers differ from those of test."""
    items = datamodule.sources["waveform"].select(
        datamodule.table.loc[datamodule.table["split"] == "train", "recording"].to_numpy()
    )

    def draw(random: np.random.Generator) -> np.ndarray:
        row = int(random.integers(len(items.recordings)))
        samples = items.values[items.offset[row] : items.offset[row] + items.length[row]]
        return samples.astype(np.float64) / INT16_FULL_SCALE if len(samples) else draw(random)

    return draw
