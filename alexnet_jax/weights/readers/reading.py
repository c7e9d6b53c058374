"""What every reader of foreign weights returns: parameters in our layouts, and how to feed them."""

from typing import Any, Literal, NamedTuple

import numpy as np

from alexnet_jax.config import AS_VIEWED, Appearance, AugmentConfig, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.network.layers import Network

Arrays = dict[str, dict[str, np.ndarray]]
"""`{layer: {"kernel": float32, "bias": float32}}`."""


class Reading(NamedTuple):
    """The contents of a file of weights.

    Attributes:
      network: with as many classes as the file has outputs.
      params: of the layers that the file holds; contiguous, finite float32.
      image_size: height and width of the network's input in pixels.
      stored_size: height and width that images are brought to before that.
      preprocess: arithmetic on the images.
      inputs: its arrays.
      form: what kind of file it was.
      class_order: of its outputs: sorted WordNet ids, the development kit's, or that of the names.
      class_names: where the file has them.
      appearance: how photos are shown to it.
      augment: how it was trained, as far as the views of a test depend on it.
      notes: what else was found and changed, for the record.
      told: what the user should know of that at once, one line each.
    """

    network: Network
    params: Arrays
    image_size: int
    stored_size: int
    preprocess: PreprocessConfig
    inputs: Inputs
    form: str
    class_order: Literal["wordnet", "ilsvrc", "names"] = "names"
    class_names: tuple[str, ...] = ()
    appearance: Appearance = AS_VIEWED
    augment: AugmentConfig = AugmentConfig()
    notes: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


def make_arrays(mean: Any, scale: Any = (1.0, 1.0, 1.0)) -> Inputs:
    """Returns the arrays of a preprocessing without colour noise, float32."""
    arrays = mean, scale, np.zeros((3, 3))
    return Inputs(*(np.ascontiguousarray(array, np.float32) for array in arrays))
