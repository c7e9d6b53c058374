"""Caffe's messages, as far as weights need them, read by the protobuf library.

Fields are counted before a message is parsed, so that memory is at most a few times the
file's size.
Source: BVLC/caffe src/caffe/proto/caffe.proto.
"""

import functools
import math
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.source_file import SourceFile

_MAX_FIELDS = 10_000
_MAX_SHAPE_BYTES = 1024
_PACKAGE = "alexnet_jax.caffe"

# The fields that are used: number in Caffe's format and type; `*`: repeated.
_MESSAGES = {
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
    blob = parse_message("Blob", raw, file)
    pieces = blob.data or blob.double_data
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    dtype = np.dtype("<f4" if blob.data else "<f8")
    shape = (blob.num, blob.channels, blob.height, blob.width)
    if blob.HasField("shape"):
        shape = tuple(parse_message("Shape", blob.shape[:_MAX_SHAPE_BYTES], file).dim)
    plausible = 0 < len(shape) <= 8 and min(shape) >= 0
    if not plausible or math.prod(shape) * dtype.itemsize != len(data):
        raise InputError(
            f"{file.name}: an array of shape {list(shape)[:8]} has {len(data):,} bytes; the file "
            "is damaged: get it again"
        )
    return np.frombuffer(data, dtype).reshape(shape)


def parse_message(name: str, raw: Any, file: SourceFile) -> Any:
    message = _message_classes()[name]()
    try:
        _check_fields(memoryview(raw))
        message.ParseFromString(raw if isinstance(raw, bytes) else bytes(raw))
    except (DecodeError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{file.name} is not a complete file of Caffe's: {reason}; get it again"
        ) from None
    return message


def _check_fields(data: memoryview) -> None:
    """Fields fill much memory: `ValueError` or `IndexError` for too many or damaged ones."""
    at = 0
    for _ in range(_MAX_FIELDS):
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
            raise ValueError(f"a field ends {at - len(data):,} bytes after its message")
    raise ValueError(f"more than {_MAX_FIELDS:,} fields in one message")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Returns the number that begins at `at`, and where it ends."""
    value = 0
    for i in range(10):
        byte = data[at + i]
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    raise ValueError("a number of more than 64 bits")


@functools.cache
def _message_classes() -> dict[str, Any]:
    field = descriptor_pb2.FieldDescriptorProto
    description = descriptor_pb2.FileDescriptorProto(
        name="alexnet_jax/caffe.proto", package=_PACKAGE, syntax="proto2"
    )
    for message, fields in _MESSAGES.items():
        message_type = description.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
            scalar = field.Type.Value(f"TYPE_{kind.rstrip('*').upper()}")
            message_type.field.add(name=name, number=number, label=label, type=scalar)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(description.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }
