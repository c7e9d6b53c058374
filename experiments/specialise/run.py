"""Does one tower become colour-blind and the other colour-specific? Paper §6.1, Figure 3.

    python -m experiments.specialise.run --data CIFAR10 --scratch runs/specialise
    python -m experiments.specialise.run --reference conv1_filters.npz
    python -m experiments.specialise.run --run NAME=RUN NAME=RUN
    python -m experiments.specialise.run --quick   # minutes: on digits, which have no colour
    python -m experiments.specialise.run --check

Trains the miniature and, as a control, the miniature with one tower, whose filters are then split
into halves by their number. Of each half the share of the weights' energy that is colour is noted
over training (`network.filters.colour_shares`). What the record holds of the same recipe is not
run again; without options only picture and page are made anew.
"""

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax import workflow
from alexnet_jax.config import Config
from alexnet_jax.files import read_arrays
from alexnet_jax.network.filters import colour_shares
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.runs.folder import read_run
from alexnet_jax.runs.weights import load_weights
from experiments import pictures, quick
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.generated import each_made_with, rewrite, table, with_parts
from experiments.paired import paired, spread, told
from experiments.sweep.claims import Variant
from experiments.sweep.runner import chosen, digest_of

HERE = Path(__file__).parent
README = HERE / "README.md"
OUTPUT = HERE / "results" / "specialise.json"
EPOCHS = (0.1, 0.5, 1.0, 2.0, 4.0, 6.0, 8.0)
SPLITS = 2000
VARIANTS = ("two towers", "one whole tower")


def gap(kernel: np.ndarray) -> dict[str, Any]:
    """Returns the colour shares of the two halves, and how often a random split differs as much.

    Args:
      kernel: float `[height, width, 3, filters]` of conv1, towers one after the other.
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
    made = chosen("towers", toy).variants[variant]
    config = dataclasses.replace(made.config, final_views=1, evaluate_every_epochs=EPOCHS[-1])
    return made._replace(config=config)


def train(
    variant: str, seed: int, scratch: Path, data: str, data_dir: Path | None, toy: bool = False
) -> Any:
    """Trains in stretches, and returns the halves' shares after each.

    Args:
      variant: of `VARIANTS`.
      seed: of the run.
      scratch: folder of the run folders.
      data: CIFAR-10, as `--data.source` takes it.
      data_dir: of the prepared sets.
      toy: on digits.
    """
    made = recipe(variant, toy)
    if made.network is not None:
        NETWORKS[made.network.name] = made.network
    config = dataclasses.replace(
        made.config,
        seed=seed,
        data=dataclasses.replace(made.config.data, source=data),
    )
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
    """Trains in stretches; returns the halves' shares after each, and what the run ended with.

    Args:
      config: of the run; its epochs are those of the stretches.
      workdir: run folder.
      stretches: epochs at whose ends conv1 is looked at.
      data_dir: of the prepared sets.
    """
    shutil.rmtree(workdir, ignore_errors=True)  # of a call that was stopped: its kernels are gone
    found = []
    for epochs in stretches:
        stretch = dataclasses.replace(config, epochs=epochs)
        state = workflow.train(stretch, workdir, data_dir, retune=True)
        if read_run(workdir).info["status"] != "finished":
            raise SystemExit("stopped; the same command begins this run anew")
        kernel = np.asarray(state.params["conv1"]["kernel"])
        found.append({"epoch": epochs, **gap(kernel)})
    info = read_run(workdir).info
    told = ("wall_seconds", "cpu_cores", "params_sha256", "commit")
    error = workflow.final_test(workdir).summary["1"]["top1_error"]
    return {"error": 100 * error, **{key: info[key] for key in told}, "course": found}


def rows(record: dict[str, Any]) -> str:
    """Returns the table of a record."""
    head = ["", "colour share of the halves, %", "difference", "random splits that differ as much"]
    lines = []
    for run in record.get("runs", []):
        last = run["course"][-1]
        cells = _cells(last)
        lines.append([f"{run['variant']}, seed {run['seed']}, epoch {last['epoch']:g}", *cells])
    for variant in VARIANTS:
        found = list(gaps(record, variant).values())
        if len(found) > 1:
            lines.append([f"**{variant}, {len(found)} seeds**", "", f"**{spread(found)}**", ""])
    apart = compared(record)
    if apart:
        name = "**two towers against the control, 95 % interval**"
        lines.append([name, "", f"**{told(apart)}**", ""])
    lines += [[name, *_cells(found)] for name, found in record.get("others", {}).items()]
    made = {"miniature": record} if record.get("runs") else {}
    made |= {name: {"environment": f["run"]} for name, f in of_runs(record).items()}
    return f"{table(head, lines)}\n\n{each_made_with(made)}\n\n[json](results/{OUTPUT.name})"


def of_runs(record: dict[str, Any]) -> dict[str, Any]:
    """Returns what was found of given runs, by name."""
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
    """Returns the colour shares of what `gap` found, in percent."""
    return " / ".join(f"{100 * share:.1f}" for share in found["shares"])


def often_of(found: dict[str, Any]) -> str:
    """Returns how many random splits differ as much as what `gap` found."""
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


def updated(text: str) -> str:
    """Returns the README with the table of today's record."""
    record = read(OUTPUT)
    parts = {"specialise": rows(record)} if record else {}
    return with_parts(text, parts, "experiments.specialise.run")


