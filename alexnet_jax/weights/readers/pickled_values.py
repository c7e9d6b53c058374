"""What a pickle of weights may hold: numbers, text, containers, and NumPy arrays.

Classes here stand for the objects of a pickle while `safe_pickle` reads it. None of them runs
anything; sizes are checked before an array is made.
"""

import functools
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
    """Stands for an object of any class: it keeps what the pickle gave it, and does nothing.

    Attributes:
      made_by: the name of the class or function.
      arguments: what that was to be called with.
      state: what its attributes were to be.
      items: what was to be put into it, where it is a list or a dictionary of its own kind.
    """

    __slots__ = ("arguments", "items", "made_by", "state")

    def __init__(self, made_by: Name | None = None, arguments: Any = ()):
        self.made_by, self.arguments = made_by, arguments
        self.state: Any = None
        self.items: Any = None


_PLAIN = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


class DType:
    """A NumPy type: `f4` and its byte order."""

    def __init__(self, code: Any, *_: Any):
        self.code, self.order = code, "="

    def set_state(self, state: Any) -> None:
        """Takes `(version, byte order, None, None, None, …)`; the Nones would be a struct's."""
        match state:
            case (_, "<" | ">" | "=" | "|" as order, None, None, None, *_):
                self.order = order
            case _:
                self.code = "structure"

    def is_plain(self) -> bool:
        """Returns whether it is a type of plain numbers."""
        return isinstance(self.code, str) and self.code in _PLAIN

    def numpy(self) -> np.dtype:
        """Returns the type; raises `ValueError` for anything but plain numbers."""
        if not self.is_plain():
            kind = self.code[:20] if isinstance(self.code, str) else "object"
            raise ValueError(f"an array of type '{kind}'")
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]


class Array:
    """A NumPy array while its pickle is read."""

    def __init__(self, *_: Any):
        self.state: Any = None

    def set_state(self, state: Any) -> None:
        """Takes `(version, shape, DType, Fortran order, bytes)`."""
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], DType):
            raise ValueError("an array without shape and type")
        self.state = state

    def numpy(self) -> np.ndarray:
        """Returns the array, a view of the file's bytes where it is large.

        Raises:
          ValueError: no array of plain numbers, or its bytes are not as many as its shape says.
        """
        if self.state is None:
            raise ValueError("an array without contents")
        _, shape, dtype, fortran, raw = self.state
        return _array(shape, dtype.numpy(), raw, "F" if fortran else "C")


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> Array:
    """Returns an array as protocol 5 writes it."""
    array = Array()
    array.set_state((1, shape, dtype, order == "F", raw))
    return array


def _array(shape: Any, dtype: np.dtype, raw: Any, order: Any = "C") -> np.ndarray:
    plausible = isinstance(shape, tuple) and len(shape) <= 8
    if not plausible or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise ValueError("an array of impossible shape")
    data = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(data, bytes | memoryview):
        raise ValueError("an array of objects")
    count = 1
    for length in shape:
        count *= length
    if count * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {list(shape)} with {len(data):,} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _scalar(dtype: Any, raw: Any) -> Any:
    if not isinstance(dtype, DType):
        raise ValueError("a number without type")
    if not dtype.is_plain():
        return Stub()  # a date, a text
    return _array((), dtype.numpy(), raw).item()


def _dictionary(*arguments: Any) -> dict[Any, Any]:
    """Returns a dictionary of any of the standard kinds; what makes a default is left out."""
    content = next((a for a in arguments if isinstance(a, dict | list)), {})
    pairs = content.items() if isinstance(content, dict) else content
    return {as_key(key): value for key, value in pairs}


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("a string in an unexpected encoding")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Python 3 writes empty bytes so in the protocols of Python 2."""
    return b""


def as_key(value: Any) -> Any:
    """Returns what stands for a key in a dictionary.

    Text, small numbers and names stay what they are; anything else can take long to hash and is of
    no interest, so that an object which equals nothing stands for it.
    """
    small = isinstance(value, int) and abs(value) < 2**31
    if value is None or small or isinstance(value, str | bytes | Name):
        return value
    if isinstance(value, list | dict | memoryview):
        raise ValueError("a dictionary with a list as key")
    return Stub()


BUILDERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _dictionary,
    "collections.Counter": _dictionary,
    "collections.defaultdict": _dictionary,
    "builtins.dict": _dictionary,
    "__builtin__.dict": _dictionary,
    "numpy.core.multiarray._reconstruct": Array,
    "numpy._core.multiarray._reconstruct": Array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "numpy.dtype": DType,
    "_codecs.encode": _encode,
    "__builtin__.bytes": _no_bytes,
}
"""What is made of the names that mean something here; all of it plain values."""

_ATTACKS = frozenset(
    "os posix nt subprocess sys pty popen2 socket shutil importlib imp runpy ctypes codeop pickle "
    "_pickle cPickle marshal multiprocessing webbrowser pdb bdb timeit cProfile pip pydoc pkgutil "
    "urllib urllib2 ftplib smtplib asyncio tempfile commands "
    "code.interact code.InteractiveConsole code.InteractiveInterpreter io.open io.open_code "
    "io.FileIO _io.open _io.open_code _io.FileIO types.FunctionType types.CodeType "
    "operator.attrgetter operator.methodcaller numpy.load torch.load torch.hub torch.jit.load "
    "pathlib.Path.unlink pathlib.Path.write_text pathlib.Path.write_bytes".split()
)
_ATTACKING_PARTS = frozenset(
    "os posix nt subprocess __import__ __builtins__ __globals__ __subclasses__ __code__".split()
)
_ATTACKING_ENDS = frozenset("system popen eval exec execfile spawn spawnv".split())
_BUILTINS = frozenset(
    "apply breakpoint compile delattr eval exec execfile exit file globals input locals "
    "open quit reload setattr vars __build_class__ __import__".split()
)


@functools.lru_cache(1024)
def is_of_attacks(name: Name) -> bool:
    """Returns whether only a pickle that wants to do harm mentions this name.

    Nothing is ever run, whatever the name: who brings such a file should know what it is.
    """
    parts = str(name).split(".")
    if not _ATTACKING_PARTS.isdisjoint(parts) or parts[-1] in _ATTACKING_ENDS:
        return True
    if parts[0] in ("builtins", "__builtin__"):
        return parts[1] in _BUILTINS
    return any(".".join(parts[: i + 1]) in _ATTACKS for i in range(min(len(parts), 3)))
