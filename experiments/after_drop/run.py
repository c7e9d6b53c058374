"""What does a drop of the rate do, with the rate inside the velocity and outside of it?

    python -m experiments.after_drop.run --data CIFAR10
    python -m experiments.after_drop.run --quick    # a minute: on digits; the record lies in runs/

The miniature is trained to the first drop of its schedule. From there it continues by the rule of
2012 (`v = m v - r g; w = w + v`) and by the rule of today's libraries (`v = m v - g; w = w + r v`),
over the same batches and with the same masks, with the drop and, for comparison, without it. While
the rate is constant, both rules give the same weights, up to rounding: the state at the drop
belongs to both. After each step the loss of some training images is computed: centre view, no
masks. Seeds that the record has are not run again; without options only the figure and the page
are made anew.
"""

import dataclasses
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from alexnet_jax.config import Config, OptimizerConfig, ScheduleConfig
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.data.pipeline import training_batches
from alexnet_jax.evaluation.evaluate import make_predict_step
from alexnet_jax.runs.run_folder import Run, read_run
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training.optimizer import RateTree, update_rule
from alexnet_jax.training.schedule import rate_tree, rates_at
from alexnet_jax.training.steps import make_train_step
from experiments import pictures, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.pages import table
from experiments.paired import difference_text, paired, spread
from experiments.sweep.claims import CLAIMS
from experiments.sweep.digest import digest_of
from experiments.sweep.variants import Variant, placed, toy_variant

OUTPUT = Path(__file__).parent / "results" / "after_drop.json"
SEEDS = 5
EPOCHS, DROP = 6, 10
"""The miniature's first drop: after 6 epochs, the rate is divided by 10."""
STEPS, TOY_STEPS, SHOWN_STEPS = 100, 10, (0, 1, 2, 5, 10, 20, 50, 100)
MAX_IMAGES = 2000
"""Training images whose loss is computed."""
INSIDE, OUTSIDE = "inside", "outside"
KEPT, KEPT_OUTSIDE = "no drop", "no drop, outside"
_COLOURS = {INSIDE: "#1f4e79", OUTSIDE: "#a8321e", KEPT: "#888888"}


def recipe(toy: bool = False) -> Config:
    """Returns the configuration that is trained until the drop: the miniature, or at toy size."""
    made = CLAIMS["velocity"].variants[INSIDE]
    made = toy_variant(made, 0.5).config if toy else made.config
    epochs = made.epochs if toy else EPOCHS
    constant = ScheduleConfig("constant")
    return dataclasses.replace(
        made, epochs=epochs, evaluate_every_epochs=epochs, final_views=1, schedule=constant
    )


def outside(state: TrainState, optimizer: OptimizerConfig, rates: RateTree) -> TrainState:
    """Returns the state of 2012's rule as one of the other rule: the velocity v becomes -v / r.

    `rates` are those before the drop, by leaf, all above 0.
    """
    velocity = optax.tree_utils.tree_get(state.opt_state, "trace")
    trace = jax.tree.map(lambda v, r: -v / r, velocity, rates)
    rule = update_rule(_outside(optimizer), state.params)
    fresh = rule.init(state.params)
    return state._replace(opt_state=optax.tree_utils.tree_set(fresh, trace=trace))


def _outside(optimizer: OptimizerConfig) -> OptimizerConfig:
    return dataclasses.replace(optimizer, rate_inside_velocity=False)


def courses(state: TrainState, run: Run, data: Path, steps: int) -> dict[str, Any]:
    """Returns `{"images": n, "losses": {way: [steps + 1 values]}}`.

    `state` is that of `run` at the drop; the batches are those that would have followed.
    """
    config, split = run.config, open_dataset(data).split(run.config.data.train_split)
    loss = _loss_of_some(split, run)
    now = rates_at(config.schedule, config.optimizer, config.epochs, config.epochs)
    rates = rate_tree(now, config.optimizer, state.params)
    dropped = jax.tree.map(lambda rate: rate / DROP, rates)
    other, other_rule = outside(state, config.optimizer, rates), _outside(config.optimizer)
    ways = {
        INSIDE: (state, config.optimizer, dropped),
        OUTSIDE: (other, other_rule, dropped),
        KEPT: (state, config.optimizer, rates),
        KEPT_OUTSIDE: (other, other_rule, rates),
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
        rule: make_train_step(run.network, rule, config.preprocess, config.augment)
        for rule in (config.optimizer, other_rule)
    }
    losses: dict[str, list[float]] = {}
    for way, (begin, rule, tree) in ways.items():
        current = jax.tree.map(jnp.copy, begin)  # a step takes the memory of its state
        losses[way] = [loss(current.params)]
        for batch in batches:
            current, _ = by_rule[rule](current, batch, run.inputs, tree, np.bool_(now.colour_noise))
            losses[way].append(loss(current.params))
    return {"images": min(MAX_IMAGES, len(split)), "losses": losses}


