"""Do our networks compute what PyTorch computes, and our update rule what NumPy computes?

    python -m experiments.parity.run            # everything: ten to thirty minutes
    python -m experiments.parity.run --networks paper original   # the rest of the record stays

Writes `results/parity.json` and the tables of this folder's README. Needs PyTorch.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

from alexnet_jax.network.networks import NETWORKS
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.generated import rewrite
from experiments.parity import page, torch_reference
from experiments.parity.compare import TARGETS, Outcome, differences, other_decisions, ours
from experiments.parity.layers_alone import CASES, compare_layer
from experiments.parity.round_trips import compare_round_trips
from experiments.parity.samples import OTHERS, REQUIRED, make_images, make_params
from experiments.parity.update_rule import compare_steps

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Runs all comparisons; exits with 1 when a target is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--networks", nargs="*", choices=NETWORKS, help="only these; the rest of the record stays"
    )
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument(
        "--draws", type=int, default=8, help="of images; the clearest decisions win"
    )
    parser.add_argument("--output", type=Path, default=RESULTS / "parity.json")
    arguments = parser.parse_args()
    record = read(arguments.output) if arguments.networks else _without_networks(arguments)
    if record is None:
        parser.error(f"--networks completes a record; there is no {arguments.output}")
    rows = {row["network"]: row for row in record["networks"]}
    for name in arguments.networks or [*REQUIRED, *OTHERS]:
        began = time.monotonic()
        rows[name] = compare_network(name, arguments.batch_size, arguments.draws)
        _say(f"{name} ({time.monotonic() - began:.0f} s)", rows[name])
    record["networks"] = list(rows.values())
    write(arguments.output, record)
    if arguments.output == RESULTS / "parity.json":
        rewrite({page.README: page.updated})
    missed = page.missed(record)
    print(*(missed or ["every target is met"]), sep="\n")
    raise SystemExit(bool(missed))


def _without_networks(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the record of everything but the networks at their full width."""
    record: dict[str, Any] = {
        "environment": environment(),
        "settings": {"batch_size": arguments.batch_size, "draws": arguments.draws},
        "targets": TARGETS,
        "networks": [],
        "layers": [],
    }
    for case in CASES:
        row: dict[str, Any] = {"name": case.name}
        for dtype in TARGETS:
            with jax.enable_x64(dtype == "float64"):
                row[dtype] = compare_layer(case, dtype)
        record["layers"].append(row)
        _say(case.name, row)
    record["draws"] = compare_draws("original", arguments.batch_size, arguments.draws)
    with jax.enable_x64(True):
        record["steps"] = [compare_steps(name) for name in ("original", "cifar-11pct")]
    print(*record["steps"], sep="\n", flush=True)
    record["round_trips"] = compare_round_trips()
    print(*record["round_trips"], sep="\n", flush=True)
    return record


def compare_network(name: str, count: int, draws: int) -> dict[str, Any]:
    """Returns the differences of one network at its own width and image size.

    Args:
      name: key in `NETWORKS`.
      count: images.
      draws: of images, of which that with the clearest decisions is taken, by the reference. Where
        our float32 misses its target and decides otherwise than our float64, the next clearest is,
        and the draw is kept under "passed over": gradients of two branches are not to be compared.
    """
    network = NETWORKS[name]
    params = make_params(network)
    margins = _margins(name, params, count, draws)
    passed_over: list[dict[str, Any]] = []
    row: dict[str, Any] = {}
    for draw in np.argsort(margins)[::-1].tolist():
        images, labels = make_images(network, count, draw)
        row = {"network": name, "draw": draw, "smallest margin": margins[draw]}
        exact = Outcome(*torch_reference.outcome(network, params, images, labels, np.float64))
        with jax.enable_x64(True):
            row["float64"] = differences(ours(network, params, images, labels, np.float64), exact)
        rounded = Outcome(*torch_reference.outcome(network, params, images, labels, np.float32))
        row["PyTorch float32 to float64"] = differences(rounded, exact)
        row["float32"] = differences(ours(network, params, images, labels, np.float32), rounded)
        row["passed over"] = passed_over
        reached = page.largest(row["float32"]) <= TARGETS["float32"]
        others = [] if reached else other_decisions(network, params, images)
        if not others:
            break
        found = {"draw": draw, "float32": page.largest(row["float32"]), "layers": others}
        passed_over = [*passed_over, found]
        print(f"{name}, passed over: {found}", flush=True)
    return row


def compare_draws(name: str, count: int, draws: int) -> dict[str, Any]:
    """Returns how far float32 is from PyTorch's float64 for every draw: PyTorch's, and ours."""
    network = NETWORKS[name]
    params = make_params(network)
    rows = []
    for draw in range(draws):
        images, labels = make_images(network, count, draw)
        exact = Outcome(*torch_reference.outcome(network, params, images, labels, np.float64))
        rounded = Outcome(*torch_reference.outcome(network, params, images, labels, np.float32))
        own = ours(network, params, images, labels, np.float32)
        found = {"PyTorch": differences(rounded, exact), "ours": differences(own, exact)}
        rows.append({side: page.largest(row) for side, row in found.items()})
        if not rows[-1]["ours"] <= TARGETS["float32"]:
            rows[-1]["layers"] = other_decisions(network, params, images)
        print(f"{name}, draw {draw}: {rows[-1]}", flush=True)
    return {"network": name, "margins": _margins(name, params, count, draws), "rows": rows}


def _margins(name: str, params: Any, count: int, draws: int) -> list[float]:
    """Returns for each draw of images how clear its closest decision is, see `smallest_margin`.

    Only the reference is asked, in float64, so that our results have no part in the choice.
    """
    network = NETWORKS[name]
    theirs = {k: torch_reference.to_torch(v, torch.float64) for k, v in params.items()}
    margins = []
    for draw in range(draws):
        images, _ = make_images(network, count, draw)
        x = torch.tensor(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        margins.append(torch_reference.smallest_margin(network, x, theirs))
    return margins


def _say(name: str, row: dict[str, Any]) -> None:
    parts = [f"{dtype} {page.largest(row[dtype]):.1e}" for dtype in TARGETS]
    print(f"{name}: {', '.join(parts)}", flush=True)


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    main()
