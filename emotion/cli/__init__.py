"""The `emotion` command: everything that is not training or evaluating a run."""

import argparse
import logging
import sys

from emotion.cli import corpora, models, predict, results
from emotion.errors import one_line_errors

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
    parser = argparse.ArgumentParser(prog="emotion", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in _COMMANDS:
        add(commands)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    with one_line_errors():
        arguments.call(arguments)
