"""`_target_`: the classes that a configuration may name, and how they are built."""

import importlib
import inspect
import os
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, get_type_hints

from annotated_types import Len

from emotion.config.fields import (
    Count,
    Dropout,
    NonNegative,
    OpenFraction,
    Positive,
    PositiveFraction,
    check_field,
)
from emotion.errors import EmotionError, suggest

Built = TypeVar("Built")

_TORCH = (
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
EXTENSIONS_VARIABLE = "EMOTION_EXTENSIONS"
"""The environment variable that names further packages, separated by commas, whose classes a `_target_` may name."""
ALLOWED_TARGETS = frozenset(f"torch.optim.{name}" for name in _TORCH) | {
    "sklearn.ensemble.RandomForestClassifier",
    "sklearn.linear_model.LogisticRegression",
    "sklearn.neural_network.MLPClassifier",
    "sklearn.svm.SVC",
    "xgboost.XGBClassifier",
    "pytorch_lightning.callbacks.DeviceStatsMonitor",
    "pytorch_lightning.callbacks.LearningRateMonitor",
    "pytorch_lightning.callbacks.RichModelSummary",
    "pytorch_lightning.loggers.CSVLogger",
    "pytorch_lightning.loggers.TensorBoardLogger",
    "pytorch_lightning.loggers.WandbLogger",
    "aim.pytorch_lightning.AimLogger",
}
"""The classes outside of this package that a `_target_` may name."""

WEIGHTS = ("weights", "pca_weights", "encoder")
"""Names of keys, in any group, whose values are the name of weights, or a file or folder of weights."""
_ARGUMENTS_OF_LIBRARIES: Mapping[str, Any] = {
    "lr": Positive,
    "weight_decay": NonNegative,
    "momentum": Dropout,
    "eps": Positive,
    "betas": Annotated[list[Dropout], Len(2, 2)],
    "pct_start": OpenFraction,
    "eta_min": NonNegative,
    "factor": PositiveFraction,
    "max_iter": Count,
    "n_estimators": Count,
    "subsample": PositiveFraction,
    "colsample_bytree": PositiveFraction,
}
"""The allowed values of arguments of `ALLOWED_TARGETS`, whose signatures have no such types."""


@dataclass(frozen=True)
class Target:
    """A class that is named in a configuration, and arguments for it.

    Attributes:
        name: Dotted path of the class, the value of `_target_`.
        arguments: The other keys.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, key: str, value: Any) -> "Target":
        """Read a target from plain data and validate its arguments.

        The annotations of classes of this package give the allowed values of their arguments.

        Args:
            key: Key of the value, for messages.
            value: A dictionary with `_target_`.

        Raises:
            EmotionError: the class may not be named, or an argument is unknown or has a wrong value.
        """
        if not isinstance(value, dict) or not isinstance(value.get("_target_"), str):
            raise EmotionError(f"{key}: keys and values, one of which is _target_, are allowed")
        arguments = {name: given for name, given in value.items() if not name.startswith("_") and name != "name"}
        target = cls(value["_target_"], arguments)
        known = target.annotations()
        for name, given in arguments.items():
            if name in known:
                check_field(f"{key}.{name}", known[name], given)
        return target

    def annotations(self) -> dict[str, Any]:
        """Return the known types of arguments, by the names of the arguments.

        Raises:
            EmotionError: the class may not be named, or is not there.
        """
        if self.name in ALLOWED_TARGETS:
            return dict(_ARGUMENTS_OF_LIBRARIES)
        return get_type_hints(self.resolve().__init__, include_extras=True)

    def resolve(self) -> type:
        """Import the class.

        A configuration may come from an untrusted run, so only classes of this package, of those that
        `EXTENSIONS_VARIABLE` names, and `ALLOWED_TARGETS` are imported.

        Raises:
            EmotionError: the class may not be named, or is not there.
        """
        module, _, name = self.name.rpartition(".")
        if self.name not in ALLOWED_TARGETS and not _is_trusted(module):
            raise EmotionError(
                f"_target_: {self.name} is refused: it is not of this package, nor a known optimiser, scheduler or "
                f"estimator; if it is yours, set {EXTENSIONS_VARIABLE}={module.split('.')[0] or 'PACKAGE'}"
            )
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            if self.name in ALLOWED_TARGETS:
                package = module.split(".")[0]
                raise EmotionError(f"{package} is not installed: pip install 'emotion[{package}]'") from error
            raise EmotionError(f"_target_: {self.name} does not exist") from error
        if not inspect.isclass(found):
            raise EmotionError(f"_target_: {self.name} is refused: it is not a class")
        return found


def _is_trusted(module: str) -> bool:
    """Return True if a module is of this package or of one that `EXTENSIONS_VARIABLE` names."""
    named = [name.strip() for name in os.environ.get(EXTENSIONS_VARIABLE, "").split(",")]
    return any(f"{module}.".startswith(f"{package}.") for package in ("emotion", *filter(None, named)))


def require_arguments(target: Target, base: type[Built], given: Set[str] = frozenset()) -> type[Built]:
    """Import the class that a target names, and refuse arguments that it does not take.

    Args:
        target: The class and its arguments.
        base: Required base class.
        given: Arguments that are not in the configuration, which the message does not suggest (default: none).

    Raises:
        EmotionError: the class is not allowed, does not exist, is not a `base`, or does not take an argument.
    """
    cls = target.resolve()
    if not issubclass(cls, base):
        raise EmotionError(f"_target_: {target.name} is refused: a {base.__name__} is required here")
    parameters = inspect.signature(cls).parameters
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    unknown = [] if takes_any else sorted(set(target.arguments) - set(parameters))
    if unknown:
        raise EmotionError(f"{cls.__name__} takes no {unknown[0]}: {suggest(unknown[0], set(parameters) - given)}")
    return cls


def instantiate(target: Target, base: type[Built], **arguments: Any) -> Built:
    """Build the class that a target names.

    Args:
        target: The class and its arguments.
        base: Required base class.
        **arguments: Further arguments; those that the class does not take are left out.

    Raises:
        EmotionError: the class is not allowed, does not exist, is not a `base`, or does not take an argument or its
            value.
    """
    cls = require_arguments(target, base, set(arguments))
    parameters = inspect.signature(cls).parameters
    arguments = {key: value for key, value in arguments.items() if key in parameters}
    try:
        return cls(**arguments, **target.arguments)
    except ValueError as error:
        if target.name in ALLOWED_TARGETS:
            raise EmotionError(f"{cls.__name__}: {error}") from error
        raise
