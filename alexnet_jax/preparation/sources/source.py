"""What a builder hands to `prepare`: the list of images of a source, and how to read one."""

import functools
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from alexnet_jax.config import AS_STORED, Appearance
from alexnet_jax.data.decode import MAX_FILE_BYTES, BadImageError, decode_rgb
from alexnet_jax.data.square import fit_square
from alexnet_jax.errors import printable
from alexnet_jax.preparation.sources.places import read_place


class Record(NamedTuple):
    """One image of a source, and where its bytes are.

    Attributes:
      key: name of the image inside its source; unique within a split.
      label: class index.
      path: file that holds the bytes (an image, a tar, a CIFAR batch), or a TFDS folder.
      offset, size: the bytes' place in that file; offset 0: the whole file, as nothing begins
        there in a tar. For `tfds`, offset is the index of the example.
      form: `file` is an encoded image, `planar` 32x32 bytes of red, then green, then blue,
        `pixels` an array in memory, `tfds` an example of a prepared TFDS set.
      pixels: uint8 [h, w, 3] where `form` is `pixels`.
      split: split of the TFDS set where `form` is `tfds`.
      packed: bytes that the file takes at `offset` as a raw deflate stream, in a zip; 0: it lies
        there as it is.
    """

    key: str
    label: int
    path: str = ""
    offset: int = 0
    size: int = 0
    form: Literal["file", "planar", "pixels", "tfds"] = "file"
    pixels: np.ndarray | None = None
    split: str = ""
    packed: int = 0


@dataclass(frozen=True)
class Source:
    """All images of a source.

    Attributes:
      class_names: readable names in the order of the labels, each once.
      class_ids: folder names or WordNet ids in the same order.
      splits: records by split name (`train`, `validation`, `test`), in the source's order.
      ignored: why entries of the source were not taken for images, and how many.
      understood: what of the source's order was taken for what, a line each.
      held_out: the source has no validation split; a share of `train` was set aside for it.
    """

    class_names: tuple[str, ...]
    class_ids: tuple[str, ...]
    splits: dict[str, list[Record]]
    ignored: Mapping[str, int] = field(default_factory=dict)
    understood: tuple[str, ...] = ()
    held_out: bool = False

    def told(self) -> list[str]:
        """Returns lines for whoever is about to prepare it: what was understood, and left out."""
        lines = [f"understood  {line}" for line in self.understood]
        lines += [f"left out    {count:,} {why}" for why, count in self.ignored.items()]
        return [printable(line) for line in lines]


def read_square(
    record: Record,
    size: int,
    appearance: Appearance = AS_STORED,
    notes: list[str] | None = None,
) -> np.ndarray:
    """Reads one image of a source and fits it to the stored square.

    Args:
      record: which image.
      size: stored height and width, pixels.
      appearance: how encoded images are read.
      notes: see `decode_rgb`.

    Returns:
      uint8 [size, size, 3].

    Raises:
      BadImageError: the image can not be read or decoded.
    """
    from PIL import Image

    if record.form == "pixels":
        assert record.pixels is not None
        return fit_square(Image.fromarray(record.pixels), size)
    if record.form == "planar":
        planes = np.frombuffer(_read_bytes(record), np.uint8).reshape(3, 32, 32)
        return fit_square(Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0))), size)
    return fit_square(decode_rgb(read_encoded(record), appearance, notes), size)


def read_encoded(record: Record, piece: int | None = None) -> bytes:
    """Returns the bytes of an image file, as they lie in the source.

    Args:
      record: of the form `file` or `tfds`.
      piece: only so many bytes of the middle of a file; None: all. Of `tfds`, and of a file that a
        zip has packed, always all.

    Raises:
      BadImageError: they can not be read.
    """
    if record.form == "tfds":
        return _read_tfds(record)
    if piece is None or record.form != "file" or record.packed or record.size <= piece:
        return _read_bytes(record)
    try:
        with open(record.path, "rb") as file:
            file.seek(record.offset + (record.size - piece) // 2)
            return file.read(piece)
    except OSError as error:
        raise BadImageError(error.strerror or str(error)) from None


def unique_names(names: list[str], ids: list[str]) -> tuple[str, ...]:
    """Returns `names` with the id added where two classes share a name (there are two cranes)."""
    counts = Counter(names)
    return tuple(
        name if name and counts[name] == 1 else f"{name} ({id_})".strip()
        for name, id_ in zip(names, ids, strict=True)
    )


def content_digest(record: Record) -> int:
    """Returns 64 bits that stand for the bytes of an image in its source; 0: they can't be read."""
    if record.form == "tfds":
        return 1  # a version of the catalogue never changes
    try:
        data = record.pixels.tobytes() if record.pixels is not None else _read_bytes(record)
    except BadImageError:
        return 0
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") or 1


def _read_bytes(record: Record) -> bytes:
    if record.size > MAX_FILE_BYTES:
        raise BadImageError(f"file of {record.size} bytes is over {MAX_FILE_BYTES}")
    try:
        return read_place(record.path, record.offset, record.size, record.packed, MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        raise BadImageError(getattr(error, "strerror", None) or str(error)) from None


def _read_tfds(record: Record) -> bytes:
    return _open_tfds(record.path, record.split)[record.offset]["image"]


@functools.lru_cache(maxsize=8)
def _open_tfds(path: str, split: str) -> Any:
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(path)
    return builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
