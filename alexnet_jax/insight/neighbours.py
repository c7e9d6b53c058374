"""Images whose activations in a layer are near each other. Paper §6.1, Figure 4 (right)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Network, parametric_layers

_ROWS = 512  # queries at a time, so that the table of distances stays small


@dataclass(frozen=True)
class Neighbours:
    """A test image, uint8 `[height, width, 3]`, and the training images nearest to it."""

    image: np.ndarray = field(repr=False)
    label: int
    nearest: np.ndarray = field(repr=False)  # uint8 [k, height, width, 3], nearest first
    nearest_labels: Sequence[int]
    distances: Sequence[float]  # Euclidean, between the layer's activations


def last_hidden_layer(network: Network) -> str | None:
    """Returns the layer with weights before the classifier (`fc7` of AlexNet), if there is one."""
    hidden = parametric_layers(network.layers)[:-1]
    return hidden[-1].name if hidden else None


def nearest(queries: Any, bank: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the rows of `bank`, float `[m, …]`, with the least Euclidean distance to each query.

    `queries` is float `[n, …]`. Returns indices int `[n, count]`, nearest first (ties by index),
    and distances float32 `[n, count]`. Raises `InputError` for a `count` above m, or
    where the other axes differ.
    """
    queries, bank = (np.asarray(x, np.float32) for x in (queries, bank))
    if queries.shape[1:] != bank.shape[1:]:
        raise InputError(f"queries have the shape {queries.shape}, the bank has {bank.shape}")
    if not 1 <= count <= len(bank):
        raise InputError(f"count is {count}; the bank has {len(bank)} rows")
    queries, bank = queries.reshape(len(queries), -1), bank.reshape(len(bank), -1)
    centre = bank.mean(axis=0)  # smaller numbers lose fewer digits in the squares below
    queries, bank = queries - centre, bank - centre
    lengths = np.einsum("ij,ij->i", bank, bank)  # [m], squared
    indices = np.empty((len(queries), count), np.int64)
    distances = np.empty((len(queries), count), np.float32)
    for first in range(0, len(queries), _ROWS):
        rows = slice(first, first + _ROWS)
        part = queries[rows]  # [rows, features]
        # |q - b|^2 without |q|^2, which is the same for all rows of the bank.
        order = np.argsort(lengths - 2 * part @ bank.T, axis=1, kind="stable")[:, :count]
        indices[rows] = order
        distances[rows] = np.linalg.norm(part[:, None] - bank[order], axis=2)
    return indices, distances
