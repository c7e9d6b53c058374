"""Convolutions: the plain `lax` form, which is the definition, and a fast form for CPUs.

XLA's CPU backend is slow at grouped convolutions, their gradients above all, and at the filter
gradient of many images at once. The fast form runs one convolution per group, and sums a filter
gradient over runs of images. Which form runs is decided when the program is lowered
for a platform; GPUs and TPUs keep the plain one. Images are `[batch, height, width, channels]`.
"""

import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Padding = tuple[tuple[int, int], tuple[int, int]]
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolution(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int = 1,
    padding: Padding = ((0, 0), (0, 0)),
    groups: int = 1,
) -> jax.Array:
    """Returns the cross-correlation of images with a filter bank, without bias.

    Args:
      x: `[n, h, w, c]`, float32 or bfloat16.
      kernel: `[window_h, window_w, c / groups, features]`, of the dtype of `x`.
      stride: pixels between neighbouring windows.
      padding: zero (rows before, after), (columns before, after).
      groups: filter group i (a run of `features / groups`) sees channel group i only.

    Returns:
      `[n, out_h, out_w, features]`, of the dtype of `x`.

    Paper: §3.5; two groups are the two GPUs.
    """
    x, kernel = match_variance(x, kernel)
    return _convolution(x, kernel, stride, padding, groups)


def plain_convolution(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int = 1,
    padding: Padding = ((0, 0), (0, 0)),
    groups: int = 1,
) -> jax.Array:
    """Defines `convolution`: the same arguments, one `lax` operation on every platform.

    Args:
      x: float `[n, h, w, c]`.
      kernel: `[window_h, window_w, c / groups, features]`.
      stride: pixels between neighbouring windows.
      padding: zero (rows before, after), (columns before, after).
      groups: see `convolution`.
    """
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=_LAYOUT,
        feature_group_count=groups,
    )


