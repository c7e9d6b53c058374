"""One device against two towers: the training step on virtual CPU devices, in turns.

    python -m experiments.benchmarks.towers

Two contestants make the same step of the same network. One is the plain program: one device, with
grouped convolutions as its CPU form computes them. The other splits the parameters over two virtual
devices of the same processor: no convolution has groups, and the towers exchange activations before
conv3, fc6, fc7 and fc8. Both devices share one pool of threads, so nothing is gained in hardware:
what is compared is what the division costs or saves by itself. Writes `results/towers.json`.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.benchmarks import contest
from experiments.benchmarks.environment import environment
from experiments.benchmarks.memory import make_step
from experiments.benchmarks.records import RESULTS, write

_NAMES = {1: "one device", 2: "two towers"}


def main() -> None:
    """Measures, prints and writes the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="paper")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn-seconds", type=float, default=1.0)
    parser.add_argument("--output", type=Path, default=RESULTS / "towers.json")
    arguments = parser.parse_args()
    name, size = arguments.network, arguments.batch_size
    contestants = [
        contest.Contestant(title, "towers", {"network": name, "batch": size, "towers": count}, size)
        for count, title in _NAMES.items()
    ]
    rules = contest.Rules(arguments.rounds, arguments.turn_seconds)
    scores = contest.hold(contestants, rules, lambda line: print(line, flush=True))
    records = {title: score.record() for title, score in scores.items()}
    content = {
        "question": f"A training step of `{name}`, batch {size}: one device, or two towers on two "
        "virtual devices of the same processor?",
        "environment": environment(),
        "rows": [row for title in records for row in rows(title, records)],
        "contestants": records,
    }
    write(arguments.output, content)
    for row in content["rows"]:
        print("{name:22} {value:9.3f} {unit:9} {low:9.3f} to {high:9.3f}  {note}".format(**row))


def rows(title: str, records: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows of one contestant; none where it failed."""
    record, other = records[title], records[_NAMES[1]]
    if "rate" not in record:
        print(f"{title}: {record['failed']}", file=sys.stderr)
        return []
    note = f"{record['turns']} turns"
    if record is not other and "rate" in other:
        note += f", {record['rate'] / other['rate']:.2f} times the rate of {_NAMES[1]}"
    fields = {"s": "{}_seconds", "images/s": "{}rate"}
    result = []
    for unit, field in fields.items():
        value = record["median_seconds" if unit == "s" else "rate"]
        low, high = (
            record[field.format(end if unit == "s" else f"{end}_")] for end in ("lowest", "highest")
        )
        entry = {"name": f"{title}, step", "value": value, "unit": unit, "low": low, "high": high}
        result.append(entry | {"note": note})
    return result


def build(options: dict[str, Any]) -> tuple[Callable[[int], None], dict[str, Any]]:
    """Is one contestant, see `contest.serve`."""
    import jax

    jax.config.update("jax_num_cpu_devices", options["towers"])
    step, (state, batch, inputs, rates, colour_on) = make_step(
        options["network"], options["batch"], 1
    )
    if options["towers"] > 1:
        from alexnet_jax.config import Config
        from alexnet_jax.network import placement
        from alexnet_jax.network.networks import NETWORKS
        from alexnet_jax.training.steps import make_train_step

        network, config = NETWORKS[options["network"]].with_classes(1000), Config()
        mesh = placement.make_mesh(options["towers"], batch_size=options["batch"])
        state = placement.put(mesh, network, state)
        batch = placement.batch_putter(mesh, options["batch"])(batch)
        whole = placement.whole_sharding(mesh)
        inputs, rates, colour_on = jax.device_put((inputs, rates, colour_on), whole)
        step = make_train_step(
            network, config.optimizer, config.preprocess, config.augment, mesh=mesh
        )
    compiled = step.lower(state, batch, inputs, rates, colour_on).compile()  # pyright: ignore[reportFunctionMemberAccess]

    def run(iterations: int) -> None:
        nonlocal state
        for _ in range(iterations):
            state, _ = compiled(state, batch, inputs, rates, colour_on)
        jax.block_until_ready(state)

    return run, {"devices": len(jax.devices())}


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].startswith("{"):
        contest.serve(build)
    else:
        main()
