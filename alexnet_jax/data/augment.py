"""Random changes to training images, each a pure function of (seed, epoch, index). Paper §4.1.

The random numbers come from Philox4x32-10, a counter-based generator (Salmon et al., 2011,
"Parallel random numbers: as easy as 1, 2, 3"): the key is the seed, the counter is (index, epoch,
block), so that an image's numbers depend neither on its place in a batch nor on who draws them.
It is written out over whole arrays because `numpy.random.Philox` costs 18 µs per image, ten times
the crop of a CIFAR image itself; being spelt out, its numbers also stay the same in every NumPy.
"""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from alexnet_jax.config import AugmentConfig
from alexnet_jax.errors import InputError

_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)

# Blocks of four numbers per (seed, epoch, index); a use keeps its block for ever, so that switching
# one kind of change on or off leaves the draws of the others as they were.
_ORDER, _PLACE, _COLOUR, _ATTEMPTS = 0, 1, 2, 16
_MAX_ATTEMPTS = 10


class Draws(NamedTuple):
    """The random choices for n training images.

    Attributes:
      offsets: int32 [n, 2], top and left of the crop in pixels (`resized-crop`: zeros).
      boxes: int32 [n, 4], top, left, height and width in pixels (`resized-crop`; else zeros).
      degrees: float64 [n], counter-clockwise rotation (`resized-crop`; else zeros).
      flips: bool [n], whether the image is mirrored, after everything else.
      colour: float32 [n, 3], standard normal coefficients of the colour PCA (zeros without noise).
    """

    offsets: np.ndarray
    boxes: np.ndarray
    degrees: np.ndarray
    flips: np.ndarray
    colour: np.ndarray


