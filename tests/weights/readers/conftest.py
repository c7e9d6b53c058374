"""AlexNets with few filters, and their arrays as other programs have them."""

import numpy as np
import pytest

from alexnet_jax.network.layers import Parametric, summarize
from alexnet_jax.weights.readers.torchvision import layer_keys

WIDTHS = {"conv1": 4, "conv2": 6, "conv3": 8, "conv4": 6, "conv5": 5, "fc6": 7, "fc7": 9, "fc8": 3}


@pytest.fixture
def narrow(narrow_network):
    """torchvision's network with few filters, under its own name."""
    return narrow_network("one-weird-trick", WIDTHS)


@pytest.fixture
def arrays(narrow):
    """Random arrays under torchvision's keys."""
    rng = np.random.default_rng(0)
    found = {}
    for key in layer_keys(narrow):
        scale = np.prod(key.weight_shape[1:]) ** -0.5
        found[f"{key.prefix}.weight"] = (rng.normal(size=key.weight_shape) * scale).astype("f4")
        found[f"{key.prefix}.bias"] = rng.normal(size=key.weight_shape[:1]).astype("f4")
    return found


@pytest.fixture
def narrow_params(narrow_network):
    """Returns `draw(name, size)`: a network made narrow, with random parameters."""

    def draw(name, size):
        network = narrow_network(name, WIDTHS | {"conv2": 8, "conv5": 6}, image_size=size)
        rng = np.random.default_rng(1)
        params = {}
        for row in summarize(network):
            if isinstance(row.layer, Parametric):
                kernel, bias = row.layer.parameter_shapes(row.input_shape)
                std = np.prod(kernel[:-1]) ** -0.5
                kernel = (rng.normal(size=kernel) * std).astype("f4")
                params[row.name] = {"kernel": kernel, "bias": rng.normal(size=bias).astype("f4")}
        return params

    return draw


@pytest.fixture
def channels_first():
    """Returns a function from our kernels to OIHW, or to `[out, in]` of a flattened CHW image."""

    def convert(name, leaves, channels):
        kernel = leaves["kernel"]
        if kernel.ndim == 4:
            return np.ascontiguousarray(np.moveaxis(kernel, (3, 2), (0, 1)))
        if name == "fc6":
            pixels = kernel.reshape(-1, channels, kernel.shape[1])
            kernel = pixels.swapaxes(0, 1).reshape(kernel.shape)
        return np.ascontiguousarray(kernel.T)

    def all_layers(params):
        channels = len(params["conv5"]["bias"])
        return {
            name: (convert(name, leaves, channels), leaves["bias"])
            for name, leaves in params.items()
        }

    return all_layers
