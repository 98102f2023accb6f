"""`emotion serve`."""

import argparse
import os
from collections.abc import Callable
from functools import partial

from emotion.app.limits import Limits
from emotion.cli.predictor import add_address, add_model, load_predictor
from emotion.errors import EmotionError

_MAX_DEFAULT_WORKERS = 4


def _number(kind: type[int] | type[float], least: float) -> Callable[[str], float]:
    """Return a function that reads a number of an option."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = least - 1
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not {'a whole' if kind is int else 'a'} number from {least:g}")
        return value

    return read


def _default_workers() -> int:
    return min(_MAX_DEFAULT_WORKERS, os.cpu_count() or 1)


_LIMITS = {
    "max_size_mb": ("--max-size", "MB", _number(float, 0.001), "Maximum size of an upload"),
    "max_duration_s": ("--max-duration", "SECONDS", _number(float, 0.1), "Maximum duration of a recording"),
    "timeout_s": (
        "--timeout",
        "SECONDS",
        _number(float, 0.1),
        "Maximum time of an upload, of waiting, and of a prediction, each",
    ),
    "queue": ("--queue", "NUMBER", _number(int, 0), "Maximum number of recordings that wait for a worker"),
    "uploads": ("--uploads", "NUMBER", _number(int, 1), "Maximum number of uploads at a time"),
    "max_memory_mb": ("--max-memory", "MB", _number(int, 0), "Maximum memory of a worker; 0 for any"),
}
"""The options of the fields of `Limits` whose default is that of the field."""


def add_serve(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion serve`."""
    parser = commands.add_parser("serve", help="Serve predictions of uploaded recordings over HTTP.")
    add_model(parser)
    add_address(parser, 8000)
    parser.add_argument(
        "--workers",
        type=_number(int, 1),
        default=_default_workers(),
        metavar="NUMBER",
        help=f"Number of processes that predict (default: one for each core, at most {_MAX_DEFAULT_WORKERS}).",
    )
    for field, (option, metavar, read, description) in _LIMITS.items():
        default = getattr(Limits(), field)
        parser.add_argument(
            option, dest=field, type=read, default=default, metavar=metavar, help=f"{description} (default: {default})."
        )
    parser.set_defaults(call=_serve)


def _serve(arguments: argparse.Namespace) -> None:
    try:
        from emotion.app import server
    except ImportError as error:
        raise EmotionError(f"{error.name} is not installed: pip install 'emotion[serve]'") from error
    from emotion.app.model import model_version

    limits = Limits(workers=arguments.workers, **{field: getattr(arguments, field) for field in _LIMITS})
    model = model_version(arguments.model, arguments.run, arguments.revision)
    server.serve(partial(load_predictor, arguments), model, limits, arguments.host, arguments.port)
