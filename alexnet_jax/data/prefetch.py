"""Batches on the device, copied there ahead of their use."""

from collections import deque
from collections.abc import Callable, Iterator

import jax

from alexnet_jax.data.stream import Batch


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