def _loss_of_some(split: Any, run: Run) -> Callable[[Any], float]:
    """Returns the mean loss of some images of a split as a function of the parameters."""
    config = run.config
    random = np.random.Generator(np.random.Philox(key=[0, 0xD0]))
    chosen = np.sort(random.permutation(len(split))[:MAX_IMAGES])
    images, labels = split.images(chosen), split.labels[chosen]
    predict = make_predict_step(
        run.network, config.preprocess, run.image_size, augment=config.augment
    )

    def loss(params: Any) -> float:
        # In pieces of a batch, which need no more memory than training.
        parts = [
            np.asarray(predict(params, run.inputs, images[first : first + config.batch_size]))
            for first in range(0, len(images), config.batch_size)
        ]
        of_label = np.concatenate(parts)[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(of_label.astype(np.float64), 1e-30)).mean())

    return loss


def measure(config: Config, workdir: Path, data_dir: Path | None, steps: int) -> dict[str, Any]:
    """Trains until the drop, unless the run is finished, and returns the losses after it."""
    state = programs.train_to_end(config, workdir, data_dir)
    run = read_run(workdir)
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
    """Returns the paired difference of the losses of two ways after a step."""
    return paired(
        *({r["seed"]: r["losses"][w][step] for r in record["runs"]} for w in (first, second))
    )


def table_of(record: dict[str, Any]) -> str:
    ways, runs = (INSIDE, OUTSIDE, KEPT), record["runs"]
    head = ["steps after the drop", *ways, "inside less outside, 95 % interval"]
    lines = []
    for step in SHOWN_STEPS:
        if step >= len(runs[0]["losses"][INSIDE]):
            break
        means = [spread([run["losses"][way][step] for run in runs], ".3f") for way in ways]
        apart = difference(record, step) if step else None  # they begin with one state
        lines.append([step, *means, difference_text(apart, form="+.3f") if apart else "–"])
    return table(head, lines)


def rounding(record: dict[str, Any]) -> list[float]:
    """Returns how far the rules lie apart without a drop, after each step, in the worst seed."""
    pairs = [(run["losses"][KEPT], run["losses"][KEPT_OUTSIDE]) for run in record["runs"]]
    return [
        max(abs(kept[step] - outside[step]) for kept, outside in pairs)
        for step in range(len(pairs[0][0]))
    ]


def highest(record: dict[str, Any]) -> list[float]:
    """Returns by how much the loss of the rule of 2012 is above the other's at most, by seed."""
    pairs = [(run["losses"][INSIDE], run["losses"][OUTSIDE]) for run in record["runs"]]
    return [max(a - b for a, b in zip(*pair, strict=True)) for pair in pairs]


def draw(record: dict[str, Any], path: Path) -> None:
    """Draws the loss after the drop, one thin line per seed, and the difference of the rules."""
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
        axes.set_xticks([step for step in SHOWN_STEPS if step < len(apart)])
        axes.xaxis.set_major_formatter("{x:g}")
    pictures.save(figure, path, runs)


def main(words: list[str] | None = None) -> None:
    parser = programs.quick_parser(__doc__, OUTPUT, Path("runs/after_drop"))
    parser.add_argument("--data", default="", help="CIFAR-10")
    parser.add_argument("--seeds", type=int, help=f"how many (default: {SEEDS}, --quick: 2)")
    arguments = parser.parse_args(words)
    programs.use_quick_folders(parser, arguments)
    config = placed(recipe(arguments.quick), arguments.data)
    seeds, steps = (2, TOY_STEPS) if arguments.quick else (SEEDS, STEPS)
    seeds = arguments.seeds or seeds
    record = read(arguments.output) or {"runs": []}
    record["runs"] = [  # without runs of another recipe
        run
        for run in record["runs"]
        if run["config"] == digest_of(Variant(config), run["seed"])
        and len(run["losses"][INSIDE]) == steps + 1
    ]
    wanted = range(seeds if arguments.data or arguments.quick else 0)
    if arguments.output == OUTPUT and max(len(wanted), len(record["runs"])) != SEEDS:
        parser.error(f"the repository's record has {SEEDS} seeds; others need an --output FILE")
    for seed in sorted(set(wanted) - {run["seed"] for run in record["runs"]}):
        seeded = dataclasses.replace(config, seed=seed)
        place = arguments.scratch / f"seed-{seed}"
        record["runs"].append(measure(seeded, place, arguments.data_dir, steps))
        record["environment"] = environment()
        write(arguments.output, record)
    if not record["runs"]:
        parser.error("nothing is measured yet: --data or --quick is needed")
    write(arguments.output, record)
    draw(record, arguments.output.with_suffix(".svg"))
    programs.show(table_of(record), arguments.output, OUTPUT)


if __name__ == "__main__":
    main()
