"""Pairs of photos: a part of each at one of several sizes, and the same distorted."""

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from alexnet_jax.errors import InputError

SIZES = ((31, 31), (31, 64), (64, 64), (100, 150), (180, 133), (224, 224), (300, 211))
"""Heights and widths, pixels."""


class Pair(NamedTuple):
    """Two pictures, float32 `[height, width, 3]` in -1..1."""

    distortion: str
    x: np.ndarray
    y: np.ndarray


def _noise(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image, np.float32)
    noisy = pixels + np.random.default_rng(0).normal(0, 20, pixels.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def _jpeg(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=10)
    return Image.open(stream).convert("RGB")


DISTORTIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "noise": _noise,
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "JPEG of quality 10": _jpeg,
    "two pixels to the right": lambda image: image.transform(
        image.size, Image.Transform.AFFINE, (1, 0, -2, 0, 1, 0)
    ),
    "half the contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.5),
    "upside down": ImageOps.flip,
}


def read_pairs(archive: Path) -> Iterator[Pair]:
    """Yields a pair for each size and distortion, each of another photo of the tar."""
    photos = _photos(archive)
    for height, width in SIZES:
        for name, distort in DISTORTIONS.items():
            photo = ImageOps.fit(next(photos), (width, height), Image.Resampling.BICUBIC)
            yield Pair(name, *(_as_floats(image) for image in (photo, distort(photo))))


def _as_floats(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32) / np.float32(127.5) - 1


def _photos(archive: Path) -> Iterator[Image.Image]:
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file and member.name.lower().endswith((".jpg", ".jpeg")):
                yield Image.open(io.BytesIO(file.read())).convert("RGB")
    wanted = len(SIZES) * len(DISTORTIONS)
    raise InputError(f"{archive.name} has fewer than {wanted} photos; give another --photos")
