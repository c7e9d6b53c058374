"""Does one tower become colour-blind and the other colour-specific? Paper §6.1, Figure 3.

    python -m experiments.specialise.run --data CIFAR10 --scratch runs/specialise
    python -m experiments.specialise.run --reference conv1_filters.npz
    python -m experiments.specialise.run --run NAME=RUN NAME=RUN
    python -m experiments.specialise.run --quick   # minutes: on digits, which have no colour

Trains the miniature and, as a control, the miniature with one tower, whose filters are then split
into halves by their number. For each half, the share of the weights' energy that is colour is
recorded over training (`network.filters.colour_shares`). Runs that the record has are not run
again; without options only the figure and the page are made anew.
"""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax import workflow
from alexnet_jax.config import Config
from alexnet_jax.files import read_arrays
from alexnet_jax.network.filters import colour_shares
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.runs.run_folder import read_run
from alexnet_jax.runs.run_weights import load_weights
from experiments import pictures, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.pages import each_made_with, table
from experiments.paired import difference_text, paired, spread
from experiments.sweep.claims import CLAIMS
from experiments.sweep.digest import digest_of
from experiments.sweep.variants import Variant, placed, toy_variant

OUTPUT = Path(__file__).parent / "results" / "specialise.json"
EPOCHS = (0.1, 0.5, 1.0, 2.0, 4.0, 6.0, 8.0)
SPLITS = 2000
VARIANTS = ("two towers", "one whole tower")


def gap(kernel: np.ndarray) -> dict[str, Any]:
    """Returns the colour shares of the two halves, and how often a random split differs as much.

    The kernel of conv1 is `[height, width, 3, filters]`, towers one after the other.
    """
    shares = colour_shares(kernel, 2)
    energy = np.sum(np.square(kernel, dtype=np.float64), axis=(0, 1, 2))
    chroma = kernel - kernel.mean(axis=2, keepdims=True)
    colour = np.sum(np.square(chroma, dtype=np.float64), axis=(0, 1, 2))
    random, half = np.random.default_rng(0), kernel.shape[3] // 2
    order = np.stack([random.permutation(kernel.shape[3]) for _ in range(SPLITS)])
    parts = [colour[o].sum(1) / energy[o].sum(1) for o in (order[:, :half], order[:, half:])]
    own = abs(shares[0] - shares[1])
    as_large = float(np.mean(np.abs(parts[0] - parts[1]) >= own - 1e-12))
    return {"shares": shares, "difference": own, "random_splits_as_large": as_large}


def recipe(variant: str, toy: bool = False) -> Variant:
    """Returns what is trained: one of `VARIANTS`, tested once, at the end; at toy size if asked."""
    made = CLAIMS["towers"].variants[variant]
    made = toy_variant(made) if toy else made
    config = dataclasses.replace(made.config, final_views=1, evaluate_every_epochs=EPOCHS[-1])
    return made._replace(config=config)


def train(
    variant: str, seed: int, scratch: Path, data: str, data_dir: Path | None, toy: bool = False
) -> Any:
    """Trains one of `VARIANTS` in stretches, and returns the halves' shares after each."""
    made = recipe(variant, toy)
    if made.network is not None:
        NETWORKS[made.network.name] = made.network
    config = placed(made.config, data, seed)
    workdir = scratch / f"{variant.replace(' ', '-')}-{seed}"
    return {
        "variant": variant,
        "seed": seed,
        "config": digest_of(made, seed),
        **followed(config, workdir, EPOCHS, data_dir),
    }


def followed(
    config: Config, workdir: Path, stretches: tuple[float, ...], data_dir: Path | None
) -> dict[str, Any]:
    """Trains in stretches; returns the halves' shares after each, and the error at the end."""
    shutil.rmtree(workdir, ignore_errors=True)  # left by a call that was stopped
    found = []
    for epochs in stretches:
        stretch = dataclasses.replace(config, epochs=epochs)
        state = programs.train_to_end(stretch, workdir, data_dir, retune=True)
        kernel = np.asarray(state.params["conv1"]["kernel"])
        found.append({"epoch": epochs, **gap(kernel)})
    info = read_run(workdir).info
    kept = ("wall_seconds", "cpu_cores", "params_sha256", "commit")
    error = workflow.final_test(read_run(workdir)).summary["1"]["top1_error"]
    return {"error": 100 * error, **{key: info[key] for key in kept}, "course": found}


def table_of(record: dict[str, Any]) -> str:
    head = ["", "colour share of the halves, %", "difference", "random splits that differ as much"]
    lines = []
    for run in record["runs"]:
        last = run["course"][-1]
        name = f"{run['variant']}, seed {run['seed']}, epoch {last['epoch']:g}"
        lines.append([name, *_cells(last)])
    for variant in VARIANTS:
        found = list(gaps(record, variant).values())
        if len(found) > 1:
            lines.append([f"**{variant}, {len(found)} seeds**", "", f"**{spread(found)}**", ""])
    apart = compared(record)
    if apart:
        name = "**two towers against the control, 95 % interval**"
        lines.append([name, "", f"**{difference_text(apart)}**", ""])
    lines += [[name, *_cells(found)] for name, found in record["others"].items()]
    return table(head, lines)


