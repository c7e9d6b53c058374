"""Tensors in what PyTorch has saved: a dictionary, anything around it, or modules.

A module keeps parameters under `_parameters`, modules below it under `_modules`; without these
words the path of a tensor is its name. Source: pytorch/pytorch torch/nn/modules/module.py.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from alexnet_jax.weights.readers.pickled_values import Stub

_MAX_TENSORS = 20_000
_MAX_DEPTH = 40
_MAX_KEY = 300
_MAX_NAMES, _MAX_NAME = 30_000, 300
_MODULE_ATTRIBUTES = ("_modules", "_parameters", "_buffers")
_CLASS_KEYS = ("class_to_idx", "classes", "class_names")

Path = tuple[str, ...]
"""The parts of a tensor's name: `("model", "features", "0", "weight")`."""


class Tensor(NamedTuple):
    """A tensor as the pickle describes it: a window into a storage."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any

    def place(self) -> Any:
        key = getattr(self.storage, "key", None)
        return (key, self.offset) if isinstance(key, str) and type(self.offset) is int else id(self)


class _Place(NamedTuple):
    """Where a value is; its path is made only if asked for, as millions of values may wait."""

    value: Any
    above: "_Place | None"  # of what holds it
    key: Any  # in there
    depth: int  # number of parts of the path

    def path(self) -> Path:
        keys = []
        place = self
        while place.above is not None:
            keys.append(place.key)
            place = place.above
        return tuple(part for key in reversed(keys) for part in _key_parts(key) or ())


def find_tensors(value: Any) -> tuple[dict[Path, Tensor], dict[Path, Stub]]:
    """Visits each container once, so cycles end; `ValueError` for too many tensors, bad shapes."""
    tensors: dict[Path, Tensor] = {}
    modules: dict[Path, Stub] = {}
    seen: set[int] = set()
    waiting = deque([_Place(value, None, None, 0)])
    while waiting:
        place = waiting.popleft()
        value = place.value
        if isinstance(value, Tensor):
            if len(tensors) == _MAX_TENSORS:
                raise ValueError(f"more than {_MAX_TENSORS:,} tensors")
            shape, path = value.shape, place.path()
            are_whole = isinstance(shape, tuple) and all(type(n) is int for n in shape)
            if not are_whole or len(shape) > 8:
                raise ValueError(f"a tensor of an impossible shape ('{'.'.join(path)[:80]}')")
            tensors.setdefault(path, value)
        elif id(value) not in seen:
            seen.add(id(value))
            if isinstance(value, Stub) and "_modules" in attributes_of(value):
                modules[place.path()] = value
            for key, inside in _contents(value):
                if not isinstance(inside, dict | list | tuple | Stub):
                    continue
                if key is None:
                    waiting.append(place._replace(value=inside))  # at the same path
                    continue
                parts = _key_parts(key)
                if parts is not None and place.depth + len(parts) <= _MAX_DEPTH:
                    waiting.append(_Place(inside, place, key, place.depth + len(parts)))
    return tensors, modules


def find_class_names(value: Any) -> tuple[str, ...]:
    """Reads `class_to_idx`, as of torchvision's `ImageFolder`, or a list."""
    outer = attributes_of(value)
    for inside in (outer, *map(attributes_of, outer.values())):
        for key in _CLASS_KEYS:
            names = inside.get(key)
            if isinstance(names, dict) and len(names) <= _MAX_NAMES:
                numbers = list(names.values())
                if all(type(n) is int for n in numbers) and set(numbers) == set(range(len(names))):
                    names = sorted(names, key=names.__getitem__)
            if isinstance(names, list | tuple) and 0 < len(names) <= _MAX_NAMES:
                if all(isinstance(name, str) and len(name) <= _MAX_NAME for name in names):
                    return tuple(names)
    return ()


def attributes_of(value: Any) -> dict[Any, Any]:
    value = value.state if isinstance(value, Stub) else value
    return value if isinstance(value, dict) else {}


def children_of(module: Stub | None) -> dict[str, Stub]:
    children = attributes_of(module).get("_modules")
    pairs = children.items() if isinstance(children, dict) else ()
    return {str(name): child for name, child in pairs if isinstance(child, Stub)}


def _contents(value: Any) -> Iterator[tuple[Any, Any]]:
    """The key is None if it is no part of the name."""
    if isinstance(value, Stub):
        states = value.state if isinstance(value.state, tuple) else (value.state,)
        for state in states:  # a pair if the class has slots
            if isinstance(state, dict):
                for key, inside in state.items():
                    yield (None if key in _MODULE_ATTRIBUTES else key), inside
        yield None, value.items
        yield None, value.arguments
    elif isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)


def _key_parts(key: Any) -> Path | None:
    """None: too long for a name."""
    text = str(key) if isinstance(key, str | int) else "?"
    return tuple(text.split(".")) if len(text) <= _MAX_KEY else None
