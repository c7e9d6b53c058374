"""Training step and inference of whole networks: this library, plain Flax, PyTorch, the bound.

python -m experiments.benchmarks.networks
python -m experiments.benchmarks.networks --networks paper,cifar-18pct

Measures all networks with a goal. Writes `results/networks.json` after each one; a run replaces
what it measures and leaves the rest of the file as it is.
"""

import argparse
from typing import Any

from alexnet_jax.network.networks import NETWORKS
from experiments import programs
from experiments.benchmarks import contestants as who
from experiments.benchmarks import work
from experiments.benchmarks.contest import Contestant, Rules
from experiments.benchmarks.records import RESULTS, Record

IMAGENET = ("paper", "original", "one-weird-trick", "one-tower")
SMALL = ("cifar-18pct", "cifar-13pct", "cifar-11pct", "cifar-alexnet", "digits")
DEFAULT = IMAGENET + SMALL
QUESTION = "How many images per second does a network train and classify?"


def options(description: str | None, output: str, rounds: int) -> argparse.ArgumentParser:
    """Returns a parser with the options of every contest."""
    parser = programs.parser(description, RESULTS / output)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--turn-seconds", type=float, default=1.0)
    return parser


def main() -> None:
    parser = options(__doc__, "networks.json", rounds=3)
    parser.add_argument("--networks", default=",".join(DEFAULT), help="names with commas between")
    parser.add_argument("--what", default="train,inference", help="train, inference, or both")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument(
        "--slow-seconds",
        type=float,
        default=15.0,
        help="a contestant whose first iteration takes longer has only this one turn",
    )
    parser.add_argument("--compile", action="store_true", help="add torch.compile")
    parser.add_argument(
        "--same-allocator",
        action="store_true",
        help="add PyTorch with this library's settings of the C library's allocator",
    )
    arguments = parser.parse_args()
    names = arguments.networks.split(",")
    unknown = [name for name in names if name not in NETWORKS]
    kinds = arguments.what.split(",")
    if unknown or not set(kinds) <= {"train", "inference"}:
        parser.error(f"unknown: {', '.join(unknown) or arguments.what}")
    rules = Rules(arguments.rounds, arguments.turn_seconds, arguments.slow_seconds)
    extra = (who.COMPILED,) * arguments.compile + (who.SAME_ALLOCATOR,) * arguments.same_allocator
    record = Record(arguments.output, QUESTION)
    for network in names:
        for what in kinds:
            gflop = work.gflop(network, what)
            record.put_contest(
                f"{network}/{what}",
                {"network": network, "what": what, "batch": arguments.batch}
                | {"gflop_per_image": round(gflop, 4)},
                entries(network, what, arguments.batch, extra),
                rules,
                lambda found, gflop=gflop: {
                    "bound_images_per_second": _bound(found, gflop),
                    "ratios": ratios(found, gflop),
                },
            )
            print(f"  ratios: {record.content['entries'][f'{network}/{what}']['ratios']}")


def entries(network: str, what: str, batch: int, extra: tuple[str, ...]) -> list[Contestant]:
    """Returns the contestants of a network, also those named in `extra`."""
    bfloat16 = (who.OURS_BFLOAT16,) if what == "inference" else ()
    names = (who.OURS, *bfloat16, who.MODULE, who.CHANNELS_LAST, who.CONTIGUOUS, *extra, who.PLAIN)
    networks = [who.contestant(name, network, what, batch) for name in names]
    return [*networks, *(who.product(name) for name in who.PRODUCTS)]


def fastest(records: dict[str, Any], names: tuple[str, ...]) -> float | None:
    """Returns the highest median rate among `names`; None: none of them finished."""
    rates = [records[name]["rate"] for name in names if "rate" in records.get(name, {})]
    return max(rates, default=None)


def _bound(records: dict[str, Any], gflop: float) -> float | None:
    rate = fastest(records, who.PRODUCTS)
    return None if rate is None else round(rate / gflop, 2)


def ratios(records: dict[str, Any], gflop: float) -> dict[str, float]:
    """Returns ratios of median rates: ours to the better PyTorch, to plain Flax, to the bound."""
    ours = fastest(records, (who.OURS,))
    rivals = {
        "PyTorch": fastest(records, who.PYTORCH),
        "plain Flax": fastest(records, (who.PLAIN,)),
        "bound": _bound(records, gflop),
    }
    return {name: round(ours / rate, 3) for name, rate in rivals.items() if rate and ours}


if __name__ == "__main__":
    main()
