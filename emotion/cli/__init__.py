"""The `emotion` command."""

import argparse
import importlib
import logging
import sys

import emotion
from emotion.cli import adapt, check, corpora, demo, embed, models, predict, results, serve
from emotion.errors import one_line_errors

_HYDRA = {
    "train": "Train a model; arguments as for train.py, such as data=ravdess model=audio_lstm.",
    "evaluate": "Evaluate a finished run; arguments as for evaluate.py, such as run=RUN_DIR split=dev.",
}
"""The commands whose arguments are Hydra overrides, and their help."""
_COMMANDS = (
    corpora.add_download,
    check.add_check,
    corpora.add_prepare,
    predict.add_predict,
    embed.add_embed,
    demo.add_demo,
    demo.add_demo_page,
    demo.add_live,
    serve.add_serve,
    adapt.add_adapt,
    models.add_card,
    models.add_export,
    models.add_ensemble,
    corpora.add_splits,
    corpora.add_export_dataset,
    results.add_report,
    results.add_trials,
    results.add_temperature,
    results.add_robustness,
    results.add_figures,
)


def main() -> None:
    """Run the command line."""
    with one_line_errors():
        if sys.argv[1:2] and sys.argv[1] in _HYDRA:
            _run_hydra(sys.argv[1])
            return
        parser = argparse.ArgumentParser(prog="emotion", description=__doc__)
        parser.add_argument("--version", action="version", version=f"emotion {emotion.__version__}")
        commands = parser.add_subparsers(required=True, metavar="COMMAND")
        for name, description in _HYDRA.items():
            commands.add_parser(name, help=description)
        for add in _COMMANDS:
            add(commands)
        arguments = parser.parse_args()
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
        arguments.call(arguments)


def _run_hydra(name: str) -> None:
    module = importlib.import_module(f"emotion.hydra_cli.{name}")
    # Further processes of a distributed training run sys.argv again, so it has to name a script, not a module.
    sys.modules["__main__"].__spec__ = None
    sys.argv = [str(module.__file__), *sys.argv[2:]]
    module.main()
