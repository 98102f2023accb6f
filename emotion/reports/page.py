"""Pages of results, rendered from finished runs and from a file that describes their sections.

The file holds `title`, `text`, `version_notes` (a note by version of the package) and `sections`. Each section is a
`Section`. Texts are Markdown.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from emotion.config.compose import to_plain
from emotion.config.target import Target, instantiate
from emotion.corpora.base import COLUMNS, Corpus
from emotion.errors import EmotionError, suggest
from emotion.metrics.breakdown import drop_speaker_groups, metrics_by_group
from emotion.protocols import SPLITS
from emotion.reports.robustness import format_robustness, robustness_table
from emotion.reports.runs import FIRST_VERSION, Run
from emotion.reports.systems import System, group_runs
from emotion.reports.tables import compare_systems, format_systems, to_markdown
from emotion.reports.temperature import temperature_table

FILE = "page.yaml"


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Attributes:
        title: Heading.
        runs: Names of runs, or patterns such as `ablations/*`, in which `*` matches no slash (default: none).
        text: Markdown above the tables (default: none).
        tables: Names of tables, see `TABLES` (default: `systems`).
        reference: Name of the system to which the others are compared; the table `differences` needs it (default:
            none).
        hyperparameter: Configuration key of the table `hyperparameter` (default: none).
        files: Names of CSV files beside the description, shown as tables below the others (default: none).
    """

    title: str
    runs: Sequence[str] = ()
    text: str = ""
    tables: Sequence[str] = ("systems",)
    reference: str | None = None
    hyperparameter: str | None = None
    files: Sequence[str] = ()

    def contains(self, name: str) -> bool:
        """Return True if a run of this name belongs to the section."""
        parts = name.split("/")
        patterns = [pattern.split("/") for pattern in self.runs]
        return any(len(own) == len(parts) and all(map(fnmatchcase, parts, own)) for own in patterns)


@dataclass(frozen=True)
class Page:
    """A description of a page of results; see the module."""

    title: str
    sections: Sequence[Section]
    text: str = ""
    version_notes: Mapping[str, str] | None = None


_DEFAULT_PAGE = Page("Results", [Section("Systems", ["*", "*/*"])])


def render_page(runs: list[Run], description: Path | None = None) -> str:
    """Render a page of results as Markdown.

    Args:
        runs: Finished runs.
        description: The file that describes the page (default: a single table of all systems).

    Raises:
        EmotionError: the file does not describe a page.
    """
    page = _read_page(description) if description else _DEFAULT_PAGE
    shown = [run for run in runs if any(section.contains(run.name) for section in page.sections)]
    parts = [f"# {page.title}", page.text.strip(), _versions(shown, page.version_notes or {})]
    for section in page.sections:
        members = [run for run in runs if section.contains(run.name)]
        files = [to_markdown(_read_csv(description.with_name(name))) for name in section.files] if description else []
        if members or files:
            found = [TABLES[name](members, section) for name in section.tables] if members else []
            tables = "\n".join(filter(None, [*found, *files]))
            parts += [f"## {section.title}", section.text.strip(), tables.rstrip("\n")]
    return "\n\n".join(filter(None, parts)) + "\n"


def _read_page(path: Path) -> Page:
    try:
        described = yaml.safe_load(path.read_text(encoding="utf-8"))
        page = Page(**described | {"sections": [Section(**section) for section in described["sections"]]})
    except (OSError, ValueError, TypeError, LookupError, yaml.YAMLError) as error:
        raise EmotionError(f"{path} does not describe a page of results: {error}") from error
    for name in (name for section in page.sections for name in section.tables):
        if name not in TABLES:
            raise EmotionError(f"{path}: tables: {name}: {suggest(name, list(TABLES))}")
    return page


def _read_csv(path: Path) -> pd.DataFrame:
    """Return a CSV file as text, with underscores of the header as spaces."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise EmotionError(f"{path} cannot be shown as a table: {error}") from error
    return table.rename(columns=lambda name: name.replace("_", " "))


def _systems_table(runs: list[Run], section: Section) -> str:
    reference = section.reference if any(run.name == section.reference for run in runs) else None
    return to_markdown(format_systems(compare_systems(runs, reference=reference)))


def _differences_table(runs: list[Run], section: Section) -> str:
    """Tabulate the differences in UAR to the reference of the section, the largest first."""
    if not any(run.name == section.reference for run in runs):
        return ""
    table = compare_systems(runs, reference=section.reference).dropna(subset="delta_uar")
    formatted = format_systems(table.sort_values("delta_uar", ascending=False))
    columns = ("system", "ΔUAR", "95 % CI of ΔUAR", "p (Wilcoxon)", "UAR", "seeds", "training time per fold (min)")
    return to_markdown(formatted[[column for column in columns if column in formatted]])


def _recall_table(runs: list[Run], _: Section) -> str:
    """Tabulate the recall of each emotion, one row per system."""
    rows = []
    for system in group_runs(runs):
        recalls = {name: _mean_and_std(system.metrics[f"test/recall/{name}"].tolist()) for name in system.classes}
        rows.append({"recall": _short_name(system)} | recalls)
    return to_markdown(pd.DataFrame(rows))


def _group_table(runs: list[Run], _: Section) -> str:
    """Tabulate the UAR of each group of recordings, one column per system."""
    columns = {}
    for system in group_runs(runs):
        corpus = instantiate(Target.parse("data.corpus", to_plain(system.runs[0].config.data.corpus)), Corpus)
        recordings = pd.DataFrame(corpus.documented(), columns=list(COLUMNS))
        groups = drop_speaker_groups(metrics_by_group(system.predictions, recordings, system.classes, {}))
        columns["UAR (95 % CI)"] = groups["group"].tolist()
        columns[_short_name(system)] = [
            f"{row.uar:.3f} ({row.uar_low:.3f} to {row.uar_high:.3f})" for row in groups.itertuples()
        ]
    return to_markdown(pd.DataFrame(columns))


def _robustness_table(runs: list[Run], _: Section) -> str:
    if all(run.robustness is None for run in runs):
        return ""
    return to_markdown(format_robustness(robustness_table(runs)))


def _reconstruction_table(runs: list[Run], _: Section) -> str:
    """Tabulate the reconstruction errors of autoencoders; see `metrics.reconstruction.reconstruction_metrics`."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if any(key.startswith("test/error/") for key in run.metrics):
            groups.setdefault(run.name, []).append(run)
    rows = []
    for name, own in sorted(groups.items()):
        row = {"autoencoder": name.rpartition("/")[2]}
        for title, key in _reconstruction_columns(own[0]).items():
            row[title] = _mean_and_std([run.metrics[key] for run in own])
        rows.append(row)
    return to_markdown(pd.DataFrame(rows)) if rows else ""


