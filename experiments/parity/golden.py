"""Golden numbers of small networks, so that the essential comparison needs no PyTorch.

python -m experiments.parity.golden        # writes tests/golden/parity.json; needs PyTorch

Each network is narrow and has small images, but all of its operations. For every array that the
reference computes in float64 the file holds its root mean square and some projections, sums with
weights of -1..1 in which each value takes part.
"""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.records import write
from experiments.parity.compare import NetworkOutputs
from experiments.parity.samples import REQUIRED, make_images, make_params, small, uniform

PATH = Path(__file__).parents[2] / "tests" / "golden" / "parity.json"
NAMES = (*REQUIRED, "one-tower", "one-tower-adaptive", "no-talk", "figure1-tanh")
_PROJECTIONS = 3
_BATCH = 2


def inputs(name: str) -> tuple[Any, ...]:
    """Returns the small network of that name, its parameters, images and labels."""
    network = small(name)
    return network, make_params(network), *make_images(network, _BATCH)


def digest(outcome: NetworkOutputs) -> dict[str, list[float]]:
    """Returns for every array its root mean square, and its projections relative to its size.

    A projection is divided by the square root of the number of values, so that all numbers are of
    the order of the root mean square.
    """
    arrays = {"logits": outcome.logits, "images": outcome.images} | {
        f"{layer} {leaf}": array
        for layer, leaves in outcome.params.items()
        for leaf, array in leaves.items()
    }
    return {name: _numbers(np.asarray(array, np.float64)) for name, array in arrays.items()}


def _numbers(array: np.ndarray) -> list[float]:
    weights = uniform((5, array.size), (_PROJECTIONS, array.size))
    root = float(np.sqrt(np.mean(array**2)))
    return [root, *(float(value) for value in weights @ array.ravel() / np.sqrt(array.size))]


def largest_difference(found: dict[str, list[float]], expected: dict[str, list[float]]) -> float:
    """Returns the largest difference of any number, relative to the array's root mean square."""
    if found.keys() != expected.keys():
        raise ValueError(f"arrays {sorted(found)} and {sorted(expected)}")
    differences = [
        abs(a - b) / values[0]
        for name, values in expected.items()
        for a, b in zip(found[name], values, strict=True)
    ]
    return max(differences) if np.isfinite(differences).all() else float("inf")


def main() -> None:
    from experiments.parity.torch_reference import outcome

    content = {}
    for name in NAMES:
        network, params, images, labels = inputs(name)
        content[name] = digest(
            NetworkOutputs(*outcome(network, params, images, labels, np.float64))
        )
    write(PATH, content)
    print(f"{PATH.name}: {PATH.stat().st_size:,} bytes, {len(content)} networks")


if __name__ == "__main__":
    main()
