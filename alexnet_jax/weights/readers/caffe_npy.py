"""Caffe's networks as `.npy` (`bvlc_alexnet.npy`): pickled lists or dictionaries by layer.

Source: ethereon/caffe-tensorflow kaffe/transformers.py.
"""

import tokenize
import warnings
from typing import Any

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.pickled_values import PickledArray
from alexnet_jax.weights.readers.safe_pickle import read_pickle
from alexnet_jax.weights.readers.source_file import SourceFile

_MAX_LAYERS = 100
# What NumPy's own reading of a header may raise.
_HEADER_ERRORS = (
    *(ValueError, TypeError, KeyError, OSError, SyntaxError, RecursionError),
    tokenize.TokenError,
)


def read_npy(file: SourceFile) -> Any:
    """Returns an array, or the object that was pickled; `InputError` for a damaged file."""
    try:
        file.stream.seek(0)
        version = np.lib.format.read_magic(file.stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers that Python 2 wrote
            shape, fortran, dtype = read_header(file.stream)
        data = file.data[file.stream.tell() :]
        if not dtype.hasobject:
            count = int(np.prod(shape, dtype=object))
            order = "F" if fortran else "C"
            return np.frombuffer(data, dtype, count).reshape(shape, order=order)
    except _HEADER_ERRORS as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{file.name} is not a complete NumPy file: {reason}; get it again"
        ) from None
    value, _ = read_pickle(data, file.name)
    content = value.state[4] if isinstance(value, PickledArray) and value.state else None
    return content[0] if isinstance(content, list) and len(content) == 1 else content


def read_layers(file: SourceFile) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    value = read_npy(file)
    if isinstance(value, np.ndarray):
        raise InputError(
            f"{file.name} is a NumPy file (.npy) with one array of shape {list(value.shape)[:8]}, "
            "not with layers by name; if it is the mean image, name it with --mean"
        )
    try:
        if not isinstance(value, dict) or len(value) > _MAX_LAYERS:
            raise ValueError("it holds no dictionary of layers")
        return {str(name): _arrays_of(pair) for name, pair in value.items()}
    except ValueError as error:
        raise InputError(
            f"{file.name} is a NumPy file (.npy), but not with [weights, biases] by layer: {error}"
        ) from None


def _arrays_of(pair: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(pair, dict) and {"weights", "biases"} <= pair.keys():
        pair = [pair["weights"], pair["biases"]]
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise ValueError("a layer is not a pair of arrays")
    if not all(isinstance(array, PickledArray) for array in pair):
        raise ValueError("a layer has something else than arrays")
    return pair[0].numpy(), pair[1].numpy()
