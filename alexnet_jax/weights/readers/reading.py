"""What every reader of foreign weights returns: parameters in our layouts, and how to feed them."""

from typing import Any, Literal, NamedTuple

import numpy as np

from alexnet_jax.config import AS_VIEWED, Appearance, AugmentConfig, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.errors import InputError, did_you_mean
from alexnet_jax.network.layers import Network
from alexnet_jax.network.networks import NETWORKS

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


def find_network(name: str, classes: int = 0) -> Network:
    """Returns a network by name, with so many classes; 0: its own number.

    Raises:
      InputError: there is none of that name, or the number of classes is impossible.
    """
    if name not in NETWORKS:
        raise InputError(
            f"unknown network '{name}'.{did_you_mean(name, NETWORKS)} Known: {', '.join(NETWORKS)}"
        )
    return NETWORKS[name].with_classes(classes) if classes else NETWORKS[name]


def make_arrays(mean: Any, scale: Any = (1.0, 1.0, 1.0)) -> Inputs:
    """Returns the arrays of a preprocessing without colour noise, float32."""
    arrays = mean, scale, np.zeros((3, 3))
    return Inputs(*(np.ascontiguousarray(array, np.float32) for array in arrays))
