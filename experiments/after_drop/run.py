"""What does a drop of the rate do, with the rate inside the velocity and outside of it?

    python -m experiments.after_drop.run --data CIFAR10
    python -m experiments.after_drop.run --quick    # a minute: on digits; the record lies in runs/
    python -m experiments.after_drop.run --check

The miniature is trained to the first drop of its schedule. From there it goes on by the rule of
2012 (`v = m v - r g; w = w + v`) and by that of today's libraries (`v = m v - g; w = w + r v`),
over the same batches and with the same masks, with the drop and, for comparison, without it. While
the rate stays the rules are one, up to rounding: the state at the drop is that of both. After each
step the loss of some training images is computed, always alike: centre, no masks. What the record
holds of the same recipe is not run again; without options only picture and page are made anew.
"""

import dataclasses
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from alexnet_jax import workflow
from alexnet_jax.config import Config, OptimizerConfig, ScheduleConfig
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.data.pipeline import training_batches
from alexnet_jax.evaluation.evaluate import make_predict_step
from alexnet_jax.runs.folder import Run, read_run
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training.optimizer import RateTree, update_rule
from alexnet_jax.training.schedule import rate_tree, rates_at
from alexnet_jax.training.steps import make_train_step
from experiments import pictures, quick
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.generated import made_with, rewrite, table, with_parts
from experiments.paired import paired, spread, told
from experiments.sweep.claims import CLAIMS, MINIATURE, Variant
from experiments.sweep.claims import quick as toy_of
from experiments.sweep.runner import digest_of

HERE = Path(__file__).parent
README = HERE / "README.md"
OUTPUT = HERE / "results" / "after_drop.json"
SEEDS = 5
EPOCHS, DROP = 6, 10
"""The first drop of the miniature's schedule: after so many epochs, to a tenth."""
STEPS, TOY_STEPS, TOLD = 100, 10, (0, 1, 2, 5, 10, 20, 50, 100)
IMAGES = 2000
"""Training images whose loss is computed, at most."""
INSIDE, OUTSIDE = "inside", "outside"
KEPT, KEPT_OUTSIDE = "no drop", "no drop, outside"
_COLOURS = {INSIDE: "#1f4e79", OUTSIDE: "#a8321e", KEPT: "#888888"}


def recipe(toy: bool = False) -> Config:
    """Returns what is trained until the drop: the miniature, or at toy size."""
    made = toy_of(CLAIMS["velocity"], 0.5).variants[INSIDE].config if toy else MINIATURE
    epochs = made.epochs if toy else EPOCHS
    constant = ScheduleConfig("constant")
    return dataclasses.replace(
        made, epochs=epochs, evaluate_every_epochs=epochs, final_views=1, schedule=constant
    )


def outside(state: TrainState, optimizer: OptimizerConfig, rates: RateTree) -> TrainState:
    """Returns the same state for the rule with the rate outside of the velocity: v becomes -v / r.

    Args:
      state: of the rule of 2012.
      optimizer: of the rule of 2012.
      rates: in force until now, by leaf; all above 0.
    """
    velocity = optax.tree_utils.tree_get(state.opt_state, "trace")
    trace = jax.tree.map(lambda v, r: -v / r, velocity, rates)
    rule = update_rule(_outside(optimizer), state.params)
    fresh = rule.init(state.params)
    return state._replace(opt_state=optax.tree_utils.tree_set(fresh, trace=trace))


def _outside(optimizer: OptimizerConfig) -> OptimizerConfig:
    return dataclasses.replace(optimizer, rate_inside_velocity=False)


