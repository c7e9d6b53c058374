"""The end of a preparation: from written shards to a data set, or to the reasons why not."""

import hashlib
import json
import shutil
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
    WORK,
    pack_strings,
)
from alexnet_jax.data.versions import number_of
from alexnet_jax.errors import DataError
from alexnet_jax.files import write_arrays, write_text
from alexnet_jax.preparation import storage
from alexnet_jax.preparation.copies import Copies, write_copies
from alexnet_jax.preparation.options import described_options
from alexnet_jax.preparation.origin import remember
from alexnet_jax.preparation.progress import say
from alexnet_jax.preparation.shards import MAX_BAD_IN_A_ROW
from alexnet_jax.preparation.source_files import SourceFiles
from alexnet_jax.preparation.sources.source import Source
from alexnet_jax.preparation.statistics import reduce, save_statistics
from alexnet_jax.preparation.storage import Shard, ShardResult, Storage

MAX_BAD_FRACTION = 0.1


def stop_for_bad(results: list[ShardResult], folder: Path, data: DataConfig) -> NoReturn:
    """Lists the bad images of `results` and raises the `DataError` that ends a preparation.

    Args:
      results: of the shards that were written.
      folder: of the set.
      data: what is prepared.
    """
    bad = _write_bad(folder, results)
    first = f"{bad[0]['key']}: {bad[0]['reason']}" if bad else ""
    raise DataError(
        f"{len(bad)} bad images in {data.source or data.source_kind} (first: {first}); all are "
        f"listed in {folder / BAD_IMAGES}. Mend or remove them, or skip them; more "
        f"than {MAX_BAD_FRACTION:.0%} or {MAX_BAD_IN_A_ROW} in a row are never skipped"
    )


def _write_bad(folder: Path, results: list[ShardResult]) -> list[dict[str, str]]:
    bad = [row for result in results for row in result.bad]
    bad.sort(key=lambda row: (row["split"], row["key"]))
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in bad)
    write_text(folder / BAD_IMAGES, text)
    return bad


def finish(
    folder: Path,
    data: DataConfig,
    source: Source,
    files: SourceFiles | None,
    stored: Storage,
    shards: list[Shard],
    results: dict[str, ShardResult],
    copies: Copies,
    progress: bool,
) -> None:
    """Reduces the sidecars and writes everything that makes the shards a data set.

    Args:
      folder: of the set.
      data: what is prepared.
      source: its images.
      files: those of the source, from before its images were listed; None: it has none.
      stored: how they are stored.
      shards: all of them.
      results: of every shard.
      copies: photos of the source that show one scene.
      progress: print lines for the user.
    """
    by_split: dict[str, list[ShardResult]] = {}
    for shard in shards:
        by_split.setdefault(shard.split, []).append(results[shard.file])
    bad = _write_bad(folder, list(results.values()))
    counts = {
        split: np.bincount(
            np.concatenate([result.labels for result in parts]), minlength=len(source.class_names)
        )
        for split, parts in by_split.items()
    }
    if bad and shards[0].bad_images == "error":
        stop_for_bad(list(results.values()), folder, data)
    for label, count in enumerate(counts["train"]):
        if not count:
            raise DataError(
                f"class '{source.class_ids[label]}' has no readable training image; reasons in "
                f"{folder / BAD_IMAGES}"
            )
    sums = (storage.load_sums(folder, result.file) for result in by_split["train"])
    save_statistics(folder, reduce(sums, data.stored_size))
    arrays = {}
    for split, parts in by_split.items():
        arrays[f"{split}_labels"] = np.concatenate([result.labels for result in parts])
        arrays[f"{split}_keys"] = pack_strings([key for r in parts for key in r.keys])
        arrays[f"{split}_checksums"] = np.concatenate([result.checksums for result in parts])
    write_arrays(folder / EXAMPLES, compressed=True, **arrays)
    title = f"{data.name}, prepared by alexnet_jax from {data.source_kind}"
    storage.write_tfds_metadata(folder, stored, by_split, title)
    if files is not None:
        remember(folder, files, copies.records, shards, results)
    prepared: dict[str, Any] = {"set_version": number_of(folder, data.name)}
    without_end = sum(result.without_end for result in results.values())
    prepared |= _describe(data, source, by_split, counts, len(bad), without_end)
    prepared["copies"] = write_copies(folder, source, copies, bad, progress)
    storage.write_json(folder / PREPARED, prepared)
    shutil.rmtree(folder / WORK, ignore_errors=True)
    sizes = ", ".join(f"{count.sum():,} {split}" for split, count in counts.items())
    say(f"{data.name}: {sizes}, {len(source.class_names)} classes, in {folder}", progress)
    if bad:  # what is wrong is said in any case
        say(f"{len(bad)} bad images left out, listed in {folder / BAD_IMAGES}")
    if without_end:
        say(f"{without_end} JPEGs lack their end marker; all pixels are there", progress)


def _describe(
    data: DataConfig,
    source: Source,
    by_split: dict[str, list[ShardResult]],
    counts: dict[str, np.ndarray],
    bad: int,
    without_end: int,
) -> dict[str, Any]:
    fingerprint = hashlib.sha256()
    for split, parts in by_split.items():
        for result in parts:
            fingerprint.update(f"{split} {len(result.labels)} {result.digest}\n".encode())
    fingerprint.update(json.dumps(source.class_names).encode())
    packages = ("numpy", "pillow", "simplejpeg", "tensorflow-datasets")
    return {
        "format_version": FORMAT_VERSION,
        "name": data.name,
        "options": described_options(data),
        "class_names": list(source.class_names),
        "class_ids": list(source.class_ids),
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
        "bad_images": bad,
        "without_end_marker": without_end,
        "ignored": dict(source.ignored),
        "fingerprint": fingerprint.hexdigest(),
        "versions": {name: version(name) for name in packages},
    }
