"""`emotion predict`, `emotion demo` and `emotion live`."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from emotion.cli import outputs
from emotion.errors import EmotionError, printable

_INTERRUPTED = 130  # the exit status: 128 + SIGINT


def add_predict(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion predict`."""
    parser = commands.add_parser("predict", help="which emotion your own files show")
    parser.add_argument("files", nargs="+", metavar="FILE", help="sound, videos, images; folders of them; patterns")
    _add_model(parser)
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")
    parser.add_argument("--timeline", action="store_true", help="predict window by window, for each face")
    parser.add_argument(
        "--window", type=float, metavar="SECONDS", help="length of a window of a timeline (default: 3); makes one"
    )
    parser.add_argument(
        "--hop", type=float, metavar="SECONDS", help="time from window to window (default: 1); makes a timeline"
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the timeline of one recording")
    parser.add_argument(
        "--overlay",
        type=Path,
        metavar="FILE",
        help="draw boxes and labels: into an MP4, with the timeline, for a video; into a PNG or JPEG for an image",
    )
    outputs.add_force(parser)
    parser.set_defaults(call=_predict)


def _add_model(parser: argparse.ArgumentParser) -> None:
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--run", type=Path, metavar="RUN_DIR", help="the finished run that answers; by default the one of emotion card"
    )
    model.add_argument("--model", type=Path, metavar="ONNX", help="an exported model that answers")


def _predict(arguments: argparse.Namespace) -> None:
    from emotion.inference import Problem, output, recordings
    from emotion.media.image import is_image
    from emotion.progress import track

    found = recordings.find(arguments.files)
    for note in found.notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    drawn = [path for path in (arguments.plot, arguments.overlay) if path]
    if drawn and len(found.files) != 1:
        raise EmotionError(f"{drawn[0]} shows one recording; {len(found.files)} were given")
    models = [path for path in (arguments.model, arguments.run) if path]
    outputs.require_free(drawn, [*found.files, *models], arguments.force)
    if arguments.plot and is_image(found.files[0]):
        raise EmotionError(f"{found.files[0]} is an image and has no timeline to plot; --overlay draws on it")
    if arguments.overlay:
        from emotion.inference.overlay import require_suffix

        require_suffix(found.files[0], arguments.overlay)
    predictor = _predictor(arguments)
    if arguments.timeline or drawn or (arguments.window, arguments.hop) != (None, None):
        predicted = _timelines(predictor, found.files, arguments)
    else:
        predicted = track(predictor.predict(found.files), "predicting", len(found.files))
    answers, interrupted = [], False
    try:
        for answer in predicted:
            answers.append(answer)  # noqa: PERF402 (keeps what there is when interrupted)
    except KeyboardInterrupt:
        interrupted = True
    output.show(answers, predictor.labels, arguments.format)
    if interrupted:
        print(f"interrupted: {_amount(answers)}", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    problems = [f"{answer.name}: {answer.reason}" for answer in answers if isinstance(answer, Problem)]
    for problem in (*found.missing, *problems):
        print(f"error: {printable(problem)}", file=sys.stderr)
    if problems or found.missing:
        sys.exit(1)


def _amount(answers: Sequence[object]) -> str:
    return "no prediction was made" if not answers else f"the first {len(answers):,} predictions are above"


def _predictor(arguments: argparse.Namespace) -> "Predictor":  # noqa: F821 (imported lazily)
    from emotion.inference import Predictor

    if arguments.model:
        return Predictor.from_file(arguments.model)
    return Predictor.from_run(arguments.run) if arguments.run else Predictor.shipped()


def _timelines(
    predictor: "Predictor",  # noqa: F821 (imported lazily)
    files: Sequence[Path],
    arguments: argparse.Namespace,
) -> Iterator["Moment | Problem"]:  # noqa: F821
    from emotion.inference import Problem
    from emotion.media.files import MediaError
    from emotion.progress import track

    for file in files:
        try:
            moments = []
            windows = predictor.timeline(file, *_windows(arguments))
            for moment in track(windows, f"predicting {file.name}, window by window", None):
                moments.append(moment)
                yield moment
            _draw_timeline(file, moments, predictor.labels, arguments)
        except MediaError as error:
            yield Problem(str(file), str(error).removeprefix(f"{file}: "))


def _windows(arguments: argparse.Namespace) -> tuple[float, float]:
    """Return the length of a window and the time to the next, in seconds; windows never leave gaps."""
    window = 3.0 if arguments.window is None else arguments.window
    return window, min(1.0, window) if arguments.hop is None else arguments.hop


def _draw_timeline(
    file: Path,
    moments: Sequence["Moment"],  # noqa: F821 (imported lazily)
    labels: tuple[str, ...],
    arguments: argparse.Namespace,
) -> None:
    if arguments.plot:
        from emotion.evaluation.figures import save
        from emotion.inference.timeline_figure import timeline_figure

        save(timeline_figure(moments, labels, title=file.name), arguments.plot)
    if arguments.overlay:
        from emotion.inference.overlay import write_overlay

        write_overlay(file, moments, labels, arguments.overlay)
    for path in filter(None, (arguments.plot, arguments.overlay)):
        print(f"drawn to {path}", file=sys.stderr)


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
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="instead of the devices")
    _add_model(parser)
    parser.add_argument("--window", type=float, default=3.0, metavar="SECONDS", help="that are judged together (3)")
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
