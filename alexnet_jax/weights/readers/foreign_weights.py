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
    """The contents of a file of weights."""

    file: SourceFile
    network: Network  # with as many classes as the file has outputs
    params: LayerArrays  # of the file's layers; contiguous, finite float32
    image_size: int  # side of the network's input, pixels
    stored_size: int  # side of the square before the crop, pixels
    preprocess: PreprocessConfig
    inputs: Inputs
    form: str  # the kind of file, for the record
    # sorted WordNet ids, the numbers of ILSVRC's development kit, or the names' order
    class_order: Literal["wordnet", "ilsvrc", "names"] = "names"
    class_names: tuple[str, ...] = ()
    appearance: Appearance = AS_VIEWED
    augment: AugmentConfig = AugmentConfig()
    notes: tuple[str, ...] = ()  # for the record
    messages: tuple[str, ...] = ()  # for the user, one line each


def plain_inputs(mean: Any, scale: Any = (1.0, 1.0, 1.0)) -> Inputs:
    """Without colour noise; float32."""
    arrays = mean, scale, np.zeros((3, 3))
    return Inputs(*(np.ascontiguousarray(array, np.float32) for array in arrays))
