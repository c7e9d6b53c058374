"""Caffe's messages, as far as weights need them.

Source: BVLC/caffe src/caffe/proto/caffe.proto.
"""

import math
from typing import Any

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.messages import parse_message
from alexnet_jax.weights.readers.source_file import SourceFile

NET = {"old_layers": (2, "bytes*"), "layers": (100, "bytes*")}
OLD_LAYER = {"name": (4, "text"), "type": (5, "int"), "blobs": (6, "bytes*"), "lrn": (18, "bytes")}
LAYER = {"name": (1, "text"), "type": (2, "text"), "blobs": (7, "bytes*"), "lrn": (118, "bytes")}
LRN = {
    "size": (1, "int"),
    "alpha": (2, "float"),
    "beta": (3, "float"),
    "region": (4, "int"),
    "k": (5, "float"),
}
_BLOB = {
    "num": (1, "int"),
    "channels": (2, "int"),
    "height": (3, "int"),
    "width": (4, "int"),
    "data": (5, "bytes*"),  # packed float32
    "shape": (7, "bytes"),
    "double_data": (8, "bytes*"),  # packed float64
}
_SHAPE = {"dim": (1, "int*")}


def blob_array(file: SourceFile, raw: Any) -> np.ndarray:
    blob = parse_message(file, raw, _BLOB)
    pieces = blob.data or blob.double_data
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    dtype = np.dtype("<f4" if blob.data else "<f8")
    shape = tuple(n or 0 for n in (blob.num, blob.channels, blob.height, blob.width))
    if blob.shape is not None:
        shape = tuple(parse_message(file, blob.shape, _SHAPE).dim)
    plausible = 0 < len(shape) <= 8 and min(shape) >= 0
    if not plausible or math.prod(shape) * dtype.itemsize != len(data):
        raise InputError(
            f"{file.name}: an array of shape {list(shape)[:8]} has {len(data):,} bytes; the file "
            "is damaged: get it again"
        )
    return np.frombuffer(data, dtype).reshape(shape)
