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
from alexnet_jax.data.versions import Version, folder_of, next_number, versions
from alexnet_jax.errors import DataError
from alexnet_jax.locations import check_utf8
from alexnet_jax.preparation import storage
from alexnet_jax.preparation.copies import keep_together, search_copies
from alexnet_jax.preparation.currency import Comparison
from alexnet_jax.preparation.existing import (
    check_newest,
    compare_version,
    use_version,
    version_of_run,
)
from alexnet_jax.preparation.finishing import MAX_BAD_FRACTION, finish, stop_for_bad
from alexnet_jax.preparation.options import (
    appearance_of,
    check_same,
    prepare_command,
    resolve_options,
)
from alexnet_jax.preparation.planning import check_plan, check_space, plan_shards
from alexnet_jax.preparation.progress import ProgressLine, say
from alexnet_jax.preparation.source_record import files_of, finished_parts
from alexnet_jax.preparation.sources import list_images, source_kind
from alexnet_jax.preparation.storage import Shard, ShardResult, Storage
from alexnet_jax.preparation.workers import write_shards
from alexnet_jax.processes import start_processes

_IN_PROCESS_PIXELS = 16_000_000  # less is stored before a worker process has started


def prepare(
    data: DataConfig,
    data_dir: str | Path,
    *,
    workers: int | None = None,
    bad_images: Literal["error", "skip"] = "skip",
    progress: bool = True,
) -> Path:
    """Prepares a data set, or continues an interrupted preparation, or finds it done.

    If the source has changed since, it is prepared as a new version next to the old one.

    Args:
      data: source and storage options; an empty name is derived from them.
      data_dir: folder of prepared sets; made if missing.
      workers: processes; None: one per core, at most 8; 0 or 1: this process only.
      bad_images: leave bad images out and list them in `bad_images.jsonl`, or stop at the first.
      progress: show rate and time left on standard error.

    Returns:
      The folder of the newest version of the set.

    Raises:
      InputError: unknown kind, missing source, impossible option.
      DataError: unusable contents, too many bad images, a set of the same name with other options,
        or a folder that cannot be written.
    """
    return _prepare(resolve_options(data), data_dir, workers, bad_images, progress)


def ensure_prepared(
    data: DataConfig,
    data_dir: str | Path,
    *,
    workers: int | None = None,
    bad_images: Literal["error", "skip"] = "skip",
    progress: bool = True,
    begun_with: str = "",
) -> Path:
    """Returns the folder of the prepared set; prepares it first if a source is known.

    This is the newest version; a changed source is prepared as the next one. A run goes on with the
    version that it began with. TFDS catalogue sets are prepared in a process of their own, because
    only that one may load TensorFlow.

    Args:
      begun_with: fingerprint of the set that a resumed run began with; empty: a new run.

    Raises:
      DataError: the set is missing and no source is given (the message has the command to type),
        or it does not fit `data`; otherwise as `prepare`.
    """
    data = resolve_options(data)
    kind = source_kind(data.source_kind)
    folder = Path(data_dir).expanduser().absolute() / data.name
    found = versions(folder)
    known = None
    if found and begun_with:
        return version_of_run(found, data, begun_with, progress)
    if found:
        compared = _compare(found[-1], data, progress)
        if compared.state != "changed":
            return use_version(found[-1], data, compared, progress)
        known = found[-1], compared
    elif not data.source and kind.location != "none":
        raise DataError(
            f"the data set '{data.name}' is not in {folder.parent}; "
            f"get {kind.how_to_get}, then type: {prepare_command(data, folder.parent)}"
        )
    else:
        say(f"preparing {data.name} in {folder}", progress)
    if not kind.may_load_tensorflow:
        return _prepare(data, data_dir, workers, bad_images, progress, known)
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        arguments = data, data_dir, workers, bad_images, progress
        return start_processes(functools.partial(pool.submit, _prepare, *arguments)).result()


def _compare(version: Version, data: DataConfig, progress: bool) -> Comparison:
    check_same(version.folder, version.prepared, data)
    return compare_version(version, data, progress)


def _prepare(
    data: DataConfig,
    data_dir: str | Path,
    workers: int | None,
    bad_images: Literal["error", "skip"],
    progress: bool,
    known: tuple[Version, Comparison] | None = None,
) -> Path:
    """Does what `prepare` says, of resolved options.

    Args:
      known: the newest version and its comparison, if that was made a moment ago.
    """
    folder = Path(data_dir).expanduser().absolute() / data.name
    with _locked(folder, progress):
        found = versions(folder)
        new = folder_of(folder, next_number(folder, found[-1].number if found else 0))
        if found:
            newest = found[-1]
            if known is None or known[0].folder != newest.folder:
                known = newest, _compare(newest, data, progress)
            compared = known[1]
            if compared.state != "changed":
                say(f"{newest.folder.name} is prepared already in {newest.folder}", progress)
                return use_version(newest, data, compared, progress)
            check_newest(newest, data)
            say(compared.message(data, newest.folder))
            say(
                f"the new contents become {new}; {newest.folder} stays for the runs that began "
                "with it, and may be removed when none needs it"
            )
        _prepare_version(new, data, workers, bad_images, progress)
    return new


def _locked(folder: Path, progress: bool) -> Any:
    """Returns a held lock on the set; waits, with a line, while another process prepares it."""
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


def _prepare_version(
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
        listing = list_images(data, work)
        for line in listing.summary():
            say(line, progress)
        copies = search_copies(data, listing, appearance_of(data), progress)
        listing = keep_together(data, listing, copies)
    except BaseException:
        if fresh:  # nothing was begun: leave nothing behind, so that a corrected command can follow
            shutil.rmtree(work, ignore_errors=True)
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    stored = Storage(
        data.stored_size, data.store, data.jpeg_quality, listing.class_names, appearance_of(data)
    )
    shards = plan_shards(data, listing, bad_images)
    check_plan(folder, data, listing, shards, progress)
    finished = finished_parts(folder, data, files, shards)
    results = _write_missing(folder, data, shards, finished, stored, workers, progress)
    finish(folder, data, listing, files, stored, shards, results, copies, progress)


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
    total = sum(len(shard.images) for shard in missing)
    if done:
        say(f"continuing: {len(done)} of {len(shards)} parts are finished", progress)
    check_space(folder, total, stored)
    if workers is None:
        small = total * stored.stored_size**2 < _IN_PROCESS_PIXELS
        workers = 0 if small else min(os.cpu_count() or 1, 8)
    line = ProgressLine(f"prepare {data.name}", total, progress)
    max_bad = MAX_BAD_FRACTION * sum(len(shard.images) for shard in shards)
    bad = sum(len(result.bad) for result in done.values())
    try:
        writing = write_shards(folder, missing, stored, workers, line.show)
        with contextlib.closing(writing):  # stops the workers at once, whatever happens here
            for result in writing:
                bad += len(result.bad)
                if result.stopped:
                    stop_for_bad([*done.values(), result], folder, data)
                done[result.file] = result
                if bad > max_bad:
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
