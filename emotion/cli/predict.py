"""`emotion predict`, `emotion demo` and `emotion live`."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emotion.cli.outputs import add_force, path, require_free
from emotion.errors import EmotionError, printable

if TYPE_CHECKING:
    from emotion.inference import Predictor, Problem
    from emotion.inference.timeline import Segment


def add_predict(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion predict`."""
    parser = commands.add_parser("predict", help="which emotion your own files show")
    parser.add_argument("files", nargs="+", metavar="FILE", help="sound, videos, images; folders of them; patterns")
    _add_model(parser)
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")
    parser.add_argument("--timeline", action="store_true", help="predict window by window, and face by face")
    parser.add_argument("--window", type=float, metavar="SECONDS", help="length of a window (3); implies --timeline")
    parser.add_argument("--hop", type=float, metavar="SECONDS", help="time between windows (1); implies --timeline")
    parser.add_argument("--plot", type=path, metavar="PNG", help="draw the timeline of one recording")
    parser.add_argument(
        "--overlay",
        type=path,
        metavar="MP4",
        help="write one video with boxes, labels and timeline; of an image a JPG or PNG with boxes and labels",
    )
    add_force(parser)
    parser.set_defaults(call=_predict)


def _add_model(parser: argparse.ArgumentParser) -> None:
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--run", type=path, metavar="RUN_DIR", help="the finished run that answers; by default the one of emotion card"
    )
    model.add_argument("--model", type=path, metavar="ONNX", help="an exported model that answers")


def _predict(arguments: argparse.Namespace) -> None:
    from emotion.inference import Problem, output, recordings
    from emotion.media.image import is_image
    from emotion.progress import track

    found = recordings.find_media(arguments.files)
    for note in found.notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    drawn = [output for output in (arguments.plot, arguments.overlay) if output]
    if drawn and len(found.files) != 1:
        raise EmotionError(f"{drawn[0]} shows one recording; {len(found.files)} were given")
    inputs = [*found.files, *filter(None, (arguments.run, arguments.model))]
    require_free(drawn, inputs, arguments.force, figures=[arguments.plot])
    if arguments.plot and is_image(found.files[0]):
        raise EmotionError(f"{found.files[0]} is an image and has no timeline to plot; --overlay draws on it")
    if arguments.overlay:
        _require_kind(found.files[0], arguments.overlay)
    predictor = _predictor(arguments)
    if arguments.timeline or drawn or arguments.window is not None or arguments.hop is not None:
        predictions = _timelines(predictor, found.files, arguments)
    else:
        predictions = track(predictor.predict(found.files), "predicting", len(found.files))
    answers = []
    try:
        answers.extend(predictions)  # keeps what there is when it is interrupted
    except KeyboardInterrupt:
        output.show(answers, predictor.labels, arguments.format)
        done = len({output.name_of(answer) for answer in answers})
        print(f"interrupted: {done} of {len(found.files)} recordings are predicted", file=sys.stderr)
        sys.exit(130)
    output.show(answers, predictor.labels, arguments.format)
    problems = [f"{answer.name}: {answer.reason}" for answer in answers if isinstance(answer, Problem)]
    for problem in (*found.missing, *problems):
        print(f"error: {printable(problem)}", file=sys.stderr)
    if problems or found.missing:
        sys.exit(1)


def _require_kind(file: Path, overlay: Path) -> None:
    """Refuse an overlay of another kind than the recording, which is a video or an image."""
    from emotion.media.image import is_image

    suffix = overlay.suffix.lower()
    if is_image(file) and suffix not in (".jpg", ".jpeg", ".png"):
        raise EmotionError(f"{file} is an image: name its overlay .jpg or .png, such as {overlay.with_suffix('.jpg')}")
    if not is_image(file) and suffix != ".mp4":
        raise EmotionError(f"{overlay}: an overlay of a video is written as .mp4")


def _predictor(arguments: argparse.Namespace) -> "Predictor":
    from emotion.inference import Predictor

    if arguments.model:
        return Predictor.from_file(arguments.model)
    return Predictor.from_run(arguments.run) if arguments.run else Predictor.shipped()


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
    """Return the length of a window and the time to the next, in seconds; by default windows leave no gaps."""
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

        write = write_image_overlay if is_image(file) else write_overlay
        write(file, segments, labels, arguments.overlay)
    for drawn in filter(None, (arguments.plot, arguments.overlay)):
        print(f"drawn to {drawn}", file=sys.stderr)


def add_demo(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion demo`."""
    parser = commands.add_parser("demo", help="a page on this machine on which to try a model")
    _add_model(parser)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (127.0.0.1)")
    parser.add_argument("--port", type=int, default=7860, help="of the page (7860)")
    parser.set_defaults(call=_demo)


def _demo(arguments: argparse.Namespace) -> None:
    from emotion.inference import page

    page.serve(_predictor(arguments), arguments.host, arguments.port)


def add_live(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion live`."""
    parser = commands.add_parser("live", help="follow the microphone and the camera, or a file at its own pace")
    parser.add_argument("file", nargs="?", type=path, metavar="FILE", help="instead of the devices")
    _add_model(parser)
    parser.add_argument(
        "--window", type=float, default=3.0, metavar="SECONDS", help="Duration of a window of a timeline (default: 3)."
    )
    parser.add_argument("--hop", type=float, default=0.5, metavar="SECONDS", help="from estimate to estimate (0.5)")
    parser.add_argument("--camera", type=int, default=0, metavar="NUMBER", help="where there are several (0)")
    parser.set_defaults(call=_live)


def _live(arguments: argparse.Namespace) -> None:
    from emotion.inference import live

    predictor = _predictor(arguments)
    if arguments.file:
        estimates = live.follow_file(predictor, arguments.file, arguments.window, arguments.hop)
    else:
        estimates = live.follow_devices(predictor, arguments.window, arguments.hop, arguments.camera)
    live.show(estimates, predictor.labels)
