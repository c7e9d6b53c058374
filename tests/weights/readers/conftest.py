"""torchvision's AlexNet with few filters."""

import numpy as np
import pytest

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
