"""Model card of the shipped model, with the metrics of its audio and face models."""

import csv
from pathlib import Path

from emotion import runs
from emotion.inference.shipped import DIRECTORY, PARTS

_FOLDS, _ROBUSTNESS = "folds.csv", "robustness_of_folds.csv"
"""Tables of the same experiment on all folds, as written by `emotion report --csv` and `emotion robustness --csv`."""
_NOISE = ("white noise", 20.0)


def card() -> str:
    """Return the model card as Markdown."""
    text = (DIRECTORY / "card.md").read_text(encoding="utf-8")
    for part in PARTS:
        text = text.replace(f"{{{part}.parameters}}", f"{runs.load_metrics(DIRECTORY / part)['parameters']:,}")
    head = ["| modality | evaluated on | UAR | accuracy |", "|---|---|---|---|"]
    return text.replace("{table}", "\n".join([*head, *_audio(DIRECTORY / "audio"), *_face(DIRECTORY / "face")]))


def _audio(part: Path) -> list[str]:
    own, folds = runs.load_metrics(part), _rows(part / _FOLDS)[0]
    noisy = next(row for row in _rows(part / _ROBUSTNESS) if (row["corruption"], float(row["level"])) == _NOISE)
    elsewhere = runs.load_metrics(part / "evaluations" / "ravdess_tess-cross-0-test")
    return [
        _row("audio", "RAVDESS speech of five unseen actors", own, "test/"),
        _row(
            "audio",
            f"RAVDESS speech of all {folds['speakers']} actors: five folds of the same experiment, version 0.1.0",
            folds,
        ),
        _row("audio", "the same with white noise, 20 dB SNR", noisy),
        _row("audio", "TESS: two speakers, other words", elsewhere, "test/", with_interval=False),
    ]


def _face(part: Path) -> list[str]:
    own, unique = runs.load_metrics(part), runs.load_metrics(part / "evaluations" / "fer2013-unique_test-0-test")
    return [
        _row("face", "FER2013, its test split", own, "test/"),
        _row("face", "the same without duplicates", unique, "test/"),
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