def courses(state: TrainState, run: Run, data: Path, steps: int) -> dict[str, Any]:
    """Returns `images`, how many the loss is of, and `losses`, by way on, before and after steps.

    Args:
      state: at the drop.
      run: that it is of; the batches are those that would have come.
      data: folder of the prepared set.
      steps: how many; a list of losses has one more.
    """
    config, dataset = run.config, open_dataset(data)
    split = dataset.split(config.data.train_split)
    random = np.random.Generator(np.random.Philox(key=[0, 0xD0]))
    chosen = np.sort(random.permutation(len(split))[:IMAGES])
    images, labels = split.images(chosen), split.labels[chosen]
    predict = make_predict_step(
        run.network, config.preprocess, run.image_size, augment=config.augment
    )

    def loss(params: Any) -> float:
        # In pieces of a batch, which need no more memory than training.
        found = [
            np.asarray(predict(params, run.inputs, images[first : first + config.batch_size]))
            for first in range(0, len(images), config.batch_size)
        ]
        of_truth = np.concatenate(found)[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(of_truth.astype(np.float64), 1e-30)).mean())

    now = rates_at(config.schedule, config.optimizer, config.epochs, config.epochs)
    rates = rate_tree(now, config.optimizer, state.params)
    dropped = jax.tree.map(lambda rate: rate / DROP, rates)
    ways = {
        INSIDE: (state, config.optimizer, dropped),
        OUTSIDE: (outside(state, config.optimizer, rates), _outside(config.optimizer), dropped),
        KEPT: (state, config.optimizer, rates),
        KEPT_OUTSIDE: (outside(state, config.optimizer, rates), _outside(config.optimizer), rates),
    }
    with closing(
        training_batches(
            split,
            seed=config.seed,
            batch_size=config.batch_size,
            image_size=run.image_size,
            augment=config.augment,
            first_step=int(state.step),
        )
    ) as stream:
        batches = [next(stream) for _ in range(steps)]
    by_rule = {
        optimizer: make_train_step(run.network, optimizer, config.preprocess, config.augment)
        for _, optimizer, _ in ways.values()
    }
    found: dict[str, list[float]] = {}
    for way, (begin, optimizer, tree) in ways.items():
        at = jax.tree.map(jnp.copy, begin)  # a step takes the memory of its state
        found[way] = [loss(at.params)]
        for batch in batches:
            at, _ = by_rule[optimizer](at, batch, run.inputs, tree, np.bool_(now.colour_noise))
            found[way].append(loss(at.params))
    return {"images": len(images), "losses": found}


def measure(config: Config, workdir: Path, data_dir: Path | None, steps: int) -> dict[str, Any]:
    """Trains until the drop, and returns how the loss goes on from there.

    Args:
      config: from `recipe`, with its seed.
      workdir: run folder; a finished run is not trained again.
      data_dir: of the prepared sets; None: the user's own.
      steps: after the drop.

    Raises:
      SystemExit: the user stopped the run.
      DivergedError: the loss is not finite.
    """
    state = workflow.train(config, workdir, data_dir)
    run = read_run(workdir)
    if run.info["status"] != "finished":
        raise SystemExit(f"{workdir} was stopped; the same command goes on with it")
    kept = ("params_sha256", "wall_seconds", "cpu_cores", "commit")
    place = Path(run.info["data_path"])
    return {
        "seed": config.seed,
        "config": digest_of(Variant(config), config.seed),
        **{name: run.info[name] for name in kept},
        **courses(state, run, place, steps),
    }


def difference(
    record: dict[str, Any], step: int, first: str = INSIDE, second: str = OUTSIDE
) -> dict[str, Any] | None:
    """Returns by how much one way's loss is above another's after a step, paired by seed."""
    return paired(
        *({r["seed"]: r["losses"][w][step] for r in record["runs"]} for w in (first, second))
    )


def rows(record: dict[str, Any]) -> str:
    """Returns the table of a record."""
    ways = (INSIDE, OUTSIDE, KEPT)
    head = ["steps after the drop", *ways, "inside less outside, 95 % interval"]
    runs, lines = record["runs"], []
    for step in TOLD:
        if step >= len(runs[0]["losses"][INSIDE]):
            break
        means = [spread([run["losses"][way][step] for run in runs], ".3f") for way in ways]
        apart = difference(record, step) if step else None  # they begin as one
        lines.append([str(step), *means, told(apart, form="+.3f") if apart else "–"])
    rounding = [
        max(abs(run["losses"][KEPT][step] - run["losses"][KEPT_OUTSIDE][step]) for run in runs)
        for step in range(len(runs[0]["losses"][KEPT]))
    ]
    after = [step for step in (5, 10, 20) if step < len(rounding)]
    apart_by = ", ".join(f"{rounding[step]:.2g} ({step})" for step in after)
    under = (
        f"Mean ± standard deviation of {len(runs)} seeds, intervals over seeds, each row for "
        f"itself; loss of {runs[0]['images']:,} training images, centre, no masks. Without the "
        "drop the losses of both rules differ by rounding alone, in the worst seed by "
        f"{apart_by or 'less'} after so many steps, by {max(rounding):.2g} at most."
    )
    return f"{table(head, lines)}\n\n{under} {made_with(record, OUTPUT.name, ['torch'])}."


