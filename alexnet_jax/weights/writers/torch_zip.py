"""PyTorch's file format for arrays, without PyTorch; names only what `weights_only=True` allows."""

import io
import math
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

_FOLDER = "archive"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same arrays make the same file


def write(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Writes float32 arrays, in order, as a `state_dict` that `torch.load` reads."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:

        def member(name: str, content: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(f"{_FOLDER}/{name}", _EPOCH), content)

        member("data.pkl", _pickle(arrays))
        member("byteorder", b"little")
        for i, array in enumerate(arrays.values()):
            member(f"data/{i}", np.ascontiguousarray(array, "<f4").tobytes())
        member("version", b"3\n")


def _pickle(arrays: dict[str, np.ndarray]) -> bytes:
    code = io.BytesIO()
    code.write(pickle.PROTO + b"\x02")
    code.write(_function("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE)
    code.write(pickle.MARK)
    for i, (name, array) in enumerate(arrays.items()):
        if array.dtype != np.float32:
            raise TypeError(f"'{name}' is {array.dtype}, not float32")
        strides = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
        storage = (
            pickle.MARK
            + _text("storage")
            + _function("torch", "FloatStorage")
            + _text(str(i))
            + _text("cpu")
            + _number(array.size)
            + pickle.TUPLE
            + pickle.BINPERSID
        )
        code.write(_text(name) + _function("torch._utils", "_rebuild_tensor_v2"))
        code.write(pickle.MARK + storage + _number(0) + _numbers(array.shape) + _numbers(strides))
        code.write(pickle.NEWFALSE + _function("collections", "OrderedDict") + pickle.EMPTY_TUPLE)
        code.write(pickle.REDUCE + pickle.TUPLE + pickle.REDUCE)
    code.write(pickle.SETITEMS + pickle.STOP)
    return code.getvalue()


def _function(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode("ascii")


def _text(text: str) -> bytes:
    encoded = text.encode("utf-8")
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _number(value: int) -> bytes:
    return pickle.BININT + struct.pack("<i", value)


def _numbers(values: Any) -> bytes:
    return pickle.MARK + b"".join(_number(int(value)) for value in values) + pickle.TUPLE