def made_of(record: dict[str, Any]) -> str:
    others = {name: {"environment": run["run"]} for name, run in of_runs(record).items()}
    return each_made_with({"miniature": record} | others)


def of_runs(record: dict[str, Any]) -> dict[str, Any]:
    return {name: found for name, found in record.get("others", {}).items() if "run" in found}


def compared(record: dict[str, Any]) -> dict[str, Any] | None:
    """Returns how much further apart the towers are than the control's halves, in points."""
    return paired(*(gaps(record, variant) for variant in VARIANTS))


def gaps(record: dict[str, Any], variant: str) -> dict[int, float]:
    """Returns by how many points the colour shares of the halves differ at the end, by seed."""
    return {
        run["seed"]: 100 * run["course"][-1]["difference"]
        for run in record.get("runs", [])
        if run["variant"] == variant
    }


def _cells(found: dict[str, Any]) -> list[str]:
    return [shares_of(found), f"{100 * found['difference']:.1f}", often_of(found)]


def shares_of(found: dict[str, Any]) -> str:
    return " / ".join(f"{100 * share:.1f}" for share in found["shares"])


def often_of(found: dict[str, Any]) -> str:
    often = found["random_splits_as_large"]
    return f"{100 * often:.1f} %" if often else f"none of {SPLITS:,}"


def draw(record: dict[str, Any], path: Path) -> None:
    """Draws how far the halves' colour shares lie apart over training, a line per seed."""
    figure = pictures.blank(9, 3.2)
    panels = figure.subplots(1, len(VARIANTS), sharey=True)
    for axes, variant in zip(panels, VARIANTS, strict=True):
        for run in record["runs"]:
            if run["variant"] != variant:
                continue
            epochs = [point["epoch"] for point in run["course"]]
            apart = [100 * point["difference"] for point in run["course"]]
            axes.plot(epochs, apart, "o-", color="#1f4e79", lw=1.1, ms=3, alpha=0.75)
        axes.set(title=f"{variant}: first and second half", xlabel="epoch", ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#dddddd", lw=0.6)
    panels[0].set_ylabel("difference of colour shares,\npoints; a line a seed")
    pictures.save(figure, path, record["runs"])


def _other_kernels(record: dict[str, Any], reference: Path | None, runs: list[str]) -> dict:
    """Returns the shares of the record's other networks, of published filters, and of runs."""
    others = dict(record["others"])
    if runs:  # they replace the runs of the record
        others = {name: found for name, found in others.items() if "run" not in found}
    if reference:
        arrays = read_arrays(reference)
        names = (name for name in arrays if name.endswith("_kernel"))
        others |= {name.removesuffix("_kernel"): gap(arrays[name]) for name in names}
    for pair in runs:
        name, _, place = pair.partition("=")
        if not place:
            raise ValueError(f"--run {pair}: NAME=RUN is needed")
        weights = load_weights(place, "last")
        kernel = np.asarray(weights.params["conv1"]["kernel"])
        kept = ("seed", "commit", "versions", "processor", "cpu_cores", "params_sha256")
        if missing := [key for key in kept if key not in weights.run.info]:
            raise ValueError(f"--run {pair}: not trained here: its run.json has no {missing[0]}")
        others[name] = gap(kernel) | {"run": {key: weights.run.info[key] for key in kept}}
    return others


def main(words: list[str] | None = None) -> None:
    parser = programs.quick_parser(__doc__, OUTPUT, Path("runs/specialise"))
    parser.add_argument("--data", default="", help="CIFAR-10")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--reference", type=Path, help="npz of trained filters: NAME_kernel")
    parser.add_argument(
        "--run", nargs="*", default=[], metavar="NAME=RUN", help="in place of the record's runs"
    )
    arguments = parser.parse_args(words)
    programs.use_quick_folders(parser, arguments)
    toy = arguments.quick
    record = read(arguments.output) or {"runs": [], "others": {}}
    record["runs"] = [  # without runs of another recipe
        run
        for run in record["runs"]
        if run["config"] == digest_of(recipe(run["variant"], toy), run["seed"])
    ]
    try:
        record["others"] = _other_kernels(record, arguments.reference, arguments.run)
    except ValueError as error:
        parser.error(str(error))
    for seed in range(arguments.seeds if arguments.data or toy else 0):
        for variant in VARIANTS:
            digest = digest_of(recipe(variant, toy), seed)
            if not any(run["config"] == digest for run in record["runs"]):
                place = (arguments.scratch, arguments.data, arguments.data_dir, toy)
                record["runs"].append(train(variant, seed, *place))
                record["environment"] = environment()
                write(arguments.output, record)
    write(arguments.output, record)
    if record["runs"]:
        draw(record, arguments.output.with_suffix(".svg"))
    programs.show(table_of(record), arguments.output, OUTPUT)


if __name__ == "__main__":
    main()
