"""TFDS's catalogue sets, which need TensorFlow to be written, or prepared folders, which do not."""

from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.config import DataConfig
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.preparation.source_images import SourceImage
from alexnet_jax.preparation.sources.listing import (
    Listing,
    SourceKind,
    slug,
    unique_names,
    with_validation,
)

_SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}


def _list_images(data: DataConfig, work: Path) -> Listing:
    del work
    if not data.source:
        raise InputError("data.source is empty; give a name of the TFDS catalogue")
    builder = _open(data.source)
    names = _class_names(builder, data.source)
    splits = {}
    unlabelled = 0
    for split, catalogue_names in _SPLITS.items():
        found = next((name for name in catalogue_names if name in builder.info.splits), None)
        labels = _labels(builder, found) if found else np.zeros(0, np.int64)
        path = str(builder.data_dir)
        images = [
            SourceImage(f"{found}/{i:08d}", int(label), path, i, form="tfds", split=str(found))
            for i, label in enumerate(labels)
            if label >= 0  # -1 is TFDS's mark for "not published", as of many test splits
        ]
        unlabelled += len(labels) - len(images)
        if images:
            splits[split] = images
    if "train" not in splits:
        raise DataError(f"the TFDS set {data.source} has no split 'train'")
    splits, held_out = with_validation(data, splits)
    left_out = {"examples without a label": unlabelled} if unlabelled else {}
    return Listing(unique_names(names, names), tuple(names), splits, left_out, held_out=held_out)


def _open(source: str) -> Any:
    import tensorflow_datasets as tfds

    if Path(source).is_absolute():
        if not (Path(source) / "dataset_info.json").is_file():
            raise InputError(f"{source} is no prepared TFDS set: it has no dataset_info.json")
        builder = tfds.builder_from_directory(source)
        if builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
            raise InputError(
                f"{source} is stored as {builder.info.file_format}; only array_record has random "
                "access: prepare it with tfds.builder(…, file_format='array_record')"
            )
        return builder
    try:
        import tensorflow  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            f"TFDS needs TensorFlow to prepare '{source}' (not to read it later), and it is not "
            "installed; type: pip install tensorflow"
        ) from None
    try:
        builder = tfds.builder(source, file_format="array_record")
    except tfds.core.DatasetNotFoundError:
        raise InputError(f"the TFDS catalogue has no set '{source}'") from None
    try:
        builder.download_and_prepare()
    except Exception as error:  # any of TFDS's 1,000 builders: network, disk, manual downloads
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"TFDS cannot prepare '{source}': {reason}") from error
    return builder


def _class_names(builder: Any, source: str) -> list[str]:
    import tensorflow_datasets as tfds

    features = builder.info.features
    by_name = dict(features.items()) if hasattr(features, "items") else {}
    image, label = by_name.get("image"), by_name.get("label")
    if not (isinstance(image, tfds.features.Image) and isinstance(label, tfds.features.ClassLabel)):
        raise DataError(
            f"the TFDS set {source} has the features {', '.join(by_name) or features}; it needs an "
            "'image' and one 'label'"
        )
    return list(label.names)


def _labels(builder: Any, split: str) -> np.ndarray:
    import tensorflow_datasets as tfds

    source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    return np.array([example["label"] for example in source], np.int64)


def _set_name(data: DataConfig, storage: str) -> str:
    """A prepared folder gives no name, as paths may share one."""
    named = data.source and not Path(data.source).is_absolute()
    return f"{slug(data.source)}{storage}" if named else ""


SOURCE = SourceKind(
    _list_images,
    how_to_get=(
        "its name in the TFDS catalogue (tensorflow.org/datasets) and `pip install tensorflow`"
    ),
    location="name",
    options=("validation_fraction", "copies"),
    set_name=_set_name,
)
