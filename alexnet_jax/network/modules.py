"""One Linen module per kind of layer; those without parameters, too, for Flax's own tools."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from alexnet_jax.network import kinds as specs
from alexnet_jax.network import ops

DATA, TOWER = "data", "tower"
"""Mesh axes over which `towers.make_forward` maps the network: images, and channels."""


def _parameters(
    module: nn.Module, layer: specs.Parametric, x: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the kernel in the dtype of `x`, and the bias in float32."""
    kernel_shape, bias_shape = layer.parameter_shapes(x.shape[1:])
    if layer.weight_std is None:
        fan_in = math.prod(kernel_shape[-4:-1])  # [(positions,) (window, window,) in, out]
        kernel_init = bias_init = _uniform(1 / math.sqrt(fan_in))
    else:
        kernel_init = nn.initializers.normal(layer.weight_std)
        bias_init = nn.initializers.constant(layer.bias)
    kernel = module.param("kernel", kernel_init, kernel_shape, jnp.float32)
    bias = module.param("bias", bias_init, bias_shape, jnp.float32)
    return kernel.astype(x.dtype), bias


def _uniform(bound: float):
    """PyTorch's default."""

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def _add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds in the dtype of the bias; the result has that of `x`."""
    bias = bias.reshape((1,) * (x.ndim - bias.ndim) + bias.shape)
    return (x.astype(bias.dtype) + bias).astype(x.dtype)


def _paddings(x: jax.Array, layer: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    return specs.padding_of(x.shape[1], layer), specs.padding_of(x.shape[2], layer)


class ConvModule(nn.Module):
    """A convolution."""

    layer: specs.Conv
    sources: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        layer = self.layer
        kernel, bias = _parameters(self, layer, x)  # [window, window, in / groups, out], [out]
        out = ops.convolution(
            x,
            kernel,
            stride=layer.stride,
            padding=_paddings(x, layer),
            groups=layer.groups,
            sources=self.sources,
        )
        return _add_bias(out, bias)  # [batch, out_height, out_width, out]


class LocalModule(nn.Module):
    """An unshared convolution."""

    layer: specs.Local

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel, bias = _parameters(self, self.layer, x)
        padding = _paddings(x, self.layer)
        return _add_bias(ops.local_convolution(x, kernel, padding=padding), bias)


class DenseModule(nn.Module):
    """A fully connected layer."""

    layer: specs.Dense

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        groups, features = self.layer.groups, self.layer.features
        kernel, bias = _parameters(self, self.layer, x)  # [in / groups, out], [out]
        if groups == 1:
            return _add_bias(x @ kernel, bias)
        depth = len(kernel)
        inputs = x.reshape(x.shape[0], groups, depth)  # [batch, groups, in / groups]
        weights = kernel.reshape(depth, groups, features // groups)
        grouped = jnp.einsum("ngd,dgf->ngf", inputs, weights)  # [batch, groups, out / groups]
        return _add_bias(grouped.reshape(x.shape[0], features), bias)


class ActivationModule(nn.Module):
    """A pointwise nonlinearity."""

    layer: specs.Activation

    def __call__(self, x: jax.Array) -> jax.Array:
        return _NONLINEARITIES[self.layer.kind](x)


_NONLINEARITIES = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}


class LrnModule(nn.Module):
    """Normalization across channels."""

    layer: specs.Lrn
    sources: Any = None

    def __call__(self, x: jax.Array) -> jax.Array:
        layer = self.layer
        return ops.local_response_norm(
            x,
            depth=layer.depth,
            alpha=layer.alpha,
            beta=layer.beta,
            bias=layer.bias,
            groups=layer.groups,
            sources=self.sources,
        )


class ResponseNormModule(nn.Module):
    """Normalization over neighbouring pixels."""

    layer: specs.ResponseNorm
    sources: Any = None

    def __call__(self, x: jax.Array) -> jax.Array:
        layer = self.layer
        return ops.response_norm(
            x,
            window=layer.window,
            alpha=layer.alpha,
            beta=layer.beta,
            bias=layer.bias,
            sources=self.sources,
        )


class MaxPoolModule(nn.Module):
    """Max pooling."""

    layer: specs.MaxPool

    def __call__(self, x: jax.Array) -> jax.Array:
        layer, padding = self.layer, _paddings(x, self.layer)
        return ops.max_pool(x, window=layer.window, stride=layer.stride, padding=padding)


class AvgPoolModule(nn.Module):
    """Average pooling."""

    layer: specs.AvgPool
    sources: Any = None

    def __call__(self, x: jax.Array) -> jax.Array:
        layer, padding = self.layer, _paddings(x, self.layer)
        return ops.avg_pool(
            x, window=layer.window, stride=layer.stride, padding=padding, sources=self.sources
        )


class AdaptiveAvgPoolModule(nn.Module):
    """Average pooling to a given size."""

    layer: specs.AdaptiveAvgPool

    def __call__(self, x: jax.Array) -> jax.Array:
        return ops.adaptive_avg_pool(x, self.layer.size)


class FlattenModule(nn.Module):
    """Maps to a vector, group by group."""

    layer: specs.Flatten

    def __call__(self, x: jax.Array) -> jax.Array:
        split = x.reshape(*x.shape[:3], self.layer.groups, -1)  # [batch, h, w, groups, channels]
        return jnp.moveaxis(split, 3, 1).reshape(x.shape[0], -1)  # [batch, groups * h * w * c]


class DropoutModule(nn.Module):
    """Masks in training, one key per image; without keys what stands in for them."""

    layer: specs.Dropout

    def __call__(self, x: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        layer, keep = self.layer, 1.0 - self.layer.rate
        if keys is None:
            return x if layer.inverted else x * keep
        units = x.shape[-1]
        shape = (*x.shape[1:-1], units * layer.towers)
        mask = jax.vmap(lambda key: jax.random.bernoulli(key, keep, shape))(keys)
        if layer.towers > 1:
            mask = lax.dynamic_slice_in_dim(mask, lax.axis_index(TOWER) * units, units, axis=-1)
        kept = x / keep if layer.inverted else x
        return jnp.where(mask, kept, jnp.zeros_like(kept))


class GatherModule(nn.Module):
    """The channels of all towers, of which each device has its own."""

    layer: specs.Gather

    def __call__(self, x: jax.Array) -> jax.Array:
        to = "invarying" if self.layer.invariant else "varying"
        return lax.all_gather(x, TOWER, axis=x.ndim - 1, tiled=True, to=to)


MODULES: dict[type[specs.Layer], type[nn.Module]] = {
    specs.Conv: ConvModule,
    specs.Local: LocalModule,
    specs.Dense: DenseModule,
    specs.Activation: ActivationModule,
    specs.Lrn: LrnModule,
    specs.ResponseNorm: ResponseNormModule,
    specs.MaxPool: MaxPoolModule,
    specs.AvgPool: AvgPoolModule,
    specs.AdaptiveAvgPool: AdaptiveAvgPoolModule,
    specs.Flatten: FlattenModule,
    specs.Dropout: DropoutModule,
    specs.Gather: GatherModule,
}
"""By kind; their names do not appear in parameters, which are named after the layers."""

_OF_TWO_FORMS = (specs.Conv, specs.Lrn, specs.ResponseNorm, specs.AvgPool)


def layer_module(name: str, layer: specs.Layer, sources: Any = None) -> Any:
    """To be called within a compact method of the parent.

    `sources`, a tree: what the network was given beside parameters. Where it is differentiated,
    values are those of the plain forms (`forms.by_platform`).
    """
    if type(layer) not in MODULES:
        raise TypeError(f"layer '{name}' is of unknown type {type(layer).__name__}")
    options = {"sources": sources} if isinstance(layer, _OF_TWO_FORMS) else {}
    return MODULES[type(layer)](layer, name=name, **options)  # type: ignore[call-arg]