def strands_for(images: jax.Array) -> int:
    """Returns in how many independent runs the convolutions of a batch are best computed.

    XLA's CPU backend spreads a convolution over threads by its filters only, so that one with few
    of them occupies one thread; of independent runs, each is computed by a thread of its own, and
    their arrays stay in the cache. Elsewhere, and where devices share the batch, it is best
    computed as a whole.

    Args:
      images: `[batch, …]`; where they are computed is where JAX runs when this is traced.
    """
    count = images.shape[0]
    if jax.default_backend() != "cpu" or not isinstance(count, int) or _varying_axes(images):
        return 1
    return max(1, min(max(4, os.cpu_count() or 1), count // 16))


def match_variance(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Marks all arrays as varying over the manual mesh axes that any of them varies over.

    Inside `shard_map` the gradient of an array that is equal on all devices is the sum over them.
    A `custom_vjp` does not add that sum itself, but this marking does when it is transposed.
    """
    varying = [_varying_axes(array) for array in arrays]
    axes = frozenset().union(*varying)
    missing = [tuple(sorted(axes - own)) for own in varying]
    return tuple(
        lax.pcast(array, names, to="varying") if names else array
        for array, names in zip(arrays, missing, strict=True)
    )


def _varying_axes(array):
    kind = jax.typeof(array)
    return kind.mat.varying if hasattr(kind, "mat") else kind.vma  # `vma` before JAX 0.10


def accumulator(x: jax.Array) -> Any:
    """Returns the dtype to sum values of `x` in: float32, or float64 where `x` has that."""
    return np.promote_types(x.dtype, np.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolution(x, kernel, stride, padding, groups):
    plain = functools.partial(plain_convolution, stride=stride, padding=padding, groups=groups)
    fast = functools.partial(_fast_forward, stride=stride, padding=padding, groups=groups)
    return lax.platform_dependent(x, kernel, cpu=fast, default=plain)


def _convolution_forward(x, kernel, stride, padding, groups):
    return _convolution(x, kernel, stride, padding, groups), (x, kernel)


def _convolution_backward(stride, padding, groups, residuals, grad):
    x, kernel = residuals
    options = {"stride": stride, "padding": padding, "groups": groups}
    plain = functools.partial(plain_convolution, **options)

    def plain_input_gradient(x, kernel, grad):
        return jax.vjp(lambda x: plain(x, kernel), x)[1](grad)[0]

    def plain_filter_gradient(x, kernel, grad):
        return jax.vjp(lambda kernel: plain(x, kernel), kernel)[1](grad)[0]

    # Two separate choices, so that an unused input gradient (conv1) disappears from the program.
    input_gradient = lax.platform_dependent(
        x,
        kernel,
        grad,
        cpu=functools.partial(_fast_input_gradient, **options),
        default=plain_input_gradient,
    )
    filter_gradient = lax.platform_dependent(
        x,
        kernel,
        grad,
        cpu=functools.partial(_fast_filter_gradient, **options),
        default=plain_filter_gradient,
    )
    return input_gradient, filter_gradient


_convolution.defvjp(_convolution_forward, _convolution_backward)


def _per_group(function, groups: int, *arrays_and_axes):
    """Applies `function` to group i of every (array, axis) and concatenates on the last axis."""
    if groups == 1:
        return function(*(array for array, _ in arrays_and_axes))
    parts = [jnp.split(array, groups, axis=axis) for array, axis in arrays_and_axes]
    return jnp.concatenate([function(*group) for group in zip(*parts, strict=True)], axis=-1)


def _fast_forward(x, kernel, *, stride, padding, groups):
    return _per_group(
        functools.partial(plain_convolution, stride=stride, padding=padding),
        groups,
        (x, -1),
        (kernel, -1),
    )


def _fast_input_gradient(x, kernel, grad, *, stride, padding, groups):
    def one_group(x, kernel, grad):
        plain = functools.partial(plain_convolution, stride=stride, padding=padding)
        return jax.vjp(lambda x: plain(x, kernel), x)[1](grad)[0]

    return _per_group(one_group, groups, (x, -1), (kernel, -1), (grad, -1))


# The output gradient of a run of images, for some of the filters, stays in the second-level cache
# of a core while XLA's CPU convolution goes through it for each place of the window.
_CACHED_BYTES = 2**20
_FILTERS_AT_A_TIME = 192


def _fast_filter_gradient(x, kernel, grad, *, stride, padding, groups):
    """Returns the filter gradient, summed over runs of images."""
    n, features = grad.shape[0], grad.shape[3]
    pieces = groups * -(-features // (groups * _FILTERS_AT_A_TIME))
    while features % pieces:
        pieces += groups
    run = _CACHED_BYTES * pieces // (grad[0].size * grad.dtype.itemsize)
    run = min(n, 1 << (max(2, run).bit_length() - 1))  # a power of two, like most batch sizes
    edges = [
        # Behind the last window the padding may be negative: what no filter sees is cut off.
        (before, (count - 1) * stride + window - extent - before)
        for extent, window, count, (before, _) in zip(
            x.shape[1:3], kernel.shape[:2], grad.shape[1:3], padding, strict=True
        )
    ]

    def of_run(x, grad):
        # The images are the channels of this convolution, and its batch the input channels. It is
        # written in XLA's own order, without which a loop would run it without its fast library.
        xs = [x.transpose(3, 1, 2, 0) for x in jnp.split(x, groups, axis=-1)]
        grads = [grad.transpose(1, 2, 0, 3) for grad in jnp.split(grad, pieces, axis=-1)]
        return tuple(
            lax.conv_general_dilated(
                xs[i * groups // pieces],
                grad,
                (1, 1),
                edges,
                rhs_dilation=(stride, stride),
                dimension_numbers=_LAYOUT,
                preferred_element_type=accumulator(x),
            )
            for i, grad in enumerate(grads)
        )

    def add(total, pair):
        return jax.tree.map(lax.add, total, of_run(*pair)), None

    whole = n // run * run
    runs = [array[:whole].reshape(-1, run, *array.shape[1:]) for array in (x, grad)]
    total = of_run(runs[0][0], runs[1][0])
    if whole > run:
        total, _ = lax.scan(add, total, tuple(array[1:] for array in runs), unroll=4)
    if whole < n:
        total, _ = add(total, (x[whole:], grad[whole:]))
    return jnp.concatenate(total, axis=-1).transpose(1, 2, 0, 3).astype(kernel.dtype)


def local_convolution(
    x: jax.Array, kernel: jax.Array, *, padding: Padding = ((0, 0), (0, 0))
) -> jax.Array:
    """Returns an unshared convolution with stride 1: every output pixel has filters of its own.

    Args:
      x: `[n, h, w, c]`, float32 or bfloat16.
      kernel: `[out_h, out_w, window_h, window_w, c, features]`, of the dtype of `x`.
      padding: zero (rows before, after), (columns before, after).

    Returns:
      `[n, out_h, out_w, features]`, of the dtype of `x`.

    Source: 2012 code, layer type `local`.
    """
    out_height, out_width, *window, channels, features = kernel.shape
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((*p, 0) for p in padding), (0, 0, 0)))
    # Positions first: one matrix product [n, window] x [window, features] for each of them. The
    # small image is transposed, once, instead of its many overlapping patches.
    x = lax.optimization_barrier(x.transpose(1, 2, 0, 3))
    patches = jnp.concatenate(
        [
            x[row : row + out_height, column : column + out_width]
            for row in range(window[0])
            for column in range(window[1])
        ],
        axis=-1,
    )
    kernel = kernel.reshape(out_height, out_width, window[0] * window[1] * channels, features)
    out = lax.dot_general(
        patches, kernel, (((3,), (2,)), ((0, 1), (0, 1))), preferred_element_type=accumulator(x)
    )
    return out.transpose(2, 0, 1, 3).astype(x.dtype)
