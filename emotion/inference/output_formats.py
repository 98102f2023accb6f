"""The formats of `emotion predict`: their suffixes, their functions, and the files that a command writes."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from os.path import commonpath, normpath
from pathlib import Path

from emotion.errors import EmotionError, suggest
from emotion.files import write_bytes
from emotion.inference.annotations import to_elan, to_rttm, to_textgrid
from emotion.inference.audformat_output import FILES, HEADER, write_audformat
from emotion.inference.output import Outcome, name_of, to_csv, to_frame, to_json, to_jsonl, to_text
from emotion.inference.predictions import Problem
from emotion.inference.subtitles import to_srt, to_vtt

Render = Callable[[Sequence[Outcome], Sequence[str]], str | bytes]


def to_parquet(outcomes: Sequence[Outcome], labels: Sequence[str]) -> bytes:
    """Return the table of `to_frame` as a Parquet file."""
    file = io.BytesIO()
    to_frame(outcomes, labels).to_parquet(file, engine="pyarrow", index=False)
    return file.getvalue()


@dataclass(frozen=True)
class OutputFormat:
    """A format of predictions.

    Attributes:
        suffix: Suffix of its files; empty if no suffix means it.
        render: Function from outcomes and labels to the content of a file; None if the output is a database.
        has_times: True if it describes intervals of time, so that it implies a timeline.
        per_recording: True if a file describes one recording.
        is_binary: True if it cannot be printed.
        of_emotions: True if it describes emotions, not ratings.
        package: Package that it needs; empty if none.
        extra: Extra of this package that installs it.
    """

    suffix: str
    render: Render | None
    has_times: bool = False
    per_recording: bool = False
    is_binary: bool = False
    of_emotions: bool = False
    package: str = ""
    extra: str = ""


FORMATS: dict[str, OutputFormat] = {
    "table": OutputFormat("", to_text),
    "json": OutputFormat(".json", to_json),
    "jsonl": OutputFormat(".jsonl", to_jsonl),
    "csv": OutputFormat(".csv", to_csv),
    "parquet": OutputFormat(".parquet", to_parquet, is_binary=True, package="pyarrow", extra="parquet"),
    "textgrid": OutputFormat(".TextGrid", to_textgrid, has_times=True, per_recording=True, of_emotions=True),
    "elan": OutputFormat(".eaf", to_elan, has_times=True, per_recording=True, of_emotions=True),
    "srt": OutputFormat(".srt", to_srt, has_times=True, per_recording=True, of_emotions=True),
    "vtt": OutputFormat(".vtt", to_vtt, has_times=True, per_recording=True, of_emotions=True),
    "rttm": OutputFormat(".rttm", to_rttm, has_times=True, of_emotions=True),
    "audformat": OutputFormat("", None, is_binary=True, of_emotions=True, package="audformat", extra="audformat"),
}
"""The formats by name."""


def choose_format(name: str | None, output: Path | None) -> str:
    """Return the name of the format: `name`, else the one that the suffix of the output means, else `table`.

    Args:
        name: Name of a format, or None.
        output: Output, or None for standard output.

    Raises:
        EmotionError: there is no such format, the suffix means none, a package is missing, or a binary format has no
            output.
    """
    if name is None:
        name = _format_of(output) if output else "table"
    if name not in FORMATS:
        raise EmotionError(f"unknown format {name}: {suggest(name, FORMATS)}")
    form = FORMATS[name]
    if form.is_binary and output is None:
        what = "a folder" if form.render is None else "a binary file"
        raise EmotionError(
            f"--format {name} writes {what}; name it with --output {Path('PATH').with_suffix(form.suffix)}"
        )
    if form.package and find_spec(form.package) is None:
        raise EmotionError(f"--format {name} needs {form.package}: pip install 'emotion[{form.extra}]'")
    return name


def _format_of(output: Path) -> str:
    known = {form.suffix.lower(): name for name, form in FORMATS.items() if form.suffix}
    if not output.suffix:
        raise EmotionError(f"{output} has no suffix; name a format with --format, such as --format json")
    if (suffix := output.suffix.lower()) not in known:
        suffixes = ", ".join(form.suffix for form in FORMATS.values() if form.suffix)
        raise EmotionError(
            f"{output}: its suffix names no format; use one of {suffixes}, or name a format with --format"
        )
    return known[suffix]


@dataclass(frozen=True)
class Destination:
    """The format of predictions, and the files to write.

    Attributes:
        name: Name of the format.
        output: The requested output, or None for standard output.
        files: Files to write, by the name of the recording in a format of one recording in each file.
    """

    name: str
    output: Path | None
    files: Mapping[str, Path]

    @property
    def form(self) -> OutputFormat:
        """The format."""
        return FORMATS[self.name]

    @property
    def outputs(self) -> list[Path]:
        """The files to write, and those of a database that is replaced."""
        if self.form.render is None and self.output:
            return [self.output / HEADER, *(file for file in self.output.glob(FILES) if file.name != HEADER)]
        return [*self.files.values()] or [*filter(None, [self.output])]


def plan(name: str | None, output: Path | None, recordings: Sequence[Path]) -> Destination:
    """Return the format and the files to write.

    In a format of one recording in each file, an output without suffix, or an existing folder, is the folder of these
    files, which mirrors the folders of the recordings.

    Args:
        name: Name of a format, or None, see `choose_format`.
        output: Output, or None for standard output.
        recordings: Recordings to predict.

    Raises:
        EmotionError: see `choose_format`; or several recordings have no folder to be written to.
    """
    name = choose_format(name, output)
    form, files = FORMATS[name], {}
    is_folder = output is not None and (form.render is None or (form.per_recording and not output.suffix))
    if output and is_folder and output.exists() and not output.is_dir():
        raise EmotionError(f"{output} is a file; name a folder for --format {name}")
    if form.per_recording:
        is_folder = is_folder or (output is not None and output.is_dir())
        if len(recordings) > 1 and not is_folder:
            raise EmotionError(
                f"--format {name} writes one file for each recording, and {len(recordings)} were given; name a folder "
                "with --output: an existing one, or a name without suffix"
            )
        if output:
            files = (
                _files_below(output, recordings, form.suffix) if is_folder else {str(one): output for one in recordings}
            )
    return Destination(name, output, files)


def _files_below(folder: Path, recordings: Sequence[Path], suffix: str) -> dict[str, Path]:
    """Return the file of each recording: its name, with its own suffix or its folders if others have the same name."""
    if not recordings:
        return {}
    absolute = [Path(normpath(recording.absolute())) for recording in recordings]  # without `..`
    common = commonpath([path.parent for path in absolute])
    ways: list[Callable[[Path], Path]] = [
        lambda path: Path(path.stem),
        lambda path: Path(path.name),
        lambda path: path.relative_to(common).with_suffix(""),
        lambda path: path.relative_to(common),
    ]
    paths = next(paths for way in ways if len(set(paths := [*map(way, absolute)])) == len(paths) or way is ways[-1])
    files = [folder / path.with_name(path.name + suffix) for path in paths]
    return dict(zip(map(str, recordings), files, strict=True))


def write(destination: Destination, outcomes: Sequence[Outcome], labels: Sequence[str]) -> list[Path]:
    """Write outcomes to the files of a destination, each atomically; recordings without a prediction have no file.

    Args:
        destination: Destination with an output.
        outcomes: Predictions, segments of timelines, and problems.
        labels: The emotions.

    Returns:
        The written files and folders.

    Raises:
        EmotionError: a file cannot be written.
    """
    output, render = destination.output, destination.form.render
    if output is None:
        return []
    if render is None:
        write_audformat(outcomes, labels, output)
        return [output]
    if not destination.form.per_recording:
        write_bytes(output, encoded(render(outcomes, labels)))
        return [output]
    written = []
    for name, file in destination.files.items():
        own = [outcome for outcome in outcomes if name_of(outcome) == name and not isinstance(outcome, Problem)]
        if own:
            write_bytes(file, encoded(render(own, labels)))
            written.append(file)
    return written


def encoded(content: str | bytes) -> bytes:
    """Return text as UTF-8, in which the bytes of a file name that are no text are escaped."""
    return content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
