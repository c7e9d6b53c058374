"""Turns a source of images into a prepared set: fitted, checked, counted, fingerprinted.

Each shard depends only on source and options and is finished by a rename, so an interrupted
preparation continues, and any number of workers gives the same set.
"""

import contextlib
import os
import shutil
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from alexnet_jax.config import DataConfig
from alexnet_jax.data.prepared import WORK
from alexnet_jax.data.versions import Version, folder_of, next_number, versions
from alexnet_jax.display import Count, Display
from alexnet_jax.errors import DataError
from alexnet_jax.locations import check_utf8
from alexnet_jax.preparation import storage
from alexnet_jax.preparation.copy_search import keep_together, search_copies
from alexnet_jax.preparation.currency import Comparison
from alexnet_jax.preparation.existing import (
    check_newest,
    compare_version,
    use_version,
    version_of_run,
)
from alexnet_jax.preparation.finishing import MAX_BAD_FRACTION, finish, stop_for_bad
from alexnet_jax.preparation.planning import check_plan, check_space, plan_shards
from alexnet_jax.preparation.set_options import (
    appearance_of,
    check_same,
    prepare_command,
    resolve_options,
)
from alexnet_jax.preparation.source_record import files_of, finished_parts
from alexnet_jax.preparation.sources import list_images, source_kind
from alexnet_jax.preparation.storage import BadImages, Shard, ShardResult, Storage
from alexnet_jax.preparation.workers import write_shards
from alexnet_jax.processes import start_processes
from alexnet_jax.source_kinds import SOURCE_KINDS

_display = Display.on_stderr()  # of a process that prepares for another
# Less is stored before a worker process has started: pixels that are stored, and bytes of the
# source, one of which takes about as long as the other.
_IN_PROCESS_WORK = 16_000_000


class _Job(NamedTuple):
    """What is prepared, and how; the data's options are resolved."""

    data: DataConfig
    folder: Path
    workers: int | None
    bad_images: BadImages


def _job(data: DataConfig, data_dir: str | Path, workers: int | None, bad: BadImages) -> _Job:
    data = resolve_options(data)
    return _Job(data, Path(data_dir).expanduser().absolute() / data.name, workers, bad)


def prepare(
    data: DataConfig,
    data_dir: str | Path,
    *,
    workers: int | None = None,
    bad_images: BadImages = "skip",
    display: Display | None = None,
) -> Path:
    """Prepares a data set, or continues an interrupted preparation, or finds it done.

    Returns the folder of the newest version; a changed source becomes a new one next to the old.

    Args:
      data: an empty name is derived from its other options.
      workers: processes; None: one per core, at most 8; 0 or 1: this process only.
      bad_images: leave out and list in `bad_images.jsonl`, or stop at the first.

    Raises:
      InputError: unknown kind, missing source, impossible option.
      DataError: unusable contents, too many bad images, a set of the same name with other options,
        or a folder that cannot be written.
    """
    return _prepare(_job(data, data_dir, workers, bad_images), display or Display.on_stderr())


def ensure_prepared(
    data: DataConfig,
    data_dir: str | Path,
    *,
    workers: int | None = None,
    bad_images: BadImages = "skip",
    display: Display | None = None,
    begun_with: str = "",
) -> Path:
    """Returns the newest version of the prepared set; prepares it first if a source is known.

    TFDS catalogue sets are prepared in a process of their own: only that one may load TensorFlow.

    Args:
      begun_with: fingerprint of the set that a resumed run began with and keeps; empty: a new run.

    Raises:
      DataError: set and source are missing, or the set does not fit `data`; else as `prepare`.
    """
    job = _job(data, data_dir, workers, bad_images)
    data, folder = job.data, job.folder
    display = display or Display.on_stderr()
    kind = source_kind(data.source_kind)
    found = versions(folder)
    known = None
    if found and begun_with:
        return version_of_run(found, data, begun_with, display)
    if found:
        compared = _compare(found[-1], data, display)
        if compared.state != "changed":
            return use_version(found[-1], data, compared, display)
        known = found[-1], compared
    elif not data.source and kind.location != "none":
        raise DataError(
            f"the data set '{data.name}' is not in {folder.parent}; "
            f"get {kind.how_to_get}, then type: {prepare_command(data, folder.parent)}"
        )
    else:
        display.say(f"preparing {data.name} in {folder}")
    if SOURCE_KINDS[data.source_kind].loads_tensorflow:
        return _prepare_elsewhere(job, display)
    return _prepare(job, display, known)


