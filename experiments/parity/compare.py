"""Logits and gradients of our networks, and how far apart two computations are."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from alexnet_jax.network.layers import Network
from alexnet_jax.network.model import AlexNet

TARGETS = {"float32": 1e-4, "float64": 1e-9}
"""Largest difference that is asked for, relative to the largest value of the array."""


class Outcome(NamedTuple):
    """What one network makes of one batch.

    Attributes:
      logits: `[n, classes]`.
      images: gradient of the mean cross-entropy by the images.
      params: by the parameters, `{layer: {"kernel", "bias"}}`.
    """

    logits: Any
    images: Any
    params: Any


def ours(network: Network, params: Any, images: np.ndarray, labels: np.ndarray, dtype: Any):
    """Returns the `Outcome` of this project's module; float64 within `jax.enable_x64(True)`."""
    dtype = jnp.dtype(dtype)
    target = np.zeros((len(labels), network.classes), dtype)
    target[np.arange(len(labels)), labels] = 1 / len(labels)

    def loss(params, images):
        logits: Any = AlexNet(network, dtype).apply({"params": params}, images)  # type: ignore[arg-type]
        return -jnp.sum(jax.nn.log_softmax(logits) * target), logits

    cast = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), params)
    computed = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(cast, images.astype(dtype))
    (_, logits), grads = jax.tree.map(np.asarray, computed)
    assert logits.dtype == dtype
    return Outcome(logits, grads[1], grads[0])


def apart(found: Any, expected: Any) -> float:
    """Returns the largest difference relative to the largest expected value."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        raise ValueError(f"shapes {found.shape} and {expected.shape}")
    scale = float(np.abs(expected).max())
    if not scale:
        raise ValueError("nothing to compare: all values are zero")
    # A value that is not finite must not pass for a small difference.
    difference = float(np.abs(found - expected).max())
    return difference / scale if np.isfinite(difference) else float("inf")


def differences(found: Outcome, expected: Outcome) -> dict[str, Any]:
    """Returns the largest difference of each quantity, and the parameters that have it."""
    leaves = {
        f"{layer} {leaf}": apart(found.params[layer][leaf], value)
        for layer, values in expected.params.items()
        for leaf, value in values.items()
    }
    result: dict[str, Any] = {
        "logits": apart(found.logits, expected.logits),
        "image gradient": apart(found.images, expected.images),
    }
    for leaf in ("kernel", "bias"):
        worst = max((name for name in leaves if name.endswith(leaf)), key=lambda name: leaves[name])
        result[f"{leaf} gradients"] = leaves[worst]
        result[f"worst {leaf}"] = worst.split()[0]
    return result
