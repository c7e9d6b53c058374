"""The contestants in JAX: this library's own steps, their plain form, and a matrix product.

Options (JSON):
  kind: "ours"; "plain", with each fast kernel replaced by its definition in `lax`; or "bound",
    square float32 matrix products.
  network, batch, what: "train", the jitted training step, or "inference", the jitted test.
  views: of the test, 1 or 10.
  dtype: of the activations.
  towers: devices that share the network.
  replicas: devices, or groups of towers, that share the batch; 0: all of one process.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from alexnet_jax.data.prepared import Statistics
from alexnet_jax.data.preprocess import Inputs, make_inputs
from alexnet_jax.data.stream import Batch
from alexnet_jax.evaluation.evaluate import make_predict_step
from alexnet_jax.network import ops, placement
from alexnet_jax.network.host_memory import FreedMemory
from alexnet_jax.network.model import init_params
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training.schedule import PlateauState, rate_tree, rates_at
from alexnet_jax.training.steps import init_state, make_train_step
from experiments.benchmarks import contest, work

Run = Callable[[int], None]


def build(options: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """Returns what `contest.serve` asks for."""
    if options["kind"] == "bound":
        return matrix_products(options["size"]), {}
    details = {"replaced": use_plain_kernels()} if options["kind"] == "plain" else {}
    return program(options)[0], details


def program(options: dict[str, Any]) -> tuple[Run, Any]:
    """Returns what the options name, training steps or tests, and the compiled program."""
    return {"train": training, "inference": inference}[options["what"]](options)


def use_plain_kernels() -> list[str]:
    """Replaces every fast kernel in this process by its definition; returns their names."""
    replaced = []
    for name in list(ops.__all__):
        plain = getattr(ops, f"plain_{name}", None)
        if name == "local_convolution" and plain is None:
            plain = _plain_local_convolution
        if plain is not None:
            setattr(ops, name, functools.partial(_without_sources, plain))
            replaced.append(name)
    return sorted(replaced)


def _without_sources(plain: Callable, *arrays: Any, sources: Any = None, **options: Any) -> Any:
    """The plain form is one and the same, whatever is differentiated."""
    return plain(*arrays, **options)


def _plain_local_convolution(x, kernel, *, padding=((0, 0), (0, 0))):
    """Computes what Flax's `ConvLocal` computes; features of its patches are channels first."""
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


@dataclasses.dataclass
class Steps:
    """A compiled training step, and what it is called with; the state is donated.

    Freed memory is given back as the training loop does it.
    """

    compiled: Any
    state: TrainState
    batch: Batch
    others: tuple[Any, ...]
    freed_memory: FreedMemory

    def run(self, iterations: int, batches: Iterator[Batch] | None = None) -> None:
        """Makes steps with the same batch, or with the next ones of `batches`."""
        for _ in range(iterations):
            batch = next(batches) if batches else self.batch
            self.state, _ = self.compiled(self.state, batch, *self.others)
            self.freed_memory.give_back_if_grown()
        jax.block_until_ready(self.state)


def training(options: dict[str, Any]) -> tuple[Run, Any]:
    """Returns training steps as the preset of the network makes them, and the compiled program."""
    steps = training_steps(options)
    return steps.run, steps.compiled


def training_steps(options: dict[str, Any]) -> Steps:
    """Options that the contest does not use: `accumulation`, parts of a batch."""
    name, batch_size = options["network"], options["batch"]
    towers, replicas = options.get("towers", 1), options.get("replicas", 1)
    config, network, size = work.experiment(name), NETWORKS[name], work.image_size(name)
    mesh = placement.mesh_or_none(placement.make_mesh(towers, replicas, batch_size=batch_size))
    state = init_state(network, config.optimizer, size, seed=0)
    rates = rates_at(config.schedule, config.optimizer, 0.0, config.epochs, PlateauState())
    tree = rate_tree(rates, config.optimizer, state.params)
    # The training loop, too, passes batches that its prefetching thread has put on the device.
    whole = placement.whole_sharding(mesh) if mesh else None
    others = jax.device_put((_inputs(name), tree, np.bool_(rates.colour_noise)), whole)
    state = placement.put(mesh, network, state)
    batch = placement.batch_putter(mesh, batch_size)(_batch(network.classes, batch_size, size))
    step = make_train_step(
        network,
        config.optimizer,
        config.preprocess,
        config.augment,
        jnp.dtype(options.get("dtype", "float32")),
        accumulation=options.get("accumulation", 1),
        mesh=mesh,
    )
    compiled = step.lower(state, batch, *others).compile()  # type: ignore[attr-defined]
    freed_memory = FreedMemory()
    freed_memory.give_back_if_grown()  # what compiling has left
    return Steps(compiled, state, batch, others, freed_memory)


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
    a, b = (jax.random.normal(jax.random.key(seed), (size, size)) for seed in (0, 1))
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