def _prepare_elsewhere(job: _Job, display: Display) -> Path:
    """Prepares in a process of its own; the lines of that process are shown by this one."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("spawn")
    lines = context.SimpleQueue()
    listener = Thread(target=lambda: [display.warn(line) for line in iter(lines.get, None)])
    pool = ProcessPoolExecutor(1, context, initializer=_show_by, initargs=(lines, display.is_quiet))
    listener.start()
    try:
        with pool:
            return start_processes(lambda: pool.submit(_prepare_and_show, job)).result()
    finally:
        lines.put(None)
        listener.join()


def _show_by(lines: Any, is_quiet: bool) -> None:
    global _display
    _display = Display(lines.put, quiet=is_quiet)


def _prepare_and_show(job: _Job) -> Path:
    return _prepare(job, _display)


def _compare(version: Version, data: DataConfig, display: Display) -> Comparison:
    check_same(version, data)
    return compare_version(version, data, display)


def _prepare(job: _Job, display: Display, known: tuple[Version, Comparison] | None = None) -> Path:
    """`known` is a comparison made a moment ago."""
    data, folder = job.data, job.folder
    with _locked(folder, display):
        found = versions(folder)
        new = folder_of(folder, next_number(folder, found[-1].number if found else 0))
        if found:
            newest = found[-1]
            if known is None or known[0].folder != newest.folder:
                known = newest, _compare(newest, data, display)
            compared = known[1]
            if compared.state != "changed":
                display.say(f"{newest.folder.name} is prepared already in {newest.folder}")
                return use_version(newest, data, compared, display)
            check_newest(newest, data)
            display.warn(compared.message(data, newest.folder))
            display.warn(
                f"the new contents become {new}; {newest.folder} stays for the runs that began "
                "with it, and can be removed when no run needs it"
            )
        _prepare_version(new, job, display)
    return new


def _locked(folder: Path, display: Display) -> Any:
    """Waits, with a line, while another process prepares the set."""
    import filelock

    check_utf8(folder)
    lock = filelock.FileLock(folder.parent / f".{folder.name}.lock")
    with storage.write_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            return lock.acquire(timeout=0)
        except filelock.Timeout:
            display.warn(f"another process is preparing {folder.name}; waiting for it")
            return lock.acquire()


def _prepare_version(folder: Path, job: _Job, display: Display) -> None:
    data, work = job.data, folder / WORK
    if folder.exists() and not work.is_dir() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and is no data set of alexnet_jax; choose another --name")
    fresh = not work.is_dir()
    with storage.write_errors(folder):
        work.mkdir(parents=True, exist_ok=True)
        for left in work.glob("*.tmp"):
            left.unlink()
    try:
        # First: what changes while it is prepared counts as a change.
        files = files_of(data, display)
        listing = list_images(data, work)
        for line in listing.summary():
            display.say(line)
        copies = search_copies(data, listing, appearance_of(data), display)
        listing = keep_together(data, listing, copies, display)
    except BaseException:
        if fresh:  # nothing was begun: leave nothing behind, so that a corrected command can follow
            shutil.rmtree(work, ignore_errors=True)
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    encoding = data.stored_size, data.store, data.jpeg_quality
    stored = Storage(*encoding, listing.class_names, appearance_of(data))
    shards = plan_shards(data, listing, job.bad_images)
    check_plan(folder, data, listing, shards, display)
    finished = finished_parts(folder, data, files, shards)
    results = _write_missing(folder, job, shards, finished, stored, display)
    finish(folder, data, listing, files, stored, shards, results, copies, display)


def _write_missing(
    folder: Path,
    job: _Job,
    shards: list[Shard],
    done: dict[str, ShardResult],
    stored: Storage,
    display: Display,
) -> dict[str, ShardResult]:
    missing = [shard for shard in shards if shard.file not in done]
    total = sum(len(shard.images) for shard in missing)
    if done:
        display.say(f"continuing: {len(done)} of {len(shards)} parts are finished")
    check_space(folder, total, stored)
    workers = job.workers
    if workers is None:
        read = sum(image.size for shard in missing for image in shard.images)
        small = total * stored.stored_size**2 + read < _IN_PROCESS_WORK
        workers = 0 if small else min(os.cpu_count() or 1, 8)
    line = Count(display, f"prepare {job.data.name}", total)
    max_bad = MAX_BAD_FRACTION * sum(len(shard.images) for shard in shards)
    bad = sum(len(result.bad) for result in done.values())
    try:
        writing = write_shards(folder, missing, stored, workers, line.show)
        with contextlib.closing(writing):  # stops the workers at once, whatever happens here
            for result in writing:
                bad += len(result.bad)
                if result.stopped:
                    stop_for_bad([*done.values(), result], folder, job.data)
                done[result.file] = result
                if bad > max_bad:
                    stop_for_bad(list(done.values()), folder, job.data)
    except KeyboardInterrupt:
        line.close()
        display.warn(
            f"interrupted; {len(done)} of {len(shards)} parts are kept, the same command continues"
        )
        raise
    finally:
        line.close()
    if missing:
        seconds = line.seconds()
        display.say(f"{total:,} images in {seconds:.0f} s ({total / seconds:,.0f} images/s)")
    return {shard.file: done[shard.file] for shard in shards}
