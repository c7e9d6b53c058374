"""Images that a user hands over, read as a network's data set would store them."""

import io
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from alexnet_jax.appearance import AS_VIEWED, Appearance
from alexnet_jax.data.decode import MAX_FILE_BYTES, appear, decode_rgb
from alexnet_jax.data.square import fit_square
from alexnet_jax.errors import BadImageError, DataError, InputError
from alexnet_jax.preparation.file_trees.tree import Entry

UserImage = str | os.PathLike | bytes | Entry | Image.Image | np.ndarray
"""A path, bytes of an image file, a file in a zip, a Pillow image or an array."""
UserImages = UserImage | Sequence[UserImage]


class Unreadable(NamedTuple):
    """An image that was left out: its place in the list, its name, and why."""

    index: int  # pyright: ignore[reportIncompatibleMethodOverride]
    name: str
    reason: str


def as_sequence(images: UserImages) -> Sequence[UserImage]:
    """Returns the images as a sequence; a single one becomes a list of one."""
    if isinstance(images, str | os.PathLike | bytes | Entry | Image.Image):
        return [images]
    if isinstance(images, np.ndarray):
        if images.ndim != 4:
            raise InputError(
                f"an array of images should be [n, height, width, 3], not {list(images.shape)}"
                + ("; use array[None] for a single image" if images.ndim == 3 else "")
            )
        _check_array(images[0] if len(images) else np.empty((1, 1, 3), images.dtype))
        return list(images)
    return images


def read_image(image: UserImage, size: int, appearance: Appearance = AS_VIEWED) -> np.ndarray:
    """Returns uint8 `[size, size, 3]`: shorter side rescaled to `size`, then the central square.

    Raises:
      BadImageError: the file cannot be read or is no image.
      InputError: the object is of another type or shape.
    """
    if isinstance(image, np.ndarray):
        _check_array(image)
        return fit_square(Image.fromarray(np.ascontiguousarray(image)), size)
    if isinstance(image, Image.Image):
        return fit_square(appear(image, appearance), size)
    if not isinstance(image, str | os.PathLike | bytes | Entry):
        raise InputError(
            "images should be paths, bytes, Pillow images or uint8 arrays, not "
            f"{type(image).__name__}"
        )
    data = image if isinstance(image, bytes) else _read_bytes(image)
    return fit_square(decode_rgb(data, appearance), size)


def read_batches(
    images: Sequence[UserImage],
    batch_size: int,
    size: int,
    appearance: Appearance,
    unreadable: list[Unreadable] | None,
) -> Iterator[np.ndarray]:
    """Yields uint8 `[k, size, size, 3]`; without `unreadable` a bad image raises `InputError`."""
    batch: list[np.ndarray] = []
    for index, result in enumerate(_read_ahead(images, 2 * batch_size, size, appearance)):
        if isinstance(result, np.ndarray):
            batch.append(result)
        else:
            image = images[index]
            is_path = isinstance(image, str | os.PathLike)
            name = os.fspath(image) if is_path else f"image {index}"
            if unreadable is None:
                raise InputError(f"{name} cannot be read: {result}")
            unreadable.append(Unreadable(index, name, str(result)))
        if len(batch) == batch_size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def _read_ahead(
    images: Sequence[UserImage], ahead: int, size: int, appearance: Appearance
) -> Iterator[np.ndarray | BadImageError]:
    """Yields every image or why it cannot be read, in order; threads read `ahead` of them."""

    def read(image: UserImage) -> np.ndarray | BadImageError:
        try:
            return read_image(image, size, appearance)
        except BadImageError as error:
            return error

    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="read_image")
    pending: deque[Future[np.ndarray | BadImageError]] = deque()
    try:
        for image in images:
            pending.append(pool.submit(read, image))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read_bytes(image: str | os.PathLike | Entry) -> bytes:
    try:
        if isinstance(image, Entry):
            return read_limited(io.BytesIO(image.read(MAX_FILE_BYTES + 1)))
        with open(image, "rb") as file:
            return read_limited(file)
    except DataError as error:
        raise BadImageError(str(error)) from None
    except OSError as error:
        raise BadImageError(error.strerror or str(error)) from None


def read_limited(file: BinaryIO) -> bytes:
    """Returns the bytes of a file or pipe; raises `BadImageError` if these are too many."""
    data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise BadImageError(f"more than {MAX_FILE_BYTES // 2**20} MiB")
    return data


def _check_array(array: np.ndarray) -> None:
    if array.dtype != np.uint8:
        raise InputError(
            f"images in arrays should be uint8 in 0..255, not {array.dtype}; "
            "scale floats by 255 and convert them with astype('uint8')"
        )
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise InputError(f"an image should be [height, width, 3], not {list(array.shape)}")
