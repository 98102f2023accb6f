"""`emotion demo` and `emotion live`."""

import argparse

from emotion.cli.outputs import path
from emotion.cli.predictor import add_address, add_model, load_predictor


def add_demo(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion demo`."""
    parser = commands.add_parser("demo", help="Serve a local web page to try a model.")
    add_model(parser)
    add_address(parser, 7860)
    parser.set_defaults(call=_demo)


def _demo(arguments: argparse.Namespace) -> None:
    from emotion.inference import page

    page.serve(load_predictor(arguments), arguments.host, arguments.port)


def add_live(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion live`."""
    parser = commands.add_parser("live", help="Predict microphone and camera, or a file in real time.")
    parser.add_argument("file", nargs="?", type=path, metavar="FILE", help="File to predict instead of the devices.")
    add_model(parser)
    parser.add_argument(
        "--window", type=float, default=3.0, metavar="SECONDS", help="Duration of a window (default: 3)."
    )
    parser.add_argument(
        "--hop", type=float, default=0.5, metavar="SECONDS", help="Time between estimates (default: 0.5)."
    )
    parser.add_argument("--camera", type=int, default=0, metavar="NUMBER", help="Number of the camera (default: 0).")
    parser.set_defaults(call=_live)


def _live(arguments: argparse.Namespace) -> None:
    from emotion.inference import live

    predictor = load_predictor(arguments)
    if arguments.file:
        estimates = live.follow_file(predictor, arguments.file, arguments.window, arguments.hop)
    else:
        estimates = live.follow_devices(predictor, arguments.window, arguments.hop, arguments.camera)
    live.show(estimates, predictor.labels)
