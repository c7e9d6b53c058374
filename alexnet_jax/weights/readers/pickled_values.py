"""What a pickle of weights may hold: numbers, text, containers, and NumPy arrays.

Classes here stand for the objects of a pickle while `safe_pickle` reads it. None of them runs
anything; sizes are checked before an array is made.
"""

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
    """Stands for an object of a class that is of no interest: it has no state and does nothing."""


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
                raise ValueError("an array of structures")

    def numpy(self) -> np.dtype:
        """Returns the type; raises `ValueError` for anything but plain numbers."""
        known = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
        if self.code not in known:
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
    return _array((), dtype.numpy(), raw).item()


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    return {as_key(key): value for key, value in pairs}


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("a string in an unexpected encoding")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Python 3 writes empty bytes so in the protocols of Python 2."""
    return b""


def as_key(value: Any) -> Any:
    """Returns a dictionary key, if it is text or a small number: others can take long to hash."""
    small = isinstance(value, int) and abs(value) < 2**31
    if value is None or small or isinstance(value, str | bytes):
        return value
    raise ValueError("a dictionary whose keys are neither text nor small numbers")


BUILDERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "numpy.core.multiarray._reconstruct": Array,
    "numpy._core.multiarray._reconstruct": Array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.dtype": DType,
    "_codecs.encode": _encode,
    "__builtin__.bytes": _no_bytes,
}
"""What may be made, by name; all of it plain values."""

NAMES = frozenset({"numpy.ndarray"})
"""Names that may be mentioned beside those of the builders."""
