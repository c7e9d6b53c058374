"""Parameters and images that are the same with every version of NumPy and JAX, and small networks.

Only raw numbers of a bit generator are used: NumPy promises their order, but not that of normal
ones.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from alexnet_jax.network.layers import (
    Activation,
    Conv,
    Local,
    Network,
    parametric_layers,
    with_features,
)
from alexnet_jax.network.model import AlexNet
from alexnet_jax.network.networks import NETWORKS

Params = dict[str, dict[str, np.ndarray]]

REQUIRED = (
    "paper",
    "original",
    "caffenet",
    "bvlc-alexnet",
    "one-weird-trick",
    "cifar-13pct",
    "cifar-11pct",
    "cifar-18pct",
    "cifar-19pct",
    "cifar-80sec",
)


def uniform(seed: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Returns float64 numbers in -1..1."""
    raw = np.random.PCG64(seed).random_raw(int(np.prod(shape)))
    return ((raw >> np.uint64(11)) * 2.0**-52 - 1).reshape(shape)


def make_params(network: Network, seed: int = 1) -> Params:
    """Returns float64 parameters under which the signal neither dies nor explodes.

    Their values are those of float32 numbers, so that both precisions compute the same function.
    """
    blank = jax.ShapeDtypeStruct((1, network.image_size, network.image_size, 3), jnp.float32)
    shapes: Any = jax.eval_shape(AlexNet(network).init, jax.random.key(0), blank)
    last = parametric_layers(network.layers)[-1].name
    params: Params = {}
    for place, (layer, leaves) in enumerate(sorted(shapes["params"].items())):
        kernel, bias = leaves["kernel"].shape, leaves["bias"].shape
        inputs = int(np.prod(kernel[-4:-1] if len(kernel) > 2 else kernel[:1]))
        # Small logits: the gradient of a saturated softmax would see one class of each image.
        bound = np.sqrt(3 * 2 / inputs) * (0.1 if layer == last else 1)
        params[layer] = {
            "kernel": _single(bound * uniform((seed, place, 0), kernel)),
            "bias": _single(0.2 * uniform((seed, place, 1), bias)),
        }
    return params


def make_images(network: Network, count: int, seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Returns float64 images `[count, size, size, 3]` as after preprocessing, and int32 labels.

    Those for tanh are small: large ones make neighbours of a window equal, 1 or almost 1.
    """
    small = network.name == "one-weird-trick" or Activation("tanh") in network.layers
    spread = 2.0 if small else 100.0
    shape = (count, network.image_size, network.image_size, 3)
    labels = (np.random.PCG64((seed, 1)).random_raw(count) % network.classes).astype(np.int32)
    return _single(spread * uniform((seed, 0), shape)), labels


def _single(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32).astype(np.float64)


def small(name: str, classes: int = 5) -> Network:
    """Returns a narrow network of that name for small images: the same operations, less of each."""
    full = NETWORKS[name].with_classes(classes)
    layers = full.layers
    widths = {
        layer.name: 12 if isinstance(layer, Conv) else 8 if isinstance(layer, Local) else 16
        for layer in parametric_layers(layers)[:-1]
    }
    # conv1's last window overhangs at 64 as at 224: 53 / 4 and 213 / 4 are no whole numbers.
    size = 64 if full.image_size == 224 else 67 if full.image_size == 227 else full.image_size
    return dataclasses.replace(full, layers=with_features(layers, widths), image_size=size)
