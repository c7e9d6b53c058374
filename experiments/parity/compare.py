"""Logits and gradients of our networks, and how far apart two computations are."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from alexnet_jax.network.layers import Activation, MaxPool, Network, layer_names
from alexnet_jax.network.model import AlexNet

RESULTS = Path(__file__).parent / "results" / "parity.json"
TARGETS = {"float32": 1e-4, "float64": 1e-9}
"""Largest difference that is allowed, relative to the largest value of the array."""


class NetworkOutputs(NamedTuple):
    """Logits `[n, classes]`, and gradients of the mean cross-entropy by images and parameters."""

    logits: Any
    images: Any
    params: Any


def ours(network: Network, params: Any, images: np.ndarray, labels: np.ndarray, dtype: Any):
    """Returns the outputs of this project's module; float64 within `jax.enable_x64(True)`."""
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
    return NetworkOutputs(logits, grads[1], grads[0])


def other_decisions(network: Network, params: Any, images: np.ndarray) -> list[dict[str, Any]]:
    """Returns the decisions that our float32 makes differently from our float64.

    A ReLU decides by the sign of its input, a max pooling by the place of a window's largest value.
    Parameters and images are float64. Each layer with differences has "layer", "others" of
    "decisions", and "values" of the first one: a ReLU's input and 0, or the two pixels chosen.
    """
    names = layer_names(network.layers)
    found = []
    for before, name, layer in zip(names, names[1:], network.layers[1:], strict=False):
        if not (isinstance(layer, MaxPool) or layer == Activation("relu")):
            continue
        single = _captured(network, params, images, before, "float32")
        double = _captured(network, params, images, before, "float64")
        if isinstance(layer, MaxPool):
            single, double = _windows(single, layer), _windows(double, layer)
            chosen, right = single.argmax(-1), double.argmax(-1)
            # A choice among equal pixels, e.g. zeros after a ReLU, is no difference.
            pair = [np.take_along_axis(double, i[..., None], -1)[..., 0] for i in (chosen, right)]
            others = pair[0] != pair[1]
        else:
            pair, others = [double, np.zeros_like(double)], (single > 0) != (double > 0)
        if others.any():
            values = [float(side[others][0]) for side in pair]
            count = {"others": int(others.sum()), "decisions": others.size}
            found.append({"layer": name, **count, "values": values})
    return found


def _captured(network: Network, params: Any, images: np.ndarray, name: str, dtype: str):
    with jax.enable_x64(dtype == "float64"):
        cast = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), params)
        apply = jax.jit(AlexNet(network, jnp.dtype(dtype)).apply, static_argnames="capture")
        return np.asarray(apply({"params": cast}, images.astype(dtype), capture=name))


def _windows(x: np.ndarray, layer: MaxPool) -> np.ndarray:
    """Returns the pixels of each window, `[n, out, out, c, window^2]`; -inf beyond the edge."""
    room = (x.shape[1] - layer.window) / layer.stride
    steps = math.ceil(room) if layer.overhang else math.floor(room)
    pad = max(steps * layer.stride + layer.window - x.shape[1], 0)
    x = np.pad(x, ((0, 0), (0, pad), (0, pad), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, (layer.window,) * 2, axis=(1, 2))
    windows = windows[:, :: layer.stride, :: layer.stride]
    return windows.reshape(*windows.shape[:4], -1)


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


def differences(found: NetworkOutputs, expected: NetworkOutputs) -> dict[str, Any]:
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


def worst(rows: Sequence[dict[str, Any]], key: str) -> float:
    """Returns the largest number in the differences `key` of some rows."""
    return max(largest(row[key]) for row in rows)


def largest(differences: dict[str, Any]) -> float:
    """Returns the largest number in a row of differences; infinity if one is not finite."""
    numbers = [value for value in differences.values() if isinstance(value, float)]
    return max(number if math.isfinite(number) else math.inf for number in numbers)


def missed(record: dict[str, Any]) -> list[str]:
    """Returns a line for every target that the record misses."""
    lines = []
    for rows, key in ((record["networks"], "network"), (record["layers"], "name")):
        for row in rows:
            for dtype, target in record["targets"].items():
                if not largest(row[dtype]) <= target:
                    lines.append(f"{row[key]}, {dtype}: {largest(row[dtype]):.1e} > {target:g}")
    for row in record["steps"]:
        found = {key: row[key] for key in ("losses", "parameters", "velocities")}
        if not largest(found) <= record["targets"]["float64"] or not row["conv1 rests from step 6"]:
            lines.append(f"ten steps of {row['network']}: {largest(found):.1e}")
    for row in record["round_trips"]:
        if not row.get("bit_equal", row.get("difference", 1) <= record["targets"]["float32"]):
            lines.append(f"round trip {row['way']}")
    return lines
