"""`emotion demo`, `emotion demo-page` and `emotion live`."""

import argparse
import shlex

from emotion.cli.outputs import path
from emotion.cli.predictor import add_address, add_model, load_predictor, require_emotions


def add_demo(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion demo`."""
    parser = commands.add_parser("demo", help="Serve a local web page to try a model.")
    add_model(parser)
    add_address(parser, 7860)
    parser.set_defaults(call=_demo)


def _demo(arguments: argparse.Namespace) -> None:
    from emotion.inference import page

    predictor = load_predictor(arguments)
    require_emotions(predictor, "demo")
    page.serve(predictor, arguments.host, arguments.port)


def add_demo_page(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion demo-page`."""
    parser = commands.add_parser("demo-page", help="Write a static web page that predicts in the browser.")
    parser.add_argument("directory", type=path, metavar="DIR", help="New or empty folder for the page.")
    parser.add_argument("--model", type=path, metavar="ONNX", help="Exported audio model (default: the shipped one).")
    parser.add_argument(
        "--onnxruntime-web",
        type=path,
        metavar="PATH",
        help="Package onnxruntime-web to copy: a folder, or the file of npm pack (default: the page uses a CDN).",
    )
    parser.set_defaults(call=_demo_page)


def _demo_page(arguments: argparse.Namespace) -> None:
    from emotion.inference import browser

    browser.write_page(arguments.directory, arguments.model, arguments.onnxruntime_web)
    size = sum(file.stat().st_size for file in arguments.directory.rglob("*") if file.is_file())
    print(f"wrote {arguments.directory}, {size / 1e6:.1f} MB; to open it on this machine:")
    print(f"python -m http.server --bind 127.0.0.1 --directory {shlex.quote(str(arguments.directory))}")


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
    require_emotions(predictor, "live")
    if arguments.file:
        estimates = live.follow_file(predictor, arguments.file, arguments.window, arguments.hop)
    else:
        estimates = live.follow_devices(predictor, arguments.window, arguments.hop, arguments.camera)
    live.show(estimates, predictor.labels)
