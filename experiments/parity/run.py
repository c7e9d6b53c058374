"""Do our networks compute what PyTorch computes, and our update rule what NumPy computes?

    python -m experiments.parity.run            # everything: ten to thirty minutes
    python -m experiments.parity.run --networks paper original   # the rest of the record stays

Writes `results/parity.json` and the tables of this folder's README. Needs PyTorch.
"""

import importlib.util
import time

import jax

from alexnet_jax.network.networks import NETWORKS
from experiments import pages, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.parity.compare import RESULTS, TARGETS, missed
from experiments.parity.samples import REQUIRED


def main() -> None:
    """Exits with 1 when a target is missed."""
    parser = programs.parser(__doc__, RESULTS)
    parser.add_argument(
        "--networks", nargs="*", choices=NETWORKS, help="only these; the rest of the record stays"
    )
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument(
        "--draws", type=int, default=8, help="of images; the clearest decisions win"
    )
    arguments = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        parser.error("PyTorch, the reference, is not installed: pip install torch==2.13.0")
    from experiments.parity.comparisons import compare_network, compare_parts, say_row

    if arguments.networks:
        record = read(arguments.output)
        if record is None:
            parser.error(f"--networks completes a record; there is no {arguments.output}")
    else:
        settings = {"batch_size": arguments.batch_size, "draws": arguments.draws}
        record = {"environment": environment(), "settings": settings, "targets": TARGETS}
        record |= {"networks": [], **compare_parts(arguments.batch_size, arguments.draws)}
    rows = {row["network"]: row for row in record["networks"]}
    for name in arguments.networks or dict.fromkeys((*REQUIRED, *NETWORKS)):
        began = time.monotonic()
        rows[name] = compare_network(name, arguments.batch_size, arguments.draws)
        say_row(f"{name} ({time.monotonic() - began:.0f} s)", rows[name])
    record["networks"] = list(rows.values())
    write(arguments.output, record)
    if arguments.output == RESULTS:
        pages.write("parity")
    lines = missed(record)
    print(*(lines or ["every target is met"]), sep="\n")
    raise SystemExit(bool(lines))


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    main()
