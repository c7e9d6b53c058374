"""The ONNX models that `export` writes: arrays in the order of the graph, the rest as metadata.

Networks of 2012 are no plain sequence there (groups, normalization within maps, unshared filters).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Conv, Dense, Local, Network, Parametric, summarize
from alexnet_jax.weights.readers.foreign_weights import ForeignWeights, LayerArrays, plain_inputs
from alexnet_jax.weights.readers.onnx_proto import Model, Node, read_array
from alexnet_jax.weights.readers.own_description import (
    Description,
    describe_weights,
    read_description,
)
from alexnet_jax.weights.readers.source_file import SourceFile

PRODUCER = "alexnet_jax"
_Arrays = list[np.ndarray]


def is_own(model: Model) -> bool:
    return model.producer == PRODUCER and "preprocessing" in model.properties


def read_own(file: SourceFile, model: Model, network_name: str) -> ForeignWeights:
    """Raises `InputError` for a model that was changed since `export` wrote it."""
    description = read_description(file, model.properties, network_name)
    constants = [(node, _constants(file, model, node)) for node in model.nodes]
    try:
        params = _read_params(description.network, description.image_size, constants)
        description, mean, scale = _read_preprocessing(file, description, constants)
    except (StopIteration, ValueError, TypeError, IndexError) as error:
        reason = str(error)[:80] or "arrays are missing"
        raise InputError(
            f"{file.name} was changed since `export` wrote it ({reason}); export again"
        ) from None
    inputs = plain_inputs(mean, scale)
    return describe_weights(file, description, params, inputs, "ONNX of alexnet_jax")


def _constants(file: SourceFile, model: Model, node: Node) -> _Arrays:
    return [read_array(file, model.arrays[name]) for name in node.inputs if name in model.arrays]


def _read_params(
    network: Network, image_size: int, constants: list[tuple[Node, _Arrays]]
) -> LayerArrays:
    """Raises an error of `read_own`."""
    params: LayerArrays = {}
    parts = _weighted(constants)
    for row in summarize(network, image_size):
        layer = row.layer
        if not isinstance(layer, Parametric):
            continue
        shapes = layer.parameter_shapes(row.input_shape)
        pairs = [next(parts) for _ in range(layer.groups if isinstance(layer, Dense) else 1)]
        kernel = np.concatenate([_turned(kernel, layer) for kernel, _ in pairs], axis=-1)
        bias = np.concatenate([bias for _, bias in pairs])
        if isinstance(layer, Conv | Dense) and kernel.shape != shapes[0]:
            raise ValueError(f"{layer.name} has shape {list(kernel.shape)[:8]}")
        params[layer.name] = {
            "kernel": np.ascontiguousarray(kernel.reshape(shapes[0]), np.float32),
            "bias": np.array(bias.reshape(shapes[1]), np.float32),
        }
    return params


def _weighted(constants: list[tuple[Node, _Arrays]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields kernels, output channels first, and biases, in the order of the graph."""
    for node, arrays in constants:
        # A convolution without biases adds up the squares of a normalization.
        if node.op in ("Conv", "Gemm") and len(arrays) == 2:
            is_turned = node.op == "Gemm" and not node.attributes.get("transB")
            yield arrays[0].T if is_turned else arrays[0], arrays[1]


def _turned(kernel: np.ndarray, layer: Parametric) -> np.ndarray:
    """To our layouts, output channels last; unshared filters are one group for each position."""
    if isinstance(layer, Local):
        return kernel.reshape(-1, layer.features, kernel.shape[1]).transpose(0, 2, 1)
    return kernel.transpose(*range(2, kernel.ndim), 1, 0)


def _read_preprocessing(
    file: SourceFile, of: Description, constants: list[tuple[Node, _Arrays]]
) -> tuple[Description, np.ndarray, np.ndarray]:
    """Returns mean and scale; a mean image is the window of the centre view alone."""
    size = of.image_size
    found = {
        node.op: arrays[0]
        for node, arrays in reversed(constants)
        if node.op in ("Sub", "Div") and arrays and arrays[0].shape[-1:] == (3,)
    }
    written: dict[str, Any] = {
        "Sub": of.settings.get("mean_values"),
        "Div": of.settings.get("scale_values"),
    }
    values = {}
    for op, kind in (("Sub", of.preprocess.mean), ("Div", of.preprocess.scale)):
        if kind == "none":
            values[op] = np.full(3, op == "Div", np.float32)
        elif op in found:
            values[op] = np.broadcast_to(found[op], (size, size, 3))
        elif np.shape(written[op]) == (3,):  # of the network alone
            values[op] = np.asarray(written[op], np.float32)
        else:
            raise InputError(
                f"{file.name} lacks the mean image that its run subtracts; export it with --form "
                "whole, or as safetensors"
            )
    mean, scale = values["Sub"], values["Div"].reshape(-1, 3)[0]
    if of.preprocess.mean not in ("image", "image-aligned"):
        mean = mean.reshape(-1, 3)[0]
    elif of.preprocess.mean == "image-aligned":
        of = of._replace(preprocess=type(of.preprocess)(mean="image", scale=of.preprocess.scale))
    return of, mean, scale
