"""Response normalization across channels (the paper's LRN) and within maps.

Both are `x / (bias + alpha * S(x^2)) ** beta` with a window sum S, in float32 for bfloat16, too.
Images are `[batch, height, width, channels]`; results have their shape and dtype.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from alexnet_jax.network.conv_ops import accumulator
from alexnet_jax.network.forms import by_platform


def local_response_norm(
    x: jax.Array,
    *,
    depth: int,
    alpha: float,
    beta: float,
    bias: float,
    groups: int = 1,
    sources: Any = None,
) -> jax.Array:
    """Normalizes `[n, h, w, c]`, float32 or bfloat16, over neighbouring channels. Paper: §3.3.

    The window starts `depth // 2` before its channel and is truncated at the ends of the group.
    `alpha` is the factor of the sum itself (the paper's formula; not divided by `depth`).
    `sources`: see `conv_ops.convolution`.
    """
    options = {"depth": depth, "alpha": alpha, "beta": beta, "bias": bias, "groups": groups}
    return _lrn(x, sources=sources, **options)


def plain_local_response_norm(
    x: jax.Array, *, depth: int, alpha: float, beta: float, bias: float, groups: int = 1
) -> jax.Array:
    wide = x.astype(accumulator(x))
    grouped = jnp.square(wide).reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    before = depth // 2
    total = lax.reduce_window(  # [n, h, w, groups, c / groups]
        grouped,
        np.zeros((), wide.dtype)[()],
        lax.add,
        (1, 1, 1, 1, depth),
        (1, 1, 1, 1, 1),
        ((0, 0), (0, 0), (0, 0), (0, 0), (before, depth - 1 - before)),
    )
    return (wide * (bias + alpha * total.reshape(x.shape)) ** -beta).astype(x.dtype)


def response_norm(
    x: jax.Array,
    *,
    window: int,
    alpha: float,
    beta: float,
    bias: float,
    sources: Any = None,
) -> jax.Array:
    """Normalizes `[n, h, w, c]`, float32 or bfloat16, over a window of the same map.

    The window (pixels) starts `window // 2` before and is truncated at the border without
    rescaling. 2012 code (`rnorm`; not in the paper), whose scale is `alpha * window ** 2`.
    `sources`: see `conv_ops.convolution`.
    """
    options = {"window": window, "alpha": alpha, "beta": beta, "bias": bias}
    return _response_norm(x, sources=sources, **options)


def _fast_response_norm(x, *, window, alpha, beta, bias):
    wide = x.astype(accumulator(x))
    total = _shifted_sum(_shifted_sum(jnp.square(wide), window, 1), window, 2)
    return _divided(wide, bias + alpha * total, beta).astype(x.dtype)


def plain_response_norm(
    x: jax.Array, *, window: int, alpha: float, beta: float, bias: float
) -> jax.Array:
    wide = x.astype(accumulator(x))
    edges = (window // 2, window - 1 - window // 2)
    total = lax.reduce_window(
        jnp.square(wide),
        np.zeros((), wide.dtype)[()],
        lax.add,
        (1, window, window, 1),
        (1, 1, 1, 1),
        ((0, 0), edges, edges, (0, 0)),
    )
    return (wide * (bias + alpha * total) ** -beta).astype(x.dtype)


_response_norm = by_platform(
    plain_response_norm, _fast_response_norm, elsewhere=_fast_response_norm
)


def _shifted_sum(x, window, axis):
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (window // 2, window - 1 - window // 2, 0)
    padded = lax.pad(x, jnp.zeros((), x.dtype), config)
    size = x.shape[axis]
    copies = [lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(window)]
    return functools.reduce(lax.add, copies)


def window_matrix(channels, depth):
    """Returns bool `[channels, channels]`; column i adds up the window of channel i."""
    place = np.arange(channels)
    first = place - depth // 2
    return (first <= place[:, None]) & (place[:, None] < first + depth)


def _channel_sum(x, depth, groups, *, mirrored=False):
    """`mirrored` sums the windows that a channel lies in."""
    # A matrix product, which XLA does not fuse into its neighbours: it would compute a sum of
    # slices again for every pooling window that reads it.
    matrix = window_matrix(x.shape[-1] // groups, depth).astype(x.dtype)
    total = lax.dot_general(
        x.reshape(-1, x.shape[-1] // groups),
        matrix.T if mirrored else matrix,
        (((1,), (0,)), ((), ())),
        precision=lax.Precision.HIGHEST,
    )
    return total.reshape(x.shape)


def _divided(x, d, beta):
    """Returns `x / d ** beta`; the paper's 3/4 from square roots, which vectorize on a CPU."""
    # A division last, and one use of each root: XLA repeats neither where it fuses. It would turn a
    # division by a root into a product, which it does repeat.
    if beta == 0.75:
        return x * jnp.sqrt(jnp.sqrt(d)) / d
    if beta == 0.5:
        return x * jnp.sqrt(d) / d
    return x / d**beta


def _divided_again(x, d, beta):
    # From other roots than in the forward pass, which XLA would keep until now, as large as maps.
    if beta == 0.75:
        root = jnp.sqrt(1 / d)
        return x * root * jnp.sqrt(root)
    return _divided(x, d, beta)


def _fast_lrn(x, *, depth, alpha, beta, bias, groups):
    wide = x.astype(accumulator(x))
    d = bias + alpha * _channel_sum(jnp.square(wide), depth, groups)
    return _divided(wide, d, beta).astype(x.dtype)


def _fast_lrn_gradient(x, grad, *, depth, alpha, beta, bias, groups):
    wide = x.astype(accumulator(x))
    d = bias + alpha * _channel_sum(jnp.square(wide), depth, groups)
    scaled = _divided_again(grad.astype(wide.dtype), d, beta)
    across = _channel_sum(wide * scaled / d, depth, groups, mirrored=True)
    return (scaled - (2 * alpha * beta) * wide * across).astype(x.dtype)


_lrn = by_platform(plain_local_response_norm, _fast_lrn, _fast_lrn_gradient)
