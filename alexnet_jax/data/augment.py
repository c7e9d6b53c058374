"""Random changes to training images, each a pure function of (seed, epoch, index). Paper §4.1.

The random numbers come from Philox4x32-10 (Salmon et al., 2011, "Parallel random numbers: as easy
as 1, 2, 3"): the key is the seed, the counter is (index, epoch, block). `numpy.random.Philox` costs
18 µs per image, ten times the crop of a CIFAR image, and may change with the version of NumPy.
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

# Numbers of the blocks per (seed, epoch, index). They never change: old runs resume, and switching
# one kind of change on or off leaves the draws of the others as they were.
_ORDER, _CROP, _COLOUR, _ATTEMPTS = 0, 1, 2, 16
_MAX_ATTEMPTS = 10


class Draws(NamedTuple):
    """The random choices for n training images; zeros where the recipe makes none."""

    offsets: np.ndarray  # int32 [n, 2]: top, left of the crop, pixels
    boxes: np.ndarray  # int32 [n, 4]: top, left, height, width, pixels (`resized-crop`)
    degrees: np.ndarray  # float64 [n], counter-clockwise (`resized-crop`)
    flips: np.ndarray  # bool [n]: mirrored, after everything else
    colour: np.ndarray  # float32 [n, 3], standard normal coefficients of the colour PCA


def philox(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Returns Philox4x32-10 of counters [..., 4] as uint64 [..., 4]; all numbers 0 to 2**32 - 1."""
    a, b, c, d = (counter[..., i].astype(np.uint64) for i in range(4))  # each [...]
    for i in range(_ROUNDS):
        k0, k1 = (np.uint64((k + i * w) & 0xFFFFFFFF) for k, w in zip(key, _WEYL, strict=True))
        p, q = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]  # products of 64 bits
        a, b, c, d = q >> _SHIFT ^ b ^ k0, q & _LOW, p >> _SHIFT ^ d ^ k1, p & _LOW
    return np.stack([a, b, c, d], axis=-1)  # [..., 4]


def random_block(seed: int, epochs: np.ndarray, indices: np.ndarray, block: int) -> np.ndarray:
    """Returns 32 random bits four times, uint64 [n, 4], for `epochs` and `indices`, int [n]."""
    counter = np.zeros((*np.shape(indices), 4), np.uint64)
    counter[..., 0], counter[..., 1], counter[..., 2] = indices, epochs, block
    return philox(counter, (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF))


