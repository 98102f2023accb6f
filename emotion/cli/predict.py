"""`emotion predict`, `emotion demo` and `emotion live`."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from emotion.errors import EmotionError, printable


def add_predict(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion predict`."""
    parser = commands.add_parser("predict", help="which emotion your own files show")
    parser.add_argument("files", nargs="+", metavar="FILE", help="sound, videos, images; folders of them; patterns")
    _add_model(parser)
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")
    parser.add_argument("--timeline", action="store_true", help="judge long recordings window by window, face by face")
    parser.add_argument("--window", type=float, default=3.0, metavar="SECONDS", help="of a timeline (3)")
    parser.add_argument("--hop", type=float, default=1.0, metavar="SECONDS", help="from window to window (1)")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the timeline of one recording")
    parser.add_argument("--overlay", type=Path, metavar="MP4", help="write one video with boxes, labels and timeline")
    parser.set_defaults(call=_predict)


def _add_model(parser: argparse.ArgumentParser) -> None:
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--run", type=Path, metavar="RUN_DIR", help="the finished run that answers; by default the one of emotion card"
    )
    model.add_argument("--model", type=Path, metavar="ONNX", help="an exported model that answers")


def _predict(arguments: argparse.Namespace) -> None:
    from emotion.inference import Problem, output, recordings
    from emotion.progress import track

    found = recordings.find(arguments.files)
    for note in found.notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    drawn = [path for path in (arguments.plot, arguments.overlay) if path]
    if drawn and len(found.files) != 1:
        raise EmotionError(f"{drawn[0]} shows one recording; {len(found.files)} were given")
    predictor = _predictor(arguments)
    if arguments.timeline or drawn:
        judged = _timelines(predictor, found.files, arguments)
    else:
        judged = track(predictor.predict(found.files), "judging recordings", len(found.files))
    answers = list(judged)
    output.show(answers, predictor.labels, arguments.format)
    problems = [f"{answer.name}: {answer.reason}" for answer in answers if isinstance(answer, Problem)]
    for problem in (*found.missing, *problems):
        print(f"error: {printable(problem)}", file=sys.stderr)
    if problems or found.missing:
        sys.exit(1)


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
            windows = predictor.timeline(file, arguments.window, arguments.hop)
            moments = list(track(windows, f"judging {file.name}, window by window", None))
            _draw_timeline(file, moments, predictor.labels, arguments)
        except MediaError as error:
            yield Problem(str(file), str(error).removeprefix(f"{file}: "))
        else:
            yield from moments


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
