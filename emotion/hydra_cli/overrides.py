"""Overrides of the command line: quote them for Hydra, parse them, and refuse mistyped ones in one line."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, QuotedString
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from emotion.config.compose import DIRECTORY, choices, compose, quoted
from emotion.config.features import COMMON
from emotion.config.target import WEIGHTS
from emotion.config.validate import check_value
from emotion.errors import EmotionError, suggest
from emotion.runs import is_member_root, is_start

_PATHS = frozenset(
    (
        *(
            "data.root",
            "data.metadata",
            "data.path",
            "data.corpus.table",
            "data.corpus.votes",
            "action_units.table",
            "run",
            "run_dir",
            "resume",
        ),
        *("hydra.run.dir", "hydra.sweep.dir"),
    )
)
"""The keys whose values are paths, in addition to keys of weights."""
_BRANCH = r"model\.(?:branches\.\w+(?:\.vector)?|vector)"
_CHOICES = (
    (re.compile(r"\+*(?P<key>model\.(?:branches\.\w+|vector))=(?P<choice>[\w,]+)"), "model/branch"),
    (re.compile(r"\+*(?P<key>model\.branches\.\w+\.vector)=(?P<choice>[\w,]+)"), "model/branch"),
    (re.compile(rf"\+*(?P<key>{_BRANCH}\.features)=(?P<choice>[\w,\[\]]+)"), "features"),
)
"""Keys of branches, of vectors in them and of their features, which are chosen in this order, and their groups."""
_BACKBONE = re.compile(rf"\+*(model|{_BRANCH})\.backbone=([\w.]+)")
"""A backbone by the name of its architecture, such as `model.backbone=resnet18`."""
_GROUP_CHOICE = re.compile(r"\+?(model|experiment|data|debug|model/branch@[\w.]+)=[\w/]+")
_FEATURES_KEY = re.compile(rf"^\+*({_BRANCH}\.features\.(?:{'|'.join((*COMMON, 'deltas'))})=)")
"""The keys of the features of a branch, which may be added to those that the branch has."""
_PATTERNS = ("data.corpus.speaker",)
"""The keys whose values are regular expressions."""
_RENAMED: dict[str, dict[str, str]] = {
    "model": {
        "network": "backbone",
        "pictures": "images",
        "run": "init_from",
        "frozen": "freeze",
        "learning_rate_factor": "lr_multiplier",
        "parts": "n_augmented_copies",
        "only": "train_emotion",
    },
    "features": {"deltas": "n_delta_orders", "seconds": "duration_s", "frozen": "freeze"},
    "faces": {
        "every": "frame_step",
        "interval": "detection_interval_s",
        "smallest": "min_face_fraction",
        "seconds": "max_duration_s",
    },
    "data": {"on_problem": "on_error"},
    "action_units": {"kinds": "columns", "over_time": "pooling"},
}
"""The keys of version 0.2, and their names in 0.3."""


def check_overrides(
    arguments: list[str], config_name: str = "train", directories: Sequence[Path] = (DIRECTORY,)
) -> list[Override]:
    """Parse overrides; refuse those whose first name, or whose choice in a group, does not exist.

    Args:
        arguments: Overrides.
        config_name: The YAML file that is composed.
        directories: Directories of YAML files, see `config_directories`.

    Raises:
        EmotionError: an override is wrong; the message names it and what was probably meant.
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
    groups = {path.relative_to(one).as_posix() for one in directories for path in one.rglob("*") if path.is_dir()}
    files = [DIRECTORY / f"{name}.yaml" for name in ("train", config_name)]
    keys = {str(key) for file in files for key in OmegaConf.load(file)} - {"defaults"}
    for override in overrides:
        name: str = override.key_or_group
        first, *rest = name.split(".")
        renamed = ".".join([first, *(_RENAMED.get(first, {}).get(part, part) for part in rest)])
        if renamed != name:
            raise EmotionError(f"unknown key {name}: it was renamed to {renamed} in version 0.3")
        if name.startswith("hydra/"):
            continue  # such as hydra/launcher, whose choices come from plugins
        if name not in groups and first not in groups | keys:
            raise EmotionError(f"unknown key {first}: {suggest(first, {g for g in groups if '/' not in g} | keys)}")
        if name in groups and not name.startswith("hydra"):
            _check_choices(name, override, directories)
        elif not override.is_delete():
            _check_values(name, override)
    return overrides