def draw(record: dict[str, Any], path: Path) -> None:
    """Draws the loss after the drop, a thin line a seed, and the difference of the rules."""
    runs = record["runs"]
    losses = {way: np.array([run["losses"][way] for run in runs]).T for way in _COLOURS}
    apart = losses[INSIDE] - losses[OUTSIDE]
    figure = pictures.blank(9, 3.2)
    left, right = figure.subplots(1, 2)
    for way, colour in _COLOURS.items():
        left.plot(losses[way], color=colour, lw=0.6, alpha=0.35)
        left.plot(losses[way].mean(axis=1), color=colour, lw=2, label=way)
    left.set(xlabel="steps after the drop", ylabel="loss of training images", xscale="symlog")
    left.legend(frameon=False, fontsize=8)
    right.plot(apart, color=_COLOURS[INSIDE], lw=0.8, alpha=0.5)
    right.plot(apart.mean(axis=1), color=_COLOURS[INSIDE], lw=2)
    right.axhline(0, color="#888888", lw=0.8)
    right.set(xlabel="steps after the drop", ylabel="inside less outside", xscale="symlog")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xticks([step for step in TOLD if step < len(apart)])
        axes.xaxis.set_major_formatter("{x:g}")
    pictures.save(figure, path, runs)


def updated(text: str) -> str:
    """Returns the README with the table of today's record."""
    record = read(OUTPUT)
    parts = {"after_drop": rows(record)} if record else {}
    return with_parts(text, parts, "experiments.after_drop.run")


def main(words: list[str] | None = None) -> None:
    """Measures what is missing, and writes record, picture and page."""
    words = sys.argv[1:] if words is None else words
    if "--check" in words:
        rewrite({README: updated}, words)
    parser = quick.parser(__doc__, OUTPUT)
    parser.add_argument("--data", default="", help="CIFAR-10")
    parser.add_argument("--seeds", type=int, help=f"how many (default: {SEEDS}, --quick: 2)")
    parser.add_argument("--scratch", type=Path, default=Path("runs/after_drop"))
    arguments = parser.parse_args(words)
    if arguments.quick and arguments.output != OUTPUT:
        parser.error("--quick has a record of its own")
    if arguments.quick:
        arguments.scratch = quick.SCRATCH / "after_drop"
        arguments.output = quick.SCRATCH / "after_drop.json"
    config = recipe(arguments.quick)
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, source=arguments.data)
    )
    seeds, steps = (2, TOY_STEPS) if arguments.quick else (SEEDS, STEPS)
    seeds = arguments.seeds or seeds
    record = read(arguments.output) or {"runs": []}
    record["runs"] = [  # without those of another recipe
        run
        for run in record["runs"]
        if run["config"] == digest_of(Variant(config), run["seed"])
        and len(run["losses"][INSIDE]) == steps + 1
    ]
    wanted = range(seeds if arguments.data or arguments.quick else 0)
    if arguments.output == OUTPUT and max(len(wanted), len(record["runs"])) != SEEDS:
        parser.error(f"the repository's record has {SEEDS} seeds; others need an --output FILE")
    for seed in wanted:
        if seed in {run["seed"] for run in record["runs"]}:
            continue
        mine = dataclasses.replace(config, seed=seed)
        place = arguments.scratch / f"seed-{seed}"
        record["runs"].append(measure(mine, place, arguments.data_dir, steps))
        record["environment"] = environment()
        write(arguments.output, record)
    if not record["runs"]:
        parser.error("nothing is measured yet: --data or --quick is needed")
    write(arguments.output, record)
    draw(record, arguments.output.with_suffix(".svg"))
    if arguments.output == OUTPUT:
        rewrite({README: updated})
    else:
        print(rows(record))


if __name__ == "__main__":
    main()
