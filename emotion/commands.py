"""Training and evaluation as commands: `train.py`, `evaluate.py`, `emotion train` and `emotion evaluate`."""

import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from emotion.config import DIRECTORY
from emotion.entry import command_line
from emotion.errors import one_line_errors
from emotion.sweeps import summarised


@hydra.main(version_base="1.3", config_path=str(DIRECTORY.resolve()), config_name="train")
def _train(config: DictConfig) -> float:
    """Train with the composed configuration; returns the dev metric that sweeps optimise."""
    from emotion import sweeps, tasks

    own = HydraConfig.get()
    run_dir, overrides = Path(own.runtime.output_dir), list(own.overrides.task)
    if own.mode == RunMode.MULTIRUN:
        return sweeps.train_job(config, run_dir, overrides, own.job.num)
    with one_line_errors():  # within the job, or Hydra adds lines of its own
        return tasks.train(config, run_dir, overrides)


@hydra.main(version_base="1.3", config_path=str(DIRECTORY.resolve()), config_name="evaluate")
def _evaluate(config: DictConfig) -> None:
    """Evaluate a run with its own configuration."""
    from emotion.tasks import evaluate

    with one_line_errors():  # within the job, or Hydra adds lines of its own
        evaluate(config, list(HydraConfig.get().overrides.task))


def train() -> None:
    """Run `train` with the overrides in `sys.argv`."""
    with command_line("train"), summarised():
        _train()


def evaluate() -> None:
    """Run `evaluate` with the overrides in `sys.argv`."""
    with command_line("evaluate"):
        _evaluate()


def run(command: str, arguments: list[str]) -> None:
    """Run one of them as if this file had been called, as the helper processes of a distributed fit call it again.

    Args:
        command: `train` or `evaluate`.
        arguments: Overrides and options of Hydra.
    """
    sys.modules["__main__"].__spec__ = None  # else Lightning calls the module that was called, without its subcommand
    sys.argv = [str(Path(__file__).with_name(f"{command}_command.py")), *arguments]
    {"train": train, "evaluate": evaluate}[command]()
