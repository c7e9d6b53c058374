"""Test images with the five best answers, as in the paper's Figure 4 (left)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Example:
    """A test image, uint8 `[height, width, 3]`; `probabilities` is float32 `[classes]`."""

    image: np.ndarray
    label: int
    probabilities: np.ndarray
    file_name: str = ""
    kind: Literal["random", "mistake"] = "random"


def choose_examples(
    probabilities: np.ndarray, labels: np.ndarray, seed: int = 0, count: int = 8
) -> tuple[list[int], list[int]]:
    """Returns indices of images drawn at random, and of the worst mistakes, up to `count` each.

    Those have the least probability for the true class, ties by the most confident wrong answer;
    none is among the random ones. `probabilities` is float `[n, classes]`, `labels` int `[n]`.
    """
    number = len(labels)
    rng = np.random.Generator(np.random.Philox(key=[seed, 0xF16]))
    random = rng.permutation(number)[:count].tolist()
    true = probabilities[np.arange(number), labels]
    best = probabilities.max(axis=1)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    order = wrong[np.lexsort((wrong, -best[wrong], true[wrong]))]
    return random, [int(i) for i in order if i not in random][:count]


def top_answers(example: Example, names: Sequence[str], count: int = 5) -> list[dict[str, Any]]:
    """Returns the best answers: `name`, `probability`, `right` (it is the true class)."""
    order = np.argsort(-example.probabilities, kind="stable")[:count]
    return [
        {
            "name": names[index],
            "probability": float(example.probabilities[index]),
            "right": bool(index == example.label),
        }
        for index in order
    ]
