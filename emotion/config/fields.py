"""Types of values, the check of one value, and a description of what a type allows."""

import functools
import json
import math
import types
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import BaseMetadata, Ge, Gt, Interval, Le, Len, Lt, MaxLen, MinLen

from emotion.errors import EmotionError

Count = Annotated[int, Ge(1)]
"""An integer of at least 1."""
Counts = Annotated[tuple[Count, ...], Len(1)]
"""One or more integers of at least 1."""
NonNegativeInt = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
UnitInterval = Annotated[float, Interval(ge=0, le=1)]
"""A number in [0, 1]."""
PositiveFraction = Annotated[float, Interval(gt=0, le=1)]
"""A number in (0, 1]."""
OpenFraction = Annotated[float, Interval(gt=0, lt=1)]
"""A number in (0, 1)."""
Dropout = Annotated[float, Interval(ge=0, lt=1)]
"""A probability in [0, 1)."""
Bands = Annotated[int, Interval(ge=1, le=512)]
"""A number of frequency bands or coefficients."""


class Only:
    """Metadata of a type with a single allowed value, and the reason for it.

    Args:
        value: The allowed value; with `nothing=True`, no value at all is allowed.
        reason: The reason, in parentheses in messages.
    """

    def __init__(self, value: Any = None, reason: str = "", nothing: bool = False) -> None:
        self.value, self.reason, self.nothing = value, reason, nothing


def check_field(key: str, annotation: Any, value: Any) -> Any:
    """Validate one value.

    Args:
        key: Key of the value, for the message.
        annotation: Its type.
        value: Plain data: numbers, text, None, lists and dictionaries.

    Returns:
        The value as the type has it, such as a tuple for a list.

    Raises:
        EmotionError: the type does not allow the value; the text names the key, the value and what is allowed.

    Example:
        >>> check_field("optimizer.lr", Positive, 1)
        1.0
        >>> check_field("optimizer.lr", Positive, -1)
        Traceback (most recent call last):
        emotion.errors.EmotionError: optimizer.lr=-1: a number greater than 0 is allowed
    """
    from pydantic import ValidationError

    only = next((extra for extra in _metadata(annotation) if isinstance(extra, Only)), None)
    if only and not only.nothing and value == only.value and type(value) is type(only.value):
        return value
    if _bare(annotation) is str and type(value) in (int, float):
        value = str(value)  # YAML parses a name such as 2024 as a number
    try:
        if only:
            raise ValueError
        return _adapter(_Key(annotation)).validate_json(json.dumps(value))
    except (ValidationError, ValueError, TypeError) as error:
        allowed = describe(annotation)
        raise EmotionError(f"{key}={written(value)}: {allowed} is allowed{_hint(allowed, value)}") from error


def describe(annotation: Any) -> str:
    """Return a description of the values that a type allows.

    Example:
        >>> describe(Annotated[int, Interval(ge=1, le=512)] | None)
        'an integer from 1 to 512, or null'
        >>> describe(Literal["train", "clip", "none"])
        'train, clip or none'
        >>> describe(list[Dropout])
        'a list of values, each a number at least 0 and less than 1'
    """
    only = next((extra for extra in _metadata(annotation) if isinstance(extra, Only)), None)
    if only:
        return f"{'no value' if only.nothing else written(only.value)} ({only.reason})"
    bare, bounds = _bare(annotation), _bounds(annotation)
    origin, arguments = get_origin(bare), get_args(bare)
    if bare is type(None):
        return "null"
    if bare is bool:
        return "true or false"
    if bare is int:
        return _integer(bounds)
    if bare is float:
        return _number(bounds)
    if bare in (str, Any):
        return "text" if bare is str else "any value"
    if origin is Literal:
        *others, last = map(str, arguments)
        return f"{', '.join(others)} or {last}" if others else last
    if origin in (Union, types.UnionType):
        return ", or ".join(map(describe, arguments))
    if origin in (list, tuple) or (isinstance(origin, type) and issubclass(origin, Sequence)):
        length = f"{len(arguments)} values" if origin is tuple and ... not in arguments else _length(bounds)
        return f"a list of {length}" + (f", each {describe(arguments[0])}" if arguments[0] is not Any else "")
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"keys with {describe(arguments[1])} each"
    return "keys and values"


def written(value: Any) -> str:
    """Return a value in YAML's syntax.

    Example:
        >>> written([True, None, 3]), written("speech")
        ('[true,null,3]', 'speech')
    """
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{written(own)}' for key, own in value.items())}}}"
    return str(value).lower() if value is True or value is False else "null" if value is None else str(value)


class _Key:
    """A hashable wrapper of an annotation; annotations with lists or dictionaries have no hash."""

    def __init__(self, annotation: Any) -> None:
        self.annotation, self._text = annotation, repr(annotation)

    def __hash__(self) -> int:
        return hash(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._text == other._text


@functools.cache
def _adapter(key: _Key) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(key.annotation, config=ConfigDict(strict=True, allow_inf_nan=False))


def _metadata(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _bounds(annotation: Any) -> dict[str, Any]:
    """Return the limits of a type by name: `ge`, `gt`, `le`, `lt`, `min_length`, `max_length`."""
    found: dict[str, Any] = {}
    for extra in _metadata(annotation):
        parts = list(extra) if isinstance(extra, Interval | Len) else [extra]
        for part in parts:
            if isinstance(part, BaseMetadata) and isinstance(part, Ge | Gt | Le | Lt | MinLen | MaxLen):
                found |= vars(part) if hasattr(part, "__dict__") else {n: getattr(part, n) for n in part.__slots__}
    return found


def _integer(bounds: dict[str, Any]) -> str:
    if not bounds:
        return "an integer"
    if "le" in bounds:
        return f"an integer from {bounds['ge']:,} to {bounds['le']:,}"
    return f"an integer of at least {bounds['ge']:,}"


def _number(bounds: dict[str, Any]) -> str:
    words = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}
    parts = [f"{words[name]} {bounds[name]:g}" for name in words if name in bounds and math.isfinite(bounds[name])]
    return " ".join(["a number", " and ".join(parts)]).strip()


def _length(bounds: dict[str, Any]) -> str:
    low, high = bounds.get("min_length", 0), bounds.get("max_length")
    return f"{low} values" if low == high else f"at least {low} values" if low else "values"


def _hint(allowed: str, value: Any) -> str:
    """Return the most similar allowed name, as a question."""
    names = allowed.replace(" or ", ", ").split(", ")
    near = get_close_matches(str(value), names, 1, 0.7) if isinstance(value, str) else []
    return f"; did you mean {near[0]}?" if near and near[0] != value else ""
