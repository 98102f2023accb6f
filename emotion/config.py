"""Configuration: where it lies, what may be built from it, and errors that name the near choices."""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from emotion.errors import EmotionError, suggest

Built = TypeVar("Built")

_INSTALLED = Path(__file__).parent / "conf"
DIRECTORY = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parent.parent / "conf"
"""The folder of configurations: in the package once that is built, beside it in a checkout."""

ALLOWED_TARGETS = frozenset(
    f"torch.optim.{name}"
    for name in (
        "Adam",
        "AdamW",
        "NAdam",
        "RAdam",
        "RMSprop",
        "SGD",
        "lr_scheduler.ConstantLR",
        "lr_scheduler.CosineAnnealingLR",
        "lr_scheduler.OneCycleLR",
    )
) | {
    "sklearn.ensemble.RandomForestClassifier",
    "sklearn.linear_model.LogisticRegression",
    "sklearn.neural_network.MLPClassifier",
    "sklearn.svm.SVC",
    "xgboost.XGBClassifier",
}
"""What a `_target_` may name outside of this package."""


def instantiate(config: DictConfig, base: type[Built], **arguments: Any) -> Built:
    """Build what `config._target_` names, with the other keys of `config` as its arguments.

    A configuration may come from a stranger's run, so only two kinds of target are resolved: subclasses of `base` that
    this package defines, and `ALLOWED_TARGETS`. Nothing else is so much as imported. Keys that start with an underscore
    or are called `name` are ours, not arguments.

    Args:
        config: With `_target_`.
        base: What has to come out.
        **arguments: Given besides; those that the target does not take are left out.

    Raises:
        EmotionError: the target is not allowed, does not exist, or does not take an argument or its value.
    """
    target = str(config.get("_target_"))
    module_name, _, name = target.rpartition(".")
    if target not in ALLOWED_TARGETS and not module_name.startswith("emotion."):
        raise EmotionError(
            f"_target_: {target} is refused: it is not of this package, nor a known optimiser, scheduler or estimator"
        )
    try:
        cls = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        if target in ALLOWED_TARGETS:
            package = module_name.split(".")[0]
            raise EmotionError(f"{package} is not installed: pip install 'emotion[{package}]'") from error
        raise EmotionError(f"_target_: {target} does not exist") from error
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        raise EmotionError(f"_target_: {target} is refused: a {base.__name__} is wanted here")

    given = {str(key): value for key, value in OmegaConf.to_container(config, resolve=True).items()}
    given = {key: value for key, value in given.items() if not key.startswith("_") and key != "name"}
    parameters = inspect.signature(cls).parameters
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    unknown = [] if takes_any else sorted(set(given) - set(parameters))
    if unknown:
        raise EmotionError(f"{name} takes no {unknown[0]}: {suggest(unknown[0], set(parameters) - set(arguments))}")
    arguments = {key: value for key, value in arguments.items() if key in parameters}
    try:
        return cls(**arguments, **given)
    except ValueError as error:
        if target in ALLOWED_TARGETS:
            raise EmotionError(f"{name}: {error}") from error
        raise


def key_of(override: str) -> str:
    """The key that an override names, without the `+` or `~` before it.

    Example:
        >>> key_of("+data.root=corpus")
        'data.root'
    """
    return override.split("=")[0].lstrip("+~")


def quoted(value: str) -> str:
    r"""Return a value as Hydra reads it back whatever is in it.

    Example:
        >>> quoted("it's=here, (or there)")
        "'it\\'s=here, (or there)'"
    """
    # Before a quote Hydra takes two backslashes for one; elsewhere a backslash is itself.
    escaped = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), value)
    return f"'{escaped}'"


def to_plain(config: DictConfig) -> dict[str, Any]:
    """`config` as plain dictionaries and lists, interpolations resolved."""
    return OmegaConf.to_container(config, resolve=True)


OmegaConf.register_new_resolver("run_directory", lambda resume, run_dir: resume or run_dir, replace=True)
