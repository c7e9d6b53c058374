"""One device against two towers: the training step on virtual CPU devices, in turns.

    python -m experiments.benchmarks.towers

Two contestants make the same step of the same network. One is the plain program: one device, with
grouped convolutions as its CPU form computes them. The other splits the parameters over two virtual
devices of the same processor: no convolution has groups, and the towers exchange activations before
conv3, fc6, fc7 and fc8. Both devices share one pool of threads, so nothing is gained in hardware:
the comparison shows what the division itself costs or saves. Writes `results/towers.json`.
"""

import dataclasses
import sys
from typing import Any

from experiments.benchmarks import contest
from experiments.benchmarks import contestants as who
from experiments.benchmarks.networks import options
from experiments.benchmarks.records import write_rows

_NAMES = {"one device": 1, "two towers": 2}


def main() -> None:
    parser = options(__doc__, "towers.json", rounds=5)
    parser.add_argument("--network", default="paper")
    parser.add_argument("--batch-size", type=int, default=128)
    arguments = parser.parse_args()
    network, size = arguments.network, arguments.batch_size
    contestants = []
    for name, towers in _NAMES.items():
        variables = {"JAX_NUM_CPU_DEVICES": str(towers)}
        entry = who.contestant(
            who.OURS, network, "train", size, towers=towers, environment=variables
        )
        contestants.append(dataclasses.replace(entry, name=name))
    rules = contest.Rules(arguments.rounds, arguments.turn_seconds)
    scores = contest.hold(contestants, rules, lambda line: print(line, flush=True))
    records = {name: score.record() for name, score in scores.items()}
    question = (
        f"A training step of `{network}`, batch {size}: one device, or two towers on two virtual "
        "devices of the same processor?"
    )
    made = [row for name in records for row in rows(name, records)]
    write_rows(arguments.output, question, made, contestants=records)


def rows(name: str, records: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows of one contestant; none if it failed."""
    record, alone = records[name], records["one device"]
    if "rate" not in record:
        print(f"{name}: {record['failed']}", file=sys.stderr)
        return []
    note = f"{record['turns']} turns"
    if record is not alone and "rate" in alone:
        note += f", {record['rate'] / alone['rate']:.2f} times the rate of one device"
    keys = {
        "s": ("median_seconds", "lowest_seconds", "highest_seconds"),
        "images/s": ("rate", "lowest_rate", "highest_rate"),
    }
    result = []
    for unit, names in keys.items():
        value, low, high = (record[key] for key in names)
        entry = {"name": f"{name}, step", "value": value, "unit": unit, "low": low, "high": high}
        result.append(entry | {"note": note})
    return result


if __name__ == "__main__":
    main()
