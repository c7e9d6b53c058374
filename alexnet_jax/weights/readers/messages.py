"""Messages of protocol buffers, as Caffe and ONNX write them, read as views of the file.

Nothing is copied but numbers and names. Fields are counted and lists of numbers are short, so that
a small file cannot fill much memory.
Source: protobuf.dev/programming-guides/encoding.
"""

import struct
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.source_file import SourceFile

_MAX_FIELDS = 10_000
_MAX_SHORT_BYTES = 1024  # of a name or of a list of numbers
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5

Fields = Mapping[str, tuple[int, str]]
"""By our name, a field's number and kind: `int`, `float`, `text`, `bytes`; `*`: a list of them."""


def parse_message(file: SourceFile, data: Any, fields: Fields) -> SimpleNamespace:
    """Returns the named fields; what is absent is None or an empty list; `bytes` are views.

    Raises:
      InputError: the message is damaged, or has too many or too long fields.
    """
    values: dict[str, Any] = {n: [] if kind[-1] == "*" else None for n, (_, kind) in fields.items()}
    names = {number: (name, kind.rstrip("*")) for name, (number, kind) in fields.items()}
    try:
        for number, wire, value in _split(memoryview(data)):
            if number in names:
                name, kind = names[number]
                found = list(_convert(value, wire, kind))
                if isinstance(values[name], list):
                    values[name] += found
                else:
                    values[name] = found[-1]
    except (ValueError, IndexError, struct.error) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{file.name} is damaged: {reason}; get it again") from None
    return SimpleNamespace(**values)


def _split(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Yields each field's number, wire type, and whole number or bytes."""
    at = count = 0
    while at < len(data):
        count += 1
        if count > _MAX_FIELDS:
            raise ValueError(f"more than {_MAX_FIELDS:,} fields in one message")
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
        elif wire in (_EIGHT_BYTES, _BYTES, _FOUR_BYTES):
            length = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(wire, 0)
            if wire == _BYTES:
                length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
            if at > len(data):
                raise ValueError(f"a field ends {at - len(data):,} bytes after its message")
        else:
            raise ValueError(f"fields of kind {wire}")
        yield tag >> 3, wire, value


def _convert(value: Any, wire: int, kind: str) -> Iterator[Any]:
    """Yields one value, or those of a list of numbers that are stored together."""
    if kind == "bytes" and wire == _BYTES:
        yield value
    elif kind == "text" and wire == _BYTES:
        yield bytes(value[:_MAX_SHORT_BYTES]).decode("utf-8", "replace")
    elif kind == "int" and wire == _VARINT:
        yield _signed(value)
    elif kind == "float" and wire == _FOUR_BYTES:
        yield struct.unpack("<f", value)[0]
    elif kind in ("int", "float") and wire == _BYTES:
        if len(value) > _MAX_SHORT_BYTES:
            raise ValueError(f"a list of numbers with {len(value):,} bytes")
        at = 0
        while at < len(value):
            if kind == "float":
                yield struct.unpack_from("<f", value, at)[0]
                at += 4
            else:
                number, at = _varint(value, at)
                yield _signed(number)
    else:
        raise ValueError(f"a field of kind {wire}, which should be {kind}")


def _signed(value: int) -> int:
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Returns the number that begins at `at`, and where it ends."""
    value = 0
    for i in range(10):
        byte = data[at + i]
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    raise ValueError("a number of more than 64 bits")
