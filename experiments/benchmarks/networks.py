"""Training step and inference of whole networks: this library, plain Flax, PyTorch, the bound.

python -m experiments.benchmarks.networks
python -m experiments.benchmarks.networks --networks cifar-18pct,cifar-13pct,cifar-11pct

Writes `results/networks.json` after each network; a run replaces what it measures and leaves the
rest of the file as it is.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from alexnet_jax.network.networks import NETWORKS
from experiments.benchmarks import contestants as who
from experiments.benchmarks import work
from experiments.benchmarks.contest import Contestant, Rules, hold
from experiments.benchmarks.records import RESULTS, Record

DEFAULT = ("paper", "original", "one-weird-trick")
CIFAR = ("cifar-18pct", "cifar-13pct", "cifar-11pct")
QUESTION = "How many images per second does a network train and classify?"


def measure(
    network: str, what: str, batch: int, rules: Rules, extra: tuple[str, ...] = (), say=print
) -> dict[str, Any]:
    """Returns the result of one contest.

    Args:
      network: its name.
      what: "train" or "inference".
      batch: images per iteration.
      rules: of the contest.
      extra: further contestants.
      say: told what happens.
    """
    names = [who.OURS, who.MODULE, who.CHANNELS_LAST, who.CONTIGUOUS, *extra, who.PLAIN]
    if what == "inference":
        names.insert(1, who.OURS_BFLOAT16)
    entries: list[Contestant] = [who.contestant(n, network, what, batch) for n in names]
    entries += [who.product(name) for name in who.PRODUCTS]
    scores = hold(entries, rules, say)
    records = {name: score.record() for name, score in scores.items()}
    return {
        "network": network,
        "what": what,
        "batch": batch,
        "rounds": rules.rounds,
        "gflop_per_image": round(work.gflop(network, what), 4),
        "bound_images_per_second": _bound(records, work.gflop(network, what)),
        "ratios": ratios(records, work.gflop(network, what)),
        "contestants": records,
    }


def fastest(records: dict[str, Any], names: tuple[str, ...]) -> float | None:
    """Returns the highest rate (of medians) among `names`, None if none of them finished."""
    rates = [records[n]["rate"] for n in names if "rate" in records.get(n, {})]
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
    if ours is None:
        return {}
    return {name: round(ours / rate, 3) for name, rate in rivals.items() if rate}


def main() -> None:
    """Measures the networks of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default=",".join(DEFAULT), help="names with commas between")
    parser.add_argument("--what", default="train,inference", help="train, inference, or both")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turn-seconds", type=float, default=1.0)
    parser.add_argument(
        "--slow-seconds",
        type=float,
        default=15.0,
        help="who takes longer for its first iteration has only this one turn",
    )
    parser.add_argument("--compile", action="store_true", help="add torch.compile")
    parser.add_argument(
        "--same-allocator",
        action="store_true",
        help="add PyTorch with this library's settings of the C library's allocator",
    )
    parser.add_argument("--output", type=Path, default=RESULTS / "networks.json")
    arguments = parser.parse_args()
    names = arguments.networks.split(",")
    unknown = [name for name in names if name not in NETWORKS]
    kinds = arguments.what.split(",")
    if unknown or not set(kinds) <= {"train", "inference"}:
        parser.error(f"unknown: {', '.join(unknown) or arguments.what}")
    rules = Rules(arguments.rounds, arguments.turn_seconds, arguments.slow_seconds)
    extra = (who.COMPILED,) * arguments.compile + (who.SAME_ALLOCATOR,) * arguments.same_allocator
    record = Record(arguments.output, QUESTION)
    for name in names:
        for what in kinds:
            start = time.monotonic()
            print(f"{name}, {what}, batch {arguments.batch}", flush=True)
            result = measure(name, what, arguments.batch, rules, extra, _say)
            result["wall_seconds"] = round(time.monotonic() - start, 1)
            record.put(f"{name}/{what}", result)
            print(f"  {result['wall_seconds']:.0f} s; ratios: {result['ratios']}", flush=True)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