def choose_branches(
    arguments: list[str], config_name: str = "train", directories: Sequence[Path] = (DIRECTORY,)
) -> list[str]:
    """Rewrite the choices of branches, and of their features, in Hydra's syntax.

    `model.branches.NAME=CHOICE` and `model.vector=CHOICE` choose in the group `model/branch`, and
    `model.branches.NAME.features=CHOICE` in the group `features`; `model.backbone=NAME` names an architecture. Choices
    that add a key get a `+`, and options of the corpora of `data=several` too.

    Args:
        arguments: Arguments of the command line.
        config_name: The YAML file that is composed.
        directories: Directories of YAML files, see `config_directories`.

    Example:
        >>> choose_branches(["model=late_fusion", "model.branches.audio=audio_lstm", "model.branches.b=means"])[1:]
        ['model/branch@model.branches.audio=audio_lstm', '+model/branch@model.branches.b=means']
        >>> choose_branches(["model=late_fusion", "model.branches.audio.features=[chroma,rms]"])[1:]
        ['+features@model.branches.audio.features=[chroma,rms]']
    """
    arguments = [_FEATURES_KEY.sub(r"++\1", argument) for argument in arguments]
    arguments = [re.sub(r"^\+*(data\.options\.)", r"++\1", argument) for argument in arguments]
    arguments = [_BACKBONE.sub(r"\1.backbone.architecture=\2", argument) for argument in arguments]
    for pattern, group in _CHOICES:
        arguments = _choose(pattern, group, arguments, config_name, directories)
    return arguments


def _choose(
    pattern: re.Pattern, group: str, arguments: list[str], config_name: str, directories: Sequence[Path]
) -> list[str]:
    """Rewrite the arguments that match a pattern as choices in a group."""
    found = [pattern.fullmatch(argument) for argument in arguments]
    if not any(found):
        return arguments
    known = choices(group, directories)
    for match in filter(None, found):
        if unknown := [name for name in re.findall(r"\w+", match["choice"]) if name not in known]:
            raise EmotionError(f"unknown choice {match['key']}={unknown[0]}: {suggest(unknown[0], known)}")
    groups = [a for a in arguments if _GROUP_CHOICE.fullmatch(a)]
    composed = compose(config_name, groups, directories)
    for match in filter(None, found):
        if match["key"].split(".")[1] not in composed.model:
            raise EmotionError(
                "model.branches.NAME= chooses the branches of a fusion, and model.vector= the vector of an estimator: "
                "add model=late_fusion, or such as model=svm"
            )

    def written(match: re.Match) -> str:
        key = f"{group}@{match['key']}"
        return f"{'' if key in composed.hydra.runtime.choices else '+'}{key}={match['choice']}"

    return [written(match) if match else argument for argument, match in zip(arguments, found, strict=True)]


def quote_paths(arguments: list[str], multirun: bool = False) -> list[str]:
    """Quote paths and patterns that Hydra's grammar would refuse or split, and expand `~` in paths.

    Args:
        arguments: Arguments of the command line, options included.
        multirun: True if commas may separate the values of a sweep.

    Example:
        >>> quote_paths(["data.root=a&b [1], größe", "seed=1,2", "run_dir=out"])
        ["data.root='a&b [1], größe'", 'seed=1,2', 'run_dir=out']
    """
    return [_quote_path(argument, multirun) if "=" in argument else argument for argument in arguments]


def _quote_path(argument: str, multirun: bool) -> str:
    key, _, text = argument.partition("=")
    name = key.lstrip("+")
    is_path = name in _PATHS or is_start(name) or name.rpartition(".")[2] in WEIGHTS or is_member_root(name)
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
            values = []  # an interval that a search samples
    else:
        values = [override.value()]
    for value in values:
        if not isinstance(value, dict) and "${" not in str(value):
            check_value(key, _plain(value))


def _plain(value: object) -> object:
    """Return a parsed value as OmegaConf represents it."""
    if isinstance(value, QuotedString):
        return value.text
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _check_choices(group: str, override: Override, directories: Sequence[Path]) -> None:
    # Only experiments are in nested directories; in other groups a directory is a group, such as model/branch.
    known = choices(group, directories, nested=group == "experiment")
    for choice in _wanted(override):
        if choice not in known:
            raise EmotionError(f"unknown choice {group}={choice}: {suggest(choice, known)}")


def _wanted(override: Override) -> list[str]:
    """Return all choices of an override, in all jobs of a sweep; `features=[mfcc,chroma]` has two."""
    if isinstance(override.value(), Glob):
        return []  # a glob matches only existing choices
    values = list(override.sweep_string_iterator()) if override.is_sweep_override() else [override.value()]
    names = []
    for value in values:
        text = str(value) if isinstance(value, str) else value
        if isinstance(text, str) and text.startswith("["):
            text = text.strip("[]").split(",")
        names += text if isinstance(text, list) else [text]
    return [str(name).strip(" '\"") for name in names if name is not None]
