"""Are ten training steps on the device, and logits, those of the CPU?"""

import itertools
from typing import Any

import jax
import numpy as np
import optax

from alexnet_jax import NETWORKS, AlexNet


def equality(quick: bool) -> dict[str, Any]:
    """Returns how far the device is from the CPU, with a small network if `quick`.

    Parameters after ten steps are compared in float64; logits of one batch in the usual types, as
    the largest difference from float64 on the CPU over the largest logit.
    """
    network = NETWORKS["digits" if quick else "paper"]
    size = network.image_size
    rng = np.random.default_rng(0)
    images = 60 * rng.standard_normal((4, size, size, 3))
    labels = rng.integers(0, network.classes, 4)
    initial: Any = AlexNet(network).init(jax.random.key(0), images[:1].astype("f4"))
    params = jax.device_get(initial["params"])
    cpu, device = jax.devices("cpu")[0], jax.devices()[0]

    with jax.enable_x64(True):
        model = AlexNet(network, np.dtype("float64"))
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
        ten_steps = jax.jit(lambda params, images: _ten_steps(model, params, images, labels))
        (expected, losses), (found, _) = (
            jax.device_get(ten_steps(*jax.device_put((wide, images), place)))
            for place in (cpu, device)
        )
        difference = max(
            float(np.abs(a - b).max() / np.abs(a).max())
            for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True)
        )
        exact = np.asarray(jax.jit(model.apply)(*jax.device_put(({"params": wide}, images), cpu)))
    logits = {}
    for dtype, precision in itertools.product(("float32", "bfloat16"), ("default", "highest")):
        with jax.default_matmul_precision(precision):
            usual: Any = AlexNet(network, np.dtype(dtype)).apply
            out = np.asarray(jax.jit(usual)({"params": params}, images.astype("f4")))
        name = f"{dtype}, {precision} precision"
        logits[name] = float(np.abs(out - exact).max() / np.abs(exact).max())
    return {
        "network": network.name,
        "float64_parameters_after_ten_steps": difference,
        "losses": [float(losses[0]), float(losses[-1])],
        "logits": logits,
    }


def _ten_steps(model: AlexNet, params: Any, images: Any, labels: Any) -> tuple[Any, Any]:
    """Returns parameters after, and losses before each of ten steps on the same batch."""
    optimizer = optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(1e-3, momentum=0.9))

    def step(carry, key):
        params, state = carry

        def loss(params):
            logits: Any = model.apply({"params": params}, images, train=True, rngs={"dropout": key})
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), value

    keys = jax.random.split(jax.random.key(1), 10)
    (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), keys)
    return params, losses