def philox(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Returns the Philox4x32-10 block of each counter.

    Args:
      counter: [..., 4] of any integer type, values 0 to 2**32 - 1.
      key: two integers, 0 to 2**32 - 1.

    Returns:
      uint64 [..., 4], each value uniform in 0 to 2**32 - 1.
    """
    a, b, c, d = (counter[..., i].astype(np.uint64) for i in range(4))
    for i in range(_ROUNDS):
        k0, k1 = (np.uint64((k + i * w) & 0xFFFFFFFF) for k, w in zip(key, _WEYL, strict=True))
        p, q = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = q >> _SHIFT ^ b ^ k0, q & _LOW, p >> _SHIFT ^ d ^ k1, p & _LOW
    return np.stack([a, b, c, d], axis=-1)


def random_block(seed: int, epochs: np.ndarray, indices: np.ndarray, block: int) -> np.ndarray:
    """Returns uint64 [n, 4], 32 random bits each, for images `indices` [n] in `epochs` [n].

    Args:
      seed: of the run.
      epochs: int `[n]`, of each image.
      indices: int `[n]`, of each image in its split.
      block: number of the block of draws, 0 or more.
    """
    counter = np.zeros((*np.shape(indices), 4), np.uint64)
    counter[..., 0], counter[..., 1], counter[..., 2] = indices, epochs, block
    return philox(counter, (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF))


def permutation(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    """Returns int64 [num_examples]: the order in which `epoch` visits the images.

    Args:
      seed: of the run.
      epoch: from 0.
      num_examples: of the split.
    """
    indices = np.arange(num_examples, dtype=np.int64)
    bits = random_block(seed, np.full_like(indices, epoch), indices, _ORDER)
    return np.argsort(bits[:, 0] << _SHIFT | bits[:, 1], kind="stable")


def draw(
    augment: AugmentConfig,
    *,
    seed: int,
    epochs: np.ndarray,
    indices: np.ndarray,
    stored_size: int,
    image_size: int,
    places: np.ndarray | None = None,
) -> Draws:
    """Draws the changes to images `indices` [n] as they are visited in `epochs` [n].

    Offsets are uniform over 0 .. stored_size - image_size inclusive: 33 x 33 places for 256 -> 224,
    as in the 2012 file `convdata.py`; those of `centre-crop` are always the centre view's.
    Deviation: one draw per image by default, where 2012 drew one crop and one flip per 32
    consecutive images; that was a saving of its loader, and weaker augmentation. `crop_chunk` does
    so, with the `places` [n] of the images in their epochs' orders.

    Args:
      augment: kinds and sizes of the changes.
      seed: of the run.
      epochs: int `[n]`, of each image.
      indices: int `[n]`, of each image in its split.
      stored_size: height and width of the stored images, pixels.
      image_size: height and width of the network's input, pixels.
      places: int `[n]`, of each image in the order of its epoch, for `crop_chunk`; None: not known.

    Raises:
      InputError: the stored images are smaller than the crop.
    """
    n = len(indices)
    drawn = indices
    if augment.crop_chunk > 1:
        assert places is not None
        drawn = places // augment.crop_chunk
    place = random_block(seed, epochs, drawn, _PLACE)
    offsets, boxes = np.zeros((n, 2), np.int32), np.zeros((n, 4), np.int32)
    degrees, colour = np.zeros(n), np.zeros((n, 3), np.float32)
    if augment.recipe != "resized-crop":
        if image_size > stored_size:
            raise InputError(
                f"A crop of {image_size} pixels does not fit stored images of {stored_size}: "
                "lower image_size, or prepare the data with a larger stored_size."
            )
        margin = stored_size - image_size
        offsets[:] = margin // 2
        if augment.recipe == "crop":
            offsets = _below(place[:, :2], margin + 1).astype(np.int32)
    else:
        boxes = _boxes(augment, seed, epochs, drawn, stored_size)
        degrees = (2 * _uniform(place[:, 3]) - 1) * augment.rotation_degrees
        # The numbers of `crop`'s offsets are free here; with probability 1 each lies below it.
        degrees[_uniform(place[:, 0]) >= augment.rotation_probability] = 0
    flips = place[:, 2] >> np.uint64(31) == 1 if augment.mirror else np.zeros(n, bool)
    if augment.colour_noise:
        colour = _normal(random_block(seed, epochs, indices, _COLOUR))[:, :3].astype(np.float32)
    return Draws(offsets, boxes, degrees, flips, colour)


def change_images(images: np.ndarray, draws: Draws, recipe: str, out: np.ndarray) -> None:
    """Writes the changed images into `out`.

    Args:
      images: uint8 [n, stored, stored, 3].
      draws: what to do with each.
      recipe: of the configuration.
      out: uint8 [n, size, size, 3], overwritten.
    """
    size = out.shape[1]
    for i, image in enumerate(images):
        if recipe != "resized-crop":
            top, left = draws.offsets[i]
            image = image[top : top + size, left : left + size]
        else:
            image = resized_crop(image, draws.boxes[i], float(draws.degrees[i]), size)
        copy(image, bool(draws.flips[i]), out[i])


def resized_crop(image: np.ndarray, box: np.ndarray, degrees: float, size: int) -> np.ndarray:
    """Crops, resizes with antialiased bilinear interpolation, then rotates, as torchvision does.

    Args:
      image: uint8 [h, w, 3].
      box: top, left, height and width in pixels.
      degrees: counter-clockwise rotation about the centre (nearest pixel, corners black).
      size: height and width of the result in pixels.

    Returns:
      uint8 [size, size, 3].

    Deviation: torchvision crops the whole photo; here the photo is stored as its centre square.
    """
    top, left, height, width = (int(v) for v in box)
    # Cropped first, not by `resize(box=...)`, whose filter reaches over the box's edges.
    crop = Image.fromarray(np.ascontiguousarray(image[top : top + height, left : left + width]))
    picture = crop.resize((size, size), Image.Resampling.BILINEAR)
    if degrees:
        picture = picture.rotate(degrees, Image.Resampling.NEAREST, fillcolor=(0, 0, 0))
    return np.asarray(picture)


def copy(image: np.ndarray, flip: bool, out: np.ndarray) -> None:
    """Writes `image`, mirrored where `flip`; three strided copies beat reversed 3-byte pixels.

    Args:
      image: uint8 `[h, w, 3]`.
      flip: mirror it.
      out: uint8 `[h, w, 3]` to write.
    """
    if not flip:
        out[...] = image
        return
    for channel in range(3):
        out[..., channel] = image[:, ::-1, channel]


def copy_reversed(image: np.ndarray, out: np.ndarray) -> None:
    """Writes the mirrored copy of an image whose channels are in reverse order.

    That is, each row's bytes backwards, eight at a time: a quarter of the time of `copy`.

    Args:
      image: uint8 [h, w, 3] of blue, green, red; rows of any stride.
      out: uint8 [h, w, 3] of red, green, blue; contiguous.
    """
    height, width, channels = out.shape
    length = width * channels  # bytes of a row
    size = min(8, length & -length)  # of a word, so that words fill a row
    word = np.dtype(f"u{size}")
    words = image.reshape(height, length).view(word.newbyteorder())
    out.reshape(height, length).view(word)[...] = words[:, ::-1]


def _boxes(
    augment: AugmentConfig, seed: int, epochs: np.ndarray, indices: np.ndarray, stored: int
) -> np.ndarray:
    """Returns int32 [n, 4] boxes of RandomResizedCrop: the first of ten attempts that fits.

    An attempt takes a uniform share of the area and a log-uniform aspect ratio (torchvision's
    convention); if none fits, the box is the largest central one within the ratio's bounds.
    """
    boxes = np.broadcast_to(_central_box(augment.ratio, stored), (len(indices), 4)).copy()
    waiting = np.ones(len(indices), bool)
    for attempt in range(_MAX_ATTEMPTS):
        bits = random_block(seed, epochs, indices, _ATTEMPTS + attempt)
        area = stored * stored * _between(bits[:, 0], augment.scale)
        low, high = (math.log(r) for r in augment.ratio)
        aspect = np.exp(_between(bits[:, 1], (low, high)))
        width = np.rint(np.sqrt(area * aspect)).astype(np.int64)
        height = np.rint(np.sqrt(area / aspect)).astype(np.int64)
        fits = (0 < width) & (width <= stored) & (0 < height) & (height <= stored)
        top = _below(bits[:, 2], np.maximum(stored - height + 1, 1))
        left = _below(bits[:, 3], np.maximum(stored - width + 1, 1))
        found = np.stack([top, left, height, width], axis=1)
        boxes = np.where((waiting & fits)[:, None], found, boxes)
        waiting &= ~fits
        if not waiting.any():
            break
    return boxes.astype(np.int32)


def _central_box(ratio: tuple[float, float], stored: int) -> tuple[int, int, int, int]:
    """Returns top, left, height, width of the largest central box of a square image."""
    height = width = stored
    if min(ratio) > 1:
        height = max(1, round(stored / min(ratio)))
    elif max(ratio) < 1:
        width = max(1, round(stored * max(ratio)))
    return (stored - height) // 2, (stored - width) // 2, height, width


def _below(bits: np.ndarray, limit: int | np.ndarray) -> np.ndarray:
    """Maps 32 random bits to 0 .. limit - 1 (bias below limit / 2**32)."""
    return (bits * np.asarray(limit).astype(np.uint64) >> _SHIFT).astype(np.int64)


def _uniform(bits: np.ndarray) -> np.ndarray:
    """Maps 32 random bits to float64 in the open interval (0, 1)."""
    return (bits.astype(np.float64) + 0.5) / 2**32


def _between(bits: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    return bounds[0] + (bounds[1] - bounds[0]) * _uniform(bits)


def _normal(bits: np.ndarray) -> np.ndarray:
    """Maps [n, 4] blocks of random bits to float64 [n, 4] standard normals (Box-Muller)."""
    radius = np.sqrt(-2 * np.log(_uniform(bits[:, :2])))
    angle = 2 * np.pi * _uniform(bits[:, 2:])
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
