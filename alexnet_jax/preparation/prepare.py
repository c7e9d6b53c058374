"""Turns a source of images into a prepared set, once: fitted, checked, counted, fingerprinted.

The list of images is cut into shards that depend only on the source and the options. Each shard is
written by one process and finished by a rename, so an interrupted preparation continues with the
shards that are missing, and the set is the same for any number of workers.
"""

import contextlib
import functools
import os
import shutil
from pathlib import Path
from typing import Any, Literal

from alexnet_jax.config import Appearance, DataConfig
from alexnet_jax.data.prepared import WORK, read_prepared
from alexnet_jax.errors import DataError
from alexnet_jax.locations import check_utf8
from alexnet_jax.preparation import storage
from alexnet_jax.preparation.finishing import MAX_BAD_FRACTION, finish, stop_for_bad
from alexnet_jax.preparation.options import (
    appearance_in,
    appearance_of,
    check_same,
    command,
    resolve,
)
from alexnet_jax.preparation.planning import check_plan, check_space, plan_shards
from alexnet_jax.preparation.progress import ProgressLine, say
from alexnet_jax.preparation.sources import list_images
from alexnet_jax.preparation.storage import Shard, ShardResult, Storage
from alexnet_jax.preparation.workers import write_shards
from alexnet_jax.processes import start_processes

_IN_PROCESS_PIXELS = 16_000_000  # less stored than this is done before a worker has started


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
        prepared = read_prepared(folder)
        if prepared:
            check_same(folder, prepared, data)
            say(f"{data.name} is prepared already in {folder}", progress)
            _tell_appearance(data, prepared, folder, progress)
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

    Args:
      data: what is needed.
      data_dir: folder of the prepared sets.
      workers: processes that decode; None: one per core.
      bad_images: skip them, or stop with an error at the first.
      progress: print lines for the user.

    Raises:
      DataError: the set is missing and no source is given (the message has the command to type),
        or it does not fit `data`; otherwise as `prepare`.
    """
    data = resolve(data)
    folder = Path(data_dir).expanduser().absolute() / data.name
    prepared = read_prepared(folder)
    if prepared:
        check_same(folder, prepared, data)
        _tell_appearance(data, prepared, folder, progress)
        return folder
    if not data.source and data.source_kind != "digits":
        raise DataError(
            f"the data set '{data.name}' is not in {folder.parent}; "
            f"get {_WHAT_TO_GET[data.source_kind]}, then type: {command(data, folder.parent)}"
        )
    say(f"preparing {data.name} in {folder}", progress)
    if data.source_kind != "tfds":
        return prepare(data, data_dir, workers=workers, bad_images=bad_images, progress=progress)
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        options: dict[str, Any] = {"bad_images": bad_images, "progress": progress}
        submit = functools.partial(pool.submit, prepare, data, data_dir, workers=workers, **options)
        return start_processes(submit).result()


def _tell_appearance(
    data: DataConfig, prepared: dict[str, Any], folder: Path, progress: bool
) -> None:
    """Says so where the images of a set were read otherwise than they would be now."""
    pairs = zip(Appearance._fields, appearance_in(prepared), appearance_of(data), strict=True)
    different = [(name, have, usual) for name, have, usual in pairs if have != usual]
    if data.source and different:
        have = " and ".join(f"{name} '{have}'" for name, have, _ in different)
        usual = " and ".join(f"'{usual}'" for _, _, usual in different)
        say(
            f"the images of {data.name} were prepared with {have}, and its networks are shown "
            f"photos that way; for {usual} choose another --data.name or remove {folder}",
            progress,
        )


_WHAT_TO_GET = {
    "digits": "nothing",
    "folder": "its images in a folder, tar or zip, as train/CLASS/* and test/CLASS/* or CLASS/* "
    "(`python -m alexnet_jax.main presets` says from where)",
    "cifar10": "cifar-10-python.tar.gz from cs.toronto.edu/~kriz/cifar.html",
    "imagenet2012": "ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and "
    "ILSVRC2012_devkit_t12.tar.gz from image-net.org",
    "tfds": "its name in the TFDS catalogue (tensorflow.org/datasets) and `pip install tensorflow`",
}


def _locked(folder: Path, progress: bool) -> Any:
    """Returns a held lock on the set; waits, and says so, while another process prepares it."""
    import filelock

    check_utf8(folder)
    lock = filelock.FileLock(folder.parent / f".{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            return lock.acquire(timeout=0)
        except filelock.Timeout:
            say(f"another process is preparing {folder.name}; waiting for it")
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
    work = folder / WORK
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
        source = list_images(data, work)
    except BaseException:
        if fresh:  # nothing was begun: leave no trace, so that a corrected command can follow
            shutil.rmtree(work, ignore_errors=True)
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    for line in source.told():
        say(line, progress)
    stored = Storage(
        data.stored_size, data.store, data.jpeg_quality, source.class_names, appearance_of(data)
    )
    shards = plan_shards(data, source, bad_images)
    check_plan(folder, data, source, shards, progress)
    results = _write_missing(folder, data, shards, stored, workers, progress)
    finish(folder, data, source, stored, shards, results, progress)


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
    check_space(folder, total, stored)
    if workers is None:
        workers = min(os.cpu_count() or 1, 8)
        if total * stored.stored_size**2 < _IN_PROCESS_PIXELS:
            workers = 0
    line = ProgressLine(f"prepare {data.name}", total, progress)
    limit = MAX_BAD_FRACTION * sum(len(shard.records) for shard in shards)
    bad = sum(len(result.bad) for result in done.values())
    try:
        writing = write_shards(folder, missing, stored, workers, line.show)
        with contextlib.closing(writing):  # stops the workers at once, whatever happens here
            for result in writing:
                bad += len(result.bad)
                if result.stopped:
                    stop_for_bad([*done.values(), result], folder, data)
                done[result.file] = result
                if bad > limit:
                    stop_for_bad(list(done.values()), folder, data)
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
