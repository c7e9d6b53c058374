"""The contestants in JAX: this library's own steps, their plain form, and a matrix product.

Options (JSON):
  kind: "ours"; "module", a program that knows only the public module and Optax; "plain", with each
    fast kernel replaced by its definition in `lax`; or "bound", square float32 matrix products.
  network, batch, what: "train", the jitted training step, or "inference", the jitted test.
  views: of the test, 1 or 10.
  dtype: of the activations.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from alexnet_jax import AlexNet
from alexnet_jax.data.prepared import Statistics
from alexnet_jax.data.preprocess import Inputs, make_inputs
from alexnet_jax.data.stream import Batch
from alexnet_jax.evaluation.evaluate import make_predict_step
from alexnet_jax.network import ops
from alexnet_jax.network.model import init_params
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.training.schedule import PlateauState, rate_tree, rates_at
from alexnet_jax.training.steps import init_state, make_train_step
from experiments.benchmarks import contest, work

Run = Callable[[int], None]


def build(options: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """Returns what `contest.serve` asks for."""
    details: dict[str, Any] = {}
    if options["kind"] == "plain":
        details["replaced"] = use_plain_kernels()
    if options["kind"] == "bound":
        return matrix_products(options["size"]), details
    if options["kind"] == "module":
        return _module(options), details
    make = {"train": training, "inference": inference}[options["what"]]
    return make(options)[0], details


def use_plain_kernels() -> list[str]:
    """Replaces every fast kernel in this process by its definition; returns their names."""
    replaced = []
    for name in list(ops.__all__):
        plain = getattr(ops, f"plain_{name}", None)
        if name == "local_convolution" and plain is None:
            plain = _plain_local_convolution
        if plain is not None:
            setattr(ops, name, plain)
            replaced.append(name)
    return sorted(replaced)


def _module(options: dict[str, Any]) -> Run:
    """Returns training steps or inference as anybody writes them who reads only the README."""
    net, batch = NETWORKS[options["network"]], options["batch"]
    model = AlexNet(net)
    rng = np.random.default_rng(0)
    images = 60 * rng.standard_normal((batch, net.image_size, net.image_size, 3), np.float32)
    images, labels = jax.device_put((images, rng.integers(0, net.classes, batch, np.int32)))
    params = model.init(jax.random.key(0), images[:1])["params"]
    if options["what"] == "inference":
        apply = jax.jit(model.apply).lower({"params": params}, images).compile()

        def run(iterations: int) -> None:
            for _ in range(iterations):
                jax.block_until_ready(apply({"params": params}, images))

        return run

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

    return train


def _plain_local_convolution(x, kernel, *, padding=((0, 0), (0, 0))):
    """Is what Flax's `ConvLocal` calls; features of its patches are channels first."""
    rows, columns, *window, channels, features = kernel.shape
    kernel = kernel.transpose(0, 1, 4, 2, 3, 5)
    return lax.conv_general_dilated_local(
        x,
        kernel.reshape(rows, columns, channels * window[0] * window[1], features),
        (1, 1),
        padding,
        tuple(window),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def training(options: dict[str, Any]) -> tuple[Run, Any]:
    """Returns training steps as the preset of the network makes them, and the compiled program.

    The state is donated.
    """
    name, batch_size = options["network"], options["batch"]
    config, network, size = work.experiment(name), NETWORKS[name], work.image_size(name)
    state = init_state(network, config.optimizer, size, seed=0)
    rates = rates_at(config.schedule, config.optimizer, 0.0, config.epochs, PlateauState())
    tree = rate_tree(rates, config.optimizer, state.params)
    # The training loop, too, hands the step batches that its prefetching thread has placed.
    batch, inputs = jax.device_put((_batch(network.classes, batch_size, size), _inputs(name)))
    dtype = jnp.dtype(options.get("dtype", "float32"))
    step = make_train_step(network, config.optimizer, config.preprocess, config.augment, dtype)
    others = (batch, inputs, tree, np.bool_(rates.colour_noise))
    compiled = step.lower(state, *others).compile()  # type: ignore[attr-defined]

    def run(iterations: int) -> None:
        nonlocal state
        for _ in range(iterations):
            state, _ = step(state, *others)
        jax.block_until_ready(state)

    return run, compiled


def inference(options: dict[str, Any]) -> tuple[Run, Any]:
    """Returns tests of stored uint8 images as `alexnet evaluate` makes them, and the program."""
    name, batch_size = options["network"], options["batch"]
    config, network, size = work.experiment(name), NETWORKS[name], work.image_size(name)
    predict = make_predict_step(
        network,
        config.preprocess,
        size,
        options.get("views", 1),
        jnp.dtype(options.get("dtype", "float32")),
        config.augment,
    )
    images = _images(batch_size, work.stored_size(name))
    params = init_params(network, size, seed=0)
    arguments = jax.device_put((params, _inputs(name), images))
    compiled = predict.lower(*arguments).compile()  # type: ignore[attr-defined]

    def run(iterations: int) -> None:
        for _ in range(iterations):
            jax.block_until_ready(predict(*arguments))

    return run, compiled


def matrix_products(size: int) -> Run:
    """Returns products of two square float32 matrices."""
    rng = np.random.default_rng(0)
    a, b = jax.device_put([rng.standard_normal((size, size), np.float32) for _ in range(2)])
    product = jax.jit(jnp.dot)
    product.lower(a, b).compile()

    def run(iterations: int) -> None:
        for _ in range(iterations):
            product(a, b).block_until_ready()

    return run


def _images(count: int, size: int) -> np.ndarray:
    """Returns uint8 `[count, size, size, 3]`; the time does not depend on what they show."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, size, size, 3), np.uint8)


def _batch(classes: int, count: int, size: int) -> Batch:
    rng = np.random.default_rng(1)
    return Batch(
        images=_images(count, size),
        labels=rng.integers(0, classes, count, np.int32),
        mask=np.ones(count, bool),
        colour=rng.standard_normal((count, 3), np.float32),
        offsets=np.zeros((count, 2), np.int32),
        flips=rng.integers(0, 2, count).astype(bool),
    )


def _inputs(name: str) -> Inputs:
    """Returns the preprocessing of the preset for statistics like those of photographs."""
    config = work.experiment(name)
    stored = work.stored_size(name)
    statistics = Statistics(
        mean_image=np.full((stored, stored, 3), 118.0, np.float32),
        channel_mean=np.full(3, 118.0, np.float32),
        channel_std=np.full(3, 60.0, np.float32),
        colour_std=np.array([5.0, 15.0, 95.0], np.float32),
        colour_vectors=np.eye(3, dtype=np.float32),
    )
    return make_inputs(config.preprocess, config.augment, statistics, work.image_size(name))


if __name__ == "__main__":
    contest.serve(build)
