"""Sets of the TFDS catalogue (`cats_vs_dogs`, `imagenet2012`, …), or any prepared TFDS folder.

The catalogue's own builders need TensorFlow to write a set, so this module may import it; a TFDS
set that lies prepared as ArrayRecord (`data.source` is then its folder) needs none. The encoded
images are read from there as they are; they are stored once more, fitted to the stored size.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.config import DataConfig
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.preparation.sources.source import Record, Source, unique_names
from alexnet_jax.preparation.splitting import hold_out

_SPLITS: dict[str, Sequence[str]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "val"),
    "test": ("test",),
}


def list_images(data: DataConfig, work: Path) -> Source:
    """Lists the examples of the TFDS set `data.source`, a catalogue name or a prepared folder.

    Raises:
      InputError: an unknown name, or TensorFlow is missing.
      DataError: the set is not one of images with one label, or can not be prepared.
    """
    del work
    if not data.source:
        raise InputError("data.source is empty; give a name of the TFDS catalogue")
    builder = _open(data.source)
    names = _class_names(builder, data.source)
    splits = {}
    unlabelled = 0
    for split, theirs in _SPLITS.items():
        found = next((name for name in theirs if name in builder.info.splits), None)
        if found:
            labels = _labels(builder, found)
            # A label below 0 is TFDS's mark for "not published", as of many test splits.
            path = str(builder.data_dir)
            splits[split] = [
                Record(f"{found}/{i:08d}", int(label), path, i, form="tfds", split=found)
                for i, label in enumerate(labels)
                if label >= 0
            ]
            unlabelled += len(labels) - len(splits[split])
    splits = {split: records for split, records in splits.items() if records}
    if "train" not in splits:
        raise DataError(f"the TFDS set {data.source} has no split 'train'")
    held_out = list(splits) == ["train"] and data.validation_fraction > 0
    if held_out:
        train, validation = hold_out(splits["train"], data.validation_fraction)
        splits = {"train": train, "validation": validation}
    ignored = {"examples without a label": unlabelled} if unlabelled else {}
    return Source(unique_names(names, names), tuple(names), splits, ignored, held_out=held_out)


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
        raise DataError(f"TFDS can not prepare '{source}': {reason}") from error
    return builder


def _class_names(builder: Any, source: str) -> list[str]:
    import tensorflow_datasets as tfds

    features = builder.info.features
    own = dict(features.items()) if hasattr(features, "items") else {}
    image, label = own.get("image"), own.get("label")
    if not isinstance(image, tfds.features.Image) or not isinstance(
        label, tfds.features.ClassLabel
    ):
        raise DataError(
            f"the TFDS set {source} has the features {', '.join(own) or features}; needed are an "
            "'image' and one 'label'"
        )
    return list(label.names)


def _labels(builder: Any, split: str) -> np.ndarray:
    import tensorflow_datasets as tfds

    source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    return np.array([example["label"] for example in source], np.int64)
