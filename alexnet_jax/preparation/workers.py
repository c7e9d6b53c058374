"""A pool of processes that write shards: spawned, stoppable, and ended with their parent."""

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from alexnet_jax.errors import DataError
from alexnet_jax.preparation.shards import ShardProgress, write_shard
from alexnet_jax.preparation.storage import Shard, ShardResult, Storage
from alexnet_jax.processes import start_processes

_POLL_SECONDS = 0.2
_REPORT_EVERY = 16  # images
_ENVIRONMENT = {
    # There is a worker for each core already.
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Else glibc returns the memory of each photo to the system, and asks for it again.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024**2),
    "MALLOC_TRIM_THRESHOLD_": str(256 * 1024**2),
}


class _SharedProgress(ShardProgress):
    def __init__(self, good: Any, bad: Any, stopping: Any):
        super().__init__(self._report)
        self._shared, self._stopping = (good, bad), stopping

    def _report(self, good: int, bad: int) -> None:
        if bad or good >= _REPORT_EVERY:
            self.flush()

    def flush(self) -> None:
        for counter, count in zip(self._shared, (self._good, self._bad), strict=True):
            with counter.get_lock():
                counter.value += count
        self._good = self._bad = 0

    def stop(self) -> bool:
        return bool(self._stopping.value)


_job: tuple[Path, Storage, _SharedProgress]


def write_shards(
    folder: Path,
    shards: list[Shard],
    storage: Storage,
    workers: int,
    show: Callable[[int, int], None],
) -> Generator[ShardResult, None, None]:
    """`show` gets good and bad images so far; leaving early keeps the finished shards only."""
    if workers <= 1 or len(shards) <= 1:
        progress = ShardProgress(show)
        for shard in shards:
            yield write_shard(folder, shard, storage, progress)
        return
    context = multiprocessing.get_context("spawn")  # fork would copy JAX's threads' locks
    good, bad, stopping = context.Value("q"), context.Value("q"), context.Value("b")
    pool = ProcessPoolExecutor(
        min(workers, len(shards)), context, _start, (folder, storage, good, bad, stopping)
    )
    try:
        with _environment():
            pending = start_processes(lambda: {pool.submit(_write, shard) for shard in shards})
        while pending:
            done, pending = wait(pending, _POLL_SECONDS, FIRST_COMPLETED)
            show(good.value, bad.value)
            for future in done:
                yield future.result()
    except BrokenProcessPool:
        raise DataError(
            "a worker process died (out of memory?); run the same command again to continue, "
            "perhaps with fewer --workers"
        ) from None
    finally:
        stopping.value = 1
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Sets what the C libraries of a worker read when it starts; the user's own settings stay."""
    added = {name: value for name, value in _ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _start(folder: Path, storage: Storage, good: Any, bad: Any, stopping: Any) -> None:
    global _job
    _job = (folder, storage, _SharedProgress(good, bad, stopping))
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _write(shard: Shard) -> ShardResult:
    folder, storage, progress = _job
    result = write_shard(folder, shard, storage, progress)
    progress.flush()
    return result
