"""Batches computed ahead by Grain's threads or worker processes, and sent to the device.

The state of Grain's iterators is not used: it depends on the number of workers, and a run may
resume with another number. A step's number is the state.
"""

import atexit
import contextlib
import functools
import itertools
import multiprocessing
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator

import grain
import jax
import numpy as np
from absl import flags

from alexnet_jax.config import AugmentConfig
from alexnet_jax.data.stream import Batch, ExampleSource, TrainingSource, TrainingStream
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.processes import start_processes

HANGING_SECONDS = 600.0
"""A worker process that needs longer for a batch is killed."""
_READY = 2  # finished batches that may wait, in addition to those that threads compute
_MAX_THREADS = 16  # more threads probably wait for Python's lock: use worker processes


def training_batches(
    source: TrainingSource,
    *,
    seed: int,
    batch_size: int,
    image_size: int,  # of the crops, pixels
    augment: AugmentConfig,
    first_step: int = 0,
    workers: int = 0,  # processes (spawned); 0: threads of this process only
    threads: int | None = None,
    rows: tuple[int, ...] | None = None,  # of each batch, where other processes compute the others
) -> Generator[Batch, None, None]:
    """Returns the endless stream of training batches, the same for any workers and threads.

    Nothing starts before the first `next`; `close` ends threads and processes. Without `threads`
    there is one per core, at most 16, and one in a worker process; with 0, `next` itself computes.
    Decoding and copying do not hold Python's lock.

    Raises:
      DataError: the source is empty; or, by `next`, an image cannot be read or a worker ended.
      InputError: a size is impossible.
    """
    if source.num_examples < 1:
        raise DataError("The training split has no images: prepare the data set again.")
    if batch_size < 1:
        raise InputError(f"batch_size should be at least 1, not {batch_size}.")
    if threads is None:
        threads = 1 if workers else min(usable_cores(), _MAX_THREADS)
    if workers < 0 or threads < 0:
        raise InputError(f"workers {workers} and threads {threads} should not be negative.")
    stream = TrainingStream(source, seed, batch_size, image_size, augment, rows)
    steps = grain.MapDataset.range(first_step, sys.maxsize)
    batches = _in_threads(steps.map(stream.batch), threads, _READY)
    if not workers:
        return _iterate(batches)
    generator = _from_workers(batches, workers, first_step)
    # Workers that are alive when Python deletes its modules would end in tracebacks.
    atexit.register(_close, weakref.ref(generator))
    return generator


def usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _in_threads(batches: grain.MapDataset, threads: int, ready: int) -> grain.IterDataset:
    ahead = threads + ready if threads else 0
    return batches.to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    )


def _iterate(batches: grain.IterDataset) -> Generator[Batch, None, None]:
    with contextlib.closing(iter(batches)) as iterator:  # type: ignore[type-var]
        yield from iterator


def _close(generator: weakref.ref[Generator[Batch, None, None]]) -> None:
    if alive := generator():
        alive.close()


def _from_workers(
    batches: grain.IterDataset, workers: int, first_step: int
) -> Generator[Batch, None, None]:
    """Yields the batches of worker processes, which end with the generator or the program."""
    if not flags.FLAGS.is_parsed():  # Grain reads its own flags here
        flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=1)
    batches = batches.mp_prefetch(options, worker_init_fn=_start_worker)
    # Copied out of shared memory: Grain frees that when the arrays are deleted, but JAX keeps the
    # arrays that it gets until a time of its own, even until exit.
    batches = batches.map(lambda batch: Batch(*map(np.array, batch)))
    others = set(multiprocessing.active_children())

    def kill_workers() -> None:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()

    with contextlib.closing(iter(batches)) as iterator:  # type: ignore[type-var]
        for step in itertools.count(first_step):
            alarm = threading.Timer(HANGING_SECONDS, kill_workers)
            alarm.daemon = True
            alarm.start()
            try:
                if step == first_step:
                    batch = start_processes(lambda: next(iterator))
                else:
                    batch = next(iterator)
            except RuntimeError as error:
                if "terminated unexpectedly" not in str(error):  # Grain's words
                    raise
                raise DataError(
                    f"A data worker process ended before step {step}: it was killed, perhaps for "
                    f"lack of memory, or had no batch ready within {HANGING_SECONDS:g} s. Check "
                    f"the data set's disk; use fewer workers than {workers}, or 0."
                ) from error
            finally:
                alarm.cancel()
            yield batch


def _start_worker(worker: int, workers: int) -> None:
    """Lets a worker end with the training process, even if that is killed."""
    del worker, workers

    def end_with_parent() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def evaluation_batches(
    source: ExampleSource, batch_size: int, *, rows: tuple[int, ...] | None = None
) -> Generator[Batch, None, None]:
    """Yields whole stored images in their order, every image exactly once.

    The last batch is filled up with zeros, for which `mask` is False, so that all have one shape.
    Labels and mask are of the whole batch; images only of `rows`.
    """
    if batch_size < 1:
        raise InputError(f"batch_size should be at least 1, not {batch_size}.")
    read = functools.partial(_evaluation_batch, source, batch_size, rows)
    starts = grain.MapDataset.range(0, source.num_examples, batch_size)
    return _iterate(_in_threads(starts.map(read), threads=2, ready=0))


def _evaluation_batch(
    source: ExampleSource, batch_size: int, rows: tuple[int, ...] | None, start: int
) -> Batch:
    indices = np.arange(start, min(start + batch_size, source.num_examples))
    count, padding = len(indices), batch_size - len(indices)
    own = indices if rows is None else indices[[row for row in rows if row < count]]
    images = source.images(own)  # [own, stored, stored, 3]
    missing = (batch_size if rows is None else len(rows)) - len(own)
    labels = np.asarray(source.labels)[indices].astype(np.int32)
    return Batch(
        images=np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else images,
        labels=np.pad(labels, (0, padding)),
        mask=np.arange(batch_size) < count,
        colour=np.zeros((batch_size, 3), np.float32),
        offsets=np.zeros((batch_size, 2), np.int32),
        flips=np.zeros(batch_size, bool),
    )


def device_prefetch(
    batches: Generator[Batch, None, None],
    size: int = 2,
    *,
    put: Callable[[Batch], Batch] = jax.device_put,
) -> Generator[Batch, None, None]:
    """Yields batches from the device, which holds `size` of them (1 or more); closes `batches`."""
    waiting: deque[Batch] = deque()
    with contextlib.closing(batches):
        for batch in batches:
            waiting.append(put(batch))
            if len(waiting) >= size:
                yield waiting.popleft()
        yield from waiting
