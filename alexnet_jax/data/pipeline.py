"""Training batches computed ahead by threads or worker processes, and batches of evaluations.

What a training batch is stands in `stream.py`; here it is computed before it is used. Grain runs
threads and processes; its own state is not used because that lists the workers, and a run may
resume with another number of them.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import threading
import weakref
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import grain
import jax
import numpy as np

from alexnet_jax.config import AugmentConfig
from alexnet_jax.data.stream import Batch, Split, TrainingSplit, TrainingStream
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.processes import start_processes

HANGING_SECONDS = 600.0
"""So long may worker processes take for a batch before they are ended."""
_READY = 2  # finished batches that may wait besides those that threads compute
_MAX_THREADS = 8  # beyond it, so is guessed, threads wait for Python's lock: use worker processes


class TrainingBatches(Iterator[Batch]):
    """Endless iterator over a `TrainingStream`, computed ahead by threads or worker processes.

    Its state is `{"next_step": k}`, the step of the batch that `next` will return, counted by what
    was returned: batches computed ahead are no part of it. Nothing starts before the first `next`.
    """

    def __init__(self, stream: TrainingStream, *, first_step: int, workers: int, threads: int):
        """See `training_batches`."""
        self._stream, self._next_step = stream, first_step
        self._workers, self._threads = workers, threads
        self._running: list[Any] = []  # Grain's iterator, or nothing
        self._not_ours: set[Any] = set()  # processes of the caller's
        # Also at exit: workers that outlive the interpreter's modules end in tracebacks.
        weakref.finalize(self, _close_all, self._running)

    def __next__(self) -> Batch:
        """Returns the next batch; raises what reading it raised."""
        hung = threading.Event()
        try:
            with self._ended_when_hanging(hung):
                batch = next(self._running[0]) if self._running else self._begin()
        except BaseException as error:
            self.close()  # so that a further `next` starts afresh at the same step
            if hung.is_set():
                raise DataError(
                    f"No data worker process had a batch for step {self._next_step} ready within "
                    f"{HANGING_SECONDS:g} s, so they were ended. Is the data set's disk gone? Run "
                    f"the same command again, perhaps with fewer workers than {self._workers}."
                ) from error
            if self._workers and "terminated unexpectedly" in str(error):  # Grain's RuntimeError
                raise DataError(
                    f"A data worker process was killed before step {self._next_step}, perhaps for "
                    f"want of memory: use fewer workers than {self._workers}, or 0."
                ) from error
            raise
        self._next_step += 1
        if self._workers:
            # Grain's arrays lie in shared memory until they are deleted, and JAX deletes what it
            # was handed at a time of its own, after the last use or even at exit.
            batch = jax.tree.map(np.array, batch)
        return batch

    def get_state(self) -> dict[str, int]:
        """Returns `{"next_step": k}`, a copy."""
        return {"next_step": self._next_step}

    def set_state(self, state: dict[str, int]) -> None:
        """Goes to `state`; batches computed ahead are dropped."""
        self.close()
        self._next_step = int(state["next_step"])

    def close(self) -> None:
        """Ends threads and worker processes; the next `next` would start them again."""
        _close_all(self._running)

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes."""
        self.close()

    @contextlib.contextmanager
    def _ended_when_hanging(self, hung: threading.Event) -> Iterator[None]:
        """Kills workers that keep the block waiting for too long, of which Grain then tells."""
        if not self._workers:  # threads could not be ended
            yield
            return

        def end() -> None:
            hung.set()
            for process in set(multiprocessing.active_children()) - self._not_ours:
                process.kill()

        alarm = threading.Timer(HANGING_SECONDS, end)
        alarm.daemon = True
        alarm.start()
        try:
            yield
        finally:
            alarm.cancel()

    def _begin(self) -> Batch:
        """Starts threads or processes; returns their first batch."""
        self._not_ours = set(multiprocessing.active_children())

        def first() -> Batch:
            self._running.append(self._start())
            return next(self._running[0])

        return start_processes(first) if self._workers else first()

    def _start(self) -> Any:
        source = dataclasses.replace(self._stream, first_step=self._next_step)
        options = grain.ReadOptions(
            num_threads=self._threads,
            prefetch_buffer_size=self._threads + _READY if self._threads else 0,
        )
        batches = grain.MapDataset.source(source).to_iter_dataset(options)
        if self._workers:
            _accept_grain_flags()
            batches = batches.mp_prefetch(
                grain.MultiprocessingOptions(num_workers=self._workers, per_worker_buffer_size=1),
                worker_init_fn=_start_worker,
            )
        return iter(batches)


