"""The interpreter: one Linen module that computes any `Network`.

Layout is `[batch, height, width, channels]`. Parameters are float32 under the layer's name:
`kernel` (`[height, width, in / groups, out]`; dense `[in / groups, out]`; unshared
`[out_height, out_width, height, width, in, out]`) and `bias`.

A process that imports this module keeps the memory that it frees, see `host_memory`.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from alexnet_jax.errors import InputError, did_you_mean
from alexnet_jax.network import ops
from alexnet_jax.network.host_memory import keep_freed_memory
from alexnet_jax.network.layers import (
    Activation,
    AdaptiveAvgPool,
    AvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Gather,
    Layer,
    Local,
    Lrn,
    MaxPool,
    Network,
    Parametric,
    ResponseNorm,
    layer_names,
    padding_of,
    parametric_layers,
    summarize,
)

keep_freed_memory()

Params = Any
"""`{layer: {"kernel": float32, "bias": float32}}`."""

DATA, TOWER = "data", "tower"
"""Mesh axes over which `towers.make_forward` maps this module: images, and channels."""


class _Parameters(nn.Module):
    """Holds the kernel and the bias of one layer under the layer's name."""

    layer: Parametric
    kernel_shape: tuple[int, ...]
    bias_shape: tuple[int, ...]
    fan_in: int

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        if self.layer.weight_std is None:
            kernel_init = bias_init = _uniform(1 / math.sqrt(self.fan_in))
        else:
            kernel_init = nn.initializers.normal(self.layer.weight_std)
            bias_init = nn.initializers.constant(self.layer.bias)
        kernel = self.param("kernel", kernel_init, self.kernel_shape, jnp.float32)
        bias = self.param("bias", bias_init, self.bias_shape, jnp.float32)
        return kernel, bias


def _add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """Returns `x` plus the bias of its last axes: in the dtype of the bias, as that of `x`."""
    bias = bias.reshape((1,) * (x.ndim - bias.ndim) + bias.shape)
    return (x.astype(bias.dtype) + bias).astype(x.dtype)


