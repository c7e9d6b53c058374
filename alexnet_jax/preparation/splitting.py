"""Choices among images that depend on their names only: held-out share and shuffled order."""

import hashlib
from collections import Counter
from collections.abc import Sequence

from alexnet_jax.preparation.source_images import SourceImage


def hold_out(
    images: list[SourceImage], fraction: float, groups: Sequence[Sequence[int]] = ()
) -> tuple[list[SourceImage], list[SourceImage]]:
    """Sets the same share of every class aside; returns the images kept and those held out.

    The smallest hashes of names are held out: the same on every machine, and new images move few
    others. A class of two or more keeps one on each side. A group (indices) is held out as a whole
    or not at all, whichever brings its classes nearer to their share.
    """
    grouped = {index for group in groups for index in group}
    units = [tuple(group) for group in groups]
    units += [(index,) for index in range(len(images)) if index not in grouped]
    hashes = {unit: _hash("hold out", min(images[i].key for i in unit)) for unit in units}
    units.sort(key=lambda unit: hashes[unit])
    counts = {unit: Counter(images[i].label for i in unit) for unit in units}
    sizes = Counter(image.label for image in images)
    wanted = {label: _share(size, fraction) for label, size in sizes.items()}
    held: Counter[int] = Counter()  # images held out, by label
    chosen = []
    for unit in units:
        change = sum(
            abs(wanted[label] - held[label] - count) - abs(wanted[label] - held[label])
            for label, count in counts[unit].items()
        )
        if change <= 0 and _leaves_some(counts[unit], held, sizes):
            chosen.append(unit)
            held.update(counts[unit])
    for label in sorted(sizes):
        if not wanted[label] or held[label]:
            continue  # as nearly all have; each search is through all units
        left = [unit for unit in units if label in counts[unit]]
        left = [unit for unit in left if _leaves_some(counts[unit], held, sizes)]
        if left:  # its smallest group is above its share
            unit = min(left, key=lambda unit: (len(unit), hashes[unit]))
            chosen.append(unit)
            held.update(counts[unit])
    indices = {index for unit in chosen for index in unit}
    kept = [image for index, image in enumerate(images) if index not in indices]
    return kept, [image for index, image in enumerate(images) if index in indices]


def _share(size: int, fraction: float) -> int:
    wanted = round(size * fraction)
    return min(max(wanted, 1), size - 1) if fraction > 0 and size > 1 else wanted


def _leaves_some(unit: Counter[int], held: Counter[int], sizes: Counter[int]) -> bool:
    return all(
        held[label] + count < sizes[label] or sizes[label] == 1 for label, count in unit.items()
    )


def shuffled(images: list[SourceImage]) -> list[SourceImage]:
    """Orders images by hash, which does not depend on the version of NumPy."""
    return sorted(images, key=lambda image: _hash("shuffle", image.key))


def _hash(purpose: str, key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=16, person=purpose.encode()).digest()
