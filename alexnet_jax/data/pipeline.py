"""Streams of batches: a training batch is a pure function of its step number.

Position p = step * batch_size + i of the endless training stream is image
`permutation(seed, epoch)[p mod n]` of epoch p // n, so every image comes exactly once per epoch
whatever the batch size, a batch may straddle two epochs, and the iterator's state is one number.
Threads or worker processes only compute the function ahead of its use. Grain runs them; its own
state is not used because that lists the workers, and a run may resume with another number of them.
"""

import contextlib
import dataclasses
import functools
import multiprocessing
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, Self

import grain
import jax
import numpy as np

from alexnet_jax.config import AugmentConfig
from alexnet_jax.data import augment as augmentation
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.processes import start_processes

_ENDLESS = 2**48  # steps that Grain is told of
HANGING_SECONDS = 600.0
"""So long may worker processes take for a batch before they are ended."""
_READY = 2  # finished batches that may wait besides those that threads compute
_MAX_THREADS = 8  # beyond it, so is guessed, threads wait for Python's lock: use worker processes


class Split(Protocol):
    """What the streams need of a split of a data set; with worker processes it must pickle."""

    @property
    def num_examples(self) -> int:
        """Number of images."""
        ...

    @property
    def labels(self) -> np.ndarray:
        """Class of each image, int32 [num_examples]."""
        ...

    def images(self, indices: Any) -> np.ndarray:
        """Returns uint8 [k, stored, stored, 3]; may be called by several threads at once."""
        ...


class TrainingSplit(Split, Protocol):
    """What training needs besides."""

    @property
    def stored_size(self) -> int:
        """Height and width of the stored images in pixels."""
        ...

    def crops(self, indices: Any, offsets: np.ndarray, flips: np.ndarray, out: np.ndarray) -> None:
        """Writes crops at `offsets` [k, 2], mirrored where `flips` [k], into `out` [k, h, h, 3].

        May be called by several threads at once.

        Args:
          indices: int `[n]`, of the images in the split.
          offsets: int `[n, 2]`, row and column of each crop.
          flips: bool `[n]`, which are mirrored.
          out: uint8 `[n, size, size, 3]` to write.
        """
        ...


class Batch(NamedTuple):
    """Images with all that the jitted step needs to know of them; NumPy arrays, or on the device.

    Attributes:
      images: uint8 [n, h, w, 3]; in training cropped and mirrored, else whole stored images.
      labels: int32 [n].
      mask: bool [n], False for padding.
      colour: float32 [n, 3], standard normal coefficients of the colour PCA; zeros without noise.
      offsets: int32 [n, 2], top and left of the crop in the stored image in pixels.
      flips: bool [n], whether `images` are mirrored.
    """

    images: Any
    labels: Any
    mask: Any
    colour: Any
    offsets: Any
    flips: Any


