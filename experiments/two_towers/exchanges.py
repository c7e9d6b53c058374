"""What the towers send each other: by formula, and in the compiled programs of a record."""

from typing import Any

from alexnet_jax.network.networks import NETWORKS
from experiments.two_towers import traffic

WAYS = ("forward", "backward")


def compiled(record: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Returns the bytes per image of each mesh with two towers, `{name: {way: sizes}}`, sorted."""
    return {
        row["name"]: {
            way: sorted(row["float32"]["collectives"][f"{way}_bytes_per_image"]) for way in WAYS
        }
        for row in record["rows"]
        if row["towers"] == 2
    }


def rows(record: dict[str, Any]) -> list[tuple[traffic.Exchange, list[tuple[int, int | None]]]]:
    """Returns each exchange with, forward and backward, bytes by formula and bytes that were found.

    None: the program of the first mesh with two towers sends nothing of that size (any more).
    """
    left = next(iter(compiled(record).values()))
    result = []
    for exchange in traffic.exchanges(NETWORKS[record["settings"]["network"]]):
        pairs: list[tuple[int, int | None]] = []
        for way, size in zip(
            WAYS, (exchange.forward_bytes(), exchange.backward_bytes()), strict=True
        ):
            if size in left[way]:
                left[way].remove(size)
                pairs.append((size, size))
            else:
                pairs.append((size, None if size else 0))
        result.append((exchange, pairs))
    return result
