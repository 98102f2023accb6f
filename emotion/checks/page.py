"""The result of a check as one HTML file with figures and players, which needs no other file."""

import base64
import io
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emotion.checks.check import RATED, Check
from emotion.checks.findings import Finding
from emotion.checks.measures import RATE, SHOWN, Part, read_waveform
from emotion.errors import counted
from emotion.media.files import MediaError
from emotion.plots.figure import SERIES_STYLES, label_colors, new_figure
from emotion.prepare.waveforms import parts_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PLAYERS = 6  # of a row, and rows of a finding
_DETAILS = 50  # lines of a finding
_ROWS = 500  # of the table of recordings
_PLAYED_S = 20
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --error: #c62828; --warning: #a15c00; --note: #666; }
@media (prefers-color-scheme: dark) { :root { --error: #ff8a80; --warning: #ffb74d; --note: #aaa; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; max-height: 30rem; overflow-y: auto; }
.finding { border-left: .3rem solid var(--note); padding: .2rem 1rem; margin: 1rem 0; }
.error { border-color: var(--error); } .warning { border-color: var(--warning); }
.error b { color: var(--error); } .warning b { color: var(--warning); }
.players { display: flex; flex-wrap: wrap; gap: 1rem; margin: .5rem 0; } .players figure { margin: 0; }
figcaption { font-size: .85rem; } audio { width: 15rem; }
img { max-width: 100%; background: white; border-radius: .3rem; }
"""


def render(check: Check) -> str:
    """Return a page in HTML.

    Args:
        check: The result of a check; the files of its recordings are read again for the players.
    """
    verdict = "A training would be sound." if check.is_sound else "A training would be unsound: correct the errors."
    parts = [
        f"<h1>Check of the recordings in {escape(check.directory.name)}</h1>",
        f"<p>{escape(check.title)}</p>",
        f"<p><b>{verdict}</b></p>",
        "<h2>Findings</h2>",
        *(_finding(check, finding) for finding in check.findings),
    ]
    if not check.findings:
        parts.append("<p>Nothing was found.</p>")
    parts += ["<h2>Recordings</h2>", *_counts(check), *_figures(check.table), *_examples(check)]
    parts += ["<h2>All recordings</h2>", _all_recordings(check.table)]
    head = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(check.title)}</title><style>{_STYLE}</style></head>\n<body>",
    ]
    return "\n".join([*head, *parts, "</body></html>\n"])


def _finding(check: Check, finding: Finding) -> str:
    """Return a finding with its details, and with players: a row for each group, or one row."""
    details = "".join(f"<li>{escape(line)}</li>" for line in finding.details[:_DETAILS])
    groups = finding.groups or [finding.recordings]
    shown = [group[:_PLAYERS] for group in groups[:_PLAYERS]]
    players = "".join(_players(check, list(group)) for group in shown)
    more = len(finding.recordings) - sum(map(len, shown))
    rest = f"<p>and {counted(more, 'other')}</p>" if more > 0 and players else ""
    text = f"<b>{finding.level}</b>: {escape(finding.text)}"
    listed = f"<ul>{details}</ul>" if details else ""
    return f'<div class="finding {finding.level}">{text}{listed}{players}{rest}</div>'


def _counts(check: Check) -> Iterator[str]:
    if check.counts is None or check.speakers is None:
        return
    rows = check.counts.copy()
    if check.table["emotion"].any():  # ratings have recordings in common
        rows.loc["all"] = rows.sum()
    rows = rows.map("{:,}".format)
    rows.loc["speakers"] = [check.speakers[split] for split in rows.columns]
    yield rows.rename_axis("recordings", axis=1).rename_axis(None).to_html(border=0)


def _figures(table: pd.DataFrame) -> Iterator[str]:
    """Yield figures of the emotions, if there are any, the durations and the levels."""
    counts = table.loc[table["emotion"] != "", "emotion"].value_counts()
    if labels := tuple(counts.index):
        figure, axes = new_figure(8, 0.35 * len(labels) + 1.2)
        axes.barh(labels, counts, color=label_colors(labels))
        axes.set(title="Recordings of each emotion", xlabel="recordings")
        axes.invert_yaxis()
        yield _image(figure, "Recordings of each emotion")
    shown = {name: (name.removeprefix(RATED), 1.0) for name in map(str, table) if name.startswith(RATED)}
    shown |= {column: (SHOWN[column][0], SHOWN[column][2]) for column in ("duration_s", "level_db")}
    for column, (title, factor) in shown.items():
        values = table[column].dropna().astype(float) * factor
        if values.empty:
            continue
        figure, axes = new_figure(8, 2.6)
        axes.hist(values[np.isfinite(values)], bins=40, color=SERIES_STYLES[0][0])
        axes.set(title=f"Distribution of {title.partition(' (')[0]}", xlabel=title, ylabel="recordings")
        yield _image(figure, f"Histogram of {title}")


def _image(figure: "Figure", description: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144, bbox_inches="tight")
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return f'<p><img alt="{escape(description)}" width="720" src="data:image/png;base64,{encoded}"></p>'


def _examples(check: Check) -> Iterator[str]:
    """Yield a player of one recording of each emotion."""
    measured = check.table.dropna(subset="duration_s")
    if len(measured) and measured["emotion"].any():
        first = measured.groupby("emotion", sort=False)["recording"].first()
        yield "<h3>One recording of each emotion</h3>" + _players(check, first.tolist())


def _players(check: Check, recordings: Sequence[str]) -> str:
    rows = check.table[check.table["recording"].isin(recordings)].dropna(subset="duration_s")
    parts = parts_of(rows)
    figures = [
        f"<figure><audio controls preload='metadata' src='{source}'></audio><figcaption>{escape(row['recording'])}<br>"
        f"{escape(', '.join(filter(None, [row['emotion'], row['split'] or 'in no split'])))}</figcaption></figure>"
        for _, row in rows.iterrows()
        if (source := _audio(check.directory / row["audio"], parts.get(row["recording"])))
    ]
    return f'<div class="players">{"".join(figures)}</div>' if figures else ""


def _audio(path: Path, part: Part | None) -> str:
    """Return the start of a recording as FLAC in a data URL; empty if it cannot be read any more."""
    import soundfile

    try:
        waveform = read_waveform(path, part)[: _PLAYED_S * RATE]
    except MediaError:
        return ""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, RATE, format="FLAC", subtype="PCM_16")
    return "data:audio/flac;base64," + base64.b64encode(buffer.getvalue()).decode()


def _all_recordings(table: pd.DataFrame) -> str:
    shown = table.head(_ROWS)
    ratings = [str(name) for name in shown if str(name).startswith(RATED)]
    described = ("recording", "split", *(ratings or ["emotion"]), "speaker")
    columns = {name.removeprefix(RATED): shown[name].tolist() for name in described}
    for column, (title, form, factor) in SHOWN.items():
        columns[title] = [
            "" if pd.isna(value) else format(float(value) * factor, form) for value in shown[column].tolist()
        ]
    more = f"<p>The first {_ROWS:,} of {len(table):,}; --csv writes all.</p>" if len(table) > _ROWS else ""
    return f'{more}<div class="wide">{pd.DataFrame(columns).to_html(border=0, index=False)}</div>'
