"""The interpreter: one Linen module that computes any `Network`."""

import math
import shutil
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from alexnet_jax.errors import InputError
from alexnet_jax.network import ops
from alexnet_jax.network.compilation import jit
from alexnet_jax.network.host_memory import keep_freed_memory
from alexnet_jax.network.layers import Dropout, Network, layer_names, summarize
from alexnet_jax.network.modules import layer_module

keep_freed_memory()  # `ALEXNET_JAX_KEEP_MEMORY=0` turns it off

Params = Any
"""`{layer: {"kernel": float32, "bias": float32}}`."""

PERTURBATIONS = "perturbations"
"""Flax's name for arrays that are added to outputs, so that gradients at these can be taken."""

_TABLE_WIDTH = 120


class AlexNet(nn.Module):
    """Computes the logits of a network.

    `dtype` is that of the activations. Parameters are float32, and so is the arithmetic of the
    biases (whose gradient sums over all pixels) and of the classifier, the last layer. Images may
    have any height and width that fit the layers; dense ones fix it with their parameters.
    Variables `{"perturbations": {layer: array}}` are added to the outputs of layers. Gradients of
    these and of the images are those of the plain `lax` form, on CPUs, too (`forms.py`).

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
          capture: layer (of `layer_names`) to return instead; for a tuple, a dictionary. Those
            after it are not computed, and need not fit.
          first_row: place of the first image in its batch, int32, may be traced: in a batch
            computed in parts, each image gets the dropout mask that it has in the whole.

        Raises:
          InputError: the images are no floats or do not fit, or `capture` names no layer.
        """
        network = self.network
        wanted = {capture} if isinstance(capture, str) else set(capture or ())
        if wanted:
            network = network.until(max(sorted(wanted), key=network.place))
        if images.ndim != 4 or images.shape[3] != 3:
            raise InputError(
                f"images should be [batch, height, width, 3], not {list(images.shape)}"
            )
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise InputError(
                f"images should be float, not {images.dtype}: preprocess them first (2012: "
                "float32, 0..255 minus the mean)"
            )
        self._check_size(network, (images.shape[1], images.shape[2]))
        x = images.astype(self.dtype)  # [batch, height, width, channels], later [batch, features]
        sources = (images, self.variables.get(PERTURBATIONS))
        kept: dict[str, jax.Array] = {}
        for name, layer in zip(layer_names(network.layers), network.layers, strict=True):
            if layer is self.network.classifier:  # bfloat16 logits would be equal, and round losses
                x = x.astype(ops.accumulator(x))
            module = layer_module(name, layer, sources)
            if train and isinstance(layer, Dropout):
                x = module(x, self._dropout_keys(x, first_row))
            else:
                x = module(x)
            if self.has_variable(PERTURBATIONS, name):
                x = x + self.get_variable(PERTURBATIONS, name).astype(x.dtype)
            if name in wanted:
                kept[name] = x.astype(ops.accumulator(x))
        if isinstance(capture, tuple):
            return kept
        return x.astype(ops.accumulator(x))

    @nn.nowrap
    def _check_size(self, network: Network, size: tuple[int, int]) -> None:
        """Raises `InputError` for a size that does not fit the layers, or their parameters."""
        for row in summarize(network, size):
            given = self.get_variable("params", row.name, {}).get("kernel")
            expected = (row.layer.parameter_shapes(row.input_shape) or ((),))[0]
            if given is not None and given.shape != expected:
                raise InputError(
                    f"network '{self.network.name}': for images of {size[0]}x{size[1]} layer "
                    f"'{row.name}' needs a kernel of {list(expected)}, not {list(given.shape)}: "
                    "the parameters are those of another network or image size; layers before it "
                    "can be captured at any size"
                )

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
    return jit(lambda key: fresh_params(network, image_size, key))(jax.random.key(seed))


def fresh_params(network: Network, image_size: int, key: jax.Array) -> Params:
    """Takes a typed PRNG key; to be called inside a compiled function."""
    images = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
    return AlexNet(network).init(key, images)["params"]


def count_params(params: Params) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
