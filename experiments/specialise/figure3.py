"""Two towers whose first layer shows what it learnt, next to Caffe's. Paper §6.1, Figure 3.

    python -m experiments.specialise.figure3 --data CIFAR10 --caffe conv1_filters.npz
    python -m experiments.specialise.figure3 --quick

The initial weights of most networks here are as large as the learnt changes, so a few epochs cannot
be seen in their filters. Here conv1 begins near 0, like the CIFAR-10 networks of 2012: everything
that is visible in a filter was learnt. The inputs are also those of 2012: 0..255 minus the mean,
not divided, which makes conv1's gradients large.
"""

from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.config import (
    AugmentConfig,
    Config,
    OptimizerConfig,
    Phase,
    PreprocessConfig,
    ScheduleConfig,
)
from alexnet_jax.files import read_arrays
from alexnet_jax.network.filters import tower_pictures
from alexnet_jax.network.layers import Network, with_features, with_named
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.presets import PRESETS
from alexnet_jax.runs.run_folder import read_run
from alexnet_jax.runs.run_weights import load_weights
from experiments import pictures, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.pages import table
from experiments.specialise.run import followed, gap, often_of, shares_of
from experiments.sweep.digest import digest_of
from experiments.sweep.variants import Variant, placed, toy_variant

OUTPUT = Path(__file__).parent / "results" / "figure3.json"
EPOCHS = (0.5, 1.0, 2.0, 4.0, 6.0)
SEEDS = 3
PER_ROW = 12

_NEAR_ZERO = with_named(
    NETWORKS["digits"].layers, "conv1", features=48, window=9, padding=1, weight_std=1e-4
)
NETWORK = Network(
    "figure3",
    with_features(with_named(_NEAR_ZERO, "conv2", weight_std=0.05), {"fc6": 192, "fc7": 192}),
    28,
    "an experiment: the paper's two towers in small, with large filters that begin near 0",
)
"""`digits` with twice the filters in conv1, 9 x 9 at a stride of 2: 12 x 12 x 48."""

RECIPE = Config(
    preset="figure3",
    network=NETWORK.name,
    batch_size=64,
    epochs=EPOCHS[-1],
    evaluate_every_epochs=EPOCHS[-1],
    final_views=1,
    data=PRESETS["cifar10-alexnet"].data,
    augment=AugmentConfig(colour_noise=0.1),
    preprocess=PreprocessConfig("image", "none"),
    optimizer=OptimizerConfig(0.01, 0.02, layer_learning_rate=(("conv1", 0.04),)),
    schedule=ScheduleConfig("step", (Phase(6, 1e-3, 2e-3),)),
)
"""Inputs of 0..255 make conv1's gradients large: its rate is a 25th of the other layers' rate."""


def recipe(toy: bool = False) -> Variant:
    """Returns network and configuration; `toy`: on digits, in few epochs."""
    made = Variant(RECIPE, NETWORK)
    return toy_variant(made) if toy else made


def train(seed: int, scratch: Path, data: str, data_dir: Path | None, toy: bool) -> Any:
    made = recipe(toy)
    config = placed(made.config, data, seed)
    found = followed(config, scratch / f"figure3-{seed}", EPOCHS, data_dir)
    return {"seed": seed, "config": digest_of(made, seed), **found}


def kernels_of(record: dict[str, Any], scratch: Path) -> dict[str, np.ndarray]:
    """Returns conv1 of all runs, `[height, width, 3, filters]`; nothing if a folder is missing."""
    kernels = {}
    for run in record["runs"]:
        place = scratch / f"figure3-{run['seed']}"
        if not place.exists() or read_run(place).info["params_sha256"] != run["params_sha256"]:
            print(f"the picture is not drawn again: {place} is not the run of the record")
            return {}
        params = load_weights(place, "last").params
        kernels[f"seed {run['seed']}"] = np.asarray(params["conv1"]["kernel"])
    return kernels


def table_of(record: dict[str, Any]) -> str:
    """Returns the table of a record: the towers' colour shares by epoch, a row per network."""
    head = ["", *(f"epoch {epochs:g}" for epochs in EPOCHS), "random splits that differ as much"]
    lines = []
    for run in record["runs"]:
        shares = [shares_of(point) for point in run["course"]]
        lines.append([f"seed {run['seed']}", *shares, often_of(run["course"][-1])])
    for name, found in record["others"].items():
        lines.append([name, *["–"] * (len(EPOCHS) - 1), shares_of(found), often_of(found)])
    return table(head, lines)


def draw(kernels: dict[str, np.ndarray], path: Path, record: dict[str, Any]) -> None:
    """Draws conv1's filters: a row per network, a panel per tower, each filter in its own scale.

    Kernels are `[height, width, 3, filters]`; 0 becomes middle grey.
    """
    towers = {}
    for name, kernel in kernels.items():
        largest = np.abs(kernel).max(axis=(0, 1, 2), keepdims=True)
        towers[name] = tower_pictures(kernel / np.maximum(largest, 1e-30), 2, PER_ROW, magnify=6)
    heights = [pair[0].shape[0] / pair[0].shape[1] for pair in towers.values()]
    figure = pictures.blank(10, 5 * sum(heights) + 0.3 * len(heights))
    rows = figure.subplots(len(towers), 2, squeeze=False, height_ratios=heights)
    for axes, (name, pair) in zip(rows, towers.items(), strict=True):
        shares = gap(kernels[name])["shares"]
        for number, (panel, picture, share) in enumerate(zip(axes, pair, shares, strict=True), 1):
            panel.imshow(picture, interpolation="nearest")
            panel.set_title(f"{name}, tower {number}: colour {100 * share:.0f} %", fontsize=9)
            panel.axis("off")
    pictures.save(figure, path, record, dpi=150)


def main(words: list[str] | None = None) -> None:
    parser = programs.quick_parser(__doc__, OUTPUT, Path("runs/specialise"))
    parser.add_argument("--data", default="", help="CIFAR-10")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--caffe", type=Path, help="npz with Caffe's first layer: bvlc_kernel, BGR")
    arguments = parser.parse_args(words)
    programs.use_quick_folders(parser, arguments)
    NETWORKS[NETWORK.name] = NETWORK
    made = recipe(arguments.quick)
    record = read(arguments.output) or {"runs": [], "others": {}}
    record["runs"] = [
        run for run in record["runs"] if run["config"] == digest_of(made, run["seed"])
    ]
    there = {run["seed"] for run in record["runs"]}
    for seed in sorted(set(range(arguments.seeds)) - there):
        run = train(seed, arguments.scratch, arguments.data, arguments.data_dir, arguments.quick)
        record["runs"] = sorted([*record["runs"], run], key=lambda run: run["seed"])
        record["environment"] = environment()
        write(arguments.output, record)
    kernels = kernels_of(record, arguments.scratch)
    if kernels:  # the record has the numbers of every filter that the picture shows
        record["others"] = {}
        if arguments.caffe:
            kernels["Caffe"] = read_arrays(arguments.caffe)["bvlc_kernel"][:, :, ::-1]
            record["others"] = {"Caffe": gap(kernels["Caffe"])}
        write(arguments.output, record)
        draw(kernels, arguments.output.with_suffix(".png"), record)
    programs.show(table_of(record), arguments.output, OUTPUT)


if __name__ == "__main__":
    main()
