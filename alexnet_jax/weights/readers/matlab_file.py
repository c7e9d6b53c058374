"""MATLAB's files of versions 5 to 7, compressed or not, as plain values, in bounded memory.

Lengths are checked against the bytes that are there. Version 7.3 is HDF5, and another format.
Source: MathWorks, "MAT-File Format", R2023b.
"""

import math
import struct
import zlib
from typing import Any

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.source_file import MAX_BYTES, SourceFile

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8"}
_STORED |= {13: "u8", 16: "u1", 17: "u2"}
_NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"}
_NUMBERS |= {14: "i8", 15: "u8"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_COMPLEX = 0x0800
_MAX_DEPTH = 16
_MAX_RATIO = 20  # numbers hardly shrink, but a layer may be zero
_FREE_BYTES = 1 << 20  # that may be unpacked anyway
_MAX_NAMES = 1000
_MAX_TEXT = 1 << 16

UNKNOWN = object()
"""A value that was not read: complex numbers, sparse arrays, objects, functions."""


def read_matlab(file: SourceFile) -> dict[str, Any]:
    """Returns variables by name: arrays, text, lists of cells, dictionaries of structures.

    A structure array becomes a list of dictionaries, `[]` of no type None, and anything else
    `UNKNOWN`.
    Raises `InputError` for version 7.3 and for damage.
    """
    if bytes(file.data[:10]) == b"MATLAB 7.3":
        raise InputError(
            f"{file.name} is a MATLAB file of version 7.3, which is another format; load it in "
            "MATLAB or Octave, and save it with -v7"
        )
    try:
        order = {b"IM": "<", b"MI": ">"}[bytes(file.data[126:128])]
        reader = _Reader(order, _FREE_BYTES + _MAX_RATIO * len(file.data))
        return dict(reader.variables(file.data[_HEADER_BYTES:]))
    except (KeyError, ValueError, IndexError, struct.error, zlib.error) as error:
        reason = " ".join(str(error).split())[:120] or "it ends early"
        raise InputError(
            f"{file.name} is not a complete MATLAB file: {reason}; get it again"
        ) from None


class _Reader:
    def __init__(self, order: str, budget: int):
        self.order, self.budget = order, min(budget, MAX_BYTES)

    def variables(self, data: memoryview):
        while len(data) >= 8:
            kind, content, data = self.element(data)
            if kind == _COMPRESSED:
                unpacker = zlib.decompressobj()
                unpacked = unpacker.decompress(content, max(self.budget, 1))  # 0: any number
                if unpacker.unconsumed_tail or not unpacker.eof:
                    raise ValueError("a variable that is cut off, or unpacks to too many bytes")
                self.budget -= len(unpacked)
                kind, content, _ = self.element(memoryview(unpacked))
            if kind == _MATRIX:
                yield self.matrix(content, 0)

    def element(self, data: memoryview) -> tuple[int, memoryview, memoryview]:
        """Returns the type, the bytes, and what follows."""
        kind, length = struct.unpack_from(self.order + "II", data)
        if kind >> 16:  # small: its bytes are where a length would be
            return kind & 0xFFFF, data[4 : 4 + min(kind >> 16, 4)], data[8:]
        end = 8 + length
        if end > len(data):
            raise ValueError(f"an element ends {end - len(data):,} bytes after its file")
        return kind, data[8:end], data[end if kind == _COMPRESSED else end + -end % 8 :]

    def numbers(self, data: memoryview) -> tuple[np.ndarray, memoryview]:
        kind, content, rest = self.element(data)
        if kind not in _STORED:
            raise ValueError(f"numbers of type {kind}")
        return np.frombuffer(content, self.order + _STORED[kind]), rest

    def matrix(self, data: memoryview, depth: int) -> tuple[str, Any]:
        """Returns the name and the value."""
        if not data or depth > _MAX_DEPTH:
            return "", None
        flags, data = self.numbers(data)
        dims, data = self.numbers(data)
        name, data = self.numbers(data)
        shape = tuple(int(side) for side in dims[:9])
        if len(shape) > 8 or min(shape, default=0) < 0:
            raise ValueError("an array of impossible shape")
        kind, count = int(flags[0]) & 0xFF, math.prod(shape)
        value: Any = UNKNOWN
        if kind in (_CELL, _STRUCT) and count > len(data) // 8:
            raise ValueError(f"{count:,} cells in {len(data):,} bytes")
        if kind == _CELL:
            value, _ = self.several(data, count, depth)
        elif kind == _STRUCT:
            value = self.structures(data, count, depth)
        elif kind == _CHAR:
            codes, _ = self.numbers(data)
            is_line = len(shape) == 2 and shape[0] == 1
            value = "".join(map(chr, codes[:_MAX_TEXT].tolist())) if is_line else ""
        elif kind in _NUMBERS and not int(flags[0]) & _COMPLEX:
            stored, _ = self.numbers(data)
            if stored.size != count:
                raise ValueError(f"an array of shape {list(shape)} with {stored.size:,} numbers")
            value = stored.astype(_NUMBERS[kind], copy=False).reshape(shape, order="F")
        return name.tobytes()[:80].decode("latin1"), value

    def several(self, data: memoryview, count: int, depth: int) -> tuple[list[Any], memoryview]:
        values = []
        for _ in range(count):
            _, content, data = self.element(data)
            values.append(self.matrix(content, depth + 1)[1])
        return values, data

    def structures(self, data: memoryview, count: int, depth: int) -> Any:
        length, data = self.numbers(data)
        texts, data = self.numbers(data)
        size = int(length[0])
        if not 0 < size <= 64 or texts.size > _MAX_NAMES * size:
            raise ValueError("a structure with impossible names")
        whole = texts.tobytes().decode("latin1")
        names = [whole[i : i + size].split("\0")[0] for i in range(0, len(whole), size)]
        if count * len(names) > len(data) // 8:
            raise ValueError(f"{count * len(names):,} fields in {len(data):,} bytes")
        rows = []
        for _ in range(count):
            values, data = self.several(data, len(names), depth)
            rows.append(dict(zip(names, values, strict=True)))
        return rows[0] if count == 1 else rows
