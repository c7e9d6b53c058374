"""Convolutions: the plain `lax` form, which is the definition, and a fast form for CPUs.

XLA's CPU backend is slow at grouped convolutions, their gradients above all, and at the filter
gradient of a strided convolution. The fast form runs one convolution per group, and computes a
strided filter gradient by matrix products. Which form runs is decided when the program is lowered
for a platform; GPUs and TPUs keep the plain one. Images are `[batch, height, width, channels]`.
"""

import functools

import jax
import jax.numpy as jnp
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
    """Defines `convolution`: the same arguments, one `lax` operation on every platform."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=_LAYOUT,
        feature_group_count=groups,
    )


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


# The output gradient of so many images at a time stays in the second-level cache of a core while
# XLA's CPU convolution goes through it once per input channel and place of the window.
_CACHED_BYTES = 2 * 2**20


def _fast_filter_gradient(x, kernel, grad, *, stride, padding, groups):
    """Returns the filter gradient, computed over runs of images."""
    window, channels = kernel.shape[:2], x.shape[3]
    if stride > 1:
        # Blocks of `stride` x `stride` pixels make a convolution of stride 1 over few blocks.
        rows, columns = (-(-size // stride) for size in window)
        counts = (grad.shape[1] + rows - 1, grad.shape[2] + columns - 1)
        # Without the barrier XLA would redo the rearrangement for every run of images.
        x = lax.optimization_barrier(_to_blocks(x, stride, padding, counts, groups))
        padding = ((0, 0), (0, 0))
    gradient = _unit_filter_gradient(x, grad, padding, groups)
    if stride > 1:
        gradient = gradient.reshape(rows, columns, stride, stride, channels // groups, -1)
        gradient = gradient.transpose(0, 2, 1, 3, 4, 5)
        gradient = gradient.reshape(rows * stride, columns * stride, channels // groups, -1)
        gradient = gradient[: window[0], : window[1]]
    return gradient.astype(kernel.dtype)


def _unit_filter_gradient(x, grad, padding, groups):
    """Returns the float32 filter gradient of a convolution with stride 1."""
    n = grad.shape[0]
    run = _CACHED_BYTES // (grad[0].size // groups * grad.dtype.itemsize)
    run = min(n, 1 << max(0, run.bit_length() - 1))  # a power of two, like most batch sizes

    def of_run(x, grad):
        # The images are the channels of this convolution, and its batch the input channels. It is
        # written in XLA's own order, without which a loop would run it without its fast library.
        return tuple(
            lax.conv_general_dilated(
                x.transpose(3, 1, 2, 0),
                grad.transpose(1, 2, 0, 3),
                (1, 1),
                padding,
                dimension_numbers=_LAYOUT,
                preferred_element_type=jnp.float32,
            )
            for x, grad in zip(
                jnp.split(x, groups, axis=-1), jnp.split(grad, groups, axis=-1), strict=True
            )
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
    return jnp.concatenate(total, axis=-1).transpose(1, 2, 0, 3)


def _to_blocks(x, stride, padding, counts, groups):
    """Returns padded images as blocks of pixels, `[n, rows, columns, stride * stride * c]`.

    The channels of a group stay together.
    """
    n, *size, channels = x.shape
    # Pixels that no window reaches are cut off by a negative padding.
    edges = [
        (before, count * stride - extent - before, 0)
        for extent, count, (before, _) in zip(size, counts, padding, strict=True)
    ]
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    x = x.reshape(n, counts[0], stride, counts[1], stride, groups, channels // groups)
    return x.transpose(0, 1, 3, 5, 2, 4, 6).reshape(n, *counts, stride**2 * channels)


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
        patches, kernel, (((3,), (2,)), ((0, 1), (0, 1))), preferred_element_type=jnp.float32
    )
    return out.transpose(2, 0, 1, 3).astype(x.dtype)