def _uniform(bound: float):
    """Returns an initializer that is uniform within `bound` of zero (PyTorch's default)."""

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class AlexNet(nn.Module):
    """Computes the logits of a network.

    Attributes:
      network: the layers to interpret.
      dtype: type of the activations. Parameters are float32, and so is the arithmetic of the
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
        """Returns logits, or the outputs of layers.

        Args:
          images: float `[batch, height, width, 3]`, preprocessed (2012: 0..255 minus mean).
          train: draw dropout masks (needs an rng called "dropout").
          capture: name of a layer (`layer_names`) whose output is returned instead; of a tuple of
            names a dictionary of outputs is.
          first_row: place of the first image in its batch, int32, may be traced: of a batch that
            is computed in parts each image gets the dropout mask that it has in the whole.

        Returns:
          float32 `[batch, classes]`, or the captured output as float32; float64 for that `dtype`.

        Raises:
          InputError: the image size does not fit, or `capture` names no layer.
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
        summarize(self.network, images.shape[1])
        x = images.astype(self.dtype)
        kept: dict[str, jax.Array] = {}
        classifier = parametric_layers(self.network.layers)[-1]
        for name, layer in zip(names, self.network.layers, strict=True):
            if layer is classifier:  # bfloat16 logits would tie, and the loss see their rounding
                x = x.astype(ops.accumulator(x))
            x = self._apply_layer(name, layer, x, train, first_row)
            if name in wanted:
                kept[name] = x.astype(ops.accumulator(x))
                if len(kept) == len(wanted):
                    break
        if isinstance(capture, tuple):
            return kept
        return x.astype(ops.accumulator(x))

    def _apply_layer(
        self, name: str, layer: Layer, x: jax.Array, train: bool, first_row: Any
    ) -> jax.Array:
        match layer:
            case Conv():
                return self._convolution(layer, x)
            case Local():
                return self._local(layer, x)
            case Dense():
                return self._dense(layer, x)
            case Activation(kind="relu"):
                return jax.nn.relu(x)
            case Activation(kind="tanh"):
                return jnp.tanh(x)
            case Activation(kind="sigmoid"):
                return jax.nn.sigmoid(x)
            case Lrn(depth, alpha, beta, bias, groups):
                return ops.local_response_norm(
                    x, depth=depth, alpha=alpha, beta=beta, bias=bias, groups=groups
                )
            case ResponseNorm(window, alpha, beta, bias):
                return ops.response_norm(x, window=window, alpha=alpha, beta=beta, bias=bias)
            case MaxPool() | AvgPool():
                pool = ops.max_pool if isinstance(layer, MaxPool) else ops.avg_pool
                padding = (padding_of(x.shape[1], layer), padding_of(x.shape[2], layer))
                return pool(x, window=layer.window, stride=layer.stride, padding=padding)
            case AdaptiveAvgPool(size=size):
                return ops.adaptive_avg_pool(x, size)
            case Flatten(groups=groups):
                split = x.reshape(*x.shape[:3], groups, -1)
                return jnp.moveaxis(split, 3, 1).reshape(x.shape[0], -1)
            case Dropout():
                return self._dropout(layer, x, train, first_row)
            case Gather(invariant=invariant):
                to = "invarying" if invariant else "varying"
                return lax.all_gather(x, TOWER, axis=x.ndim - 1, tiled=True, to=to)
        raise TypeError(f"layer '{name}' is of unknown type {type(layer).__name__}")

    def _parameters(self, layer, kernel_shape, bias_shape, fan_in):
        holder = _Parameters(layer, tuple(kernel_shape), tuple(bias_shape), fan_in, name=layer.name)
        return holder()

    def _convolution(self, layer: Conv, x: jax.Array) -> jax.Array:
        depth = x.shape[3] // layer.groups
        shape = (layer.window, layer.window, depth, layer.features)
        kernel, bias = self._parameters(layer, shape, (layer.features,), math.prod(shape[:3]))
        padding = (padding_of(x.shape[1], layer), padding_of(x.shape[2], layer))
        out = ops.convolution(
            x, kernel.astype(x.dtype), stride=layer.stride, padding=padding, groups=layer.groups
        )
        return _add_bias(out, bias)

    def _local(self, layer: Local, x: jax.Array) -> jax.Array:
        height, width = (
            size + 2 * layer.padding - layer.window + 1 for size in (x.shape[1], x.shape[2])
        )
        fan_in = layer.window**2 * x.shape[3]
        shape = (height, width, layer.window, layer.window, x.shape[3], layer.features)
        kernel, bias = self._parameters(layer, shape, (height, width, layer.features), fan_in)
        padding = ((layer.padding, layer.padding), (layer.padding, layer.padding))
        return _add_bias(ops.local_convolution(x, kernel.astype(x.dtype), padding=padding), bias)

    def _dense(self, layer: Dense, x: jax.Array) -> jax.Array:
        depth = x.shape[1] // layer.groups
        kernel, bias = self._parameters(layer, (depth, layer.features), (layer.features,), depth)
        kernel = kernel.astype(x.dtype)
        if layer.groups == 1:
            return _add_bias(x @ kernel, bias)
        inputs = x.reshape(x.shape[0], layer.groups, depth)
        weights = kernel.reshape(depth, layer.groups, layer.features // layer.groups)
        grouped = jnp.einsum("ngd,dgf->ngf", inputs, weights)
        return _add_bias(grouped.reshape(x.shape[0], layer.features), bias)

    def _dropout(self, layer: Dropout, x: jax.Array, train: bool, first_row: Any) -> jax.Array:
        keep = 1.0 - layer.rate
        if not train:
            return x if layer.inverted else x * keep
        units = x.shape[-1]
        # A key per image: of a draw for the batch each device would compute the whole.
        rows = first_row + jnp.arange(x.shape[0], dtype=jnp.int32)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(self.make_rng("dropout"), rows)
        shape = (*x.shape[1:-1], units * layer.towers)
        mask = jax.vmap(lambda key: jax.random.bernoulli(key, keep, shape))(keys)
        if layer.towers > 1:
            mask = lax.dynamic_slice_in_dim(mask, lax.axis_index(TOWER) * units, units, axis=-1)
        kept = x / keep if layer.inverted else x
        return jnp.where(mask, kept, jnp.zeros_like(kept))


def init_params(network: Network, image_size: int, seed: int) -> Params:
    """Returns fresh float32 parameters of `network`, `{layer: {"kernel": …, "bias": …}}`.

    Args:
      network: with its number of classes.
      image_size: height and width of its input, pixels.
      seed: of the PRNG key.
    """
    return jax.jit(lambda key: fresh_params(network, image_size, key))(jax.random.key(seed))


def fresh_params(network: Network, image_size: int, key: jax.Array) -> Params:
    """Returns the same for a key; to be called where it is compiled as part of something.

    Args:
      network: with its number of classes.
      image_size: height and width of its input, pixels.
      key: typed PRNG key.
    """
    images = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
    return AlexNet(network).init(key, images)["params"]


def count_params(params: Params) -> int:
    """Returns the number of scalars in `params`."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
