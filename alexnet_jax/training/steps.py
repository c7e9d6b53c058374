"""The jitted step that advances the training state."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from alexnet_jax.config import AugmentConfig, OptimizerConfig, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs, preprocess
from alexnet_jax.data.stream import Batch
from alexnet_jax.errors import DataError
from alexnet_jax.evaluation.metrics import MetricSums, batch_sums
from alexnet_jax.network import placement, towers
from alexnet_jax.network.compilation import jit
from alexnet_jax.network.layers import Network
from alexnet_jax.network.model import AlexNet, Params, fresh_params
from alexnet_jax.network.modules import DATA
from alexnet_jax.runs.run_folder import Run
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training.optimizer import RateTree, update_rule
from alexnet_jax.training.schedule import frozen_layers

TrainStep = Callable[[TrainState, Batch, Inputs, RateTree, Any], tuple[TrainState, MetricSums]]

_COUNT = itertools.count()


def init_state(
    network: Network, optimizer: OptimizerConfig, image_size: int, seed: int
) -> TrainState:
    """Returns the state before the first step; `image_size` is in pixels."""

    @jit  # as one program, because each small one costs a start some time
    def init(key):
        params = fresh_params(network, image_size, key)
        opt_state = update_rule(optimizer, params).init(params)
        dropout_key = jax.random.key_data(jax.random.fold_in(key, 1))
        return TrainState(jnp.zeros((), jnp.int32), params, opt_state, dropout_key)

    return init(jax.random.key(seed))


def make_train_step(
    network: Network,
    optimizer: OptimizerConfig,
    preprocessing: PreprocessConfig,
    augment: AugmentConfig,
    dtype: Any = jnp.float32,  # of the activations; parameters are float32
    accumulation: int = 1,  # equal parts, one after another: less memory, same step up to rounding
    mesh: Mesh | None = None,
    frozen: frozenset[str] = frozenset(),  # rates always 0: their gradients are not computed
) -> TrainStep:
    """Returns `step(state, batch, inputs, rates, colour_on) -> (state, sums)`, jitted.

    The state is donated. `rates` and `colour_on` are arrays, so a schedule never recompiles, and
    other shapes or types than those of the first call are refused (`DataError` for a batch). The
    loss is the mean cross-entropy of the batch (paper §3.5), and `sums` counts the batch as it was
    seen in training: augmented, with dropout, before the update. On a mesh the step is that of one
    device, computed by many: `placement.put` the state, `placement.batch_putter` the batch.
    """
    forward = _make_forward(network, dtype, mesh)

    def loss_fn(params, batch: Batch, part, count, inputs: Inputs, colour_on, key):
        params = params | {layer: jax.lax.stop_gradient(params[layer]) for layer in frozen}
        images = preprocess(  # [batch, height, width, 3]
            inputs,
            batch.images,
            config=(preprocessing, augment),
            colour=batch.colour,
            offsets=batch.offsets,
            flips=batch.flips,
            colour_on=colour_on,
        )
        logits = forward(params, images, key, part)  # [batch, classes]
        sums = batch_sums(jax.nn.log_softmax(logits), batch.labels, batch.mask)
        return sums.loss / count.astype(sums.loss.dtype), sums

    def train_step(state: TrainState, batch: Batch, inputs: Inputs, rates, colour_on):
        _check_batch(batch, accumulation)
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        count = jnp.maximum(jnp.sum(batch.mask, dtype=jnp.float32), 1.0)

        def gradient(params, batch, part):
            grad = jax.grad(loss_fn, has_aux=True)
            return grad(params, batch, part, count, inputs, colour_on, key)

        grads, sums = in_parts(gradient, state.params, batch, accumulation, mesh)
        chain = update_rule(optimizer, state.params)
        updates, opt_state = chain.update(grads, state.opt_state, state.params, rates=rates)
        params = optax.apply_updates(state.params, updates)
        state = TrainState(state.step + 1, params, opt_state, state.key)
        if mesh is not None:  # else the second step would compile again
            placed = placement.shardings(mesh, network, state)
            state = jax.lax.with_sharding_constraint(state, placed)
        return state, sums

    return jit(_traced_once(train_step), donate_argnums=0)


def _make_forward(network: Network, dtype: Any, mesh: Mesh | None) -> Callable[..., jax.Array]:
    """Returns `forward(params, images, dropout key, part) -> logits [batch, classes]`."""
    if mesh is not None:
        sharded = towers.make_forward(network, dtype, mesh)
        return lambda params, images, key, part: sharded(
            params, images, train=True, key=key, part=part
        )
    module: Any = AlexNet(network, dtype)
    return lambda params, images, key, part: module.apply(
        {"params": params}, images, train=True, rngs={"dropout": key}, first_row=part[0]
    )


def make_run_step(run: Run, mesh: Mesh | None) -> TrainStep:
    config = run.config
    return make_train_step(
        run.network,
        config.optimizer,
        config.preprocess,
        config.augment,
        jnp.dtype(config.compute_dtype),
        config.accumulation,
        mesh=mesh,
        frozen=frozen_layers(config.schedule, config.optimizer),
    )


def _check_batch(batch: Batch, parts: int) -> None:
    """Refuses, when a step is traced, what would be broadcast, converted or dropped in silence."""
    n, names = len(batch.images), ", ".join(batch._fields)
    shapes = [(n, None, None, 3), (n,), (n,), (n, 3), (n, 2), (n,)]
    chex.assert_shape(batch, shapes, custom_message=names)
    types = [np.uint8, np.int32, bool, float, np.int32, bool]
    chex.assert_type(batch, types, custom_message=names)
    chex.assert_is_divisible(n, parts)


def _traced_once(step: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `step` to be jitted as a single program: a second trace is an error."""
    first: dict[str, str] = {}

    def trace(*arguments):
        first.update(_described(arguments))

    # Chex counts by name, source and names of the callers for as long as the process lives, and
    # further runs may follow in it.
    trace.__name__ = f"{step.__name__}_{next(_COUNT)}"
    counted = chex.assert_max_traces(trace, n=1)

    @functools.wraps(step)
    def traced_once(state, batch, inputs, rates, colour_on):  # by place or by name
        arguments: tuple[Any, ...] = (state, batch, inputs, rates, colour_on)
        outcome = step(*arguments)  # first: what it refuses is no trace
        try:
            counted(*arguments)
        except AssertionError as error:
            raise _retraced(first, _described(arguments)) from error
        return outcome

    return traced_once


