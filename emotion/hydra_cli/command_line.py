"""The common part of the command lines of `train.py` and `evaluate.py`, with errors in one line."""

import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from emotion import malloc, runs
from emotion.config.compose import DIRECTORY, choices, compose, config_directories
from emotion.errors import TRACEBACK_VARIABLE, EmotionError, one_line_errors, suggest
from emotion.hydra_cli.overrides import check_overrides, choose_branches, quote_paths


@contextmanager
def command_line(config_name: str) -> Iterator[None]:
    """Run a `hydra.main` function in this context: errors become one line and exit status 1.

    Hydra alone reports the first mistake of the first job of a sweep, with a traceback; here every choice of every job
    is checked before the first one starts.
    """
    malloc.use_one_arena()  # before NumPy has threads of its own
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that errors arrive here
    logging.raiseExceptions = False  # no traceback if the output is closed early, as by `| head`
    with one_line_errors():
        multirun = bool({"-m", "--multirun"} & set(sys.argv[1:]))
        directories = config_directories(sys.argv[1:])
        sys.argv[1:] = choose_branches(quote_paths(sys.argv[1:], multirun), config_name, directories)
        _check_form(sys.argv[1:], directories)
        typed = [argument for argument in sys.argv[1:] if "=" in argument and not argument.startswith("-")]
        overrides = check_overrides(typed, config_name, directories)
        _check_run_directories(overrides)
        flags = any(argument.startswith("-") for argument in sys.argv[1:])  # such as --help, which needs no run
        if config_name == "evaluate" and not flags and not any(o.key_or_group == "run" for o in overrides):
            raise EmotionError("evaluate.py needs run=RUN_DIR, a run directory of train.py")
        with explained(overrides, config_name, directories):
            yield


def _check_form(arguments: Sequence[str], directories: Sequence[Path]) -> None:
    """Refuse arguments that are no overrides, and the removal of a group."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        is_value = before.startswith("-") and before not in ("-m", "--multirun")  # such as of --config-dir
        if argument.startswith("-") or "=" in argument or is_value:
            continue
        if not argument.startswith("~"):
            raise EmotionError(f"{argument} has no value: arguments are KEY=VALUE, such as model=audio_lstm or seed=1")
        if known := choices(argument[1:], directories):
            raise EmotionError(
                f"{argument}: a group cannot be left out; choose a file of it with {argument[1:]}=NAME, such as "
                f"{', '.join(sorted(known)[:3])}"
            )


@contextmanager
def explained(
    overrides: list[Override], config_name: str, directories: Sequence[Path] = (DIRECTORY,)
) -> Iterator[None]:
    """Turn Hydra's error for a mistyped key into one line that names similar keys."""
    try:
        yield
    except HydraException as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        raise EmotionError(_explain(error, overrides, config_name, directories)) from error


def _check_run_directories(overrides: list[Override]) -> None:
    # Hydra creates the run directory before any of our code runs.
    for override in overrides:
        if override.key_or_group in ("resume", "run", "run_dir", "data.root") and override.value() == "":
            raise EmotionError(f"{override.key_or_group}= is empty; name a directory, or leave it out")
        if override.key_or_group in ("resume", "run_dir") and not override.is_sweep_override() and override.value():
            _require_writable(Path(str(override.value())))
        if override.key_or_group in ("resume", "run") and override.value() and not override.is_sweep_override():
            runs.require(Path(str(override.value())))


def _require_writable(run_dir: Path) -> None:
    """Refuse a run directory that is a file, is below one, or cannot be written."""
    existing = next((path for path in (run_dir, *run_dir.absolute().parents) if path.exists()), run_dir)
    if not existing.is_dir():
        raise EmotionError(f"run_dir={run_dir}: {existing} is a file; choose another run_dir")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise EmotionError(f"run_dir={run_dir}: {existing} cannot be written; choose another run_dir")


def _explain(error: HydraException, overrides: list[Override], config_name: str, directories: Sequence[Path]) -> str:
    """Return Hydra's error in one line, with the existing keys that are similar."""
    first_line = str(error).strip().splitlines()[0]
    if re.search("Could not find 'hydra/(sweeper|launcher)/", first_line):
        return f"{first_line}; install the sweepers and launchers with pip install 'emotion[sweep]'"
    single = [o for o in overrides if "." not in o.key_or_group and not o.is_sweep_override()]
    groups = [o.input_line for o in single if o.input_line is not None]
    for override in overrides:
        parent, _, key = override.key_or_group.rpartition(".")
        if not parent or parent.startswith("hydra"):
            continue
        try:
            node = OmegaConf.select(compose(config_name, groups, directories), parent)
        except HydraException:
            continue
        if OmegaConf.is_dict(node) and key not in node:
            return f"unknown key {override.key_or_group}: {suggest(key, [str(name) for name in node])}"
        if node is None or not OmegaConf.is_dict(node):
            of_a_run = any(o.key_or_group in ("resume", "run") for o in overrides)
            remedy = f"; if the run has it, change it with +{override.input_line}" if of_a_run else ""
            return f"unknown key {override.key_or_group}: there is no {parent}{remedy}"
    return first_line
