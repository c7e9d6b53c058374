"""How long one answer takes: inference of one image, and of ten views of one image and of twelve.

python -m experiments.benchmarks.latency

Every call is timed by itself, so the spread is that of calls, not of turns. Writes
`results/latency.json` after each contest.
"""

import argparse
import time
from pathlib import Path

from experiments.benchmarks import contestants as who
from experiments.benchmarks.contest import Rules, hold
from experiments.benchmarks.networks import DEFAULT
from experiments.benchmarks.records import RESULTS, Record

QUESTION = "How long does one call of the network take?"
CASES = ((1, 1), (1, 10), (12, 10))
"""Pairs of images and views: one image, its ten views, and a batch of 120 views."""


def main() -> None:
    """Measures the networks of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default=",".join(DEFAULT), help="names with commas between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn-seconds", type=float, default=1.0)
    parser.add_argument("--output", type=Path, default=RESULTS / "latency.json")
    arguments = parser.parse_args()
    rules = Rules(arguments.rounds, arguments.turn_seconds, each=True)
    record = Record(arguments.output, QUESTION)
    for network in arguments.networks.split(","):
        for images, views in CASES:
            start = time.monotonic()
            print(f"{network}, {images} x {views} views", flush=True)
            entries = [
                who.contestant(name, network, "inference", images, views)
                for name in (who.OURS, who.OURS_BFLOAT16, *who.PYTORCH)
            ]
            scores = hold(entries, rules, lambda line: print(line, flush=True))
            result = {
                "network": network,
                "images": images,
                "views": views,
                "rounds": rules.rounds,
                "contestants": {name: score.record() for name, score in scores.items()},
                "wall_seconds": round(time.monotonic() - start, 1),
            }
            record.put(f"{network}/{images}x{views}", result)


if __name__ == "__main__":
    main()
