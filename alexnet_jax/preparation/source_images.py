"""One image of a source: where its bytes are, and how they are read."""

import functools
import hashlib
from typing import Any, Literal, NamedTuple

import numpy as np

from alexnet_jax.appearance import AS_STORED, Appearance
from alexnet_jax.data.decode import MAX_FILE_BYTES, decode_pixels
from alexnet_jax.data.square import fit_square
from alexnet_jax.errors import BadImageError
from alexnet_jax.preparation.file_trees.member_bytes import read_member


class SourceImage(NamedTuple):
    """One image of a source, and where its bytes are."""

    key: str  # unique within a split
    label: int  # class index
    path: str = ""  # file of the bytes (image, archive, CIFAR batch), or a TFDS folder
    # bytes; 0: the whole file, as no member of an archive begins there; TFDS: example index
    offset: int = 0
    size: int = 0  # bytes
    # planar: 32x32 bytes of red, then green, then blue
    form: Literal["file", "planar", "pixels", "tfds"] = "file"
    pixels: np.ndarray | None = None  # uint8 [h, w, 3] if `form` is "pixels"
    split: str = ""  # of the TFDS set
    packed: int = 0  # bytes of its deflate stream in a zip; 0: not compressed


def read_square(
    image: SourceImage,
    size: int,
    appearance: Appearance = AS_STORED,
    notes: list[str] | None = None,
) -> np.ndarray:
    """Reads an image and fits it to the stored square, uint8 [size, size, 3]."""
    return square_of(image, read_content(image), size, appearance, notes)


def square_of(
    image: SourceImage,
    content: bytes,
    size: int,
    appearance: Appearance = AS_STORED,
    notes: list[str] | None = None,
) -> np.ndarray:
    """Decodes what `read_content` returned, and fits it to the stored square."""
    if image.pixels is not None:
        return fit_square(image.pixels, size)
    if image.form == "planar":
        planes = np.frombuffer(content, np.uint8).reshape(3, 32, 32)
        return fit_square(planes.transpose(1, 2, 0), size)
    return fit_square(decode_pixels(content, appearance, notes), size)


def read_content(image: SourceImage) -> bytes:
    """Reads what a source holds of an image: an encoded file, or pixels."""
    return image.pixels.tobytes() if image.pixels is not None else read_encoded(image)


def read_encoded(image: SourceImage, max_middle_bytes: int | None = None) -> bytes:
    """`max_middle_bytes` reads only the middle of a large file, not of TFDS or compressed zips."""
    if image.form == "tfds":
        return _open_tfds(image.path, image.split)[image.offset]["image"]
    if max_middle_bytes is None or image.size <= max_middle_bytes:
        return _read_bytes(image)
    if image.form != "file" or image.packed:
        return _read_bytes(image)
    try:
        with open(image.path, "rb") as file:
            file.seek(image.offset + (image.size - max_middle_bytes) // 2)
            return file.read(max_middle_bytes)
    except OSError as error:
        raise BadImageError(error.strerror or str(error)) from None


def content_digest(image: SourceImage) -> int:
    """Returns a 64-bit digest of an image's bytes in its source; 0: they cannot be read."""
    if image.form == "tfds":
        return digest_of(image, b"")
    try:
        return digest_of(image, read_content(image))
    except BadImageError:
        return 0


def digest_of(image: SourceImage, content: bytes) -> int:
    """Returns the `content_digest` of what `read_content` returned."""
    if image.form == "tfds":
        return 1  # a version of the catalogue never changes
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little") or 1


def _read_bytes(image: SourceImage) -> bytes:
    if image.size > MAX_FILE_BYTES:
        raise BadImageError(f"file of {image.size} bytes is over {MAX_FILE_BYTES}")
    try:
        return read_member(image.path, image.offset, image.size, image.packed, MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        raise BadImageError(getattr(error, "strerror", None) or str(error)) from None


@functools.lru_cache(maxsize=8)
def _open_tfds(path: str, split: str) -> Any:
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(path)
    return builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