def main(words: list[str] | None = None) -> None:
    """Trains what is missing, and writes record and page."""
    words = sys.argv[1:] if words is None else words
    if "--check" in words:
        rewrite({README: updated}, words)
    parser = quick.parser(__doc__, OUTPUT)
    parser.add_argument("--data", default="", help="CIFAR-10")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scratch", type=Path, default=Path("runs/specialise"))
    parser.add_argument("--reference", type=Path, help="npz of trained filters: NAME_kernel")
    parser.add_argument(
        "--run", nargs="*", default=[], metavar="NAME=RUN", help="in place of the record's runs"
    )
    arguments = parser.parse_args(words)
    if arguments.quick and arguments.output != OUTPUT:
        parser.error("--quick has a record of its own")
    if arguments.quick:
        arguments.scratch = quick.SCRATCH / "specialise"
        arguments.output = quick.SCRATCH / "specialise.json"
    record = read(arguments.output) or {"runs": [], "others": {}}
    record["runs"] = [  # without those of another recipe
        run
        for run in record["runs"]
        if run["config"] == digest_of(recipe(run["variant"], arguments.quick), run["seed"])
    ]

    def keep() -> None:
        write(arguments.output, record)

    others = dict(record["others"])
    if arguments.run:
        others = {name: found for name, found in others.items() if "run" not in found}
    if arguments.reference:
        arrays = read_arrays(arguments.reference)
        names = (name for name in arrays if name.endswith("_kernel"))
        others |= {name.removesuffix("_kernel"): gap(arrays[name]) for name in names}
    for pair in arguments.run:
        name, _, place = pair.partition("=")
        if not place:
            parser.error(f"--run {pair}: NAME=RUN is needed")
        weights = load_weights(place, "last")
        kernel = np.asarray(weights.params["conv1"]["kernel"])
        kept = ("seed", "commit", "versions", "processor", "cpu_cores", "params_sha256")
        if missing := [key for key in kept if key not in weights.run.info]:
            parser.error(f"--run {pair}: not a run that was trained here (no {missing[0]} in it)")
        others[name] = gap(kernel) | {"run": {key: weights.run.info[key] for key in kept}}
    if others != record["others"]:
        record["others"] = others
        keep()
    place = (arguments.scratch, arguments.data, arguments.data_dir, arguments.quick)
    for seed in range(arguments.seeds if arguments.data or arguments.quick else 0):
        for variant in VARIANTS:
            digest = digest_of(recipe(variant, arguments.quick), seed)
            if not any(run["config"] == digest for run in record["runs"]):
                record["runs"].append(train(variant, seed, *place))
                record["environment"] = environment()
                keep()
    if record["runs"]:
        draw(record, arguments.output.with_suffix(".svg"))
    if arguments.output == OUTPUT:
        rewrite({README: updated})
    else:
        print(rows(record))


if __name__ == "__main__":
    main()
