"""What it is worth that freed memory stays in the process (`network/host_memory.py`).

python -m experiments.benchmarks.allocator

Two programs that know only the public module take turns: one as it is, one with
`ALEXNET_JAX_KEEP_MEMORY=0`. Writes `results/allocator.json` after each contest: seconds of an
iteration, and the largest resident memory of the process.
"""

import dataclasses
from typing import Any

from experiments.benchmarks import contestants as who
from experiments.benchmarks.contest import Rules
from experiments.benchmarks.networks import options
from experiments.benchmarks.records import Record

QUESTION = "What is it worth that the C library keeps freed memory in the process?"
BATCHES = {"paper": 32, "cifar-13pct": 128}
KEPT, RETURNED = "memory kept", "memory returned to the system"


def main() -> None:
    parser = options(__doc__, "allocator.json", rounds=7)
    parser.add_argument("--networks", nargs="*", choices=BATCHES, default=list(BATCHES))
    arguments = parser.parse_args()
    rules = Rules(arguments.rounds, arguments.turn_seconds)
    record = Record(arguments.output, QUESTION)
    for network in arguments.networks:
        batch = BATCHES[network]
        for what in ("train", "inference"):
            entries = [
                dataclasses.replace(
                    who.contestant(who.MODULE, network, what, batch, environment=variables),
                    name=name,
                )
                for name, variables in ((KEPT, {}), (RETURNED, who.LEAVE_ALLOCATOR))
            ]
            facts = {"network": network, "what": what, "batch": batch}
            record.put_contest(f"{network}/{what}", facts, entries, rules, compare)
            print(f"  {record.content['entries'][f'{network}/{what}']['ratios']}", flush=True)


def compare(contestants: dict[str, Any]) -> dict[str, Any]:
    """Returns the ratios of kept to returned: of the rates, and of the peaks of memory."""
    kept, returned = contestants[KEPT], contestants[RETURNED]
    if "rate" not in kept or "rate" not in returned:
        return {"ratios": {}}
    ratios = {
        name: round(kept[name] / returned[name], 3)
        for name in ("rate", "lowest_rate", "highest_rate", "peak_mib")
    }
    return {"ratios": ratios}


if __name__ == "__main__":
    main()
