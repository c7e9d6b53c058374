"""Files with arrays alone: how their layers compute is known by the program that wrote them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Layer, Parametric
from alexnet_jax.network.networks import find_network
from alexnet_jax.weights.readers.layer_sequence import FileLayer, Matched, match_layers


class NamedLayer(NamedTuple):
    """A layer with weights; `name` is the file's."""

    name: str
    weights: np.ndarray  # `[out, in / groups, height, width]` or `[out, in]`
    biases: np.ndarray


def pair_arrays(
    arrays: Mapping[str, np.ndarray], layers: Mapping[str, str], program: str, file_name: str
) -> dict[str, NamedLayer]:
    """Returns by our names what `arrays` has as `NAME.weight` and `NAME.bias`.

    Args:
      layers: our names by those in the file, from the image on.
      program: whose AlexNet it is, for errors.

    Raises:
      InputError: an array of another name, or half of a layer.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        prefix, _, leaf = name.rpartition(".")
        if prefix not in layers or leaf not in ("weight", "bias"):
            raise InputError(
                f"{file_name}: '{name[:80]}' is no array of {program}'s AlexNet, which has "
                f"{', '.join(layers)}, each .weight and .bias"
            )
        found.setdefault(prefix, {})[leaf] = array
    for name, leaves in found.items():
        if len(leaves) != 2:
            raise InputError(f"{file_name} has only the {[*leaves][0]} of '{name}'; get it again")
    return {
        layers[name]: NamedLayer(name, leaves["weight"], leaves["bias"])
        for name, leaves in found.items()
    }


def match_named(
    file_name: str,
    arrays: Mapping[str, NamedLayer],
    network_name: str,
    layers: tuple[Layer, ...] = (),
) -> Matched:
    """Puts arrays, by our names of layers, into a network; the last ones may be missing.

    Args:
      layers: as the file's program computes them; none: as the network does.

    Raises:
      InputError: one is missing before those, or an array has a wrong type or shape.
    """
    layers = layers or find_network(network_name).layers
    present = [i for i, layer in enumerate(layers) if _name(layer) in arrays]
    sequence: list[FileLayer] = []
    for layer in layers[: max(present, default=-1) + 1]:
        windows = layer.windows()
        padding = windows.padding if windows else 0
        item = FileLayer(_name(layer), layer, (padding, padding))
        if found := arrays.get(item.name):
            kernel = found.weights.T  # [in, out], or [width, height, in / groups, out]
            kernel = kernel.swapaxes(0, 1) if kernel.ndim == 4 else kernel
            item = item._replace(name=found.name, weights=kernel, bias=found.biases)
        sequence.append(item)
    return match_layers(file_name, sequence, network_name=network_name)


def _name(layer: Layer) -> str:
    return layer.name if isinstance(layer, Parametric) else layer.label()