@functools.lru_cache(maxsize=3)
def _order(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    return augmentation.permutation(seed, epoch, num_examples)


def stream_places(num_examples: int, batch_size: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (epochs, places in their orders) of the images of `step`, int64 [batch_size].

    Args:
      num_examples: of the split.
      batch_size: images per step.
      step: from 0.
    """
    positions = step * batch_size + np.arange(batch_size, dtype=np.int64)
    return np.divmod(positions, num_examples)


def stream_indices(
    seed: int, num_examples: int, batch_size: int, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (epochs, indices), both int64 [batch_size], of the images of `step`.

    Deviation: every epoch has an order of its own, and a batch may hold the end of one epoch and
    the beginning of the next. The 2012 program shuffled once, when its batch files were made.

    Args:
      seed: of the run.
      num_examples: of the split.
      batch_size: images per step.
      step: from 0.
    """
    epochs, places = stream_places(num_examples, batch_size, step)
    indices = np.empty_like(places)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        indices[here] = _order(seed, int(epoch), num_examples)[places[here]]
    return epochs, indices


@dataclasses.dataclass(frozen=True)
class TrainingStream:
    """Random access to the training batches: element k is the batch of step first_step + k.

    Attributes: as the arguments of `training_batches`.
    """

    split: TrainingSplit = dataclasses.field(repr=False)
    seed: int
    batch_size: int
    image_size: int
    augment: AugmentConfig
    first_step: int = 0
    rows: tuple[int, ...] | None = None

    def __len__(self) -> int:
        """Practically endless."""
        return _ENDLESS

    def __getitem__(self, index: Any) -> Batch:
        """Returns the batch of step `first_step + index`."""
        step, count = self.first_step + int(index), self.split.num_examples
        epochs, indices = stream_indices(self.seed, count, self.batch_size, step)
        _, places = stream_places(count, self.batch_size, step)
        if self.rows is not None:
            own = list(self.rows)
            epochs, indices, places = epochs[own], indices[own], places[own]
        draws = augmentation.draw(
            self.augment,
            seed=self.seed,
            epochs=epochs,
            indices=indices,
            stored_size=self.split.stored_size,
            image_size=self.image_size,
            places=places,
        )
        images = np.empty((len(indices), self.image_size, self.image_size, 3), np.uint8)
        if self.augment.recipe == "crop":
            self.split.crops(indices, draws.offsets, draws.flips, images)
        else:
            stored = self.split.images(indices)
            augmentation.change_images(stored, draws, self.augment.recipe, images)
        return Batch(
            images=images,
            labels=np.asarray(self.split.labels)[indices].astype(np.int32),
            mask=np.ones(len(indices), bool),
            colour=draws.colour,
            offsets=draws.offsets,
            flips=draws.flips,
        )


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


class DevicePrefetch(Iterator[Batch]):
    """Batches of `source` on the device, copied there ahead of their use.

    `get_state` is the source's state as it was right after the batch that was returned last, so a
    checkpoint taken after a step never skips the batches that wait on the device.
    """

    def __init__(self, source: Iterator[Batch], size: int, put: Callable[[Batch], Batch]):
        """See `device_prefetch`."""
        self._source, self._size, self._put = source, max(1, size), put
        self._waiting: deque[tuple[Batch, dict[str, int] | None]] = deque()
        self._state = self._source_state()

    def __next__(self) -> Batch:
        """Returns the next batch, as `jax.Array`s."""
        while len(self._waiting) < self._size:
            batch = next(self._source, None)
            if batch is None:
                break
            self._waiting.append((self._put(batch), self._source_state()))
        if not self._waiting:
            raise StopIteration
        batch, self._state = self._waiting.popleft()
        return batch

    def get_state(self) -> dict[str, int]:
        """Returns the state of the source right after the batch returned last."""
        if self._state is None:
            raise TypeError(f"{type(self._source).__name__} has no state.")
        return dict(self._state)

    def set_state(self, state: dict[str, int]) -> None:
        """Goes to `state`; batches that wait on the device are dropped."""
        self._waiting.clear()
        self._source.set_state(state)  # type: ignore[attr-defined]
        self._state = self._source_state()

    def close(self) -> None:
        """Drops what waits and closes the source."""
        self._waiting.clear()
        self._source.close()  # type: ignore[attr-defined]

    def _source_state(self) -> dict[str, int] | None:
        return self._source.get_state() if hasattr(self._source, "get_state") else None  # type: ignore[attr-defined]


def device_prefetch(
    source: Iterator[Batch], size: int = 2, *, put: Callable[[Batch], Batch] = jax.device_put
) -> DevicePrefetch:
    """Returns an iterator over `source`'s batches on the device, `size` of them in flight.

    Args:
      source: from `training_batches` or `evaluation_batches`.
      size: batches on the device at a time, at least 1.
      put: puts a batch there; by default on the default device (`placement.batch_putter`).
    """
    return DevicePrefetch(source, size, put)
