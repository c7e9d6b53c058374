"""Images per second against the batch size: this library and PyTorch with channels_last.

python -m experiments.benchmarks.scaling

Writes `results/scaling.json` after each batch size.
"""

import argparse
import time
from pathlib import Path

from experiments.benchmarks import contestants as who
from experiments.benchmarks.contest import Rules, hold
from experiments.benchmarks.records import RESULTS, Record

QUESTION = "How does the speed depend on the batch size?"
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def main() -> None:
    """Measures the batch sizes of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="original")
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    parser.add_argument("--what", default="train,inference", help="train, inference, or both")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turn-seconds", type=float, default=1.0)
    parser.add_argument("--output", type=Path, default=RESULTS / "scaling.json")
    arguments = parser.parse_args()
    rules = Rules(arguments.rounds, arguments.turn_seconds)
    record = Record(arguments.output, QUESTION)
    for what in arguments.what.split(","):
        for batch in map(int, arguments.batches.split(",")):
            start = time.monotonic()
            print(f"{arguments.network}, {what}, batch {batch}", flush=True)
            entries = [
                who.contestant(name, arguments.network, what, batch)
                for name in (who.OURS, who.CHANNELS_LAST)
            ]
            scores = hold(entries, rules, lambda line: print(line, flush=True))
            result = {
                "network": arguments.network,
                "what": what,
                "batch": batch,
                "rounds": rules.rounds,
                "contestants": {name: score.record() for name, score in scores.items()},
                "wall_seconds": round(time.monotonic() - start, 1),
            }
            record.put(f"{arguments.network}/{what}/{batch}", result)


if __name__ == "__main__":
    main()
