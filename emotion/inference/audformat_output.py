"""Predictions as a database in audformat (audEERING, https://audeering.github.io/audformat)."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import emotion
from emotion.errors import EmotionError
from emotion.files import write_bytes
from emotion.inference.intervals import track_names
from emotion.inference.output import Outcome, encodable, name_of
from emotion.inference.predictions import NO_SPEECH, UNCERTAIN, Prediction, Problem
from emotion.inference.timeline import Segment

if TYPE_CHECKING:
    import audformat

HEADER, FILES = "db.yaml", "db.*"
"""Name of the header of a database, and pattern of all its files."""
_RATER = "model"


def write_audformat(outcomes: Sequence[Outcome], labels: Sequence[str], folder: Path) -> None:
    """Write a database with tables in CSV.

    The table `emotion` has the columns `emotion`, `confidence` and `probability.LABEL`, by file, or by file and window
    of a timeline. Recordings with several faces are in the tables `face_1`, `face_2`, …, and `audio`, where none is
    visible. Problems are left out. Paths of files are relative to the folder.

    Args:
        outcomes: Predictions, segments of timelines, and problems.
        labels: The emotions.
        folder: Folder to write `db.yaml` and the tables to. Its other files are kept.

    Raises:
        EmotionError: audformat is not installed, or the folder cannot be written.
    """
    try:
        import audformat
    except ImportError as error:
        raise EmotionError("audformat is not installed: pip install 'emotion[audformat]'") from error
    database = audformat.Database(
        "emotion",
        source=f"emotion {emotion.__version__}",
        usage="other",
        description="Predictions of a model for emotion recognition.",
    )
    database.raters[_RATER] = audformat.Rater("machine")
    scheme = list(dict.fromkeys([*labels, UNCERTAIN, NO_SPEECH]))
    database.schemes["emotion"] = audformat.Scheme("str", labels=scheme)
    database.schemes["probability"] = audformat.Scheme("float", minimum=0, maximum=1)
    for name, own in sorted(_tables(outcomes).items()):
        _add_table(database, name, own, labels, folder)
    _save(database, folder)


def _tables(outcomes: Sequence[Outcome]) -> dict[str, list[Prediction | Segment]]:
    """Return the outcomes of each table by its name."""
    by_recording: dict[str, list[Prediction | Segment]] = {}
    for outcome in outcomes:
        if not isinstance(outcome, Problem):
            by_recording.setdefault(name_of(outcome), []).append(outcome)
    tables: dict[str, list[Prediction | Segment]] = {}
    for own in by_recording.values():
        names = track_names(one for one in own if isinstance(one, Segment))
        for outcome in own:
            track = names[outcome.face] if isinstance(outcome, Segment) else ""
            tables.setdefault(track.replace(" ", "_") or "emotion", []).append(outcome)
    return tables


def _add_table(
    database: "audformat.Database",
    name: str,
    outcomes: Sequence[Prediction | Segment],
    labels: Sequence[str],
    root: Path,
) -> None:
    import audformat

    rows = {  # a recording that was named in two ways has the same row twice
        (_relative(name_of(outcome), root), *_times(outcome)): outcome for outcome in outcomes
    }
    predictions = [outcome.prediction if isinstance(outcome, Segment) else outcome for outcome in rows.values()]
    files, *times = zip(*rows, strict=True)
    index = audformat.segmented_index(files, *times) if times else audformat.filewise_index(files)
    table = database[name] = audformat.Table(index)
    columns: dict[str, list[Any]] = {
        "emotion": [prediction.emotion for prediction in predictions],
        "confidence": [prediction.confidence for prediction in predictions],
    }
    columns |= {
        f"probability.{label}": [prediction.probabilities.get(label) for prediction in predictions] for label in labels
    }
    for column, values in columns.items():
        scheme = "emotion" if column == "emotion" else "probability"
        table[column] = audformat.Column(scheme_id=scheme, rater_id=_RATER)
        table[column].set(values)


def _relative(name: str, root: Path) -> str:
    return encodable(Path(os.path.relpath(name, root)).as_posix())


def _times(outcome: Prediction | Segment) -> tuple[str, ...]:
    return (f"{outcome.start}s", f"{outcome.end}s") if isinstance(outcome, Segment) else ()


def _save(database: "audformat.Database", folder: Path) -> None:
    """Write the files of a database, each atomically; then remove other tables, of a database that was there before."""
    with tempfile.TemporaryDirectory() as directory:
        database.save(directory, storage_format="csv")
        written = {file.name for file in Path(directory).iterdir()}
        for name in sorted(written, key=lambda name: name == HEADER):  # the header comes last
            write_bytes(folder / name, (Path(directory) / name).read_bytes())
    for file in folder.glob(FILES):
        if file.name not in written:
            file.unlink()
