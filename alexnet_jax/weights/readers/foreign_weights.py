"""What every reader returns: the parameters of another program, in our layouts."""

from typing import Any, Literal, NamedTuple

import numpy as np

from alexnet_jax.appearance import AS_VIEWED, Appearance
from alexnet_jax.config import AugmentConfig, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.network.layers import Network
from alexnet_jax.weights.readers.source_file import SourceFile

LayerArrays = dict[str, dict[str, np.ndarray]]
"""`{layer: {"kernel": float32, "bias": float32}}`."""


class ForeignWeights(NamedTuple):
    """The contents of a file of weights.

    Attributes:
      network: with as many classes as the file has outputs.
      params: of the layers that the file holds; contiguous, finite float32.
      image_size, stored_size: sides in pixels of the network's input and of the square that images
        are resized and cropped to before.
      form: the kind of file, for the record.
      class_order: of the outputs: sorted WordNet ids, the numbers of ILSVRC's development kit, or
        the order of the names.
      notes: what was found or changed, for the record.
      messages: what the user should know of that, one line each.
    """

    file: SourceFile
    network: Network
    params: LayerArrays
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
    messages: tuple[str, ...] = ()


def make_inputs(mean: Any, scale: Any = (1.0, 1.0, 1.0)) -> Inputs:
    """Returns the arrays of a preprocessing without colour noise, float32."""
    arrays = mean, scale, np.zeros((3, 3))
    return Inputs(*(np.ascontiguousarray(array, np.float32) for array in arrays))
