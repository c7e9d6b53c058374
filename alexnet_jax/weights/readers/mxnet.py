"""MXNet's `.params`: the AlexNet of gluon's model zoo, saved by itself or exported as a symbol.

The file is a list of arrays, each with its shape and type, and then a list of their names.
Kernels are OIHW, dense weights `[out, in]`. At test the network is torchvision's: dropout, which is
after the dense layers instead of before them, changes nothing there. So are the images.
Source: apache/mxnet src/ndarray/ndarray.cc, python/mxnet/gluon/model_zoo/vision/alexnet.py.
"""

import math
import re
import struct

import numpy as np

from alexnet_jax.config import PreprocessConfig
from alexnet_jax.data.preprocess import IMAGENET_MEAN, IMAGENET_STD
from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.foreign_weights import ForeignWeights, plain_inputs
from alexnet_jax.weights.readers.named_layers import match_named, pair_arrays
from alexnet_jax.weights.readers.source_file import SourceFile

NETWORK = "one-weird-trick"
_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
# A block's own names, and those of its symbol, which begin with the name of the block.
_BLOCK = [f"features.{i}" for i in (0, 2, 4, 5, 6, 9, 11)] + ["output"]
_SYMBOL = [f"conv{i}" for i in range(5)] + [f"dense{i}" for i in range(3)]
_NAMES = dict(zip(_BLOCK, _LAYERS, strict=True)) | dict(zip(_SYMBOL, _LAYERS, strict=True))
_SYMBOL_NAME = re.compile(r"(?:arg:|aux:)?[A-Za-z]+\d+_((?:conv|dense)\d)_(weight|bias)")

_LIST_MAGIC = 0x112
_WITHOUT_TYPE, _OF_NDARRAY, _OF_NUMPY = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_TYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8"}
_MAX_ARRAYS = 10_000
_MAX_AXES = 8
_MAX_NAME = 1000


class _Bytes:
    """The file from the front to the back."""

    def __init__(self, file: SourceFile):
        self.file, self.at = file, 0

    def take(self, count: int) -> memoryview:
        if count > len(self.file.data) - self.at:
            left = len(self.file.data) - self.at
            raise InputError(
                f"{self.file.name} is cut off: {count:,} bytes are announced and {left:,} left; "
                "get the file again"
            )
        self.at += count
        return self.file.data[self.at - count : self.at]

    def numbers(self, form: str) -> tuple[int, ...]:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))

    def count(self, limit: int, what: str) -> int:
        (count,) = self.numbers("Q")
        if count > limit:
            raise InputError(f"{self.file.name} announces {count:,} {what}; get the file again")
        return count


def read(file: SourceFile, network_name: str = "") -> ForeignWeights:
    arrays = {_SYMBOL_NAME.sub(r"\1.\2", name): array for name, array in read_arrays(file).items()}
    layers = pair_arrays(arrays, _NAMES, "gluon", file.name)
    network, params, image_size = match_named(file.name, layers, network_name or NETWORK)
    return ForeignWeights(
        file=file,
        network=network,
        params=params,
        image_size=image_size,
        stored_size=max(256, image_size),
        preprocess=PreprocessConfig(mean="imagenet", scale="imagenet"),
        inputs=plain_inputs(IMAGENET_MEAN, IMAGENET_STD),
        form="MXNet",
        class_order="wordnet" if network.classes == 1000 else "names",
        notes=("gluon has dropout after fc6 and fc7; here it is before them, if they are trained",),
    )


def read_arrays(file: SourceFile) -> dict[str, np.ndarray]:
    """Views of the file by name. Raises `InputError` for damage, and for sparse arrays."""
    data = _Bytes(file)
    magic, _ = data.numbers("QQ")
    if magic != _LIST_MAGIC:
        raise InputError(f"{file.name} is no list of MXNet's arrays; save it with MXNet again")
    arrays = [_array(data) for _ in range(data.count(_MAX_ARRAYS, "arrays"))]
    names = [
        bytes(data.take(data.count(_MAX_NAME, "letters of a name"))).decode("utf-8", "replace")
        for _ in range(data.count(_MAX_ARRAYS, "names"))
    ]
    if len(set(names)) != len(arrays) or len(names) != len(arrays):
        raise InputError(
            f"{file.name} has {len(arrays)} arrays and {len(set(names))} names for them; save the "
            "parameters by name, as net.save_parameters(FILE) does"
        )
    return dict(zip(names, arrays, strict=True))


def _array(data: _Bytes) -> np.ndarray:
    (first,) = data.numbers("I")
    if first in (_OF_NDARRAY, _OF_NUMPY):
        (storage,) = data.numbers("i")
        if storage != 0:
            raise InputError(f"{data.file.name} has a sparse array; save it as a dense one")
    elif first != _WITHOUT_TYPE:  # older: no magic number, lengths of 32 bits
        return _values(data, first, "I")
    return _values(data, data.numbers("I")[0], "q")


def _values(data: _Bytes, axes: int, form: str) -> np.ndarray:
    if axes > _MAX_AXES:
        raise InputError(f"{data.file.name} is damaged: an array of {axes:,} axes; get it again")
    shape = data.numbers(f"{axes}{form}")
    if not axes or min(shape) < 1:
        raise InputError(f"{data.file.name} has an array without values; save it after training")
    _, _, kind = data.numbers("iii")  # the device and its number say nothing here
    if kind not in _TYPES:
        raise InputError(f"{data.file.name} has an array of the unknown type {kind}")
    dtype = np.dtype(_TYPES[kind])
    return np.frombuffer(data.take(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
