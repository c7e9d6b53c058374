"""Learning rates per layer and epoch, from the configuration and the past.

The loop hands the rates to the jitted step as numbers, so no schedule ever recompiles it. Epochs
are finished passes (0.0 at the start); the rows of a schedule count from 1 as the 2012 logs do.
"""

import math
from typing import NamedTuple

import numpy as np

from alexnet_jax.config import Config, OptimizerConfig, ScheduleConfig
from alexnet_jax.network.model import Params
from alexnet_jax.training.optimizer import RateTree


class Clock(NamedTuple):
    """Converts between steps and epochs."""

    batch_size: int  # images per step
    num_examples: int  # images per epoch

    def epochs(self, step: int) -> float:
        return step * self.batch_size / self.num_examples

    def step_after(self, epochs: float) -> int:
        """Returns the first step at which `epochs` passes are complete."""
        return math.ceil(epochs * self.num_examples / self.batch_size - 1e-9)


class PlateauState(NamedTuple):
    """What the `plateau` schedule remembers; plain numbers that a checkpoint keeps as JSON."""

    drops: int = 0
    best_error: float = float("inf")
    stalled_epochs: float = 0.0
    stopped: bool = False


class CurrentRates(NamedTuple):
    """The rates in force; those of layers are absolute."""

    weights: float
    biases: float
    layers: dict[str, float]  # of the weights; 0 freezes the biases, too
    layer_biases: dict[str, float]
    colour_noise: bool


def resume_plateau(schedule: ScheduleConfig, plateau: PlateauState) -> PlateauState:
    """Returns the memory of a resumed run, which a changed schedule may let go on after a stop."""
    ends = schedule.kind == "plateau" and plateau.drops >= schedule.drops
    return plateau if ends else plateau._replace(stopped=False)


def rates_at(
    schedule: ScheduleConfig,
    optimizer: OptimizerConfig,
    finished_epochs: float,
    total_epochs: float,
    plateau: PlateauState = PlateauState(),  # noqa: B008 - immutable
) -> CurrentRates:
    """Returns the rates in force; `finished_epochs` may be fractional."""
    weights, biases = optimizer.learning_rate, optimizer.bias_learning_rate
    layers: dict[str, float] = {}
    layer_biases: dict[str, float] = {}
    colour_noise = True
    match schedule.kind:
        case "step":
            for phase in sorted(schedule.phases, key=lambda row: row.epoch):
                # The tolerance keeps an epoch border that is not a float from starting late.
                if phase.epoch - 1 <= finished_epochs + 1e-9:
                    weights = _else(phase.learning_rate, weights)
                    biases = _else(phase.bias_learning_rate, biases)
                    layers |= dict(phase.layer_learning_rate)
                    layer_biases |= dict(phase.layer_bias_learning_rate)
                    colour_noise = phase.colour_noise
        case "plateau":
            weights /= schedule.factor**plateau.drops
            biases /= schedule.factor**plateau.drops
        case "dexp":
            done = min(finished_epochs / total_epochs, 1.0)
            weights *= _staircase(done, schedule.stairs, schedule.total_factor)
            biases *= _staircase(done, schedule.bias_stairs, schedule.bias_total_factor)
        case "constant":
            pass
    return CurrentRates(weights, biases, layers, layer_biases, colour_noise)


def _else(value: float | None, default: float) -> float:
    return default if value is None else value


def _staircase(done: float, stairs: int, total_factor: float) -> float:
    """Returns `total_factor ** (-i / (stairs - 1))` on stair i. Source: cuda-convnet2, `dexp`."""
    if stairs < 2:
        return 1.0
    stair = min(int(done * stairs + 1e-9), stairs - 1)
    return total_factor ** (-stair / (stairs - 1))


def frozen_layers(schedule: ScheduleConfig, optimizer: OptimizerConfig) -> frozenset[str]:
    """Returns the layers whose rates are 0 throughout a run; no gradient of theirs is needed."""
    moved = {
        layer
        for phase in schedule.phases
        for layer, rate in (*phase.layer_learning_rate, *phase.layer_bias_learning_rate)
        if rate
    }
    return frozenset(layer for layer, factor in optimizer.layer_learning_rate if not factor) - moved


def rate_tree(rates: CurrentRates, optimizer: OptimizerConfig, params) -> dict:
    """Returns one float32 scalar per leaf of `params` (`{layer: {"kernel", "bias"}}`).

    A layer's absolute rate replaces the general one times the layer's factor. It is that of the
    weights: the 2012 logs name them (`epsw`), and the biases' rates at the end of the files are
    still the first. Only 0 holds for both, as conv1's do there.
    """
    factors = dict(optimizer.layer_learning_rate)
    tree = {}
    for layer, leaves in params.items():
        factor = factors.get(layer, 1.0)
        bias = rates.layer_biases.get(layer, rates.biases * factor)
        both = {
            "kernel": rates.layers.get(layer, rates.weights * factor),
            "bias": 0.0 if rates.layers.get(layer) == 0 else bias,
        }
        tree[layer] = {leaf: np.float32(both[leaf]) for leaf in leaves}
    return tree


def after_validation(
    schedule: ScheduleConfig, plateau: PlateauState, error: float, epochs_passed: float
) -> PlateauState:
    """Returns the plateau's memory after a validation error (fraction), `epochs_passed` later.

    The rate is divided when the error has not improved for `patience_epochs`; when that happens
    after the last drop, the run stops. Paper §5.
    """
    if schedule.kind != "plateau" or plateau.stopped:
        return plateau
    if error < plateau.best_error:
        return plateau._replace(best_error=error, stalled_epochs=0.0)
    stalled = plateau.stalled_epochs + epochs_passed
    if stalled + 1e-9 < schedule.patience_epochs:
        return plateau._replace(stalled_epochs=stalled)
    if plateau.drops == schedule.drops:
        return plateau._replace(stalled_epochs=stalled, stopped=True)
    return plateau._replace(drops=plateau.drops + 1, stalled_epochs=0.0)


class StepRates(NamedTuple):
    """The rates of a step, as the train step takes them."""

    now: CurrentRates
    tree: RateTree  # one float32 scalar per parameter array
    colour_on: np.bool_


class RateSource:
    """The rates of a run, step by step."""

    def __init__(self, config: Config, clock: Clock, params: Params):
        self._config, self._clock, self._params = config, clock, params
        self._newest: StepRates | None = None

    def at(self, step: int, plateau: PlateauState) -> StepRates:
        """Returns the same arrays while the rates do not change."""
        config = self._config
        now = rates_at(
            config.schedule, config.optimizer, self._clock.epochs(step), config.epochs, plateau
        )
        if self._newest is None or now != self._newest.now:
            tree = rate_tree(now, config.optimizer, self._params)
            self._newest = StepRates(now, tree, np.bool_(now.colour_noise))
        return self._newest
