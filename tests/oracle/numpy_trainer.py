"""Net 145 and the update rule of 2012 once more: in float64 NumPy, with gradients by hand.

Written from the paper, the 2012 files (`layers-145.cfg`, `layer.py`, `weights.cu`, `convdata.py`)
and nothing of `alexnet_jax`, so that the two can be compared. Every function returns its output and
a function from the output's gradient to the gradients of its input and, where it has them, of its
kernel and bias. Layout: images `[n, h, w, channels]`, kernels `[k, k, in / groups, out]`.
"""

import math

import numpy as np


def convolve(x, kernel, bias, stride=1, padding=0, groups=1):
    """Counts windows by rounding up: the last may reach over the edge, where it reads zeros."""
    n, size, _, depth = x.shape
    k, features = kernel.shape[0], kernel.shape[3]
    out = 1 + math.ceil((size + 2 * padding - k) / stride)
    after = max((out - 1) * stride + k - size - padding, 0)
    padded = np.pad(x, ((0, 0), (padding, after), (padding, after), (0, 0)))
    reach = stride * (out - 1) + 1
    split = depth // groups

    def patch(array, i, j, g):
        return array[:, i : i + reach : stride, j : j + reach : stride, g * split : (g + 1) * split]

    own = [slice(g * features // groups, (g + 1) * features // groups) for g in range(groups)]
    y = np.zeros((n, out, out, features))
    taps = [(i, j, g) for i in range(k) for j in range(k) for g in range(groups)]
    for i, j, g in taps:
        y[..., own[g]] += patch(padded, i, j, g) @ kernel[i, j, :, own[g]]

    def backward(dy):
        dx, dkernel = np.zeros_like(padded), np.zeros_like(kernel)
        for i, j, g in taps:
            seen = patch(padded, i, j, g)
            dkernel[i, j, :, own[g]] = np.einsum("nyxc,nyxf->cf", seen, dy[..., own[g]])
            patch(dx, i, j, g)[...] += dy[..., own[g]] @ kernel[i, j, :, own[g]].T
        inner = slice(padding, padding + size)
        return dx[:, inner, inner], dkernel, dy.sum(axis=(0, 1, 2))

    return y + bias, backward


def dense(x, kernel, bias):
    return x @ kernel + bias, lambda dy: (dy @ kernel.T, x.T @ dy, dy.sum(axis=0))


def relu(x):
    return np.maximum(x, 0), lambda dy: (dy * (x > 0),)


def flatten(x):
    return x.reshape(len(x), -1), lambda dy: (dy.reshape(x.shape),)


def pool(x, window=3, stride=2):
    """Overlapping max pooling; windows are counted by rounding up and cut off at the edge."""
    size = x.shape[1]
    out = 1 + math.ceil((size - window) / stride)
    after = max((out - 1) * stride + window - size, 0)
    padded = np.pad(x, ((0, 0), (0, after), (0, after), (0, 0)), constant_values=-np.inf)
    reach = stride * (out - 1) + 1
    offsets = [(i, j) for i in range(window) for j in range(window)]
    cuts = [(slice(None), slice(i, i + reach, stride), slice(j, j + reach, stride))
            for i, j in offsets]  # fmt: skip
    stack = np.stack([padded[cut] for cut in cuts])
    first = stack.argmax(axis=0)

    def backward(dy):
        dx = np.zeros_like(padded)
        for place, cut in enumerate(cuts):
            dx[cut] += dy * (first == place)
        return (dx[:, :size, :size],)

    return stack.max(axis=0), backward


def normalize(x, window_sum, k, alpha, beta):
    """`y = x (k + alpha S(x^2)) ** -beta` for a symmetric window sum S."""
    d = k + alpha * window_sum(x * x)

    def backward(dy):
        return (dy * d**-beta - 2 * alpha * beta * x * window_sum(dy * x * d ** (-beta - 1)),)

    return x * d**-beta, backward


def across_maps(groups, size):
    """Sums over `size` neighbouring maps of the same tower."""

    def window_sum(x):
        towers = np.split(x, groups, axis=3)
        half = size // 2
        padded = [np.pad(tower, ((0, 0), (0, 0), (0, 0), (half, half))) for tower in towers]
        depth = towers[0].shape[3]
        return np.concatenate(
            [sum(p[..., i : i + depth] for i in range(size)) for p in padded], axis=3
        )

    return window_sum


def within_a_map(size):
    """Sums over `size` x `size` neighbours in the same map."""

    def window_sum(x):
        half, (h, w) = size // 2, x.shape[1:3]
        p = np.pad(x, ((0, 0), (half, half), (half, half), (0, 0)))
        return sum(p[:, i : i + h, j : j + w] for i in range(size) for j in range(size))

    return window_sum


def softmax_loss(logits, labels):
    """Mean of -log p(label); its gradient."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(shifted)
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    dlogits = p.copy()
    dlogits[rows, labels] -= 1
    return -np.log(p[rows, labels]).mean(), dlogits / len(labels)


# `layers-145.cfg`: name, and what differs from one layer to the next. The configured scales are
# divided by the number of summands: 1e-4 / 5 across maps, 1e-3 / 25 within a map.
NET_145 = (
    ("conv1", dict(stride=4)), ("lrn",), ("pool",), ("relu",),
    ("conv2", dict(padding=2, groups=2)), ("relu",), ("lrn",), ("rnorm",), ("pool",),
    ("conv3", dict(padding=1)), ("relu",),
    ("conv4", dict(padding=1, groups=2)), ("relu",),
    ("conv5", dict(padding=1, groups=2)), ("pool",), ("relu",), ("flatten",),
    ("fc6", {}), ("relu",), ("dropout",),
    ("fc7", {}), ("relu",), ("dropout",),
    ("fc8", {}),
)  # fmt: skip


def gradients(params, images, labels, masks=None):
    """Returns the loss and the gradient of every parameter, by layer and leaf.

    Args:
      params: `{layer: {"kernel", "bias"}}`.
      images: float64 `[n, h, w, 3]`.
      labels: integers `[n]`.
      masks: kept units of the two dropouts, bool `[n, units]`; None: there is no dropout.
    """
    waiting = iter(masks or ())
    x, backwards = images, []
    for name, *options in NET_145:
        layer = params.get(name, {})
        match name:
            case "lrn":
                x, backward = normalize(x, across_maps(2, 5), 2.0, 1e-4 / 5, 0.75)
            case "rnorm":
                x, backward = normalize(x, within_a_map(5), 1.0, 1e-3 / 25, 0.75)
            case "dropout" if masks is None:
                continue
            case "dropout":  # 2012: masked, not scaled
                mask = next(waiting)
                x, backward = x * mask, lambda dy, mask=mask: (dy * mask,)
            case "pool" | "relu" | "flatten":
                x, backward = {"pool": pool, "relu": relu, "flatten": flatten}[name](x)
            case _:
                compute = convolve if name.startswith("conv") else dense
                x, backward = compute(x, layer["kernel"], layer["bias"], **options[0])
        backwards.append((name, backward))
    loss, dx = softmax_loss(x, labels)
    grads = {}
    for name, backward in reversed(backwards):
        dx, *of_params = backward(dx)
        if of_params:
            grads[name] = dict(zip(("kernel", "bias"), of_params, strict=True))
    return loss, grads


def update(params, velocity, grads, rates, momentum=0.9, decay=5e-4):
    """Applies `v = m v - d r w - r g; w = w + v` in place; a rate of 0 skips a leaf entirely.

    Biases have no decay. `rates` is a tree like `params` of numbers.
    """
    for layer, leaves in params.items():
        for leaf, w in leaves.items():
            rate, v = rates[layer][leaf], velocity[layer][leaf]
            if rate == 0:
                continue
            d = decay if leaf == "kernel" else 0.0
            v[...] = momentum * v - d * rate * w - rate * grads[layer][leaf]
            w += v


def ready(images, mean, colour, z, noise):
    """Returns the network's input: `(x - mean + noise V (sigma z)) / (1 + noise)`.

    Args:
      images: uint8 `[n, h, w, 3]`, cropped and mirrored.
      mean: `[h, w, 3]`, the centre window of the mean image.
      colour: `[3, 3]`, V times sigma.
      z: `[n, 3]`, standard normal.
      noise: coefficient; 0 when the noise is off, and then nothing is divided.
    """
    shift = noise * (z @ colour.T)
    return (images.astype(np.float64) - mean + shift[:, None, None, :]) / (1 + noise)
