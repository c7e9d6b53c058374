"""The training state and the jitted step that advances it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from alexnet_jax.config import AugmentConfig, OptimizerConfig, PreprocessConfig
from alexnet_jax.data.pipeline import Batch
from alexnet_jax.data.preprocess import Inputs, preprocess
from alexnet_jax.evaluation.metrics import Sums, batch_sums
from alexnet_jax.network.layers import Network
from alexnet_jax.network.model import AlexNet
from alexnet_jax.training.optimizer import Params, RateTree, update_rule


class TrainState(NamedTuple):
    """Everything that changes in training; arrays only.

    Attributes:
      step: int32 scalar, number of finished updates; the one clock.
      params: `{layer: {"kernel": float32, "bias": float32}}`.
      opt_state: velocities.
      key: uint32 data of the PRNG key of the run; dropout uses `fold_in(key, step)`.
    """

    step: jax.Array
    params: Params
    opt_state: optax.OptState
    key: jax.Array


def init_params(network: Network, image_size: int, seed: int) -> Params:
    """Returns fresh float32 parameters of `network`, `{layer: {"kernel": …, "bias": …}}`."""
    return jax.jit(lambda key: _init_params(network, image_size, key))(jax.random.key(seed))


def _init_params(network: Network, image_size: int, key: jax.Array) -> Params:
    images = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
    return AlexNet(network).init(key, images)["params"]


def init_state(
    network: Network, optimizer: OptimizerConfig, image_size: int, seed: int
) -> TrainState:
    """Returns the state before the first step."""

    @jax.jit  # as one program, because each small one costs a start some time
    def init(seed):
        key = jax.random.key(seed)
        params = _init_params(network, image_size, key)
        opt_state = update_rule(optimizer, params).init(params)
        dropout_key = jax.random.key_data(jax.random.fold_in(key, 1))
        return TrainState(jnp.zeros((), jnp.int32), params, opt_state, dropout_key)

    return init(np.uint32(seed))


def make_train_step(
    network: Network,
    optimizer: OptimizerConfig,
    preprocessing: PreprocessConfig,
    augment: AugmentConfig,
    dtype: Any = jnp.float32,
) -> Callable[[TrainState, Batch, Inputs, RateTree, Any], tuple[TrainState, Sums]]:
    """Returns `step(state, batch, inputs, rates, colour_on) -> (state, sums)`, jitted.

    The state is donated. `rates` and `colour_on` are arrays, so a schedule never recompiles. The
    loss is the mean cross-entropy of the batch (the paper's multinomial logistic regression
    objective, §3.5), the gradient its gradient, and `sums` counts the batch as it was seen in
    training: augmented, with dropout, before the update.
    """
    model = AlexNet(network, dtype)

    def loss_fn(params, images, labels, mask, key):
        logits: Any = model.apply({"params": params}, images, train=True, rngs={"dropout": key})
        sums = batch_sums(jax.nn.log_softmax(logits), labels, mask)
        return sums.loss / jnp.maximum(sums.count, 1.0), sums

    def train_step(state: TrainState, batch: Batch, inputs: Inputs, rates, colour_on):
        images = preprocess(
            inputs,
            batch.images,
            config=(preprocessing, augment),
            colour=batch.colour,
            offsets=batch.offsets,
            flips=batch.flips,
            colour_on=colour_on,
        )
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        grads, sums = jax.grad(loss_fn, has_aux=True)(
            state.params, images, batch.labels, batch.mask, key
        )
        chain = update_rule(optimizer, state.params)
        updates, opt_state = chain.update(grads, state.opt_state, state.params, rates=rates)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, opt_state, state.key), sums

    return jax.jit(train_step, donate_argnums=0)


def count_params(params: Params) -> int:
    """Returns the number of scalars in `params`."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