def _described(arguments: tuple[Any, ...]) -> dict[str, str]:
    """Returns `{path of a leaf: its type and shape}`."""
    names = ("state", "batch", "inputs", "rates", "colour_on")
    leaves = jax.tree.leaves_with_path(dict(zip(names, arguments, strict=True)))
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): str(jax.typeof(leaf))
        for path, leaf in leaves
    }


def _retraced(first: dict[str, str], now: dict[str, str]) -> Exception:
    changed = [
        f"{name} was {first.get(name, 'absent')} and is {now.get(name, 'absent')}"
        for name in first | now
        if first.get(name) != now.get(name)
    ]
    what = "the train step is one program for the whole run, and would be compiled again: "
    if any(change.startswith("batch") for change in changed):
        return DataError(
            f"{what}{'; '.join(changed)}. Every batch must be like the first: repair the data, and "
            "the same command continues from the last checkpoint"
        )
    why = "; ".join(changed) or "JAX's settings or caches, or the devices of the arrays, changed"
    return AssertionError(f"{what}{why}. Make a new step with `make_train_step` for that")


def in_parts(
    function: Callable[[Params, Batch, tuple[int, int]], Any],
    params: Params,
    batch: Batch,
    parts: int,
    mesh: Mesh | None = None,
) -> Any:
    """Returns the sum of `function(params, part of the batch, (first row, rows of the batch))`.

    The parts are unrolled: in the body of a loop XLA's CPU backend computes convolutions many times
    slower. On a mesh each part takes the same number of images from every replica's share.
    """
    rows = batch.labels.shape[0]
    size = rows // parts
    if parts == 1:
        return function(params, batch, (0, rows))
    total = function(params, _rows(batch, 0, size, mesh), (0, rows))
    for first in range(size, rows, size):
        # Where a part begins depends on the sums before it, or XLA would compute the parts side by
        # side (its CPU backend drops `optimization_barrier`); a sum that is NaN is lost anyway.
        lost = sum(jnp.isnan(leaf.ravel()[0]).astype(jnp.int32) for leaf in jax.tree.leaves(total))
        part = _rows(batch, first + lost, size, mesh)
        total = jax.tree.map(jnp.add, total, function(params, part, (first, rows)))
    return total


def _rows(batch: Batch, first: Any, size: int, mesh: Mesh | None) -> Batch:
    """Returns `size` images from row `first` on; with r replicas size / r from each one's share."""
    replicas = 1 if mesh is None else mesh.shape[DATA]

    def cut(array: jax.Array) -> jax.Array:
        shares = array.reshape(replicas, -1, *array.shape[1:])
        own = jax.lax.dynamic_slice_in_dim(shares, first // replicas, size // replicas, axis=1)
        return own.reshape(size, *array.shape[1:])

    return Batch(*(cut(array) for array in batch))
