"""`emotion predict`."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from emotion.cli.inputs import add_files, find_files, report_problems
from emotion.cli.outputs import add_force, path, path_or_stdout, require_free
from emotion.cli.predictor import add_model, load_predictor
from emotion.errors import EmotionError, counted, printable

if TYPE_CHECKING:
    from emotion.inference import Predictor, Problem
    from emotion.inference.output import Outcome
    from emotion.inference.output_formats import Destination
    from emotion.inference.recordings import MediaFiles
    from emotion.inference.timeline import Segment


_OF_MODEL = -1.0
"""Stands for the confidence that comes with the model."""

_FORMATS = (
    "Output format: table, json, jsonl, csv, parquet or audformat; or textgrid, elan, srt, vtt or rttm, which imply "
    "--timeline"
)


def _confidence(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 1, such as --min-confidence=0.5")
    return value


def add_predict(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion predict`."""
    parser = commands.add_parser("predict", help="Predict the emotion of your own files.")
    add_files(parser)
    add_model(parser)
    _add_outputs(parser)
    parser.add_argument("--timeline", action="store_true", help="Predict each window and each face.")
    parser.add_argument(
        "--window", type=float, metavar="SECONDS", help="Duration of a window (default: 3); implies --timeline."
    )
    parser.add_argument(
        "--hop", type=float, metavar="SECONDS", help="Step between windows (default: 1); implies --timeline."
    )
    parser.add_argument(
        "--min-confidence",
        type=_confidence,
        nargs="?",
        const=_OF_MODEL,
        default=0.0,
        metavar="P",
        help="Answer `uncertain` where no emotion has this probability; without P, the one that two thirds of the dev "
        "recordings of the model reach.",
    )
    parser.add_argument(
        "--adapt",
        choices=("folder", "speaker"),
        help="Normalise by what the given recordings show, all together or those of each speaker (the folder of a "
        "file, or --speakers). An answer then depends on the other recordings, in a timeline on all windows.",
    )
    parser.add_argument(
        "--speakers",
        type=path,
        metavar="CSV",
        help="Table with the columns file and speaker; implies --adapt=speaker.",
    )
    add_force(parser)
    parser.set_defaults(call=_predict)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add the formats, files and figures that are written."""
    parser.add_argument(
        "--format", metavar="NAME", help=f"{_FORMATS} (default: that of the suffix of --output, else table)."
    )
    parser.add_argument(
        "--output",
        type=path_or_stdout,
        metavar="PATH",
        help="File to write (default: standard output); of several recordings as textgrid, elan, srt or vtt, a folder.",
    )
    parser.add_argument("--plot", type=path, metavar="PNG", help="Figure of the timeline of one recording to write.")
    parser.add_argument(
        "--overlay",
        type=path,
        metavar="MP4",
        help="Video with boxes, labels and timeline to write; of an image, a JPG or PNG with boxes and labels.",
    )
    parser.add_argument(
        "--subtitle-track", action="store_true", help="Add the timeline to the overlay of a video as subtitles."
    )


def _predict(arguments: argparse.Namespace) -> None:
    from emotion.inference import output, output_formats
    from emotion.progress import track

    media = find_files(arguments.files)
    destination = output_formats.plan(arguments.format, arguments.output, media.files)
    figures = [figure for figure in (arguments.plot, arguments.overlay) if figure]
    _require_outputs(arguments, media, destination, figures)
    media = _leave_out_images(media) if destination.form.has_times else media
    predictor = load_predictor(arguments)
    if predictor.model.ratings:
        _refuse_outputs_of_emotions(arguments, predictor.model.ratings, destination, figures)
    predictor.min_confidence = _required_confidence(arguments.min_confidence, predictor)
    windows = arguments.window is not None or arguments.hop is not None
    follows = bool(arguments.timeline or figures or windows or destination.form.has_times)
    _adapt(predictor, media.files, arguments, follows)
    if follows:
        predictions = _timelines(predictor, media.files, arguments)
    else:
        predictions = track(predictor.predict(media.files), "predicting", len(media.files))
    outcomes = []
    try:
        outcomes.extend(predictions)  # keeps the outcomes before an interruption
    except KeyboardInterrupt:
        _write(destination, outcomes, predictor.columns)
        done = len({output.name_of(outcome) for outcome in outcomes})
        print(f"interrupted: {done} of {counted(len(media.files), 'recording')} predicted", file=sys.stderr)
        sys.exit(130)
    _write(destination, outcomes, predictor.columns)
    if report_problems(outcomes, media.missing):
        sys.exit(1)


def _require_outputs(
    arguments: argparse.Namespace, media: "MediaFiles", destination: "Destination", figures: Sequence[Path]
) -> None:
    """Refuse outputs that cannot be written, before the model is loaded."""
    from emotion.media.image import is_image

    if figures and len(media.files) != 1:
        raise EmotionError(f"{figures[0]} shows one recording; {len(media.files)} were given")
    inputs = [
        *media.files,
        *filter(None, (arguments.run, arguments.model and path(arguments.model), arguments.speakers)),
    ]
    require_free([*figures, *destination.outputs], inputs, arguments.force, figures=[arguments.plot])
    if arguments.plot and is_image(media.files[0]):
        raise EmotionError(f"{media.files[0]} is an image and has no timeline to plot; use --overlay")
    if arguments.subtitle_track and (not arguments.overlay or is_image(media.files[0])):
        raise EmotionError("--subtitle-track needs a video to write; name it with --overlay, such as overlay.mp4")
    if arguments.overlay:
        _require_kind(media.files[0], arguments.overlay)


def _refuse_outputs_of_emotions(
    arguments: argparse.Namespace, ratings: Sequence[str], destination: "Destination", figures: Sequence[Path]
) -> None:
    """Refuse what shows emotions, of a model of ratings."""
    options = {
        f"--format {destination.name}": destination.form.of_emotions,
        "--min-confidence": arguments.min_confidence,
    }
    options |= {str(figure): True for figure in figures}
    for option in (name for name, given in options.items() if given):
        raise EmotionError(
            f"{option} is of emotions, and this model predicts {', '.join(ratings)}; leave it out, or use --format "
            "table, json, jsonl, csv or parquet"
        )


def _leave_out_images(media: "MediaFiles") -> "MediaFiles":
    """Move images, which have no timeline, to the missing files.

    Raises:
        EmotionError: all files are images.
    """
    from emotion.media.image import is_image

    images = [file for file in media.files if is_image(file)]
    messages = [f"{file} is an image and has no timeline; use another --format, such as json" for file in images]
    if images and len(images) == len(media.files):
        raise EmotionError(messages[0])
    files = tuple(file for file in media.files if file not in images)
    return replace(media, files=files, missing=(*media.missing, *messages))


def _write(destination: "Destination", outcomes: "Sequence[Outcome]", labels: tuple[str, ...]) -> None:
    """Print outcomes, or write them to the requested output."""
    from emotion.inference import output, output_formats

    if destination.output:
        for written in output_formats.write(destination, outcomes, labels):
            print(f"wrote {printable(str(written))}", file=sys.stderr)
    elif destination.name == "table":
        output.show(outcomes, labels)
    elif render := destination.form.render:
        print(render(outcomes, labels), end="")


def _adapt(predictor: "Predictor", files: Sequence[Path], arguments: argparse.Namespace, follows: bool) -> None:
    from emotion.inference.speakers import groups_of

    by = arguments.adapt or ("speaker" if arguments.speakers else None)
    if by is None or not files:
        return
    if arguments.speakers and by == "folder":
        raise EmotionError(
            "--speakers names speakers, but --adapt=folder takes all files as one group; use one of them"
        )
    groups = groups_of(files, by, arguments.speakers)
    predictor.adapt(groups, _windows(arguments) if follows else None)
    print(
        f"note: adapted to {counted(len(set(groups.values())), 'group')} of {counted(len(files), 'recording')}, "
        "without labels; answers depend on all recordings of a group",
        file=sys.stderr,
    )


def _required_confidence(value: float, predictor: "Predictor") -> float:
    if value != _OF_MODEL:
        return value
    if predictor.model.min_confidence is None:
        raise EmotionError("this model comes with no confidence to require; give one, such as --min-confidence=0.5")
    return predictor.model.min_confidence


def _require_kind(file: Path, overlay: Path) -> None:
    """Refuse an overlay whose suffix does not fit the recording, a video or an image."""
    from emotion.media.image import is_image

    suffix = overlay.suffix.lower()
    if is_image(file) and suffix not in (".jpg", ".jpeg", ".png"):
        raise EmotionError(f"{file} is an image: name its overlay .jpg or .png, such as {overlay.with_suffix('.jpg')}")
    if not is_image(file) and suffix != ".mp4":
        raise EmotionError(f"{overlay}: the suffix of an overlay of a video must be .mp4")


def _timelines(
    predictor: "Predictor",
    files: Sequence[Path],
    arguments: argparse.Namespace,
) -> Iterator["Segment | Problem"]:
    from emotion.inference import Problem
    from emotion.media.files import MediaError
    from emotion.progress import track

    for file in files:
        try:
            windows = predictor.timeline(file, *_windows(arguments))
            segments = []
            for segment in track(windows, f"predicting {file.name}, window by window", None):
                segments.append(segment)
                yield segment
            _draw_timeline(file, segments, predictor.labels, arguments)
        except MediaError as error:
            yield Problem(str(file), str(error).removeprefix(f"{file}: "))


def _windows(arguments: argparse.Namespace) -> tuple[float, float]:
    """Return duration of windows and step between them, in seconds; by default there are no gaps."""
    window = 3.0 if arguments.window is None else arguments.window
    return window, min(1.0, window) if arguments.hop is None else arguments.hop


def _draw_timeline(
    file: Path,
    segments: Sequence["Segment"],
    labels: tuple[str, ...],
    arguments: argparse.Namespace,
) -> None:
    if arguments.plot:
        from emotion.inference.timeline_figure import timeline_figure
        from emotion.plots.figure import save_figure

        save_figure(timeline_figure(segments, labels, title=file.name), arguments.plot)
    if arguments.overlay:
        from emotion.inference.overlay import write_image_overlay, write_overlay
        from emotion.media.image import is_image

        if is_image(file):
            write_image_overlay(file, segments, labels, arguments.overlay)
        else:
            write_overlay(file, segments, labels, arguments.overlay, arguments.subtitle_track)
    for written in filter(None, (arguments.plot, arguments.overlay)):
        print(f"wrote {written}", file=sys.stderr)
