"""The end of a preparation: from written shards to a data set, or to the reasons why not."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from alexnet_jax.config import DataConfig
from alexnet_jax.data.prepared import (
    BAD_IMAGES,
    EXAMPLES,
    FORMAT_VERSION,
    PREPARED,
    STATISTICS,
    WORK,
    pack_strings,
)
from alexnet_jax.data.versions import number_of
from alexnet_jax.display import Display
from alexnet_jax.errors import DataError
from alexnet_jax.files import write_arrays, write_text
from alexnet_jax.preparation import storage
from alexnet_jax.preparation.copy_search import Copies, write_copies
from alexnet_jax.preparation.set_options import described_options
from alexnet_jax.preparation.shards import MAX_BAD_IN_A_ROW
from alexnet_jax.preparation.source_files import SourceFiles
from alexnet_jax.preparation.source_record import record_source
from alexnet_jax.preparation.sources.listing import Listing
from alexnet_jax.preparation.statistics import reduce
from alexnet_jax.preparation.storage import Shard, ShardResult, Storage

MAX_BAD_FRACTION = 0.1
_PACKAGES = ("numpy", "pillow", "simplejpeg", "tensorflow-datasets")


def stop_for_bad(results: list[ShardResult], folder: Path, data: DataConfig) -> NoReturn:
    bad = _write_bad(folder, results)
    first = f"{bad[0]['key']}: {bad[0]['reason']}" if bad else ""
    raise DataError(
        f"{len(bad)} bad images in {data.source or data.source_kind} (first: {first}); all are "
        f"listed in {folder / BAD_IMAGES}. Repair or remove them, or skip them; more "
        f"than {MAX_BAD_FRACTION:.0%} or {MAX_BAD_IN_A_ROW} in a row are never skipped"
    )


def _write_bad(folder: Path, results: Iterable[ShardResult]) -> list[dict[str, str]]:
    bad = [row for result in results for row in result.bad]
    bad.sort(key=lambda row: (row["split"], row["key"]))
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in bad)
    write_text(folder / BAD_IMAGES, text)
    return bad


def finish(
    folder: Path,
    data: DataConfig,
    listing: Listing,
    files: SourceFiles | None,
    stored: Storage,
    shards: list[Shard],
    results: dict[str, ShardResult],
    copies: Copies,
    display: Display,
) -> None:
    """`files` are the source's from before its images were listed; `results` are by file."""
    by_split: dict[str, list[ShardResult]] = {}
    for shard in shards:
        by_split.setdefault(shard.split, []).append(results[shard.file])
    bad = _write_bad(folder, results.values())
    if bad and shards[0].bad_images == "error":
        stop_for_bad(list(results.values()), folder, data)
    counts = _class_counts(folder, listing, by_split)
    sums = (storage.load_sums(folder, result.file) for result in by_split["train"])
    write_arrays(folder / STATISTICS, **reduce(sums, data.stored_size)._asdict())
    _write_examples(folder, by_split)
    title = f"{data.name}, prepared by alexnet_jax from {data.source_kind}"
    storage.write_tfds_metadata(folder, stored, by_split, title)
    if files is not None:
        record_source(folder, files, copies.images, shards, results)
    prepared: dict[str, Any] = {"set_version": number_of(folder, data.name)}
    prepared |= _description(data, listing, by_split, counts)
    prepared["copies"] = write_copies(folder, listing, copies, bad, display)
    storage.write_json(folder / PREPARED, prepared)
    shutil.rmtree(folder / WORK, ignore_errors=True)
    sizes = ", ".join(f"{count.sum():,} {split}" for split, count in counts.items())
    display.say(f"{data.name}: {sizes}, {len(listing.class_names)} classes, in {folder}")
    if bad:  # printed even without progress
        display.warn(f"{len(bad)} bad images left out, listed in {folder / BAD_IMAGES}")
    if without_end := prepared["without_end_marker"]:
        display.say(f"{without_end} JPEGs lack their end marker; all pixels are there")


def _class_counts(
    folder: Path, listing: Listing, by_split: Mapping[str, list[ShardResult]]
) -> dict[str, np.ndarray]:
    classes = len(listing.class_ids)
    counts = {
        split: np.bincount(np.concatenate([r.labels for r in parts]), minlength=classes)
        for split, parts in by_split.items()
    }
    for class_id, count in zip(listing.class_ids, counts["train"], strict=True):
        if not count:
            raise DataError(
                f"class '{class_id}' has no readable training image; reasons in "
                f"{folder / BAD_IMAGES}"
            )
    return counts


def _write_examples(folder: Path, by_split: Mapping[str, list[ShardResult]]) -> None:
    arrays = {}
    for split, parts in by_split.items():
        arrays[f"{split}_labels"] = np.concatenate([result.labels for result in parts])
        arrays[f"{split}_keys"] = pack_strings([key for r in parts for key in r.keys])
        arrays[f"{split}_checksums"] = np.concatenate([result.checksums for result in parts])
    write_arrays(folder / EXAMPLES, compressed=True, **arrays)


def _description(
    data: DataConfig,
    listing: Listing,
    by_split: Mapping[str, list[ShardResult]],
    counts: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    fingerprint = hashlib.sha256()
    for split, parts in by_split.items():
        for result in parts:
            fingerprint.update(f"{split} {len(result.labels)} {result.digest}\n".encode())
    fingerprint.update(json.dumps(listing.class_names).encode())
    results = [result for parts in by_split.values() for result in parts]
    return {
        "format_version": FORMAT_VERSION,
        "name": data.name,
        "options": described_options(data),
        "class_names": list(listing.class_names),
        "class_ids": list(listing.class_ids),
        "counts": {split: int(count.sum()) for split, count in counts.items()},
        "splits": {
            split: {
                "examples": int(counts[split].sum()),
                "bytes": sum(result.num_bytes for result in parts),
                "per_class": counts[split].tolist(),
                "shards": [[r.file, len(r.labels), r.num_bytes] for r in parts],
            }
            for split, parts in by_split.items()
        },
        "bad_images": sum(len(result.bad) for result in results),
        "without_end_marker": sum(result.without_end for result in results),
        "ignored": dict(listing.left_out),
        "fingerprint": fingerprint.hexdigest(),
        "versions": {name: version(name) for name in _PACKAGES},
    }