def _start_worker(worker: int, workers: int) -> None:
    """Ends with the training process even if that is killed."""
    del worker, workers
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _close_all(iterators: list[Any]) -> None:
    while iterators:
        iterators.pop().close()


def _accept_grain_flags() -> None:
    """Lets Grain read its absl flags, which it does for workers, in a program that parses none."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def training_batches(
    split: TrainingSplit,
    *,
    seed: int,
    batch_size: int,
    image_size: int,
    augment: AugmentConfig,
    first_step: int = 0,
    workers: int = 0,
    threads: int | None = None,
    rows: tuple[int, ...] | None = None,
) -> TrainingBatches:
    """Returns the endless stream of training batches, the same for any workers and threads.

    Args:
      split: the training images.
      seed: of order and augmentation.
      batch_size: images per step.
      image_size: height and width of the crops in pixels.
      augment: the random changes.
      first_step: step of the first batch.
      workers: worker processes (spawned), 0: threads of this process only.
      threads: threads per process; None: one per core, at most 8, and one in a worker process; 0:
        computed in `next` itself. Decoding and copying do not hold Python's lock.
      rows: the rows of each batch that are computed, where other processes compute the others;
        None: all.

    Raises:
      DataError: the split is empty.
      InputError: a size that cannot be.
    """
    if split.num_examples < 1:
        raise DataError("The training split has no images: prepare the data set again.")
    if batch_size < 1:
        raise InputError(f"batch_size should be at least 1, not {batch_size}.")
    if threads is None:
        threads = 1 if workers else min(usable_cores(), _MAX_THREADS)
    if workers < 0 or threads < 0:
        raise InputError(f"workers {workers} and threads {threads} should not be negative.")
    stream = TrainingStream(
        split,
        seed=seed,
        batch_size=batch_size,
        image_size=image_size,
        augment=augment,
        rows=rows,
    )
    return TrainingBatches(stream, first_step=first_step, workers=workers, threads=threads)


def usable_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def evaluation_batches(
    split: Split, batch_size: int, *, ahead: int = 2, rows: tuple[int, ...] | None = None
) -> Generator[Batch, None, None]:
    """Yields whole stored images in their order, every image exactly once.

    The last batch is filled up with zeros, for which `mask` is False, so that all have one shape.
    Labels and mask are always those of the whole batch.

    Args:
      split: the images.
      batch_size: images per batch.
      ahead: batches read in advance, each by a thread.
      rows: the rows of each batch whose images are read, where other processes read the others;
        None: all.
    """
    if batch_size < 1:
        raise InputError(f"batch_size should be at least 1, not {batch_size}.")
    starts = iter(range(0, split.num_examples, batch_size))
    pending: deque[Future[Batch]] = deque()
    pool = ThreadPoolExecutor(max(1, ahead), thread_name_prefix="evaluation_batches")
    try:
        while True:
            while len(pending) < max(1, ahead) and (start := next(starts, None)) is not None:
                pending.append(pool.submit(_evaluation_batch, split, start, batch_size, rows))
            if not pending:
                return
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _evaluation_batch(
    split: Split, start: int, batch_size: int, rows: tuple[int, ...] | None
) -> Batch:
    indices = np.arange(start, min(start + batch_size, split.num_examples))
    count = len(indices)
    labels = np.asarray(split.labels)[indices].astype(np.int32)
    own = indices if rows is None else indices[[row for row in rows if row < count]]
    images = split.images(own)
    if missing := (batch_size if rows is None else len(rows)) - len(own):
        images = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)])
    if count < batch_size:
        labels = np.concatenate([labels, np.zeros(batch_size - count, np.int32)])
    return Batch(
        images=images,
        labels=labels,
        mask=np.arange(batch_size) < count,
        colour=np.zeros((batch_size, 3), np.float32),
        offsets=np.zeros((batch_size, 2), np.int32),
        flips=np.zeros(batch_size, bool),
    )
