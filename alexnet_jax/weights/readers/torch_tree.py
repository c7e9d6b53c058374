"""Where tensors lie in what PyTorch has saved: a dictionary, whatever it lies in, or modules.

`torch.save` takes any object. Its pickle was read by `safe_pickle`: dictionaries, lists, and for
objects of all other classes `Stub`s, which keep what they were given. A module keeps its parameters
under `_parameters` and the modules below it under `_modules`; without these words the path of a
tensor is its name in the `state_dict`. Source: pytorch/pytorch torch/nn/modules/module.py.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from alexnet_jax.weights.readers.pickled_values import Stub

_MOST_TENSORS = 20_000
_MOST_PARTS = 40
_LONGEST_KEY = 300
_OF_MODULES = ("_modules", "_parameters", "_buffers")
_OF_CLASSES = ("class_to_idx", "classes", "class_names")
_MOST_NAMES, _LONGEST_NAME = 30_000, 300

Path = tuple[str, ...]
"""The parts of a tensor's name: `("model", "features", "0", "weight")`."""


class Tensor(NamedTuple):
    """A tensor as the pickle describes it: a window into a storage."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any

    def place(self) -> Any:
        """Returns what is equal for two tensors of the same numbers."""
        key = getattr(self.storage, "key", None)
        return (key, self.offset) if isinstance(key, str) and type(self.offset) is int else id(self)


class Node(NamedTuple):
    """A container on the way to tensors.

    Attributes:
      above: the container that it lies in.
      parts: of the name that it has there.
      depth: number of parts from the top.
      program: class of the outermost module around it.
    """

    above: "Node | None"
    parts: Path
    depth: int
    program: str

    def path(self) -> Path:
        """Returns the parts from the top."""
        parts: list[Path] = []
        node: Node | None = self
        while node is not None:
            parts.append(node.parts)
            node = node.above
        return tuple(part for some in reversed(parts) for part in some)


def find_tensors(value: Any) -> tuple[dict[Path, Tensor], dict[Path, str], dict[Path, Stub]]:
    """Returns tensors by path, the class of the outermost module around each, and the modules.

    Each container is looked into once, on its shortest path, so that what refers to itself ends.

    Raises:
      ValueError: there are more tensors than any training of these networks has, or one's shape is
        none.
    """
    tensors: dict[Path, Tensor] = {}
    programs: dict[Path, str] = {}
    modules: dict[Path, Stub] = {}
    seen: set[int] = set()
    waiting: deque[tuple[Any, Node]] = deque([(value, Node(None, (), 0, ""))])
    while waiting:
        value, node = waiting.popleft()
        if isinstance(value, Tensor):
            if len(tensors) == _MOST_TENSORS:
                raise ValueError(f"more than {_MOST_TENSORS:,} tensors")
            path = node.path()
            if not _is_shape(value.shape):
                raise ValueError(f"a tensor of an impossible shape ('{'.'.join(path)[:80]}')")
            tensors.setdefault(path, value)
            programs[path] = node.program
        elif isinstance(value, dict | list | tuple | Stub) and id(value) not in seen:
            seen.add(id(value))
            program = node.program or _program(value)
            if isinstance(value, Stub) and "_modules" in attributes_of(value):
                modules[node.path()] = value
            for key, inside in _inside(value):
                if isinstance(inside, dict | list | tuple | Stub):
                    parts = _parts(key)
                    if parts is not None and node.depth + len(parts) <= _MOST_PARTS:
                        below = Node(node, parts, node.depth + len(parts), program)
                        waiting.append((inside, below))
    return tensors, programs, modules


def find_class_names(value: Any) -> tuple[str, ...]:
    """Returns class names by output that somebody saved beside the tensors; empty: there are none.

    They are `class_to_idx`, as of torchvision's `ImageFolder`, or a list: in the dictionary that
    was saved, in one inside, or among the attributes of a module there.
    """
    outer = attributes_of(value)
    for inside in (outer, *map(attributes_of, outer.values())):
        for key in _OF_CLASSES:
            names = inside.get(key)
            if isinstance(names, dict) and len(names) <= _MOST_NAMES:
                numbers = list(names.values())
                if all(type(n) is int for n in numbers) and set(numbers) == set(range(len(names))):
                    names = sorted(names, key=names.__getitem__)
            if isinstance(names, list | tuple) and 0 < len(names) <= _MOST_NAMES:
                if all(isinstance(name, str) and len(name) <= _LONGEST_NAME for name in names):
                    return tuple(names)
    return ()


def attributes_of(value: Any) -> dict[Any, Any]:
    """Returns the attributes of an object, or a dictionary as it is; empty for anything else."""
    value = value.state if isinstance(value, Stub) else value
    return value if isinstance(value, dict) else {}


def children_of(module: Stub | None) -> dict[str, Stub]:
    """Returns the modules right below one by name; none where it is no module."""
    children = attributes_of(module).get("_modules")
    pairs = children.items() if isinstance(children, dict) else ()
    return {str(name): child for name, child in pairs if isinstance(child, Stub)}


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple) and all(type(n) is int for n in shape) and len(shape) <= 8


def _inside(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yields what lies in a container, with its key; None where that is no part of the name."""
    if isinstance(value, Stub):
        states = value.state if isinstance(value.state, tuple) else (value.state,)
        for state in states:  # a pair where the class has slots
            if isinstance(state, dict):
                for key, inside in state.items():
                    yield (None if key in _OF_MODULES else key), inside
        yield None, value.items
        yield None, value.arguments
    elif isinstance(value, dict):
        yield from value.items()
    else:
        yield from enumerate(value)


def _parts(key: Any) -> Path | None:
    """Returns the parts of a key; None where it is too long for a name."""
    if key is None:
        return ()
    text = str(key) if isinstance(key, str | int) else "?"
    return tuple(text.split(".")) if len(text) <= _LONGEST_KEY else None


def _program(value: Any) -> str:
    is_module = isinstance(value, Stub) and "_modules" in attributes_of(value)
    return str(value.made_by) if is_module else ""
