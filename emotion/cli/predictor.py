"""The arguments that choose a model, and the model."""

import argparse
from typing import TYPE_CHECKING

from emotion.cli.outputs import path

if TYPE_CHECKING:
    from emotion.inference import Predictor


def add_model(parser: argparse.ArgumentParser, default: str = "the model of emotion card") -> None:
    """Add `--run` and `--model` to a command that predicts; `default` names the model without them."""
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--run", type=path, metavar="RUN_DIR", help=f"Directory of a finished run (default: {default}).")
    model.add_argument("--model", type=path, metavar="ONNX", help="Exported model.")


def load_predictor(arguments: argparse.Namespace) -> "Predictor":
    """Load the model that the arguments of `add_model` name."""
    from emotion.inference import Predictor

    if arguments.model:
        return Predictor.from_file(arguments.model)
    return Predictor.from_run(arguments.run) if arguments.run else Predictor.shipped()
