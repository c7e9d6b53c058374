"""Narrow networks as the sequences of layers that a file of another program has."""

import dataclasses
import math

import numpy as np

from alexnet_jax.network.layers import (
    Conv,
    Dense,
    Flatten,
    Local,
    MaxPool,
    layer_names,
    padding_of,
    parametric_layers,
    summarize,
)
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.weights.readers.layer_sequence import FileLayer

WIDTHS = {"conv1": 8, "conv2": 12, "conv3": 8, "conv4": 6, "conv5": 4, "conv6": 4,
          "fc6": 12, "fc7": 10}  # fmt: skip
SIZE = 99  # two by two pixels are left before fc6
CLASSES = 5


def narrow_sequence(narrow_network, name, *, flattened="chw", classes=CLASSES, size=SIZE):
    """Returns the size, the `FileLayer`s, and the parameters that they must give.

    `narrow_network` is the fixture, which puts the narrow network into `NETWORKS`.
    """
    known = {layer.name for layer in parametric_layers(NETWORKS[name].layers)}
    widths = {layer: width for layer, width in WIDTHS.items() if layer in known}
    network = narrow_network(name, widths | {"fc8": classes}, image_size=size)
    params = random_params(network, size)
    layers, flat = [], None
    for row_name, row in zip(layer_names(network.layers), summarize(network, size), strict=True):
        padding, weights, bias = (0, 0), None, None
        layer = row.layer
        if isinstance(layer, Conv | MaxPool | Local):
            padding = padding_of(row.input_shape[0], layer)
        if row_name in params:
            weights, bias = params[row_name]["kernel"], params[row_name]["bias"]
            if isinstance(layer, Dense) and flat and flattened == "chw":
                groups, channels = flat.layer.groups, flat.input_shape[-1]
                weights = _channels_first(weights, groups // layer.groups, channels // groups)
            flat = None
        if isinstance(layer, Flatten):
            flat = row
        nameless = {"name": "", "weight_std": None, "bias": 0.0} if row_name in params else {}
        layers.append(
            FileLayer(row_name, dataclasses.replace(layer, **nameless), padding, weights, bias)
        )
    return size, layers, params


def random_params(network, size):
    """Under which the signal neither dies nor explodes."""
    rng = np.random.default_rng(0)
    params = {}
    for row in summarize(network, size):
        if shapes := row.layer.parameter_shapes(row.input_shape):
            kernel, bias = shapes
            std = math.sqrt(2 / math.prod(kernel[:-1])) * (0.02 if row.name == "conv1" else 1)
            params[row.name] = {
                "kernel": (rng.normal(size=kernel) * std).astype(np.float32),
                "bias": rng.normal(0, 0.1, bias).astype(np.float32),
            }
    return params


def _channels_first(kernel, groups, channels):
    """From the order group, height, width, channel to group, channel, height, width."""
    image = kernel.reshape(groups, -1, channels, kernel.shape[-1])
    return np.ascontiguousarray(image.transpose(0, 2, 1, 3).reshape(kernel.shape))