def permutation(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    """Returns the order in which `epoch` visits the images, int64 [num_examples]."""
    indices = np.arange(num_examples, dtype=np.int64)
    bits = random_block(seed, np.full_like(indices, epoch), indices, _ORDER)  # [num_examples, 4]
    return np.argsort(bits[:, 0] << _SHIFT | bits[:, 1], kind="stable")


def draw_augmentations(
    augment: AugmentConfig,
    *,
    seed: int,
    epochs: np.ndarray,  # int [n]
    indices: np.ndarray,  # int [n], in the split
    stored_size: int,  # pixels, as `image_size`
    image_size: int,
    positions: np.ndarray | None = None,  # int [n], in the order of the epoch; for `crop_chunk`
) -> Draws:
    """Draws the changes to images `indices` as they are visited in `epochs`.

    Offsets are uniform over 0 .. stored_size - image_size inclusive (33 x 33 for 256 -> 224), as in
    the 2012 file `convdata.py`.
    Deviation: one draw per image by default, where 2012 drew one crop and one flip per 32
    consecutive images; that was a saving of its loader, and weaker augmentation. `crop_chunk` does
    the same as 2012.

    Raises:
      InputError: the stored images are smaller than the crop.
    """
    n = len(indices)
    drawn = indices  # whose numbers decide about crop and flip
    if augment.crop_chunk > 1:
        assert positions is not None
        drawn = positions // augment.crop_chunk
    bits = random_block(seed, epochs, drawn, _CROP)  # [n, 4]: top, left, flip, rotation
    offsets, boxes = np.zeros((n, 2), np.int32), np.zeros((n, 4), np.int32)
    degrees, colour = np.zeros(n), np.zeros((n, 3), np.float32)
    if augment.recipe == "resized-crop":
        boxes = _boxes(augment, seed, epochs, drawn, stored_size)  # [n, 4]
        degrees = (2 * _uniform(bits[:, 3]) - 1) * augment.rotation_degrees  # [n]
        # The numbers of `crop`'s offsets are free here; with probability 1 each lies below it.
        degrees[_uniform(bits[:, 0]) >= augment.rotation_probability] = 0
    else:
        margin = stored_size - image_size
        if margin < 0:
            raise InputError(
                f"A crop of {image_size} pixels does not fit stored images of {stored_size}: "
                "lower image_size, or prepare the data with a larger stored_size."
            )
        offsets[:] = margin // 2
        if augment.recipe == "crop":
            offsets = _integers(bits[:, :2], margin + 1).astype(np.int32)  # [n, 2]
    flips = bits[:, 2] >> np.uint64(31) == 1 if augment.mirror else np.zeros(n, bool)
    if augment.colour_noise:
        colour = _normals(random_block(seed, epochs, indices, _COLOUR))[:, :3].astype(np.float32)
    return Draws(offsets, boxes, degrees, flips, colour)


def resized_crop(image: np.ndarray, box: np.ndarray, degrees: float, size: int) -> np.ndarray:
    """Returns uint8 [size, size, 3] from `box` (top, left, height, width) of an image [h, w, 3].

    Resizing is bilinear with antialiasing; the rotation is counter-clockwise about the centre, of
    the nearest pixel, with black corners: as torchvision does.
    Deviation: torchvision crops the whole photo; here the photo is stored as its centre square.
    """
    top, left, height, width = (int(v) for v in box)
    # Cropped first, not by `resize(box=...)`, whose filter reaches over the box's edges.
    crop = Image.fromarray(np.ascontiguousarray(image[top : top + height, left : left + width]))
    picture = crop.resize((size, size), Image.Resampling.BILINEAR)
    if degrees:
        picture = picture.rotate(degrees, Image.Resampling.NEAREST, fillcolor=(0, 0, 0))
    return np.asarray(picture)


def resized_crops(images: np.ndarray, draws: Draws, out: np.ndarray) -> None:
    """Writes changed images [n, stored, stored, 3] into `out` [n, size, size, 3], both uint8."""
    rows = zip(images, draws.boxes, draws.degrees.tolist(), draws.flips.tolist(), out, strict=True)
    for image, box, degrees, flip, target in rows:
        copy_image(resized_crop(image, box, degrees, out.shape[1]), flip, target)


def copy_image(image: np.ndarray, flip: bool, out: np.ndarray) -> None:
    """Copies `image`, mirrored where `flip`, into `out`; both uint8 [h, w, 3]."""
    if not flip:
        out[...] = image
        return
    for channel in range(3):  # three strided copies are faster than one of reversed pixels
        out[..., channel] = image[:, ::-1, channel]


def copy_reversed(image: np.ndarray, out: np.ndarray) -> None:
    """Copies blue, green, red, uint8 [h, w, 3], mirrored, to contiguous red, green, blue.

    Each row's bytes are read backwards, eight at a time: a quarter of the time of `copy_image`.
    """
    height, width, channels = out.shape
    length = width * channels  # bytes of a row
    size = min(8, length & -length)  # of a word: the largest power of two that divides a row
    word = np.dtype(f"u{size}")
    words = image.reshape(height, length).view(word.newbyteorder())  # [h, length / size]
    out.reshape(height, length).view(word)[...] = words[:, ::-1]


def _boxes(
    augment: AugmentConfig, seed: int, epochs: np.ndarray, indices: np.ndarray, stored: int
) -> np.ndarray:
    """Returns the boxes of RandomResizedCrop, int32 [n, 4]: the first of ten attempts that fits.

    An attempt takes a uniform share of the area and a log-uniform aspect ratio, as in torchvision;
    if none fits, the box is the largest central one within the ratio's bounds.
    """
    boxes = np.broadcast_to(_central_box(augment.ratio, stored), (len(indices), 4)).copy()
    waiting = np.ones(len(indices), bool)
    log_ratio = (math.log(augment.ratio[0]), math.log(augment.ratio[1]))
    for attempt in range(_MAX_ATTEMPTS):
        bits = random_block(seed, epochs, indices, _ATTEMPTS + attempt)  # [n, 4]
        area = stored * stored * _uniform(bits[:, 0], augment.scale)  # [n], square pixels
        aspect = np.exp(_uniform(bits[:, 1], log_ratio))  # [n], width / height
        width = np.rint(np.sqrt(area * aspect)).astype(np.int64)
        height = np.rint(np.sqrt(area / aspect)).astype(np.int64)
        fits = (0 < width) & (width <= stored) & (0 < height) & (height <= stored)
        top = _integers(bits[:, 2], np.maximum(stored - height + 1, 1))
        left = _integers(bits[:, 3], np.maximum(stored - width + 1, 1))
        found = np.stack([top, left, height, width], axis=1)  # [n, 4]
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


def _integers(bits: np.ndarray, limit: int | np.ndarray) -> np.ndarray:
    """Maps 32 random bits to integers in 0 .. limit - 1 (bias below limit / 2**32)."""
    return (bits * np.asarray(limit).astype(np.uint64) >> _SHIFT).astype(np.int64)


def _uniform(bits: np.ndarray, bounds: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    """Maps 32 random bits to float64 in the open interval between the bounds."""
    return bounds[0] + (bounds[1] - bounds[0]) * ((bits.astype(np.float64) + 0.5) / 2**32)


def _normals(bits: np.ndarray) -> np.ndarray:
    """Maps blocks of random bits [n, 4] to standard normals, float64 [n, 4] (Box-Muller)."""
    radius = np.sqrt(-2 * np.log(_uniform(bits[:, :2])))  # [n, 2]
    angle = 2 * np.pi * _uniform(bits[:, 2:])  # [n, 2]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
