"""Caffe's messages, as far as weights need them, read by the protobuf library.

The description below names only the fields that are used, by the numbers of Caffe's format; nested
messages and packed numbers are taken as bytes, and the fields of each message are counted before it
is parsed, so that memory stays within a few times the size of the file.
Source: BVLC/caffe src/caffe/proto/caffe.proto.
"""

import functools
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.source_file import SourceFile

_MOST_FIELDS = 10_000
_LONGEST_SHAPE = 1024

# Field numbers and kinds. `bytes*` and `string*` are repeated fields.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Net": {"old_layers": (2, "bytes*"), "layers": (100, "bytes*")},
    "OldLayer": {
        "name": (4, "string"),
        "type": (5, "int32"),
        "blobs": (6, "bytes*"),
        "lrn": (18, "bytes"),
    },
    "Layer": {
        "name": (1, "string"),
        "type": (2, "string"),
        "blobs": (7, "bytes*"),
        "lrn": (118, "bytes"),
    },
    "Lrn": {
        "size": (1, "uint32"),
        "alpha": (2, "float"),
        "beta": (3, "float"),
        "region": (4, "int32"),
        "k": (5, "float"),
    },
    "Blob": {
        "num": (1, "int32"),
        "channels": (2, "int32"),
        "height": (3, "int32"),
        "width": (4, "int32"),
        "data": (5, "bytes*"),  # packed float32
        "shape": (7, "bytes"),
        "double_data": (8, "bytes*"),  # packed float64
    },
    "Shape": {"dim": (1, "int64*")},
}


def blob_array(file: SourceFile, raw: Any) -> np.ndarray:
    """Returns the array of a blob, a view of its message."""
    blob = parse("Blob", raw, file)
    pieces = blob.data or blob.double_data
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    dtype = np.dtype("<f4" if blob.data else "<f8")
    if blob.HasField("shape"):
        shape = tuple(parse("Shape", blob.shape[:_LONGEST_SHAPE], file).dim)
    else:
        shape = blob.num, blob.channels, blob.height, blob.width
    count = 1
    for length in shape if 0 < len(shape) <= 8 and min(shape, default=-1) >= 0 else (-1,):
        count *= length
    if count * dtype.itemsize != len(data):
        raise InputError(
            f"{file.name}: an array of shape {list(shape)[:8]} has {len(data):,} bytes; the file "
            "is damaged: get it again"
        )
    return np.frombuffer(data, dtype).reshape(shape)


def parse(name: str, raw: Any, file: SourceFile) -> Any:
    """Returns the message `name` of `_MESSAGES` in `raw`; raises `InputError` if it is damaged.

    Args:
      name: of the message's type.
      raw: its bytes.
      file: named in errors.
    """
    message = _classes()[name]()
    try:
        _check_fields(memoryview(raw))
        message.ParseFromString(raw if isinstance(raw, bytes) else bytes(raw))
    except (DecodeError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{file.name} is no whole file of Caffe's: {reason[:120]}; get it again"
        ) from None
    return message


def _check_fields(data: memoryview) -> None:
    """Raises `ValueError` or `IndexError` before a message is parsed that is damaged or a bomb.

    A field takes two bytes in the file but many in memory, and Caffe's messages have few.
    """
    at = 0
    for _ in range(_MOST_FIELDS):
        if at == len(data):
            return
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                _, at = _varint(data, at)
            case 2:
                length, at = _varint(data, at)
                at += length
            case 1 | 5:
                at += 8 if tag & 7 == 1 else 4
            case kind:
                raise ValueError(f"fields of kind {kind}")
        if at > len(data):
            raise ValueError(f"a field ends {at - len(data):,} bytes behind its message")
    raise ValueError(f"more than {_MOST_FIELDS:,} fields in one message")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Returns the number that begins at `at`, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at + shift // 7]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + shift // 7 + 1
    raise ValueError("a number of more than 64 bits")


@functools.cache
def _classes() -> dict[str, Any]:
    """Returns the message classes, made from `_MESSAGES`."""
    field = descriptor_pb2.FieldDescriptorProto
    kinds = {
        "bytes": field.TYPE_BYTES,
        "string": field.TYPE_STRING,
        "int32": field.TYPE_INT32,
        "int64": field.TYPE_INT64,
        "uint32": field.TYPE_UINT32,
        "float": field.TYPE_FLOAT,
    }
    package = "alexnet_jax.caffe"
    description = descriptor_pb2.FileDescriptorProto(
        name="alexnet_jax/caffe.proto", package=package, syntax="proto2"
    )
    for message, fields in _MESSAGES.items():
        made = description.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            repeated = kind.endswith("*")
            label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            made.field.add(name=name, number=number, label=label, type=kinds[kind.rstrip("*")])
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(description.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in _MESSAGES
    }
