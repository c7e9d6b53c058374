"""Contestants that compute distances of random pictures, or their gradients, again and again.

Options (JSON):
  archive, heads: paths.
  size, batch: pixels a side, pairs.
  what: "distance" or "gradient" (of the sum, by the first pictures).
  memory_format: "contiguous" or "channels_last" for `lpips`; without it ours.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks import contest
from experiments.benchmarks.environment import threads
from experiments.lpips import libraries

Run = Callable[[int], None]


def build(options: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """Returns what `contest.serve` asks for."""
    rng = np.random.default_rng(0)
    shape = (2, options["batch"], options["size"], options["size"], 3)
    x, y = rng.uniform(-1, 1, shape).astype(np.float32)
    if "memory_format" in options:
        return _theirs(options, x, y)
    return _ours(options, x, y), {}


def _ours(options: dict[str, Any], x: np.ndarray, y: np.ndarray) -> Run:
    import jax

    metric = libraries.ours(Path(options["archive"]), Path(options["heads"]))
    pictures = jax.device_put((x, y))
    gradient = jax.jit(jax.grad(lambda x, y: metric.distance(x, y).sum()))
    compute = {"distance": metric.distance, "gradient": gradient}[options["what"]]

    def run(iterations: int) -> None:
        for _ in range(iterations):
            jax.block_until_ready(compute(*pictures))

    return run


def _theirs(options: dict[str, Any], x: np.ndarray, y: np.ndarray) -> tuple[Run, dict[str, Any]]:
    import torch

    torch.set_num_threads(threads())
    form = options["memory_format"]
    module = libraries.theirs(Path(options["archive"]))
    if form == "channels_last":
        module = module.to(memory_format=torch.channels_last)
    first, second = (libraries.as_torch(pictures, form) for pictures in (x, y))

    def distance(iterations: int) -> None:
        with torch.no_grad():
            for _ in range(iterations):
                module(first, second)

    def gradient(iterations: int) -> None:
        for _ in range(iterations):
            leaf = first.detach().requires_grad_()
            module(leaf, second).sum().backward()

    run = {"distance": distance, "gradient": gradient}[options["what"]]
    return run, {"threads": torch.get_num_threads()}


if __name__ == "__main__":
    contest.serve(build)
