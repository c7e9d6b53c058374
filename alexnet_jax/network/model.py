"""The interpreter: one Linen module that computes any `Network`."""

import math
import shutil
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from alexnet_jax.errors import InputError, did_you_mean
from alexnet_jax.network import ops
from alexnet_jax.network.host_memory import keep_freed_memory
from alexnet_jax.network.layers import (
    Dropout,
    Network,
    layer_names,
    parametric_layers,
    summarize,
)
from alexnet_jax.network.modules import layer_module

keep_freed_memory()  # `ALEXNET_JAX_KEEP_MEMORY=0` turns it off

Params = Any
"""`{layer: {"kernel": float32, "bias": float32}}`."""

_TABLE_WIDTH = 120


class AlexNet(nn.Module):
    """Computes the logits of a network.

    `dtype` is that of the activations. Parameters are float32, and so is the arithmetic of the
    biases (whose gradient sums over all pixels) and of the classifier, the last layer.

    >>> model = AlexNet(NETWORKS["digits"])
    >>> images = jnp.zeros((2, 28, 28, 3))
    >>> variables = model.init(jax.random.key(0), images)
    >>> variables["params"]["conv1"]["kernel"].shape
    (7, 7, 3, 24)
    >>> model.apply(variables, images).shape
    (2, 10)
    >>> model.apply(variables, images, capture="conv2").shape
    (2, 6, 6, 64)
    """

    network: Network
    dtype: jnp.dtype = jnp.float32  # type: ignore[assignment]

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        train: bool = False,
        capture: str | tuple[str, ...] | None = None,
        first_row: Any = 0,
    ) -> Any:
        """Returns logits `[batch, classes]` or captured outputs, float32; float64 for that `dtype`.

        Args:
          images: float `[batch, height, width, 3]`, preprocessed (2012: 0..255 minus mean).
          train: draw dropout masks (needs an rng called "dropout").
          capture: layer (of `layer_names`) to return instead; for a tuple, a dictionary.
          first_row: place of the first image in its batch, int32, may be traced: in a batch
            computed in parts, each image gets the dropout mask that it has in the whole.

        Raises:
          InputError: the images are no floats or do not fit, or `capture` names no layer.
        """
        names = layer_names(self.network.layers)
        wanted = {capture} if isinstance(capture, str) else set(capture or ())
        for unknown in sorted(wanted - set(names)):
            raise InputError(
                f"network '{self.network.name}' has no layer '{unknown}'."
                f"{did_you_mean(unknown, names)} Layers: {', '.join(names)}"
            )
        if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
            raise InputError(
                f"images should be [batch, size, size, 3], not {list(images.shape)}; "
                "crop or resize them to squares"
            )
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise InputError(
                f"images should be float, not {images.dtype}: preprocess them first (2012: "
                "float32, 0..255 minus the mean)"
            )
        summarize(self.network, images.shape[1])
        x = images.astype(self.dtype)  # [batch, height, width, channels], later [batch, features]
        kept: dict[str, jax.Array] = {}
        classifier = parametric_layers(self.network.layers)[-1]
        for name, layer in zip(names, self.network.layers, strict=True):
            if layer is classifier:  # logits in bfloat16 would be equal, and round the loss
                x = x.astype(ops.accumulator(x))
            module = layer_module(name, layer)
            if train and isinstance(layer, Dropout):
                x = module(x, self._dropout_keys(x, first_row))
            else:
                x = module(x)
            if name in wanted:
                kept[name] = x.astype(ops.accumulator(x))
                if len(kept) == len(wanted):
                    break
        if isinstance(capture, tuple):
            return kept
        return x.astype(ops.accumulator(x))

    @nn.nowrap
    def tabulate(self, *args: Any, **options: Any) -> str:
        """Widens Flax's table, which in a notebook has 80 columns and cuts the shapes."""
        width = max(_TABLE_WIDTH, shutil.get_terminal_size().columns)
        console = {"width": width} | (options.pop("console_kwargs", None) or {})
        return super().tabulate(*args, console_kwargs=console, **options)

    def _dropout_keys(self, x: jax.Array, first_row: Any) -> jax.Array:
        """Returns a key per image; with one key for the batch, each device would draw all of it."""
        rows = first_row + jnp.arange(x.shape[0], dtype=jnp.int32)
        return jax.vmap(jax.random.fold_in, (None, 0))(self.make_rng("dropout"), rows)


def init_params(network: Network, image_size: int, seed: int) -> Params:
    return jax.jit(lambda key: fresh_params(network, image_size, key))(jax.random.key(seed))


def fresh_params(network: Network, image_size: int, key: jax.Array) -> Params:
    """Takes a typed PRNG key; to be called inside a compiled function."""
    images = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
    return AlexNet(network).init(key, images)["params"]


def count_params(params: Params) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
