"""Pictures of first-layer filters, as in the paper's Figure 3 and the 2012 `shownet.py`."""

import numpy as np

from alexnet_jax.errors import InputError

FILTERS_PER_ROW = 16


def scale_filters(kernel: np.ndarray) -> np.ndarray:
    """Returns uint8 `[filters, height, width, 3]`.

    `kernel` is float `[height, width, 1 or 3, filters]`: its smallest weight is black, its largest
    white, so that a tower that has learned nothing looks flat. A constant kernel becomes middle
    grey; weights that are not finite become black.
    """
    kernel = np.asarray(kernel, np.float32)
    if kernel.ndim != 4 or kernel.shape[2] not in (1, 3):
        raise InputError(
            f"a picture of filters needs a kernel [height, width, 1 or 3, filters], "
            f"not shape {kernel.shape}"
        )
    finite = np.isfinite(kernel)
    low = float(kernel[finite].min()) if finite.any() else 0.0
    high = float(kernel[finite].max()) if finite.any() else 0.0
    if high > low:
        unit = (np.where(finite, kernel, low) - low) / (high - low)
    else:
        unit = np.full_like(kernel, 0.5)
    values = np.rint(np.clip(unit, 0.0, 1.0) * 255.0).astype(np.uint8)
    values = np.broadcast_to(values, (*kernel.shape[:2], 3, kernel.shape[3]))
    return np.ascontiguousarray(values.transpose(3, 0, 1, 2))


def tile_filters(
    filters: np.ndarray, per_row: int = FILTERS_PER_ROW, gap: int = 1, magnify: int = 1
) -> np.ndarray:
    """Returns uint8 `[height, width, 3]` from `[n, height, width, 3]`, rows of `per_row`.

    Black lines of `gap` pixels lie between them; then each pixel becomes a square of `magnify`.
    """
    count, height, width, _ = filters.shape
    columns = min(per_row, count)
    rows = -(-count // columns)
    shape = (gap + rows * (height + gap), gap + columns * (width + gap), 3)
    picture = np.zeros(shape, np.uint8)
    for index, image in enumerate(filters):
        row, column = divmod(index, columns)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        picture[top : top + height, left : left + width] = image
    return picture.repeat(magnify, axis=0).repeat(magnify, axis=1)


def tower_pictures(
    kernel: np.ndarray, groups: int = 2, per_row: int = FILTERS_PER_ROW, magnify: int = 1
) -> list[np.ndarray]:
    """Returns a picture, uint8 `[h, w, 3]`, per tower (`groups`), of one scale. Paper: Figure 3.

    `kernel` is conv1's, float `[height, width, 3, filters]`; the towers' filters follow each other.
    """
    filters = scale_filters(kernel)
    if groups < 1 or len(filters) % groups:
        raise InputError(f"{len(filters)} filters cannot be split into {groups} towers")
    return [tile_filters(tower, per_row, magnify=magnify) for tower in np.split(filters, groups)]


def filter_picture(kernel: np.ndarray, groups: int = 2, magnify: int = 6) -> np.ndarray:
    """Returns the `tower_pictures` as one, uint8 `[h, w, 3]`, with a white band between them."""
    pictures = tower_pictures(kernel, groups, magnify=magnify)
    height, width = kernel.shape[0] * magnify // 2, pictures[0].shape[1]
    band = np.full((height, width, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (band, picture)]
    return np.concatenate(parts[1:])


def colour_shares(kernel: np.ndarray, groups: int = 2) -> list[float]:
    """Returns, per tower of `[height, width, 3, filters]`, the share of colour in its energy, 0..1.

    With `m` the mean of a position's R, G and B weights, it is `sum((w - m)^2) / sum(w^2)`: 0 for
    grey filters, about 2/3 for random ones. Paper §6.1: one tower becomes colour-blind.
    """
    shares = []
    for tower in np.split(np.asarray(kernel, np.float64), groups, axis=3):
        energy = float(np.sum(tower**2))
        chroma = float(np.sum((tower - tower.mean(axis=2, keepdims=True)) ** 2))
        shares.append(chroma / energy if np.isfinite(energy) and energy > 0 else 0.0)
    return shares