def _reconstruction_columns(run: Run) -> dict[str, str]:
    """Return the title and key of each metric of an autoencoder."""
    labels = {
        split: [key.split("/")[2] for key in run.metrics if key.startswith(f"{split}/error/")] for split in SPLITS
    }
    trained = labels["train"][0]  # the train split holds no other label
    others = [label for label in labels["test"] if label not in (trained, "others", "auc")]
    return {
        f"MSE, {trained} (train)": f"train/error/{trained}",
        **{f"MSE, {label} (test)": f"test/error/{label}" for label in (trained, *others)},
        "MSE ratio": "test/error/others",
        "ROC AUC (MSE)": "test/error/auc",
        "FVU ratio": "test/unexplained/others",
        "ROC AUC (FVU)": "test/unexplained/auc",
    }


def _hyperparameter_table(runs: list[Run], section: Section) -> str:
    key = section.hyperparameter
    if key is None:
        raise EmotionError(
            f"{FILE}: section {section.title}: the table hyperparameter needs a key, hyperparameter: KEY"
        )
    groups: dict[float, list[Run]] = {}
    for run in runs:
        groups.setdefault(float(run.setting(key)), []).append(run)
    rows = [
        {key: f"{value:g}", "runs": str(len(own))}
        | {f"{split} UAR": _mean_and_std([run.metrics[f"{split}/uar"] for run in own]) for split in SPLITS}
        for value, own in sorted(groups.items())
    ]
    return to_markdown(pd.DataFrame(rows))


def _unseen_corpora_table(runs: list[Run], _: Section) -> str:
    """Tabulate runs that test a whole corpus each, one row per system and corpus; see `temperature_table`."""
    rows = []
    for name in sorted({run.name for run in runs}):
        system = [run for run in runs if run.name == name]
        calibration = temperature_table(system)[1].set_index("fold")
        for fold in calibration.index:
            own = [run for run in system if run.metrics["fold"] == fold]
            tested = own[0].predictions.query("split == 'test'")["recording"]
            found, fitted = [run.metrics for run in own], calibration.loc[fold]
            low, high = (np.mean([metrics[f"test/uar_{end}"] for metrics in found]) for end in ("low", "high"))
            row = {"system": name, "tested corpus": tested.iloc[0].partition("/")[0], "seeds": str(len(own))}
            row |= {"recordings": f"{len(tested):,}", "UAR": _mean_and_std([one["test/uar"] for one in found])}
            row["95 % CI (speakers)"] = f"{low:.2f} to {high:.2f}"
            shared = [one.get("test/uar_shared", one["test/uar"]) for one in found]
            row["UAR, shared classes"] = _mean_and_std(shared)
            row["transductive"] = "yes" if found[0]["transductive"] else "no"
            row |= {"ECE": f"{fitted['ece']:.3f}", "ECE, factor of the others": f"{fitted['ece_of_others']:.3f}"}
            row |= {
                "accuracy": f"{fitted['accuracy']:.3f}",
                "of the surest third": f"{fitted['accuracy_of_third']:.3f}",
            }
            rows.append(row)
    return to_markdown(pd.DataFrame(rows))


TABLES: Mapping[str, Callable[[list[Run], Section], Any]] = {
    "systems": _systems_table,
    "differences": _differences_table,
    "recall": _recall_table,
    "groups": _group_table,
    "robustness": _robustness_table,
    "reconstruction": _reconstruction_table,
    "hyperparameter": _hyperparameter_table,
    "unseen_corpora": _unseen_corpora_table,
}
"""The tables a section may have, by name."""


def _mean_and_std(values: list[float]) -> str:
    return f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def _short_name(system: System) -> str:
    return system.name.rpartition("/")[2]


def _versions(runs: list[Run], notes: Mapping[str, str]) -> str:
    """Return the version of the package that trained each system; the first version is that of all others."""
    names: dict[str, set[str]] = {}
    for run in runs:
        names.setdefault(run.version, set()).add(run.name)
    lines = []
    for version in sorted(names, reverse=True):
        note = f" ({notes[version]})" if version in notes else ""
        is_rest = version == FIRST_VERSION or len(names) == 1
        systems = f"all {'other ' if len(names) > 1 else ''}systems" if is_rest else ", ".join(sorted(names[version]))
        lines.append(f"Trained with version {version}{note}: {systems}.")
    return "\n".join(lines)
