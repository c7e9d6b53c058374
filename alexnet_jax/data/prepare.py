"""Turns a source of images into a prepared set, once: fitted, checked, counted, fingerprinted.

The list of images is cut into shards that depend only on the source and the options. Each shard is
written by one process and finished by a rename, so an interrupted preparation continues with the
shards that are missing, and the set is the same for any number of workers.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from alexnet_jax.config import DataConfig
from alexnet_jax.data import builders, storage
from alexnet_jax.data.options import (
    check_same,
    command,
    described_options,
    resolve,
)
from alexnet_jax.data.progress import ProgressLine, say
from alexnet_jax.data.source import Source
from alexnet_jax.data.splitting import shuffled
from alexnet_jax.data.statistics import reduce, save_statistics
from alexnet_jax.data.storage import Shard, ShardResult, Storage
from alexnet_jax.data.workers import write_shards
from alexnet_jax.errors import DataError

MAX_BAD_FRACTION = 0.1
_SHARD_BYTES = 256 * 1024**2
_IN_PROCESS_PIXELS = 4_000_000  # less stored than this is done before a worker has started
_SPLIT_ORDER = ("train", "validation", "test")


def prepare(
    data: DataConfig,
    data_dir: str | Path,
    *,
    workers: int | None = None,
    bad_images: Literal["error", "skip"] = "skip",
    progress: bool = True,
) -> Path:
    """Prepares a data set, or continues an interrupted preparation, or finds it done.

    Args:
      data: source and storage options; an empty name is derived from them.
      data_dir: folder of prepared sets; made if missing.
      workers: processes; None: one per core, at most 8; 0 or 1: this process only.
      bad_images: leave bad images out and list them in `bad_images.jsonl`, or stop at the first.
      progress: show rate and time left on standard error.

    Returns:
      The folder of the set.

    Raises:
      InputError: unknown kind, missing source, impossible option.
      DataError: unusable contents, too many bad images, a set of the same name made otherwise, or
        a folder that can not be written.
    """
    data = resolve(data)
    folder = Path(data_dir).expanduser().absolute() / data.name
    with _locked(folder, progress):
        prepared = storage.read_prepared(folder)
        if prepared:
            check_same(folder, prepared, data)
            say(f"{data.name} is prepared already in {folder}", progress)
            return folder
        _prepare(folder, data, workers, bad_images, progress)
    return folder


def ensure_prepared(
    data: DataConfig,
    data_dir: str | Path,
    *,
    workers: int | None = None,
    bad_images: Literal["error", "skip"] = "skip",
    progress: bool = True,
) -> Path:
    """Returns the folder of the prepared set; prepares it first where a source is known.

    TFDS catalogue sets are prepared in a process of their own, as only that one may load
    TensorFlow.

    Raises:
      DataError: the set is missing and no source is given (the message has the command to type),
        or it does not fit `data`; otherwise as `prepare`.
    """
    data = resolve(data)
    folder = Path(data_dir).expanduser().absolute() / data.name
    prepared = storage.read_prepared(folder)
    if prepared:
        check_same(folder, prepared, data)
        return folder
    if not data.source and data.source_kind != "digits":
        raise DataError(
            f"the data set '{data.name}' is not in {folder.parent}; get {_WHAT_TO_GET[data.source_kind]}"
            f", then type: {command(data, folder.parent)}"
        )
    say(f"preparing {data.name} in {folder}", progress)
    if data.source_kind != "tfds":
        return prepare(data, data_dir, workers=workers, bad_images=bad_images, progress=progress)
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        options: dict[str, Any] = {"bad_images": bad_images, "progress": progress}
        return pool.submit(prepare, data, data_dir, workers=workers, **options).result()


_WHAT_TO_GET = {
    "digits": "nothing",
    "folder": "a folder or tar of photos, one folder per class",
    "cifar10": "cifar-10-python.tar.gz from cs.toronto.edu/~kriz/cifar.html",
    "imagenet2012": "ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and "
    "ILSVRC2012_devkit_t12.tar.gz from image-net.org",
    "tfds": "its name in the TFDS catalogue (tensorflow.org/datasets) and `pip install tensorflow`",
}


def _locked(folder: Path, progress: bool) -> Any:
    """Returns a held lock on the set; waits, and says so, while another process prepares it."""
    import filelock

    lock = filelock.FileLock(folder.parent / f".{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            return lock.acquire(timeout=0)
        except filelock.Timeout:
            say(f"another process is preparing {folder.name}; waiting for it", progress)
            return lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise storage.write_error(folder.parent, error) from error


def _prepare(
    folder: Path,
    data: DataConfig,
    workers: int | None,
    bad_images: Literal["error", "skip"],
    progress: bool,
) -> None:
    work = folder / storage.WORK
    if folder.exists() and not work.is_dir() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and is no data set of alexnet_jax; choose another --name")
    fresh = not work.is_dir()
    try:
        work.mkdir(parents=True, exist_ok=True)
        for left in work.glob("*.tmp"):
            left.unlink()
    except OSError as error:
        raise storage.write_error(folder, error) from error
    try:
        source = builders.list_images(data, work)
    except BaseException:
        if fresh:  # nothing was begun: leave no trace, so that a corrected command can follow
            shutil.rmtree(work, ignore_errors=True)
            folder.rmdir()
        raise
    stored = Storage(data.stored_size, data.store, data.jpeg_quality, source.class_names)
    shards = plan_shards(data, source, bad_images)
    _check_plan(folder, data, source, shards)
    results = _write_missing(folder, data, shards, stored, workers, progress)
    _finish(folder, data, source, stored, shards, results, progress)


def plan_shards(
    data: DataConfig, source: Source, bad_images: Literal["error", "skip"] = "skip"
) -> list[Shard]:
    """Cuts the records of a source into shards, independent of workers and machine.

    Training records are shuffled, once and for all; the others keep the source's order.
    """
    record_bytes = 3 * data.stored_size**2 // (1 if data.store == "raw" else 5) + 64
    most = max(1, min(4096, _SHARD_BYTES // record_bytes))
    shards = []
    for split in sorted(source.splits, key=_SPLIT_ORDER.index):
        records = source.splits[split]
        if split == "train":
            records = shuffled(records)
        length = min(most, max(256, len(records) // 16))
        count = -(-len(records) // length)
        for index in range(count):
            part = records[index * len(records) // count : (index + 1) * len(records) // count]
            file = storage.shard_file(data.name, split, index, count)
            shards.append(Shard(file, split, part, bad_images))
    return shards


def _check_plan(folder: Path, data: DataConfig, source: Source, shards: Sequence[Shard]) -> None:
    """Remembers what is being prepared; refuses to continue something else."""
    digest = hashlib.sha256(json.dumps(source.class_names).encode())
    for shard in shards:
        digest.update(f"{shard.file}\n".encode())
        for record in shard.records:
            digest.update(f"{record.label} {record.size} {record.key}\n".encode())
    plan = {"options": described_options(data), "images": digest.hexdigest()}
    path = folder / storage.WORK / "plan.json"
    if path.exists():
        begun = json.loads(path.read_text("utf-8"))
        if begun != plan:
            raise DataError(
                f"{folder} holds the unfinished preparation of another source or of other options "
                f"({begun['options']}); remove that folder or choose another --name"
            )
    else:
        storage.write_json(path, plan)


def _write_missing(
    folder: Path,
    data: DataConfig,
    shards: list[Shard],
    stored: Storage,
    workers: int | None,
    progress: bool,
) -> dict[str, ShardResult]:
    results = {shard.file: storage.load_result(folder, shard.file) for shard in shards}
    missing = [shard for shard in shards if results[shard.file] is None]
    done = {file: result for file, result in results.items() if result is not None}
    total = sum(len(shard.records) for shard in missing)
    if done:
        say(f"continuing: {len(done)} of {len(shards)} parts are finished", progress)
    _check_space(folder, total, stored)
    if workers is None:
        workers = min(os.cpu_count() or 1, 8)
        if total * stored.stored_size**2 < _IN_PROCESS_PIXELS:
            workers = 0
    line = ProgressLine(f"prepare {data.name}", total, progress)
    limit = MAX_BAD_FRACTION * sum(len(shard.records) for shard in shards)
    bad = sum(len(result.bad) for result in done.values())
    try:
        for result in write_shards(folder, missing, stored, workers, line.show):
            bad += len(result.bad)
            if result.stopped:
                _stop_for_bad([*done.values(), result], folder, data)
            done[result.file] = result
            if bad > limit:
                _stop_for_bad(list(done.values()), folder, data)
    except KeyboardInterrupt:
        line.close()
        say(f"interrupted; {len(done)} of {len(shards)} parts are kept, the same command continues")
        raise
    finally:
        line.close()
    if missing:
        seconds = line.seconds()
        say(f"{total:,} images in {seconds:.0f} s ({total / seconds:,.0f} images/s)", progress)
    return {shard.file: done[shard.file] for shard in shards}


def _check_space(folder: Path, images: int, stored: Storage) -> None:
    """Stops at once, not after hours, where the set can not fit on the disk."""
    needed = images * stored.stored_size**2 * 3 // (1 if stored.store == "raw" else 12)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{folder} needs about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; choose "
            "another --data-dir" + (", or store JPEG" if stored.store == "raw" else "")
        )


def _stop_for_bad(results: list[ShardResult], folder: Path, data: DataConfig) -> None:
    bad = _write_bad(folder, results)
    first = f"{bad[0]['key']}: {bad[0]['reason']}" if bad else ""
    raise DataError(
        f"{len(bad)} bad images in {data.source or data.source_kind} (first: {first}); all are listed "
        f"in {folder / storage.BAD_IMAGES}. Mend or remove them, or choose to skip them; more "
        f"than {MAX_BAD_FRACTION:.0%} or {storage.MAX_BAD_IN_A_ROW} in a row are never skipped"
    )


def _write_bad(folder: Path, results: list[ShardResult]) -> list[dict[str, str]]:
    bad = [row for result in sorted(results, key=lambda r: r.file) for row in result.bad]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in bad)
    (folder / storage.BAD_IMAGES).write_text(text, "utf-8")
    return bad


def _finish(
    folder: Path,
    data: DataConfig,
    source: Source,
    stored: Storage,
    shards: list[Shard],
    results: dict[str, ShardResult],
    progress: bool,
) -> None:
    """Reduces the sidecars and writes everything that makes the shards a data set."""
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
        _stop_for_bad(list(results.values()), folder, data)
    for label, count in enumerate(counts["train"]):
        if not count:
            raise DataError(
                f"class '{source.class_ids[label]}' has no readable training image; reasons in "
                f"{folder / storage.BAD_IMAGES}"
            )
    train = by_split["train"]
    save_statistics(folder, reduce([(len(r.labels), r.pixels, r.products) for r in train]))
    arrays = {}
    for split, parts in by_split.items():
        arrays[f"{split}_labels"] = np.concatenate([result.labels for result in parts])
        arrays[f"{split}_keys"] = storage.pack_strings([key for r in parts for key in r.keys])
    np.savez_compressed(folder / storage.EXAMPLES, **arrays)
    title = f"{data.name}, prepared by alexnet_jax from {data.source_kind}"
    storage.write_tfds_metadata(folder, stored, by_split, title)
    prepared = _describe(data, source, by_split, counts, len(bad))
    storage.write_json(folder / storage.PREPARED, prepared)
    shutil.rmtree(folder / storage.WORK, ignore_errors=True)
    sizes = ", ".join(f"{count.sum():,} {split}" for split, count in counts.items())
    say(f"{data.name}: {sizes}, {len(source.class_names)} classes, in {folder}", progress)
    if bad:
        say(f"{len(bad)} bad images left out, listed in {folder / storage.BAD_IMAGES}", progress)
    for reason, count in source.ignored.items():
        say(f"not taken: {count} {reason}", progress)


def _describe(
    data: DataConfig,
    source: Source,
    by_split: dict[str, list[ShardResult]],
    counts: dict[str, np.ndarray],
    bad: int,
) -> dict[str, Any]:
    from importlib.metadata import version

    fingerprint = hashlib.sha256()
    for split, parts in by_split.items():
        for result in parts:
            fingerprint.update(f"{split} {len(result.labels)} {result.digest}\n".encode())
    fingerprint.update(json.dumps(source.class_names).encode())
    return {
        "format_version": storage.FORMAT_VERSION,
        "name": data.name,
        "options": described_options(data),
        "class_names": list(source.class_names),
        "class_ids": list(source.class_ids),
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
        "ignored": dict(source.ignored),
        "fingerprint": fingerprint.hexdigest(),
        "versions": {name: version(name) for name in ("numpy", "pillow", "tensorflow-datasets")},
    }
