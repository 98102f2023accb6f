"""Validation: a composed configuration becomes a `TrainConfig`, or an error in one line."""

import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from emotion.config.branch import BRANCH_INPUTS, NETWORK_INPUTS, BranchConfig, NetworkBranchConfig
from emotion.config.features import COMMON
from emotion.config.fields import check_field, written
from emotion.config.model import MODEL_KINDS, ModelConfig
from emotion.config.schema import EXTRA_TRAINER_FIELDS, OptimizerConfig, SchedulerConfig, TrainConfig, TrainerConfig
from emotion.config.target import Target
from emotion.errors import EmotionError, error_message, suggest

_TAGGED: dict[type, tuple[str, Mapping[str, type]]] = {
    ModelConfig: ("kind", MODEL_KINDS),
    BranchConfig: ("input", BRANCH_INPUTS),
    NetworkBranchConfig: ("input", NETWORK_INPUTS),
}
"""Abstract groups: the key that names the subclass, and the subclasses by its values."""

OUTSIDE = ("run_dir", "resume", "run", "split", "without", "debug", "hydra")
"""Keys of commands that are not part of a run's configuration."""


def validate(config: DictConfig) -> TrainConfig:
    """Validate a composed configuration, or that of a saved run.

    Args:
        config: Keys of `conf/train.yaml`; those of `OUTSIDE` are left out.

    Raises:
        EmotionError: a key is unknown or missing, or has a wrong type or value; the text names it and what is allowed.
    """
    try:
        own = OmegaConf.masked_copy(config, [str(key) for key in config if key not in OUTSIDE])
        plain = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        if isinstance(error.__cause__, EmotionError):  # of a resolver
            raise error.__cause__ from error
        raise EmotionError(f"{error.full_key or 'configuration'}: {error_message(error)}") from error
    _complete_features(plain)
    return _parse(TrainConfig, "", plain)


def _complete_features(plain: Any) -> None:
    """Fill in missing keys of the branches' own features from the group `features`."""
    group, model = plain.get("features"), plain.get("model")
    if not isinstance(group, dict) or not isinstance(model, dict):
        return
    shared = {key: value for key, value in group.items() if key in COMMON}
    branches = model.get("branches")
    nodes = [model, *(branches.values() if isinstance(branches, dict) else ())]
    nodes += [node.get("vector") for node in nodes if isinstance(node, dict)]
    for node in nodes:
        if isinstance(node, dict) and isinstance(node.get("features"), dict):
            node["features"] = shared | node["features"]


def check_value(key: str, value: Any) -> None:
    """Refuse a value that a key does not allow, without the rest of the configuration.

    Keys that depend on the choice of a model, or on a class that is named in the configuration, are checked by
    `validate` only.

    Args:
        key: Dotted key, such as `data.batch_size`.
        value: Plain data.

    Raises:
        EmotionError: the value is not allowed; the message names the key, the value, and what is allowed.
    """
    *groups, name = key.split(".")
    cls: Any = TrainConfig
    for group in groups:
        cls = _fields(cls).get(group)
        if not dataclasses.is_dataclass(cls):
            return
    if cls in (OptimizerConfig, SchedulerConfig):
        annotation = Target("torch.optim.Adam").annotations().get(name)
    else:
        annotation = {**(EXTRA_TRAINER_FIELDS if cls is TrainerConfig else {}), **_fields(cls)}
        annotation = annotation.get(name)
    if annotation is not None and not _is_nested(annotation):
        check_field(key, annotation, value)


def _parse(cls: type, key: str, node: Any) -> Any:
    """Build a dataclass from plain data at `key`."""
    if not isinstance(node, dict):
        raise EmotionError(f"{key}={node}: keys and values are allowed")
    if cls in _TAGGED:
        return _parse(_tagged(cls, key, node), key, node)
    if cls in (OptimizerConfig, SchedulerConfig):
        return cls(name=str(node.get("name")), target=Target.parse(key, node))
    fields, values, rest = _fields(cls), {}, {}
    inline = [field.name for field in dataclasses.fields(cls) if field.metadata.get("inline")]
    for name, value in node.items():
        own = f"{key}.{name}" if key else str(name)
        if name in fields and name not in inline:
            values[name] = _parse_field(own, fields[name], value)
        elif cls is TrainerConfig and name != "extra":
            extra = EXTRA_TRAINER_FIELDS.get(name, Any)
            values.setdefault("extra", {})[name] = check_field(own, extra, value)
        elif inline:
            rest[name] = value
        else:
            raise EmotionError(f"unknown key {own}: {suggest(str(name), fields)}")
    values |= {name: _parse(fields[name], key, rest) for name in inline}
    required = {field.name for field in dataclasses.fields(cls) if field.default is field.default_factory}
    for name in sorted(required - set(values)):
        raise EmotionError(f"{key}.{name} is missing".lstrip("."))
    return cls(**values)


def _parse_field(key: str, annotation: Any, value: Any) -> Any:
    if get_origin(annotation) in (types.UnionType, Union) and value is not None:
        classes = [one for one in get_args(annotation) if dataclasses.is_dataclass(one)]
        annotation = classes[0] if classes else annotation
    if annotation is Target:
        return Target.parse(key, value)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return _parse(annotation, key, value)
    if get_origin(annotation) in (dict, Mapping) and _is_nested(annotation):
        if not isinstance(value, dict):
            raise EmotionError(f"{key}={value}: keys and values are allowed")
        inner = get_args(annotation)[1]
        return {str(name): _parse_field(f"{key}.{name}", inner, each) for name, each in value.items()}
    return check_field(key, annotation, value)


def _is_nested(annotation: Any) -> bool:
    """Return True if a type holds a `Target` or a dataclass."""
    if annotation is Target or dataclasses.is_dataclass(annotation):
        return True
    return get_origin(annotation) in (dict, Mapping, Union, types.UnionType) and any(
        map(_is_nested, get_args(annotation))
    )


@functools.cache
def _fields(cls: type) -> Mapping[str, Any]:
    """Return the types of the fields of a dataclass, with their limits."""
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _tagged(cls: type, key: str, node: Mapping[str, Any]) -> type:
    """Return the subclass that a node of an abstract group names."""
    tag, choices = _TAGGED[cls]
    if node.get(tag) not in choices:
        raise EmotionError(f"{key}.{tag}={written(node.get(tag))}: {suggest(str(node.get(tag)), choices)}")
    return choices[node[tag]]
