"""Choices among records that depend on their names only: held-out share and shuffled order."""

import hashlib
from collections import defaultdict

from alexnet_jax.preparation.sources.source import Record


def hold_out(records: list[Record], fraction: float) -> tuple[list[Record], list[Record]]:
    """Sets the same share of every class aside.

    Within a class the images with the smallest hash of their name are held out, so the choice is
    the same on every machine, and adding images moves few others. A class of two or more keeps at
    least one image on each side.

    Args:
      records: all images.
      fraction: share to hold out, 0 to 1.

    Returns:
      Records kept and records held out, both in the order given.
    """
    classes: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        classes[record.label].append(record)
    held: set[str] = set()
    for members in classes.values():
        wanted = round(len(members) * fraction)
        if fraction > 0 and len(members) > 1:
            wanted = min(max(wanted, 1), len(members) - 1)
        members.sort(key=lambda record: _hash("hold out", record.key))
        held |= {record.key for record in members[:wanted]}
    kept = [record for record in records if record.key not in held]
    return kept, [record for record in records if record.key in held]


def shuffled(records: list[Record]) -> list[Record]:
    """Returns the records in the order of a hash of their names: a fixed shuffle.

    The 2012 training batches were shuffled once at creation too. A hash instead of a random
    generator: the order outlives versions of NumPy.
    """
    return sorted(records, key=lambda record: _hash("shuffle", record.key))


def _hash(purpose: str, key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=16, person=purpose.encode()).digest()
