"""The common start of `train.py` and `evaluate.py`: refuse what was mistyped, in one line, before anything begins."""

import logging
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, QuotedString
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf

from emotion import memory
from emotion.config.compose import DIRECTORY, quoted
from emotion.config.validate import check_value
from emotion.errors import TRACEBACK_VARIABLE, EmotionError, one_line_errors, suggest
from emotion.runs import WEIGHTS, is_start

_PATHS = frozenset(
    (
        *("data.root", "data.corpus.table", "data.corpus.votes", "action_units.table", "run", "run_dir", "resume"),
        *("hydra.run.dir", "hydra.sweep.dir"),
    )
)
"""The keys whose values are paths, besides those of weights."""
_PATTERNS = ("data.corpus.speaker",)
"""The keys whose values are regular expressions."""


@contextmanager
def command_line(config_name: str) -> Iterator[None]:
    """Around a call of a `hydra.main` function: errors become one line and exit status 1.

    Hydra alone reports the first mistake of the first job of a sweep, with a traceback; here every choice of every job
    is checked before the first one starts.
    """
    memory.share_heap()  # before NumPy has threads of its own
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that errors arrive here
    logging.raiseExceptions = False  # a reader who has seen enough, such as `| head`, is no reason for tracebacks
    with one_line_errors():
        multirun = bool({"-m", "--multirun"} & set(sys.argv[1:]))
        sys.argv[1:] = choose_branches(quote_paths(sys.argv[1:], multirun), config_name)
        typed = [argument for argument in sys.argv[1:] if "=" in argument and not argument.startswith("-")]
        overrides = check_overrides(typed, config_name)
        _check_run_directories(overrides)
        flags = any(argument.startswith("-") for argument in sys.argv[1:])  # such as --help, which needs no run
        if config_name == "evaluate" and not flags and not any(o.key_or_group == "run" for o in overrides):
            raise EmotionError("evaluate.py needs run=RUN_DIR, a folder that train.py has made")
        with explained(overrides, config_name):
            yield


@contextmanager
def explained(overrides: list[Override], config_name: str) -> Iterator[None]:
    """Turn what Hydra says of a mistyped key into one line that names the near ones."""
    try:
        yield
    except HydraException as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        raise EmotionError(_explain(error, overrides, config_name)) from error


def check_overrides(arguments: list[str], config_name: str = "train") -> list[Override]:
    """Parse overrides and refuse those whose first name, or whose choice in a group, does not exist.

    Raises:
        EmotionError: names the argument, and what was probably meant.
    """
    overrides = []
    for argument in arguments:
        try:
            overrides += OverridesParser.create().parse_overrides([argument])
        except OverrideParseException as error:
            key, _, value = argument.partition("=")
            raise EmotionError(
                f"cannot read the argument {argument!r}: quote values that hold = , ( ) or spaces, as in "
                f"{shlex.quote(f'{key}={quoted(value)}')}"
            ) from error
    groups = {path.relative_to(DIRECTORY).as_posix() for path in DIRECTORY.rglob("*") if path.is_dir()}
    keys = {key for name in ("train", config_name) for key in OmegaConf.load(DIRECTORY / f"{name}.yaml")} - {"defaults"}
    for override in overrides:
        name = override.key_or_group
        first = name.split(".")[0]
        if name.startswith("hydra/"):
            continue  # such as hydra/launcher, whose choices plugins bring
        if name not in groups and first not in groups | keys:
            raise EmotionError(f"unknown key {first}: {suggest(first, {g for g in groups if '/' not in g} | keys)}")
        if name in groups and not name.startswith("hydra"):
            _check_choices(name, override)
        elif not override.is_delete():
            _check_values(name, override)
    return overrides


