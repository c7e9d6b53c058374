"""The stream of training batches: each is a pure function of its step number.

Image i of step s has the stream position p = s * batch_size + i; it is image
`permutation(seed, epoch)[p mod n]` of epoch p // n. So every image comes exactly once per epoch
whatever the batch size, a batch may hold two epochs, and resuming needs the step's number only.
"""

import functools
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from alexnet_jax.config import AugmentConfig
from alexnet_jax.data.augment import draw_augmentations, permutation, resized_crops


class ExampleSource(Protocol):
    """Images and labels by index, as evaluation reads them."""

    @property
    def num_examples(self) -> int: ...

    @property
    def labels(self) -> np.ndarray:
        """Class of each image, int32 [num_examples]."""
        ...

    def images(self, indices: Any) -> np.ndarray:
        """Returns uint8 [k, stored, stored, 3] for `indices` [k]; several threads may call it."""
        ...


class TrainingSource(ExampleSource, Protocol):
    """The same with crops, as training reads them; with worker processes it must pickle."""

    @property
    def stored_size(self) -> int:
        """In pixels."""
        ...

    def crops(self, indices: Any, offsets: np.ndarray, flips: np.ndarray, out: np.ndarray) -> None:
        """Writes crops of images `indices`, int [k], into `out`, uint8 [k, size, size, 3].

        `offsets` are int [k, 2], top and left in pixels; `flips` are bool [k]. Several threads may
        call it.
        """
        ...


class Batch(NamedTuple):
    """Images with all that the jitted step needs to know of them; in NumPy or on the device."""

    images: Any  # uint8 [n, h, w, 3]; in training cropped and mirrored, else whole stored images
    labels: Any  # int32 [n]
    mask: Any  # bool [n], False for padding
    colour: Any  # float32 [n, 3], standard normal coefficients of the colour PCA, or zeros
    offsets: Any  # int32 [n, 2], top and left of the crop in the stored image, pixels
    flips: Any  # bool [n], whether `images` are mirrored


_permutation = functools.lru_cache(maxsize=3)(permutation)


def stream_positions(
    num_examples: int, batch_size: int, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns epochs and positions in their orders of the images of `step`, int64 [batch_size]."""
    positions = step * batch_size + np.arange(batch_size, dtype=np.int64)
    return np.divmod(positions, num_examples)


def stream_indices(
    seed: int, num_examples: int, batch_size: int, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns epochs and indices of the images of `step`, both int64 [batch_size].

    Deviation: every epoch has an order of its own, and a batch may hold the end of one epoch and
    the beginning of the next. The 2012 program shuffled once, when its batch files were made.
    """
    epochs, positions = stream_positions(num_examples, batch_size, step)
    indices = np.empty_like(positions)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        indices[here] = _permutation(seed, int(epoch), num_examples)[positions[here]]
    return epochs, indices


@dataclass(frozen=True)
class TrainingStream:
    """The training batches by step."""

    source: TrainingSource = field(repr=False)
    seed: int
    batch_size: int
    image_size: int  # height and width of the network's input, pixels
    augment: AugmentConfig
    rows: tuple[int, ...] | None = None  # of each batch; None: all

    def batch(self, step: int) -> Batch:
        """Returns the batch of a step; n is `batch_size`, or the number of `rows`."""
        source, count, size = self.source, self.source.num_examples, self.image_size
        epochs, indices = stream_indices(self.seed, count, self.batch_size, step)
        _, positions = stream_positions(count, self.batch_size, step)
        if self.rows is not None:
            rows = list(self.rows)
            epochs, indices, positions = epochs[rows], indices[rows], positions[rows]
        draws = draw_augmentations(
            self.augment,
            seed=self.seed,
            epochs=epochs,
            indices=indices,
            stored_size=source.stored_size,
            image_size=size,
            positions=positions,
        )
        images = np.empty((len(indices), size, size, 3), np.uint8)  # [n, height, width, channels]
        if self.augment.recipe == "resized-crop":
            resized_crops(source.images(indices), draws, images)
        else:
            source.crops(indices, draws.offsets, draws.flips, images)
        return Batch(
            images=images,
            labels=np.asarray(source.labels)[indices].astype(np.int32),
            mask=np.ones(len(indices), bool),
            colour=draws.colour,
            offsets=draws.offsets,
            flips=draws.flips,
        )
