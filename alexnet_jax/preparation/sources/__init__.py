"""The kinds of sources that `prepare` reads, each a module of that name with its `SOURCE`."""

import importlib
from pathlib import Path

from alexnet_jax.config import DataConfig
from alexnet_jax.errors import DataError
from alexnet_jax.locations import readable
from alexnet_jax.preparation.sources.listing import Listing, SourceKind
from alexnet_jax.resolution import check_source_kind


def source_kind(name: str) -> SourceKind:
    """Raises `InputError` for an unknown kind."""
    check_source_kind(name)
    return importlib.import_module(f"{__name__}.{name}").SOURCE


def list_images(data: DataConfig, work: Path) -> Listing:
    """Decodes nothing; each of at least two classes must have a training image (`DataError`)."""
    try:
        listing = source_kind(data.source_kind).list_images(data, work)
    except OSError as error:
        raise DataError(
            f"cannot read {readable(error.filename or data.source)}: {error.strerror}; make it "
            f"readable; if something changes {readable(data.source)} at this moment, try again "
            "when that is done"
        ) from None
    name = data.source or data.source_kind
    if len(listing.class_names) < 2:
        raise DataError(
            f"{name} has only one class ('{listing.class_ids[0]}'); a classifier needs at least two"
        )
    used = {image.label for image in listing.splits.get("train", ())}
    if not used:
        raise DataError(f"{name} has no training images")
    for label, class_id in enumerate(listing.class_ids):
        if label not in used:
            raise DataError(
                f"class '{class_id}' of {name} has no training images; add some, or remove "
                "its folder"
            )
    return listing
