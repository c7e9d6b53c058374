"""Caffe's networks as users of TensorFlow pass them on: `.npy`, such as `bvlc_alexnet.npy`.

A pickled dictionary of layers under Caffe's names, each `[weights, biases]` or a dictionary of
`weights` and `biases`. Convolutions are `[height, width, in / group, out]` and dense weights
`[in, out]`, and fc6 sees an image flattened in the order height, width, channel: our layouts. The
input is BGR still. Source: ethereon/caffe-tensorflow kaffe/transformers.py.
"""

import tokenize
import warnings
from typing import Any

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Conv, Dense, Network, summarize
from alexnet_jax.weights.readers.pickled_values import Array
from alexnet_jax.weights.readers.reading import Arrays
from alexnet_jax.weights.readers.safe_pickle import read_pickle
from alexnet_jax.weights.readers.source_file import SourceFile, check_finite

_MOST_LAYERS = 100
_DAMAGES = (
    ValueError,
    TypeError,
    KeyError,
    OSError,
    SyntaxError,
    RecursionError,
    tokenize.TokenError,
)
"""What NumPy's own reading of a header may raise."""


def read_array(file: SourceFile) -> Any:
    """Returns what a `.npy` file holds: an array, or the object of one that was pickled.

    Raises:
      InputError: it is damaged, or wants to run something.
    """
    try:
        stream = file.stream()
        version = np.lib.format.read_magic(stream)
        headers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            shape, fortran, dtype = headers[version](stream)
        data = file.data[stream.tell() :]
        if not dtype.hasobject:
            count = int(np.prod(shape, dtype=object))
            order = "F" if fortran else "C"
            return np.frombuffer(data, dtype, count).reshape(shape, order=order)
    except _DAMAGES as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{file.name} is no whole NumPy file: {reason}; get it again") from None
    value, _ = read_pickle(data, file.name)
    content = value.state[4] if isinstance(value, Array) and value.state else None
    return content[0] if isinstance(content, list) and len(content) == 1 else content


def read_layers(file: SourceFile) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns weights and biases by the name of the layer.

    Raises:
      InputError: the file is damaged, or holds something else.
    """
    value = read_array(file)
    if isinstance(value, np.ndarray):
        raise InputError(
            f"{file.name} is a NumPy file (.npy) with one array of shape {list(value.shape)[:8]}, "
            "not with layers by name; a mean image goes to --mean"
        )
    try:
        if not isinstance(value, dict) or len(value) > _MOST_LAYERS:
            raise ValueError("it is no dictionary of layers")
        return {str(name): _pair(pair) for name, pair in value.items()}
    except ValueError as error:
        raise InputError(
            f"{file.name} is a NumPy file (.npy), but not with [weights, biases] by layer: {error}"
        ) from None


def _pair(pair: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(pair, dict) and {"weights", "biases"} <= pair.keys():
        pair = [pair["weights"], pair["biases"]]
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise ValueError("a layer of other things than two arrays")
    if not all(isinstance(array, Array) for array in pair):
        raise ValueError("a layer of other things than arrays")
    return pair[0].numpy(), pair[1].numpy()


def to_params(
    layers: dict[str, tuple[np.ndarray, np.ndarray]], network: Network, file: SourceFile
) -> Arrays:
    """Returns the parameters in our layouts, RGB.

    Args:
      layers: weights and biases by Caffe's names, from `read_layers`.
      network: whose layers they are.
      file: named in errors.

    Raises:
      InputError: a convolution is missing, a shape is wrong, or a value is not finite.
    """
    params: Arrays = {}
    for summary in summarize(network):
        layer = summary.layer
        if not isinstance(layer, Conv | Dense):
            continue
        if layer.name not in layers:
            if isinstance(layer, Dense):
                continue
            raise InputError(
                f"{file.name} is a NumPy file (.npy) with {', '.join(layers)[:200]}, but without "
                f"{layer.name} of network '{network.name}'; get the whole file"
            )
        weight, bias = layers[layer.name]
        shape = (summary.weights // layer.features, layer.features)
        if isinstance(layer, Conv):
            depth = shape[0] // layer.window**2
            shape = (layer.window, layer.window, depth, layer.features)
        if weight.shape != shape or bias.size != layer.features:
            raise InputError(
                f"{file.name}: {layer.name} is {list(weight.shape)[:8]} with {bias.size:,} biases, "
                f"but should be {list(shape)} with {layer.features:,} in network '{network.name}'"
            )
        check_finite({f"{layer.name} weights": weight, f"{layer.name} biases": bias}, file.name)
        if not params:
            weight = weight[:, :, ::-1]  # BGR to RGB
        params[layer.name] = {
            "kernel": np.ascontiguousarray(weight, np.float32),
            "bias": np.array(bias.reshape(-1), np.float32),
        }
    return params
