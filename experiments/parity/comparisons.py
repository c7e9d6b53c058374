"""The comparisons themselves: networks at their full width, layers alone, steps, round trips."""

from typing import Any

import jax
import numpy as np
import torch

from alexnet_jax.network.networks import NETWORKS
from experiments.parity import torch_reference
from experiments.parity.compare import (
    TARGETS,
    NetworkOutputs,
    differences,
    largest,
    other_decisions,
    ours,
)
from experiments.parity.layers_alone import CASES, compare_layer
from experiments.parity.round_trips import compare_round_trips
from experiments.parity.samples import make_images, make_params
from experiments.parity.update_rule import compare_steps


def compare_parts(count: int, draws: int) -> dict[str, Any]:
    """Returns the record of everything but the networks at full width; see `compare_network`."""
    record: dict[str, Any] = {"layers": []}
    for case in CASES:
        row: dict[str, Any] = {"name": case.name}
        for dtype in TARGETS:
            with jax.enable_x64(dtype == "float64"):
                row[dtype] = compare_layer(case, dtype)
        record["layers"].append(row)
        say_row(case.name, row)
    record["draws"] = compare_draws("original", count, draws)
    with jax.enable_x64(True):
        record["steps"] = [compare_steps(name) for name in ("original", "cifar-11pct")]
    print(*record["steps"], sep="\n", flush=True)
    record["round_trips"] = compare_round_trips()
    print(*record["round_trips"], sep="\n", flush=True)
    return record


def compare_network(name: str, count: int, draws: int) -> dict[str, Any]:
    """Returns the differences of one network at its own width and image size.

    Of several draws of images, that whose closest decision is clearest in the reference is
    compared. If our float32 misses its target and decides differently from our float64, that draw
    is listed under "passed over" and the next one is compared: gradients of two branches differ
    rightly.
    """
    network = NETWORKS[name]
    params = make_params(network)
    margins = _margins(name, params, count, draws)
    passed_over: list[dict[str, Any]] = []
    row: dict[str, Any] = {}
    for draw in np.argsort(margins)[::-1].tolist():
        images, labels = make_images(network, count, draw)
        row = {"network": name, "draw": draw, "smallest margin": margins[draw]}
        exact = NetworkOutputs(
            *torch_reference.outcome(network, params, images, labels, np.float64)
        )
        with jax.enable_x64(True):
            row["float64"] = differences(ours(network, params, images, labels, np.float64), exact)
        rounded = NetworkOutputs(
            *torch_reference.outcome(network, params, images, labels, np.float32)
        )
        row["PyTorch float32 to float64"] = differences(rounded, exact)
        row["float32"] = differences(ours(network, params, images, labels, np.float32), rounded)
        row["passed over"] = passed_over
        reached = largest(row["float32"]) <= TARGETS["float32"]
        others = [] if reached else other_decisions(network, params, images)
        if not others:
            break
        found = {"draw": draw, "float32": largest(row["float32"]), "layers": others}
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
        exact = NetworkOutputs(
            *torch_reference.outcome(network, params, images, labels, np.float64)
        )
        rounded = NetworkOutputs(
            *torch_reference.outcome(network, params, images, labels, np.float32)
        )
        own = ours(network, params, images, labels, np.float32)
        found = {"PyTorch": differences(rounded, exact), "ours": differences(own, exact)}
        rows.append({side: largest(row) for side, row in found.items()})
        if not rows[-1]["ours"] <= TARGETS["float32"]:
            rows[-1]["layers"] = other_decisions(network, params, images)
        print(f"{name}, draw {draw}: {rows[-1]}", flush=True)
    return {"network": name, "margins": _margins(name, params, count, draws), "rows": rows}


def _margins(name: str, params: Any, count: int, draws: int) -> list[float]:
    """Returns for each draw of images how clear its closest decision is, see `smallest_margin`.

    Only the reference computes it, in float64: our results have no influence on the choice.
    """
    network = NETWORKS[name]
    theirs = {k: torch_reference.to_torch(v, torch.float64) for k, v in params.items()}
    margins = []
    for draw in range(draws):
        images, _ = make_images(network, count, draw)
        x = torch.tensor(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        margins.append(torch_reference.smallest_margin(network, x, theirs))
    return margins


def say_row(name: str, row: dict[str, Any]) -> None:
    parts = [f"{dtype} {largest(row[dtype]):.1e}" for dtype in TARGETS]
    print(f"{name}: {', '.join(parts)}", flush=True)
