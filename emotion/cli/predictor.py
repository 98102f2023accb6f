"""The arguments that choose a model, and the model."""

import argparse
from typing import TYPE_CHECKING

from emotion.cli.outputs import path
from emotion.errors import EmotionError

if TYPE_CHECKING:
    from emotion.inference import Predictor


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add `--run` and `--model` to a command that predicts."""
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--run", type=path, metavar="RUN_DIR", help="Directory of a finished run (default: the model of emotion card)."
    )
    model.add_argument(
        "--model",
        metavar="MODEL",
        help="Exported model: an ONNX file, a folder of emotion export --format hub, or a repository of the Hugging "
        "Face Hub, such as name/model.",
    )
    parser.add_argument("--revision", help="Branch, tag or commit of the repository (default: its main branch).")


def load_predictor(arguments: argparse.Namespace) -> "Predictor":
    """Load the model that the arguments of `add_model` name."""
    from emotion.inference import Predictor

    if arguments.revision and not arguments.model:
        raise EmotionError("--revision is of a repository: add --model name/model")
    if arguments.model:
        return Predictor.from_pretrained(arguments.model, arguments.revision)
    return Predictor.from_run(arguments.run) if arguments.run else Predictor.shipped()


def require_emotions(predictor: "Predictor", command: str) -> None:
    """Refuse a model of ratings.

    Raises:
        EmotionError: the model predicts ratings.
    """
    if ratings := predictor.model.ratings:
        raise EmotionError(
            f"emotion {command} shows emotions, and this model predicts {', '.join(ratings)}; use emotion predict"
        )


def add_address(parser: argparse.ArgumentParser, port: int) -> None:
    """Add `--host` and `--port` to a command that serves.

    Args:
        parser: Parser of the command.
        port: Default port.
    """
    parser.add_argument(
        "--host", default="127.0.0.1", help="Address; 0.0.0.0 for access from other machines (default: 127.0.0.1)."
    )
    parser.add_argument("--port", type=int, default=port, help=f"Port; 0 for a free one (default: {port}).")
