"""Readers of raw image collections: folders, tars, CIFAR-10, ILSVRC, digits, TFDS.

Each module lists the images of one kind of source; `list_images` picks the module. Nothing here
decodes an image or writes into a source.
"""

import importlib
from pathlib import Path

from alexnet_jax.config import DataConfig
from alexnet_jax.errors import DataError
from alexnet_jax.locations import readable
from alexnet_jax.preparation.sources.source import Source
from alexnet_jax.resolution import check_kind

_MODULES = {
    "digits": "digits",
    "folder": "folder",
    "cifar10": "cifar10",
    "imagenet2012": "imagenet",
    "tfds": "catalogue",
}


def list_images(data: DataConfig, work: Path) -> Source:
    """Lists all images of `data.source` with split and label.

    Args:
      data: which source, and its options.
      work: folder for what must be unpacked on the way (compressed archives).

    Returns:
      The source; at least two classes, each with at least one training image.

    Raises:
      InputError: unknown kind, or a source that is missing or of the wrong kind.
      DataError: a source of the right kind without usable contents.
    """
    check_kind(data.source_kind)
    module = importlib.import_module(f"{__name__}.{_MODULES[data.source_kind]}")
    try:
        source: Source = module.list_images(data, work)
    except OSError as error:
        what = readable(error.filename or data.source)
        raise DataError(
            f"cannot read {what}: {error.strerror}; make it readable, or, if something changes "
            f"{readable(data.source)} at this moment, try again when that is done"
        ) from None
    _check(source, data.source or data.source_kind)
    return source


def _check(source: Source, name: str) -> None:
    if len(source.class_names) < 2:
        raise DataError(
            f"{name} has only one class ('{source.class_ids[0]}'); a classifier needs at least two"
        )
    train = source.splits.get("train")
    if not train:
        raise DataError(f"{name} has no training images")
    used = {record.label for record in train}
    for label, class_id in enumerate(source.class_ids):
        if label not in used:
            raise DataError(
                f"class '{class_id}' of {name} has no training images; add some, or remove "
                "its folder"
            )
