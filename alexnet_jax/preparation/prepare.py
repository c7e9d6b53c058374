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

from alexnet_jax.config import DataConfig
from alexnet_jax.data.prepared import WORK
from alexnet_jax.data.versions import folder_of, next_number, versions
from alexnet_jax.errors import DataError
from alexnet_jax.locations import check_utf8
from alexnet_jax.preparation import storage
from alexnet_jax.preparation.copies import keep_together, look_for_copies
from alexnet_jax.preparation.existing import (
    check_no_version,
    compare_newest,
    used,
    version_of_a_run,
)
from alexnet_jax.preparation.finishing import MAX_BAD_FRACTION, finish, stop_for_bad
from alexnet_jax.preparation.options import appearance_of, command, resolve
from alexnet_jax.preparation.origin import files_of, finished_parts
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

    A source that has changed since is prepared as a new version beside the old one, which stays.

    Args:
      data: source and storage options; an empty name is derived from them.
      data_dir: folder of prepared sets; made if missing.
      workers: processes; None: one per core, at most 8; 0 or 1: this process only.
      bad_images: leave bad images out and list them in `bad_images.jsonl`, or stop at the first.
      progress: show rate and time left on standard error.

    Returns:
      The folder of the set: of its newest version, where its source has changed in between.

    Raises:
      InputError: unknown kind, missing source, impossible option.
      DataError: unusable contents, too many bad images, a set of the same name made otherwise, or
        a folder that can not be written.
    """
    data = resolve(data)
    folder = Path(data_dir).expanduser().absolute() / data.name
    with _locked(folder, progress):
        found = versions(folder)
        place = folder_of(folder, next_number(folder, found[-1].number if found else 0))
        if found:
            newest, compared = found[-1], compare_newest(found[-1], data, progress)
            if compared.state != "changed":
                say(f"{newest.folder.name} is prepared already in {newest.folder}", progress)
                return used(newest, data, compared, progress)
            check_no_version(newest, data)
            say(compared.told(data, newest.folder))
            say(
                f"the new contents become {place}; {newest.folder} stays for the runs that began "
                "with it, and may be removed when none needs it"
            )
        _prepare(place, data, workers, bad_images, progress)
    return place


def ensure_prepared(
    data: DataConfig,
    data_dir: str | Path,
    *,
    workers: int | None = None,
    bad_images: Literal["error", "skip"] = "skip",
    progress: bool = True,
    begun_with: str = "",
) -> Path:
    """Returns the folder of the prepared set; prepares it first where a source is known.

    It is that of the newest version; where the source has changed since, that is told and prepared
    as the next one. A run goes on with the version that it began with. TFDS catalogue sets are
    prepared in a process of their own, as only that one may load TensorFlow.

    Args:
      data: what is needed.
      data_dir: folder of the prepared sets.
      workers: processes that decode; None: one per core.
      bad_images: skip them, or stop with an error at the first.
      progress: print lines for the user.
      begun_with: fingerprint of the set that a run has begun with, which goes on; empty: none has.

    Raises:
      DataError: the set is missing and no source is given (the message has the command to type),
        or it does not fit `data`; otherwise as `prepare`.
    """
    data = resolve(data)
    folder = Path(data_dir).expanduser().absolute() / data.name
    found = versions(folder)
    if found and begun_with:
        return version_of_a_run(found, data, begun_with, progress)
    if found:
        compared = compare_newest(found[-1], data, progress)
        if compared.state != "changed":
            return used(found[-1], data, compared, progress)
    elif not data.source and data.source_kind != "digits":
        raise DataError(
            f"the data set '{data.name}' is not in {folder.parent}; "
            f"get {_WHAT_TO_GET[data.source_kind]}, then type: {command(data, folder.parent)}"
        )
    else:
        say(f"preparing {data.name} in {folder}", progress)
    if data.source_kind != "tfds":
        return prepare(data, data_dir, workers=workers, bad_images=bad_images, progress=progress)
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        options: dict[str, Any] = {"bad_images": bad_images, "progress": progress}
        submit = functools.partial(pool.submit, prepare, data, data_dir, workers=workers, **options)
        return start_processes(submit).result()


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
        files = files_of(data)  # first: what changes while it is prepared counts as a change
        listed = list_images(data, work)
        for line in listed.told():
            say(line, progress)
        copies = look_for_copies(data, listed, appearance_of(data), progress)
        source = keep_together(data, listed, copies)
    except BaseException:
        if fresh:  # nothing was begun: leave no trace, so that a corrected command can follow
            shutil.rmtree(work, ignore_errors=True)
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    stored = Storage(
        data.stored_size, data.store, data.jpeg_quality, source.class_names, appearance_of(data)
    )
    shards = plan_shards(data, source, bad_images)
    check_plan(folder, data, source, shards, progress)
    finished = finished_parts(folder, data, files, shards)
    results = _write_missing(folder, data, shards, finished, stored, workers, progress)
    finish(folder, data, source, files, stored, shards, results, copies, progress)


def _write_missing(
    folder: Path,
    data: DataConfig,
    shards: list[Shard],
    done: dict[str, ShardResult],
    stored: Storage,
    workers: int | None,
    progress: bool,
) -> dict[str, ShardResult]:
    missing = [shard for shard in shards if shard.file not in done]
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
