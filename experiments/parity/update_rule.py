"""Ten steps of training in float64: the program's step, and the rule of 2012 in NumPy.

The gradients of the other side come from the independent NumPy trainer of `tests/oracle`, or, for
the CIFAR net, from PyTorch; the update is that trainer's. The rates drop twice, biases have twice
the weights' rate and no decay, layers have decays of their own, and conv1 is frozen from step 6 on.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from alexnet_jax.config import (
    AugmentConfig,
    OptimizerConfig,
    Phase,
    PreprocessConfig,
    ScheduleConfig,
)
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.data.stream import Batch
from alexnet_jax.network.layers import Dropout, Network, without
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training.optimizer import update_rule
from alexnet_jax.training.schedule import rate_tree, rates_at
from alexnet_jax.training.steps import make_train_step
from experiments.parity.compare import apart
from experiments.parity.samples import make_params, small, uniform

STEPS, _IMAGES = 10, 8
_DECAYS = {"fc5": 0.01, "fc8": 0.01}
_MEAN, _SCALE = np.array([120.0, 115.0, 105.0]), np.array([60.0, 59.0, 61.0])
Gradients = Callable[[Any, np.ndarray, np.ndarray], tuple[float, Any]]


def compare_steps(name: str) -> dict[str, Any]:
    """Returns the largest relative differences after ten steps of a small network of that name."""
    network = small(name)
    layers = without(network.layers, Dropout)
    network = Network(name, layers, network.image_size, network.source)
    start = make_params(network)
    losses, params, velocity, conv1_at_5 = _ours(network, start)
    gradients, source = _gradients(name, network)
    expected = _expected(start, network, gradients)
    control = _expected(start, network, gradients, rate_inside=False)

    def worst(trees: Any, others: Any) -> float:
        return max(
            apart(trees[layer][leaf], value)
            for layer, leaves in others.items()
            for leaf, value in leaves.items()
        )

    moved = [not np.array_equal(start["conv1"][leaf], conv1_at_5[leaf]) for leaf in conv1_at_5]
    rests = [np.array_equal(params["conv1"][leaf], conv1_at_5[leaf]) for leaf in conv1_at_5]
    return {
        "network": name,
        "gradients": source,
        "losses": apart(losses, expected[0]),
        "parameters": worst(params, expected[1]),
        "velocities": worst(velocity, expected[2]),
        "conv1 rests from step 6": all(moved) and all(rests),
        "first and last loss": [float(expected[0][0]), float(expected[0][-1])],
        "parameters, rate outside the velocity": worst(params, control[1]),
    }


def _rates(step: int) -> dict[str, float]:
    """Returns the rates of weights and biases in step 1 to 10, in the program's float32."""
    weights = 2e-3 if step < 4 else 2e-4 if step < 8 else 2e-5
    return {"kernel": float(np.float32(weights)), "bias": float(np.float32(2 * weights))}


def _expected(start: Any, network: Network, gradients: Gradients, rate_inside: bool = True):
    """Returns losses, parameters and velocities by NumPy; a control has the rate elsewhere."""
    trainer = _numpy_trainer()
    params = jax.tree.map(np.array, start)
    velocity = jax.tree.map(np.zeros_like, start)
    losses = []
    for step in range(1, STEPS + 1):
        batch = _batch(network, step)
        images = (batch.images.astype(np.float64) - _MEAN) / _SCALE
        loss, grads = gradients(params, images, batch.labels)
        losses.append(loss)
        for layer in params:
            rates = _rates(step) if layer != "conv1" or step < 6 else {"kernel": 0, "bias": 0}
            tree = {layer: params[layer]}, {layer: velocity[layer]}, grads
            decay = _DECAYS.get(layer, 5e-4)
            if rate_inside:
                trainer.update(*tree, {layer: rates}, decay=decay)
            elif rates["kernel"]:
                before = jax.tree.map(np.array, params[layer])
                trainer.update(*tree, {layer: {"kernel": 1.0, "bias": 1.0}}, decay=decay)
                for leaf, rate in rates.items():
                    params[layer][leaf] = before[leaf] + rate * velocity[layer][leaf]
    return np.array(losses), params, velocity


def _gradients(name: str, network: Network) -> tuple[Gradients, str]:
    if name == "original":
        return _numpy_trainer().gradients, "NumPy, by hand"

    def by_torch(params: Any, images: np.ndarray, labels: np.ndarray) -> tuple[float, Any]:
        from experiments.parity.torch_reference import outcome

        logits, _, grads = outcome(network, params, images, labels, np.float64)
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(shifted).sum(axis=1))
        return float(np.mean(log_sums - shifted[np.arange(len(labels)), labels])), grads

    return by_torch, "PyTorch"


def _ours(network: Network, start: Any) -> tuple[np.ndarray, Any, Any, Any]:
    """Returns the same by the program, and conv1 after step 5: schedule, train step, optimiser."""
    optimizer = OptimizerConfig(
        2e-3, 4e-3, layer_weight_decay=tuple((k, v) for k, v in _DECAYS.items() if k in start)
    )
    phases = Phase(4, 2e-4, 4e-4), Phase(6, layer_learning_rate=(("conv1", 0.0),))
    schedule = ScheduleConfig("step", (*phases, Phase(8, 2e-5, 4e-5)))
    preprocess, augment = PreprocessConfig("channel", "channel"), AugmentConfig(mirror=False)
    inputs = Inputs(_MEAN, _SCALE, np.zeros((3, 3)))
    params: Any = jax.tree.map(np.array, start)
    velocities = update_rule(optimizer, params).init(params)
    key = jax.random.key_data(jax.random.key(0))
    state = TrainState(np.zeros((), np.int32), params, velocities, key)  # type: ignore[arg-type]
    step = make_train_step(network, optimizer, preprocess, augment, np.float64)
    losses, conv1_at_5 = [], {}
    for number in range(1, STEPS + 1):
        rates = rates_at(schedule, optimizer, number - 1, STEPS)
        tree = jax.tree.map(np.float64, rate_tree(rates, optimizer, start))
        state, sums = step(state, _batch(network, number), inputs, tree, np.bool_(False))
        losses.append(float(sums.loss) / _IMAGES)
        if number == 5:
            conv1_at_5 = jax.tree.map(np.array, state.params["conv1"])
    trace = next(part.trace for part in state.opt_state if hasattr(part, "trace"))  # type: ignore
    return np.array(losses), jax.tree.map(np.asarray, state.params), trace, conv1_at_5


def _batch(network: Network, step: int) -> Batch:
    size = network.image_size
    pixels = 127.5 * (1 + uniform((4, step, 0), (_IMAGES, size, size, 3)))
    return Batch(
        images=pixels.astype(np.uint8),
        labels=(np.random.PCG64((4, step, 1)).random_raw(_IMAGES) % 5).astype(np.int32),
        mask=np.ones(_IMAGES, bool),
        colour=np.zeros((_IMAGES, 3)),
        offsets=np.zeros((_IMAGES, 2), np.int32),
        flips=np.zeros(_IMAGES, bool),
    )


def _numpy_trainer() -> Any:
    path = Path(__file__).parents[2] / "tests" / "oracle" / "numpy_trainer.py"
    spec = importlib.util.spec_from_file_location("numpy_trainer", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
