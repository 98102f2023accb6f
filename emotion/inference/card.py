"""Model card of the shipped model, with the metrics of its audio and face models."""

import csv
import json
from pathlib import Path

from emotion import runs
from emotion.inference.shipped import DIRECTORY, PARTS

_UNSEEN, _ROBUSTNESS, _SOUNDS = "unseen_corpora.csv", "robustness_of_folds.csv", "other_sounds.json"
"""Tables of `emotion report results/unseen_corpora/* --group-by protocol.fold --csv` and of `emotion robustness
results/whisper_luna5 --csv`, and the result of `benchmarks/other_sounds.py`."""
_INT8 = "int8.csv"
"""The result of `benchmarks/int8.py`."""
_CORRUPTIONS = (
    ("none", 0.0),
    ("white noise", 20.0),
    ("babble", 20.0),
    ("babble", 10.0),
    ("telephone codec (G.711 µ-law)", 1.0),
    ("reverberation", 0.6),
)
_TESTED = ("ASED (Amharic, five emotions)", "RAVDESS speech (English)", "TESS (English, two speakers)")
"""The corpora that the folds of `_UNSEEN` test."""


def card() -> str:
    """Return the model card as Markdown."""
    text = (DIRECTORY / "card.md").read_text(encoding="utf-8")
    for part in PARTS:
        text = text.replace(f"{{{part}.parameters}}", f"{runs.load_metrics(DIRECTORY / part)['parameters']:,}")
    sounds = json.loads((DIRECTORY / "audio" / _SOUNDS).read_text(encoding="utf-8"))
    for key, value in sounds.items():
        text = text.replace(f"{{{key}}}", f"{value:.1%}" if key == "called_speech" else str(value))
    text = text.replace("{int8_table}", "\n".join(_int8()))
    head = ["| modality | evaluated on | UAR | accuracy |", "|---|---|---|---|"]
    return text.replace("{table}", "\n".join([*head, *_audio(DIRECTORY / "audio"), *_face(DIRECTORY / "face")]))


def _audio(part: Path) -> list[str]:
    rows = []
    for row in _rows(part / _UNSEEN):
        adapted = ", adapted to each speaker" if "adapted" in row["system"] else ""
        tested = _TESTED[int(row["protocol.fold"])]
        rows.append(
            _row(
                "audio",
                f"{tested}, of which nothing was trained on{adapted}",
                row,
                with_interval=int(row["speakers"]) > 2,
            )
        )
    found = {(row["corruption"], float(row["level"])): row for row in _rows(part / _ROBUSTNESS)}
    for corruption, level in _CORRUPTIONS:
        row = found[corruption, level]
        how = "" if corruption == "none" else f", {corruption} {level:g} {row['unit']}"
        rows.append(_row("audio", f"RAVDESS speech, unseen actors, trained on it alone{how}", row))
    return [*rows, _row("audio", "unseen speakers of the three corpora together", runs.load_metrics(part), "test/")]


def _face(part: Path) -> list[str]:
    own, unique = runs.load_metrics(part), runs.load_metrics(part / "evaluations" / "fer2013-unique_test-0-test")
    return [
        _row("face", "FER2013, its test split", own, "test/"),
        _row("face", "the same without duplicates", unique, "test/"),
    ]


def _int8() -> list[str]:
    return [
        "| modality | recordings | size, 32 → 8 bits | UAR, 32 → 8 bits | changed answers | Δ probability | time |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {row['modality']} | {int(row['recordings']):,} | {row['float32_mb']} → {row['int8_mb']} MB "
            f"| {float(row['float32_uar']):.3f} → {float(row['int8_uar']):.3f} "
            f"| {int(row['changed_answers']) / int(row['recordings']):.1%} "
            f"| {float(row['mean_difference']):.3f}, {float(row['max_difference']):.2f} "
            f"| {row['float32_ms']} → {row['int8_ms']} ms, {row['time_ratio']} |"
            for row in _rows(DIRECTORY / _INT8)
        ),
    ]


def _row(part: str, evaluated_on: str, metrics: dict, prefix: str = "", with_interval: bool = True) -> str:
    uar = f"{float(metrics[f'{prefix}uar']):.3f}"
    low, high = metrics.get(f"{prefix}uar_low"), metrics.get(f"{prefix}uar_high")
    if with_interval and low and high:
        uar += f" [{float(low):.2f}, {float(high):.2f}]"
    accuracy = metrics.get(f"{prefix}war", metrics.get("accuracy"))
    return f"| {part} | {evaluated_on} | {uar} | {f'{float(accuracy):.3f}' if accuracy else ''} |"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
