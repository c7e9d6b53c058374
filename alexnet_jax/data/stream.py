"""The stream of training batches: each is a pure function of its step number.

Position p = step * batch_size + i of the endless training stream is image
`permutation(seed, epoch)[p mod n]` of epoch p // n, so every image comes exactly once per epoch
whatever the batch size, a batch may straddle two epochs, and the iterator's state is one number.
"""

import dataclasses
import functools
from typing import Any, NamedTuple, Protocol

import numpy as np

from alexnet_jax.config import AugmentConfig
from alexnet_jax.data import augment as augmentation

_ENDLESS = 2**48  # steps that Grain is told of


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
        if self.augment.recipe != "resized-crop":
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
