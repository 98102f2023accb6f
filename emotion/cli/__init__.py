"""The `emotion` command."""

import argparse
import logging
import sys

from emotion.cli import corpora, models, predict, results
from emotion.errors import one_line_errors

_OF_HYDRA = {
    "train": "train a model; takes what train.py takes, such as data=ravdess trainer.max_epochs=20",
    "evaluate": "evaluate a finished run; takes what evaluate.py takes, such as run=RUN_DIR split=dev",
}
_COMMANDS = (
    corpora.add_download,
    corpora.add_prepare,
    predict.add_predict,
    predict.add_demo,
    predict.add_live,
    models.add_card,
    models.add_export,
    corpora.add_splits,
    results.add_report,
    results.add_trials,
    results.add_robustness,
    results.add_figures,
)


def main() -> None:
    """Run the command line."""
    with one_line_errors():
        if sys.argv[1:2] and sys.argv[1] in _OF_HYDRA:
            from emotion import commands

            commands.run(sys.argv[1], sys.argv[2:])
            return
        parser = argparse.ArgumentParser(prog="emotion", description=__doc__)
        subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
        for name, text in _OF_HYDRA.items():
            subparsers.add_parser(name, help=text)
        for add in _COMMANDS:
            add(subparsers)
        arguments = parser.parse_args()
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
        arguments.call(arguments)
