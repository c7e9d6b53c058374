"""Fields of nested dataclasses: dotted names, values from JSON, bounds, and marks of a field."""

import dataclasses
import math
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

from alexnet_jax.errors import InputError, did_you_mean


class Bound(NamedTuple):
    """What a finite number must be: in words, and as a test."""

    words: str
    holds: Callable[[float], bool]


_NOT_NEGATIVE = Bound("0 or more", lambda value: value >= 0)
NonNegativeInt = Annotated[int, _NOT_NEGATIVE]
NonNegativeFloat = Annotated[float, _NOT_NEGATIVE]
PositiveInt = Annotated[int, Bound("1 or more", lambda value: value >= 1)]
PositiveFloat = Annotated[float, Bound("more than 0", lambda value: value > 0)]
Fraction = Annotated[float, Bound("0 to 1", lambda value: 0 <= value <= 1)]
FractionBelowOne = Annotated[float, Bound("below 1, and 0 or more", lambda value: 0 <= value < 1)]


def check_bounds(config: Any, prefix: str = "") -> None:
    """Raises `InputError` for a number of a dataclass, or of one in it, that is out of bounds."""
    for name, hint in typing.get_type_hints(type(config), include_extras=True).items():
        value: Any = getattr(config, name)
        if dataclasses.is_dataclass(value):
            check_bounds(value, f"{prefix}{name}.")
            continue
        for bound in getattr(hint, "__metadata__", ()):
            if not (math.isfinite(value) and bound.holds(value)):
                raise InputError(f"{prefix}{name} is {value}; it must be {bound.words}")


def result_neutral(default: Any) -> Any:
    """Marks a field that a resumed run may change: it does not change the parameters of a run.

    Only their rounding on other devices may change. The fingerprint of the data set holds the
    images themselves.
    """
    return dataclasses.field(default=default, metadata={"result_neutral": True})


def retunable(default: Any) -> Any:
    """Marks a field that `--retune` may change in the middle of a run, with all fields inside it.

    The rates of 2012 were changed by hand in this way (paper §5). Each change is noted in
    `run.json`. `accumulation` is one of these fields because it changes the rounding.
    """
    return dataclasses.field(default=default, metadata={"retunable": True})


def marked_fields(kind: Any, mark: str, prefix: str = "") -> frozenset[str]:
    """Returns the dotted names of the fields of a dataclass that carry a mark, or lie in one."""
    names: set[str] = set()
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        name, inner = prefix + field.name, hints[field.name]
        is_marked = mark in field.metadata
        if not dataclasses.is_dataclass(inner):
            names |= {name} if is_marked else set()
        elif is_marked:
            names |= {f"{name}.{part.name}" for part in dataclasses.fields(inner)}
        else:
            names |= marked_fields(inner, mark, f"{name}.")
    return frozenset(names)


def fields_of(config: Any) -> dict[str, Any]:
    """Returns `{dotted field name: value}` of a dataclass."""
    return _flat(dataclasses.asdict(config))


def differing_fields(first: Any, second: Any) -> dict[str, tuple[Any, Any]]:
    """Returns `{dotted field name: (value in first, value in second)}` where the two differ."""
    a, b = fields_of(first), fields_of(second)
    return {name: (a[name], b[name]) for name in a if a[name] != b[name]}


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in value.items():
        flat |= _flat(item, f"{prefix}{name}.") if isinstance(item, dict) else {prefix + name: item}
    return flat


def from_json_value(kind: Any, value: Any, path: str) -> Any:
    """Builds `kind` (dataclass, tuple, union, literal, scalar) from parsed JSON.

    Raises:
      InputError: names the field whose value does not fit, below `path`.
    """
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        if not isinstance(value, dict):
            raise InputError(f"{path} should be an object, not {value!r}")
        for name in value:
            if name not in hints:
                raise InputError(f"{path} has no field '{name}'.{did_you_mean(name, hints)}")
        fields = {k: from_json_value(hints[k], item, f"{path}.{k}") for k, item in value.items()}
        return typing.cast(type, kind)(**fields)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            return tuple(from_json_value(k, v, path) for k, v in zip(kinds, value, strict=True))
    elif origin is Literal and value in arguments:
        return value
    elif origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return from_json_value(next(a for a in arguments if a is not type(None)), value, path)
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(kind, type) and type(value) is kind:
        return value
    expected = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
    raise InputError(f"{path} should be {expected}, not {value!r}")
