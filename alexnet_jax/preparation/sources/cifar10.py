"""CIFAR-10: 60,000 photos of 32x32 pixels in ten classes (A. Krizhevsky, 2009).

The python version (pickled batches), the binary one, or train and test folders of class folders.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.config import DataConfig
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.preparation.file_trees.reading import read_tree
from alexnet_jax.preparation.file_trees.tree import Entry, Tree
from alexnet_jax.preparation.source_images import SourceImage
from alexnet_jax.preparation.sources.folder import list_photos
from alexnet_jax.preparation.sources.listing import SMALL_IMAGES, Listing, SourceKind

CLASS_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_PYTHON = {**{f"data_batch_{i}": "train" for i in range(1, 6)}, "test_batch": "test"}
_BINARY = {f"{name}.bin": split for name, split in _PYTHON.items()}
_ARCHIVES = ("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz")
_IMAGE_BYTES = 3 * 32 * 32
_MAX_BATCH_BYTES = 64 * 1024**2


def _list_images(data: DataConfig, work: Path) -> Listing:
    if not data.source:
        raise InputError("data.source is empty; give cifar-10-python.tar.gz or its folder")
    root = Path(data.source)
    published = next((root / name for name in _ARCHIVES if (root / name).is_file()), root)
    tree = read_tree(published, work)
    for files, read in ((_PYTHON, _read_python), (_BINARY, _read_binary)):
        batches = {e.name: e for e in tree.entries if e.name in files}
        if not batches:
            continue
        missing = [name for name in files if name not in batches]
        if missing:
            raise DataError(f"{root} lacks {', '.join(missing)} of CIFAR-10")
        splits: dict[str, list[SourceImage]] = {"train": [], "test": []}
        for name, split in files.items():
            splits[split] += read(batches[name])
        return Listing(CLASS_NAMES, CLASS_NAMES, splits)
    return _read_folders(data, tree, work)


def _read_folders(data: DataConfig, tree: Tree, work: Path) -> Listing:
    if not tree.folders and not any(e.parts[0].startswith("train.") for e in tree.entries):
        raise DataError(f"{data.source} holds no CIFAR-10: no batches, no class folders")
    listing = list_photos(data, work)
    if listing.class_ids != CLASS_NAMES:
        raise DataError(
            f"the class folders of {data.source} are {', '.join(listing.class_ids[:12])}; CIFAR-10 "
            f"has {', '.join(CLASS_NAMES)}"
        )
    return listing


def _read_binary(entry: Entry) -> list[SourceImage]:
    """Each image is one byte of label, then 32x32 of red, green and blue."""
    stride = 1 + _IMAGE_BYTES
    if entry.size == 0 or entry.size % stride:
        raise DataError(f"{entry.name} has {entry.size} bytes, no multiple of {stride}")
    if entry.packed:
        raise DataError(f"{entry.name} is compressed in {entry.path}; unpack that")
    labels = np.frombuffer(_read(entry), np.uint8)[::stride]
    name = entry.name.removesuffix(".bin")
    images = []
    for index, label in enumerate(labels):
        place = entry.path, entry.offset + index * stride + 1, _IMAGE_BYTES
        key = f"{name}/{index:05d}"
        images.append(SourceImage(key, _label(entry, label), *place, form="planar"))
    return images


def _read_python(entry: Entry) -> list[SourceImage]:
    try:
        read = _BatchUnpickler(io.BytesIO(_read(entry)), encoding="latin1").load()
        # Python 2 wrote the published files; copies that Python 3 wrote anew have bytes for text.
        batch = {_text(name): value for name, value in read.items()}
        for name in ("data", "labels", "filenames"):
            if name not in batch:
                raise ValueError(f"it has no '{name}'")
        images = np.asarray(batch["data"])
        if images.dtype != np.uint8 or images.shape != (len(batch["labels"]), _IMAGE_BYTES):
            raise ValueError(f"data is {images.dtype} {images.shape}")
        names = [_text(name) for name in batch["filenames"]]
        images = images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # [n, 32, 32, 3]
        return [
            # The batch is part of the key: file names may repeat in another batch.
            SourceImage(f"{entry.name}/{name}", _label(entry, label), form="pixels", pixels=image)
            for name, label, image in zip(names, batch["labels"], images, strict=True)
        ]
    except (DataError, OSError):
        raise
    except Exception as error:  # the instructions of a damaged pickle fail in any way
        why = str(error)[:100] or type(error).__name__
        raise DataError(f"{entry.name} is no batch of CIFAR-10: {why}") from None


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


class _BatchUnpickler(pickle.Unpickler):
    """Builds arrays, text and plain containers; any other object is refused, not made."""

    def find_class(self, module: str, name: str) -> Any:
        """A pickle may name any function; only what builds a NumPy array is returned."""
        if module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            if name == "_reconstruct":
                return np._core.multiarray._reconstruct  # pyright: ignore
        elif module in ("numpy.core.numeric", "numpy._core.numeric") and name == "_frombuffer":
            return _from_buffer  # protocol 5, the usual one since Python 3.14
        elif module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        elif (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes in protocol 2
            return _latin1
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is refused")


def _from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> np.ndarray:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it names the encoding {encoding!r}, which is refused")
    return text.encode("latin1")


def _read(entry: Entry) -> bytes:
    if entry.size > _MAX_BATCH_BYTES:
        raise DataError(f"{entry.name} has {entry.size} bytes; no CIFAR-10 batch")
    return entry.read(_MAX_BATCH_BYTES)


def _label(entry: Entry, label: Any) -> int:
    if not 0 <= int(label) < len(CLASS_NAMES):
        raise DataError(f"{entry.name} has the label {label}; CIFAR-10 has 0 to 9")
    return int(label)


SOURCE = SourceKind(
    _list_images,
    how_to_get="cifar-10-python.tar.gz from cs.toronto.edu/~kriz/cifar.html",
    defaults=SMALL_IMAGES,
    set_name=lambda _, storage: f"cifar10{storage}",
)
