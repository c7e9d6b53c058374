"""Can the full network memorize one batch? With a correct gradient it must.

    python -m experiments.overfit.run --network original --batch-size 16

Takes one batch of the embedded digits, enlarged, or of a prepared set (`--data FOLDER`), and
repeats the training step on it, without augmentation, until every image is right and the loss is
small.
"""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from alexnet_jax.config import (
    AugmentConfig,
    DataConfig,
    OptimizerConfig,
    PreprocessConfig,
    ScheduleConfig,
)
from alexnet_jax.data.dataset import Dataset, open_dataset
from alexnet_jax.data.prepared import load_statistics
from alexnet_jax.data.preprocess import make_inputs
from alexnet_jax.data.stream import Batch
from alexnet_jax.locations import default_data_dir
from alexnet_jax.network.layers import Network
from alexnet_jax.network.model import count_params
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.preparation.prepare import ensure_prepared
from alexnet_jax.training.schedule import rate_tree, rates_at
from alexnet_jax.training.steps import init_state, make_train_step
from experiments import programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import write


def batch_of(dataset: Dataset, size: int, count: int) -> Batch:
    """Returns the centre windows of the first training images."""
    split = dataset.split("train")
    start = (dataset.stored_size - size) // 2
    window = slice(start, start + size)
    return Batch(
        split.images(np.arange(count))[:, window, window],
        split.labels[:count],
        np.ones(count, bool),
        np.zeros((count, 3), np.float32),
        np.full((count, 2), start, np.int32),
        np.zeros(count, bool),
    )


def memorize(
    network: Network, folder: Path, *, learning_rate: float, count: int, max_steps: int
) -> dict[str, Any]:
    """Repeats the training step on one batch until every image is right and the loss is small."""
    size, augment = network.image_size, AugmentConfig(mirror=False)
    preprocessing = PreprocessConfig()
    optimizer = OptimizerConfig(learning_rate, 2 * learning_rate)
    inputs = make_inputs(preprocessing, augment, load_statistics(folder), size)
    batch = batch_of(open_dataset(folder), size, count)
    state = init_state(network, optimizer, size, seed=0)
    rates = rate_tree(rates_at(ScheduleConfig(), optimizer, 0, 1), optimizer, state.params)
    step = make_train_step(network, optimizer, preprocessing, augment)
    losses, errors, began = [], [], time.monotonic()
    for number in range(max_steps):
        state, sums = step(state, batch, inputs, rates, np.bool_(False))
        losses.append(float(sums.loss) / count)
        errors.append(1 - float(sums.by_name["top1_error"]) / count)
        text = f"loss {losses[-1]:.4f}  error {100 * errors[-1]:.1f} %"
        print(f"step {number + 1}  {text}", flush=True)
        if len(losses) > 5 and max(losses[-3:]) < 0.05 and not any(errors[-3:]):
            break
    return {
        "parameters": count_params(state.params),
        "image_size": size,
        "batch_size": count,
        "learning_rate": learning_rate,
        "steps": len(losses),
        "seconds": round(time.monotonic() - began, 1),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "last_error": errors[-1],
        "losses": [float(f"{loss:.4g}") for loss in losses],
    }


def main() -> None:
    """Exits with 1 if the batch was not learnt."""
    parser = programs.parser(__doc__)
    parser.add_argument("--network", default="original", choices=NETWORKS)
    parser.add_argument("--data", type=Path, help="folder of a prepared set")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=200, help="at most")
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--output", type=Path, help="JSON file of the result")
    arguments = parser.parse_args()
    digits = DataConfig(name="digits-256", stored_size=256)
    folder = arguments.data or ensure_prepared(digits, default_data_dir())
    network = NETWORKS[arguments.network].with_classes(len(open_dataset(folder).class_names))
    found = memorize(
        network,
        folder,
        learning_rate=arguments.learning_rate,
        count=arguments.batch_size,
        max_steps=arguments.steps,
    )
    if arguments.output:
        record = {"network": arguments.network, **found, "environment": environment()}
        write(arguments.output, record)
    first, last = found["first_loss"], found["last_loss"]
    print(f"{found['parameters']:,} parameters")
    print(f"{found['steps']} steps, loss {first:.3f} to {last:.4f}")
    raise SystemExit(0 if last < 0.05 and found["last_error"] == 0 else 1)


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    main()
