"""A contestant that knows only the public module, JAX and Optax, as its README shows them.

Options (JSON): network, batch, what: "train" or "inference".
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from alexnet_jax import NETWORKS, AlexNet
from experiments.benchmarks import contest


def build(options: dict[str, Any]) -> tuple[Callable[[int], None], dict[str, Any]]:
    """Returns what `contest.serve` asks for: a training step, or logits of float32 images."""
    network, batch = NETWORKS[options["network"]], options["batch"]
    model = AlexNet(network)
    rng = np.random.default_rng(0)
    size = network.image_size
    images = 60 * rng.standard_normal((batch, size, size, 3), np.float32)
    images, labels = jax.device_put((images, rng.integers(0, network.classes, batch, np.int32)))
    params: Any = model.init(jax.random.key(0), images[:1])["params"]
    if options["what"] == "inference":
        apply = jax.jit(model.apply).lower({"params": params}, images).compile()

        def infer(iterations: int) -> None:
            for _ in range(iterations):
                jax.block_until_ready(apply({"params": params}, images))

        return infer, {}

    optimizer = optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(1e-4, momentum=0.9))
    opt_state = optimizer.init(params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, opt_state, key):
        def loss(params):
            logits: Any = model.apply({"params": params}, images, train=True, rngs={"dropout": key})
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        gradients = jax.grad(loss)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    key = jax.random.key(1)
    compiled = step.lower(params, opt_state, key).compile()

    def train(iterations: int) -> None:
        nonlocal params, opt_state
        for _ in range(iterations):
            params, opt_state = compiled(params, opt_state, key)
        jax.block_until_ready(params)

    return train, {}


if __name__ == "__main__":
    contest.serve(build)