def choose_branches(arguments: list[str], config_name: str = "train") -> list[str]:
    """Write `model.branches.NAME=CHOICE` as Hydra has it, with `+` where the model has no branch of that name yet.

    Args:
        arguments: Arguments of the command line.
        config_name: The YAML file that is composed.

    Example:
        >>> choose_branches(["model=late_fusion", "model.branches.audio=audio_lstm", "model.branches.b=means"])[1:]
        ['model/branch@model.branches.audio=audio_lstm', '+model/branch@model.branches.b=means']
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    known = {path.stem for path in (DIRECTORY / "model" / "branch").glob("*.yaml")}
    found = [re.fullmatch(r"\+*model\.branches\.(\w+)=([\w,]+)", argument) for argument in arguments]
    found = [match if match and set(match[2].split(",")) <= known else None for match in found]
    if not any(found):
        return arguments
    groups = [a for a in arguments if re.fullmatch(r"(model|experiment|data|debug)=[\w/]+", a)]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(DIRECTORY), version_base="1.3"):
        composed = compose(config_name, overrides=groups, return_hydra_config=True)
    GlobalHydra.instance().clear()
    if "branches" not in composed.model:
        raise EmotionError("model.branches.NAME= chooses the branches of a fusion: add model=late_fusion")
    choices = composed.hydra.runtime.choices

    def written(match: re.Match) -> str:
        key = f"model/branch@model.branches.{match[1]}"
        return f"{'' if key in choices else '+'}{key}={match[2]}"

    return [written(match) if match else argument for argument, match in zip(arguments, found, strict=True)]


def quote_paths(arguments: list[str], multirun: bool = False) -> list[str]:
    """Quote paths and patterns that Hydra's grammar would refuse or take apart, and expand `~` in paths.

    Args:
        arguments: What was typed, options included.
        multirun: True if commas may separate the values of a sweep.

    Example:
        >>> quote_paths(["data.root=a&b [1], größe", "seed=1,2", "run_dir=out"])
        ["data.root='a&b [1], größe'", 'seed=1,2', 'run_dir=out']
    """
    return [_quote_path(argument, multirun) if "=" in argument else argument for argument in arguments]


def _quote_path(argument: str, multirun: bool) -> str:
    key, _, text = argument.partition("=")
    name = key.lstrip("+")
    is_path = name in _PATHS or is_start(name) or name.rpartition(".")[2] in WEIGHTS
    if not text or not (is_path or name in _PATTERNS):
        return argument
    try:
        (override,) = OverridesParser.create().parse_overrides([f"{name}={text}"])
    except OverrideParseException:
        override = None
    exists = is_path and _exists(text)
    if override is None or (override.is_sweep_override() and not multirun):
        value = text
    elif override.is_sweep_override():
        value = text if exists else None
    else:
        value = override.value()
        value = text if isinstance(value, list | dict) or exists else value
    if not isinstance(value, str) or ("${" in value and not exists):
        return argument  # null, a number, an interpolation, or the values of a sweep
    expanded = _expanded(value) if is_path else value
    return argument if override and expanded == override.value() == text else f"{key}={quoted(expanded)}"


def _expanded(path: str) -> str:
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:  # there is no such user
        return path


def _exists(path: str) -> bool:
    try:
        return Path(_expanded(path)).exists()
    except (OSError, ValueError):
        return False


def _check_values(key: str, override: Override) -> None:
    """Refuse a value that the key cannot have, in all jobs of a sweep."""
    if override.is_sweep_override():
        if override.is_choice_sweep() or override.is_range_sweep():
            values = [value for value in override.sweep_iterator() if not isinstance(value, Glob)]
        else:
            values = []  # an interval, of which a search draws
    else:
        values = [override.value()]
    for value in values:
        if not isinstance(value, dict) and "${" not in str(value):
            check_value(key, _plain(value))


def _plain(value: object) -> object:
    """Return a value as OmegaConf has it."""
    if isinstance(value, QuotedString):
        return value.text
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _check_choices(group: str, override: Override) -> None:
    folder = DIRECTORY / group
    # Only experiments are sorted into folders; a folder in another group is a group itself, such as model/audio.
    pattern = "**/*.yaml" if group == "experiment" else "*.yaml"
    choices = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob(pattern)}
    for choice in _wanted(override):
        if choice not in choices:
            raise EmotionError(f"unknown choice {group}={choice}: {suggest(choice, choices)}")


def _wanted(override: Override) -> list[str]:
    """Every choice that an override names, in all jobs of a sweep; `features=[mfcc,chroma]` names two."""
    if isinstance(override.value(), Glob):
        return []  # what it matches exists
    values = list(override.sweep_string_iterator()) if override.is_sweep_override() else [override.value()]
    names = []
    for value in values:
        text = str(value) if isinstance(value, str) else value
        if isinstance(text, str) and text.startswith("["):
            text = text.strip("[]").split(",")
        names += text if isinstance(text, list) else [text]
    return [str(name).strip(" '\"") for name in names if name is not None]


def _check_run_directories(overrides: list[Override]) -> None:
    from emotion import runs

    # Hydra makes the folder of a run before anything looks into it.
    for override in overrides:
        if override.key_or_group in ("resume", "run") and override.value() and not override.is_sweep_override():
            runs.require(Path(str(override.value())))


def _explain(error: HydraException, overrides: list[Override], config_name: str) -> str:
    """Hydra's complaint in one line, with the keys that are near the one that does not exist."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    first_line = str(error).strip().splitlines()[0]
    if re.search("Could not find 'hydra/(sweeper|launcher)/", first_line):
        return f"{first_line}; what searches and runs jobs side by side comes with pip install 'emotion[sweep]'"
    groups = [o.input_line for o in overrides if "." not in o.key_or_group and not o.is_sweep_override()]
    for override in overrides:
        parent, _, key = override.key_or_group.rpartition(".")
        if not parent or parent.startswith("hydra"):
            continue
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(str(DIRECTORY), version_base="1.3"):
                node = OmegaConf.select(compose(config_name, overrides=groups), parent)
        except HydraException:
            continue
        if OmegaConf.is_dict(node) and key not in node:
            return f"unknown key {override.key_or_group}: {suggest(key, [str(name) for name in node])}"
        if node is None or not OmegaConf.is_dict(node):
            of_a_run = any(o.key_or_group in ("resume", "run") for o in overrides)
            remedy = f"; if the run has it, change it with +{override.input_line}" if of_a_run else ""
            return f"unknown key {override.key_or_group}: there is no {parent}{remedy}"
    return first_line
