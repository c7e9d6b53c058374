"""Can the full network memorize one batch, as a correct gradient must let it?

    python -m experiments.overfit.run --network original --batch-size 16

Takes one batch of the embedded digits, enlarged, or of a prepared set (`--data FOLDER`), and
repeats the training step on it, without augmentation, until every image is right and the loss is
small.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np

from alexnet_jax.config import (
    AugmentConfig,
    DataConfig,
    OptimizerConfig,
    PreprocessConfig,
    ScheduleConfig,
)
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.data.prepared import load_statistics
from alexnet_jax.data.preprocess import make_inputs
from alexnet_jax.data.stream import Batch
from alexnet_jax.locations import default_data_dir
from alexnet_jax.network.model import count_params
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.preparation.prepare import ensure_prepared
from alexnet_jax.runs.folder import environment
from alexnet_jax.training.schedule import rate_tree, rates_at
from alexnet_jax.training.steps import init_state, make_train_step


def main() -> None:
    """Runs the experiment; exits with 1 when the batch was not learnt."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="original", choices=NETWORKS)
    parser.add_argument("--data", type=Path, help="folder of a prepared set")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=200, help="at most")
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--output", type=Path, help="JSON file of the result")
    arguments = parser.parse_args()

    folder = arguments.data or ensure_prepared(
        DataConfig(name="digits-256", stored_size=256), default_data_dir()
    )
    dataset = open_dataset(folder)
    network = NETWORKS[arguments.network].with_classes(len(dataset.class_names))
    size, count = network.image_size, arguments.batch_size
    optimizer = OptimizerConfig(arguments.learning_rate, 2 * arguments.learning_rate)
    augment, preprocessing = AugmentConfig(mirror=False), PreprocessConfig()
    inputs = make_inputs(preprocessing, augment, load_statistics(folder), size)
    split = dataset.split("train")
    start = (dataset.stored_size - size) // 2
    window = slice(start, start + size)
    batch = Batch(
        split.images(np.arange(count))[:, window, window],
        split.labels[:count],
        np.ones(count, bool),
        np.zeros((count, 3), np.float32),
        np.full((count, 2), start, np.int32),
        np.zeros(count, bool),
    )
    state = init_state(network, optimizer, size, seed=0)
    params = count_params(state.params)
    rates = rate_tree(rates_at(ScheduleConfig(), optimizer, 0, 1), optimizer, state.params)
    step = make_train_step(network, optimizer, preprocessing, augment)
    losses, errors, began = [], [], time.monotonic()
    for number in range(arguments.steps):
        state, sums = step(state, batch, inputs, rates, np.bool_(False))
        losses.append(float(sums.loss) / count)
        errors.append(1 - float(sums.top1) / count)
        print(
            f"step {number + 1}  loss {losses[-1]:.4f}  error {100 * errors[-1]:.1f} %", flush=True
        )
        if len(losses) > 5 and max(losses[-3:]) < 0.05 and not any(errors[-3:]):
            break
    result = {
        "network": arguments.network,
        "parameters": params,
        "image_size": size,
        "batch_size": count,
        "learning_rate": arguments.learning_rate,
        "steps": len(losses),
        "seconds": round(time.monotonic() - began, 1),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "last_error": errors[-1],
        "losses": [float(f"{loss:.4g}") for loss in losses],
        "environment": {k: v for k, v in environment().items() if k != "command"},
    }
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{params:,} parameters, {len(losses)} steps, loss {losses[0]:.3f} to {losses[-1]:.4f}")
    raise SystemExit(0 if losses[-1] < 0.05 and errors[-1] == 0 else 1)


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    main()
