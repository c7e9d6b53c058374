"""Paddle's AlexNet, a `.pdparams` file: a pickled dictionary of arrays; nothing of it is run.

The network is torchvision's, and so are kernels (OIHW) and images, but dense weights are
`[in, out]`, and dropout (`downscale_in_infer`) halves its input in every pass but training's. Here
the weights that follow are halved, which is exact.
Source: PaddlePaddle python/paddle/vision/models/alexnet.py, python/paddle/framework/io.py.
"""

from typing import Any

import numpy as np

from alexnet_jax.config import PreprocessConfig
from alexnet_jax.data.preprocess import IMAGENET_MEAN, IMAGENET_STD
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Dropout, with_changes
from alexnet_jax.network.networks import find_network
from alexnet_jax.weights.readers.foreign_weights import ForeignWeights, plain_inputs
from alexnet_jax.weights.readers.named_layers import match_named, pair_arrays
from alexnet_jax.weights.readers.pickled_values import PickledArray
from alexnet_jax.weights.readers.safe_pickle import read_pickle
from alexnet_jax.weights.readers.source_file import SourceFile

NETWORK = "one-weird-trick"

_LAYERS = {
    "_conv1._conv": "conv1",
    "_conv2._conv": "conv2",
    "_conv3": "conv3",
    "_conv4": "conv4",
    "_conv5._conv": "conv5",
    "_fc6": "fc6",
    "_fc7": "fc7",
    "_fc8": "fc8",
}
_NAMES_OF_PARAMETERS = "StructuredToParameterName@@"
_PARTS_OF_ARRAYS = "UnpackBigParamInfor@@"
_FIRST = "_conv1._conv.weight"


def recognizes(file: SourceFile) -> bool:
    """Raises `InputError` for what is no pickle of arrays."""
    return bool(_find_network(_unpickle(file)))


def read(file: SourceFile, network_name: str = "") -> ForeignWeights:
    found = _find_network(_unpickle(file))
    if not found:
        raise InputError(
            f"{file.name} holds no AlexNet of Paddle, whose first array is '{_FIRST}'; save it "
            "with paddle.save(model.state_dict(), FILE)"
        )
    layers = {
        name: layer._replace(weights=layer.weights.T) if name.startswith("fc") else layer
        for name, layer in pair_arrays(
            _arrays_of(found, file), _LAYERS, "Paddle", file.name
        ).items()
    }
    name = network_name or NETWORK
    theirs = with_changes(find_network(name).layers, Dropout, inverted=False)
    network, params, image_size = match_named(file.name, layers, name, theirs)
    return ForeignWeights(
        file=file,
        network=network,
        params=params,
        image_size=image_size,
        stored_size=max(256, image_size),
        preprocess=PreprocessConfig(mean="imagenet", scale="imagenet"),
        inputs=plain_inputs(IMAGENET_MEAN, IMAGENET_STD),
        form="Paddle",
        class_order="wordnet" if network.classes == 1000 else "names",
        notes=("Paddle's dropout halves at test: fc6's and fc7's weights were halved",),
    )


def _unpickle(file: SourceFile) -> Any:
    builders = {"builtins.tuple": _as_tuple, "__builtin__.tuple": _as_tuple}
    return read_pickle(file.data, file.name, builders=builders)[0]


def _as_tuple(value: Any) -> tuple[Any, ...]:
    """In a dictionary within the dictionary, an array is `tuple((name, array))`."""
    if not isinstance(value, tuple):
        raise ValueError("a tuple of something else")
    return value


def _find_network(value: Any) -> dict[str, Any]:
    """The arrays without what is before their names; also one dictionary down, as trainings save.

    Empty: there are none.
    """
    for part in (value, *(value.values() if isinstance(value, dict) else ())):
        names = [name for name in part if isinstance(name, str)] if isinstance(part, dict) else []
        before = next((n.removesuffix(_FIRST) for n in names if n.endswith(_FIRST)), None)
        if before is not None:
            return {n.removeprefix(before): part[n] for n in names if n != _NAMES_OF_PARAMETERS}
    return {}


def _arrays_of(found: dict[str, Any], file: SourceFile) -> dict[str, np.ndarray]:
    if _PARTS_OF_ARRAYS in found:
        raise InputError(f"{file.name} has arrays in parts; save it with protocol=4")
    arrays = {}
    for name, value in found.items():
        array = value[-1] if isinstance(value, tuple) and value else value
        if not isinstance(array, PickledArray):
            raise InputError(f"{file.name}: '{name[:80]}' is no array; save a state_dict alone")
        try:
            arrays[name] = array.numpy()
        except ValueError as error:
            raise InputError(f"{file.name}: '{name[:80]}' is {error}; get it again") from None
    return arrays
