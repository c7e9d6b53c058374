"""Trains the digits network with and without single habits of the 2012 source.

    python -m experiments.silent_details.learn

The embedded digits, eight epochs, three seeds each: about 20 s a seed on two CPU cores.
"""

import dataclasses
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np

from alexnet_jax.config import AugmentConfig, Config, Phase, ScheduleConfig
from alexnet_jax.data.dataset import Dataset, open_dataset
from alexnet_jax.data.pipeline import training_batches
from alexnet_jax.data.prepared import load_statistics
from alexnet_jax.data.preprocess import make_inputs
from alexnet_jax.display import Display
from alexnet_jax.evaluation.evaluate import evaluate, make_predict_step
from alexnet_jax.evaluation.metrics import no_sums
from alexnet_jax.network.layers import Layer, Lrn, MaxPool, Network, ResponseNorm, with_changes
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.preparation.prepare import ensure_prepared
from alexnet_jax.presets import PRESETS
from alexnet_jax.training.schedule import Clock, rate_tree, rates_at
from alexnet_jax.training.steps import init_state, make_train_step
from experiments import pages, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import write

OUTPUT = Path(__file__).parent / "results" / "digits.json"
EPOCHS, SEEDS = 8, (0, 1, 2)
Change = Callable[[Network, Config], tuple[Network, Config]]


def printed(network: Network, config: Config) -> tuple[Network, Config]:
    """As the paper prints it: what `digits` is, with biases at the weights' rate."""
    return network, config


def divided_alpha(network: Network, config: Config) -> tuple[Network, Config]:
    """LRN's alpha divided by the five channels of its window."""
    return _with(network, with_changes(network.layers, Lrn, alpha=1e-4 / 5)), config


def late_relu(network: Network, config: Config) -> tuple[Network, Config]:
    """Block 1 normalizes signed responses and rectifies after pooling."""
    conv, relu, norm, pool, *rest = network.layers
    assert isinstance(norm, Lrn) and isinstance(pool, MaxPool)
    return _with(network, (conv, norm, pool, relu, *rest)), config


def rnorm(network: Network, config: Config) -> tuple[Network, Config]:
    """Block 2 has a second normalization, within each map."""
    layers = list(network.layers)
    second = [i for i, layer in enumerate(layers) if isinstance(layer, Lrn)][1]
    layers.insert(second + 1, ResponseNorm())
    return _with(network, tuple(layers)), config


def faster_biases(network: Network, config: Config) -> tuple[Network, Config]:
    """Biases at twice the rate of the weights, and never lower."""
    twice = 2 * config.optimizer.learning_rate
    optimizer = dataclasses.replace(config.optimizer, bias_learning_rate=twice)
    phases = tuple(dataclasses.replace(p, bias_learning_rate=None) for p in config.schedule.phases)
    schedule = dataclasses.replace(config.schedule, phases=phases)
    return network, dataclasses.replace(config, optimizer=optimizer, schedule=schedule)


def chunks(network: Network, config: Config) -> tuple[Network, Config]:
    """One crop per 32 consecutive images."""
    augment = dataclasses.replace(config.augment, crop_chunk=32)
    return network, dataclasses.replace(config, augment=augment)


def everything(network: Network, config: Config) -> tuple[Network, Config]:
    """All of these at once."""
    for change in (divided_alpha, late_relu, rnorm, faster_biases, chunks):
        network, config = change(network, config)
    return network, config


CHANGES: tuple[Change, ...] = (
    printed, divided_alpha, late_relu, rnorm, faster_biases, chunks, everything,
)  # fmt: skip


def _with(network: Network, layers: tuple[Layer, ...]) -> Network:
    return dataclasses.replace(network, layers=layers)


def base() -> Config:
    """The `digits` preset in eight epochs."""
    schedule = ScheduleConfig("step", (Phase(7, 4e-3, 4e-3),))
    augment = AugmentConfig(mirror=False)
    return dataclasses.replace(PRESETS["digits"], epochs=EPOCHS, schedule=schedule, augment=augment)


def learn(change: Change, dataset: Dataset, folder: Path) -> list[dict[str, Any]]:
    """Returns loss and errors on the test images, and the loss of the last epoch, per seed."""
    network, config = change(NETWORKS["digits"], base())
    inputs = make_inputs(config.preprocess, config.augment, load_statistics(folder), 28)
    step = make_train_step(network, config.optimizer, config.preprocess, config.augment)
    predict = make_predict_step(network, config.preprocess, 28, 1, augment=config.augment)
    split, test = dataset.split("train"), dataset.split("test")
    clock = Clock(config.batch_size, split.num_examples)
    results = []
    for seed in SEEDS:
        state = init_state(network, config.optimizer, 28, seed)
        total = no_sums()
        with closing(
            training_batches(
                split,
                seed=seed,
                batch_size=config.batch_size,
                image_size=28,
                augment=config.augment,
            )
        ) as batches:
            for number in range(clock.step_after(config.epochs)):
                done = clock.epochs(number)
                rates = rates_at(config.schedule, config.optimizer, done, config.epochs)
                tree = rate_tree(rates, config.optimizer, state.params)
                state, sums = step(state, next(batches), inputs, tree, np.bool_(True))
                if done >= config.epochs - 1:
                    total += sums
        found = evaluate(predict, state.params, inputs, test, 128, keep_probabilities=False)
        results.append(found.values | {"seed": seed, "training_loss": total.means(10)["loss"]})
        print(change.__name__, {k: round(v, 4) for k, v in results[-1].items()}, flush=True)
    return results


def main() -> None:
    parser = programs.parser(__doc__, OUTPUT)
    output = parser.parse_args().output
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = ensure_prepared(PRESETS["digits"].data, place, display=Display(quiet=True))
        dataset = open_dataset(folder)
        for change in CHANGES:
            runs = learn(change, dataset, folder)
            what = (change.__doc__ or "").strip()
            rows.append({"name": change.__name__, "what": what, "runs": runs})
    devices = [device.device_kind for device in jax.devices()]
    record = {"environment": environment() | {"devices": devices}, "epochs": EPOCHS, "rows": rows}
    write(output, record)
    if output == OUTPUT:
        pages.write("silent_details")


if __name__ == "__main__":
    main()
