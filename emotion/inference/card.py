"""The card of the model that comes with the package: its text, with the figures that its parts brought along."""

import csv
from pathlib import Path

from emotion import runs
from emotion.inference.shipped import DIRECTORY, PARTS

_FOLDS, _SPOILT = "folds.csv", "robustness_of_folds.csv"
"""Of the same recipe, all folds: what `emotion report --csv` and `emotion robustness --csv` wrote."""
_NOISE = ("white noise", 20.0)


def card() -> str:
    """What the shipped model is, how good, and for what not: Markdown."""
    text = (DIRECTORY / "card.md").read_text(encoding="utf-8")
    for part in PARTS:
        text = text.replace(f"{{{part}.parameters}}", f"{runs.load_metrics(DIRECTORY / part)['parameters']:,}")
    head = ["| part | judged on | UAR | accuracy |", "|---|---|---|---|"]
    return text.replace("{table}", "\n".join([*head, *_sound(DIRECTORY / "sound"), *_face(DIRECTORY / "face")]))


def _sound(part: Path) -> list[str]:
    own, folds = runs.load_metrics(part), _rows(part / _FOLDS)[0]
    noisy = next(row for row in _rows(part / _SPOILT) if (row["disturbance"], float(row["level"])) == _NOISE)
    elsewhere = runs.load_metrics(part / "evaluations" / "ravdess_tess-cross-0-test")
    return [
        _row("sound", "speech of five actors of RAVDESS whom it never heard", own, "test/"),
        _row("sound", f"that of all {folds['speakers']}, by five models of version 0.1.0, made in the same way", folds),
        _row("sound", "the same with white noise, 20 dB below the voice", noisy),
        _row("sound", "TESS: two other speakers, other words", elsewhere, "test/", with_interval=False),
    ]


def _face(part: Path) -> list[str]:
    own, unique = runs.load_metrics(part), runs.load_metrics(part / "evaluations" / "fer2013-unique_test-0-test")
    return [
        _row("face", "FER2013, its test split as it is", own, "test/"),
        _row("face", "the same without copies", unique, "test/"),
    ]


def _row(part: str, judged_on: str, figures: dict, prefix: str = "", with_interval: bool = True) -> str:
    uar = f"{float(figures[f'{prefix}uar']):.3f}"
    low, high = figures.get(f"{prefix}uar_low"), figures.get(f"{prefix}uar_high")
    if with_interval and low and high:
        uar += f" [{float(low):.2f}, {float(high):.2f}]"
    accuracy = figures.get(f"{prefix}war", figures.get("accuracy"))
    return f"| {part} | {judged_on} | {uar} | {f'{float(accuracy):.3f}' if accuracy else ''} |"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
