"""Small folders of pictures, and what is listed of them."""

import io
from collections import Counter
from typing import Any

import numpy as np
from PIL import Image

from alexnet_jax.config import DataConfig
from alexnet_jax.preparation.sources import list_images


def png(value=0, size=(8, 8)):
    """Returns the bytes of a grey picture."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def photo(seed, size):
    """Returns shapes of all sizes with hard and soft edges, in colours, as photos have them."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((size, size, 3))
    for cells in (3, 6, 12, 24, 48):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8))
        pixels += np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)) / cells**0.5
    return Image.fromarray(np.clip(pixels / 1.7, 0, 255).astype(np.uint8))


def write(root, *paths):
    """Writes one picture per path; its value is the number of the path."""
    for value, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(png(value))
    return root


def in_classes(*folders, names=("cat", "dog"), count=2):
    """Returns paths of pictures in class folders below each of `folders`."""
    return [f"{f}/{name}/{i}.png" for f in folders for name in names for i in range(count)]


def listed(source, tmp_path, kind: Any = "folder", **options):
    """Lists a source."""
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    return list_images(DataConfig(source_kind=kind, source=str(source), **options), work)


def keys(source):
    """Returns the keys by split."""
    return {split: [record.key for record in records] for split, records in source.splits.items()}


def counts(source):
    """Returns the number of pictures by split and class."""
    return {
        split: dict(Counter(source.class_ids[record.label] for record in records))
        for split, records in source.splits.items()
    }
