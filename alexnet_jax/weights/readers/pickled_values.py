"""The values of a pickle of weights while it is read; none of them runs anything."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Name(NamedTuple):
    """The name of a class or function that the pickle mentions; only text."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Stub:
    """Stands for an object of any class; `items` are the contents of a list or dictionary."""

    __slots__ = ("arguments", "items", "made_by", "state")

    def __init__(self, made_by: Name | None = None, arguments: Any = ()):
        self.made_by, self.arguments = made_by, arguments
        self.state: Any = None
        self.items: Any = None


_NUMBER_TYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


class PickledType:
    """A NumPy type: `f4` and its byte order."""

    def __init__(self, code: Any, *_: Any):
        self.code, self.order = code, "="

    def set_state(self, state: Any) -> None:
        """`(version, byte order, None, None, None, …)`; a structure has no Nones there."""
        match state:
            case (_, "<" | ">" | "=" | "|" as order, None, None, None, *_):
                self.order = order
            case _:
                self.code = "structure"

    def is_number(self) -> bool:
        return isinstance(self.code, str) and self.code in _NUMBER_TYPES

    def numpy(self) -> np.dtype:
        """Raises `ValueError` for anything but numbers."""
        if not self.is_number():
            kind = self.code[:20] if isinstance(self.code, str) else "object"
            raise ValueError(f"an array of type '{kind}'")
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]


class PickledArray:
    """A NumPy array while its pickle is read."""

    def __init__(self, *_: Any):
        self.state: Any = None

    def set_state(self, state: Any) -> None:
        """`(version, shape, PickledType, Fortran order, bytes)`."""
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], PickledType):
            raise ValueError("an array without shape and type")
        self.state = state

    def numpy(self) -> np.ndarray:
        """A view of the file's bytes if large; `ValueError` if they do not fit."""
        if self.state is None:
            raise ValueError("an array without contents")
        _, shape, dtype, fortran, raw = self.state
        return _make_array(shape, dtype.numpy(), raw, "F" if fortran else "C")


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> PickledArray:
    array = PickledArray()
    array.set_state((1, shape, dtype, order == "F", raw))
    return array


def _make_array(shape: Any, dtype: np.dtype, raw: Any, order: Any = "C") -> np.ndarray:
    plausible = isinstance(shape, tuple) and len(shape) <= 8
    if not plausible or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise ValueError("an array of impossible shape")
    data = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(data, bytes | memoryview):
        raise ValueError("an array of objects")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {list(shape)} with {len(data):,} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _make_scalar(dtype: Any, raw: Any) -> Any:
    if not isinstance(dtype, PickledType):
        raise ValueError("a number without type")
    if not dtype.is_number():
        return Stub()  # a date, a text
    return _make_array((), dtype.numpy(), raw).item()


def _make_dictionary(*arguments: Any) -> dict[Any, Any]:
    content = next((a for a in arguments if isinstance(a, dict | list)), {})
    pairs = content.items() if isinstance(content, dict) else content
    return {as_key(key): value for key, value in pairs}


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("a string in an unexpected encoding")
    return text.encode("latin1")


def as_key(value: Any) -> Any:
    """Text, small numbers and names stay; hashing others (nested tuples) can take very long."""
    is_small = isinstance(value, int) and abs(value) < 2**31
    if value is None or is_small or isinstance(value, str | bytes | Name):
        return value
    if isinstance(value, list | dict | memoryview):
        raise ValueError("a dictionary with a list as key")
    return Stub()


BUILDERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _make_dictionary,
    "collections.Counter": _make_dictionary,
    "collections.defaultdict": _make_dictionary,
    "builtins.dict": _make_dictionary,
    "__builtin__.dict": _make_dictionary,
    "numpy.core.multiarray._reconstruct": PickledArray,
    "numpy._core.multiarray._reconstruct": PickledArray,
    "numpy.core.multiarray.scalar": _make_scalar,
    "numpy._core.multiarray.scalar": _make_scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "numpy.dtype": PickledType,
    "_codecs.encode": _encode,
    "__builtin__.bytes": lambda: b"",  # so Python 3 writes empty bytes in protocols of Python 2
}
"""Makes plain values of the names that mean something here."""

_DANGEROUS = frozenset(
    "os posix nt subprocess sys pty popen2 socket shutil importlib imp runpy ctypes codeop pickle "
    "_pickle cPickle marshal multiprocessing webbrowser pdb bdb timeit cProfile pip pydoc pkgutil "
    "urllib urllib2 ftplib smtplib asyncio tempfile commands "
    "code.interact code.InteractiveConsole code.InteractiveInterpreter io.open io.open_code "
    "io.FileIO _io.open _io.open_code _io.FileIO types.FunctionType types.CodeType "
    "operator.attrgetter operator.methodcaller numpy.load torch.load torch.hub torch.jit.load "
    "pathlib.Path.unlink pathlib.Path.write_text pathlib.Path.write_bytes".split()
)
_DANGEROUS_PARTS = frozenset(
    "os posix nt subprocess __import__ __builtins__ __globals__ __subclasses__ __code__".split()
)
_DANGEROUS_ENDS = frozenset("system popen eval exec execfile spawn spawnv".split())
_DANGEROUS_BUILTINS = frozenset(
    "apply breakpoint compile delattr eval exec execfile exit file globals input locals "
    "open quit reload setattr vars __build_class__ __import__".split()
)


@functools.lru_cache(1024)
def is_dangerous(name: Name) -> bool:
    parts = str(name).split(".")
    if not _DANGEROUS_PARTS.isdisjoint(parts) or parts[-1] in _DANGEROUS_ENDS:
        return True
    if parts[0] in ("builtins", "__builtin__"):
        return parts[1] in _DANGEROUS_BUILTINS
    return any(".".join(parts[: i + 1]) in _DANGEROUS for i in range(min(len(parts), 3)))
