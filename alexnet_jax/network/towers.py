"""Two towers as a sharding of one set of parameters over a `("data", "tower")` mesh.

A grouped kernel `[height, width, in / groups, out]`, split on its last axis, is the two towers.
Activations are sent only where the paper's GPUs talk: before `conv3`, `fc6`, `fc7` and `fc8`. The
classifier is whole on every tower (in 2012 it was on one of them). Paper §3.2, §3.5, figure 2.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import (
    Gather,
    Layer,
    Network,
    Parametric,
    Size,
    layer_names,
    parametric_layers,
    summarize,
)
from alexnet_jax.network.model import AlexNet
from alexnet_jax.network.modules import DATA, TOWER
from alexnet_jax.network.placement import partition_specs

Forward = Callable[..., jax.Array]


def tower_network(network: Network, towers: int) -> Network:
    """Returns what each device computes, as a network; the classifier stays whole.

    Raises `InputError` for a network without groups, and for a layer that cannot be divided.
    """
    if towers == 1:
        return network
    if all(layer.groups == 1 for layer in parametric_layers(network.layers)):
        raise InputError(
            f"network '{network.name}' has no groups, so it has no {towers} towers; use 1 tower, "
            "with replicas on the other devices"
        )
    names = layer_names(network.layers)
    shares: list[Layer] = []
    divided = False  # whether each tower has only its own channels at this point
    for place, (name, layer) in enumerate(zip(names, network.layers, strict=True)):
        following = parametric_layers(network.layers[place:])
        is_classifier = layer is network.classifier
        if divided and (layer.reads_all_towers() or is_classifier):
            shares.append(Gather(towers, invariant=following == [network.classifier]))
            divided = False
        try:
            shares.append(layer if is_classifier else layer.share(towers, divided))
        except InputError as error:
            raise InputError(f"network '{network.name}': layer '{name}' {error}") from None
        if isinstance(layer, Parametric):
            divided = not is_classifier
    return dataclasses.replace(
        network, name=f"{network.name}, one of {towers} towers", layers=tuple(shares)
    )


def make_forward(network: Network, dtype: Any = jnp.float32, mesh: Mesh | None = None) -> Forward:
    """Returns `forward(params, images, *, train=False, key=None, part=None, capture=None)`.

    Outputs are those of `AlexNet(network)` on one device, dropout masks too; gradients are sums
    over the replicas. `part` is (first row, rows of the batch) of a part of a batch; on r replicas,
    n images from row `first` hold from each the n / r from row `first / r` of its own share.
    """
    share = tower_network(network, 1 if mesh is None else mesh.shape[TOWER])

    # Both axes are mapped by hand: the compiler would gather the whole batch on every device before
    # each exchange between the towers.
    def apply(params, images, key, train, capture, first_row) -> Any:
        rngs = None if key is None else {"dropout": key}
        arguments = {"train": train, "capture": capture, "first_row": first_row}
        return AlexNet(share, dtype).apply({"params": params}, images, rngs=rngs, **arguments)

    def forward(params, images, *, train=False, key=None, part=None, capture=None):
        first, rows = part or (0, images.shape[0])
        if mesh is None:
            return apply(params, images, key, train, capture, first)
        replicas = mesh.shape[DATA]

        def on_one_device(params, own_images, key):
            # Here, so that the gradients are summed over the replicas in float32.
            params = jax.tree.map(lambda leaf: lax.pcast(leaf, DATA, to="varying"), params)
            own_first = first // replicas + lax.axis_index(DATA) * (rows // replicas)
            return apply(params, own_images, key, train, capture, own_first)

        mapped = jax.shard_map(
            on_one_device,
            mesh=mesh,
            in_specs=(partition_specs(mesh, network, params), P(DATA), P()),
            out_specs=_output_spec(network, share, images.shape[1:3], capture),
        )
        return mapped(params, images, key)

    return forward


def _output_spec(network: Network, share: Network, size: Size, capture: Any) -> Any:
    """Returns how the output of a layer (None: the last) or of several lies on the towers."""
    if isinstance(capture, tuple):
        return {name: _output_spec(network, share, size, name) for name in capture}
    name = capture or layer_names(network.layers)[-1]
    whole, own = (summarize(each.until(name), size)[-1].output_shape for each in (network, share))
    if whole == own:
        return P(DATA)
    return P(DATA, *(None,) * (len(whole) - 1), TOWER)
