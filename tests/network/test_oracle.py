"""Networks against an independent construction in PyTorch: the same weights, logits and gradients.

Nothing here calls the project's own kernels for the expected values: layers are spelt out with
`torch.nn.functional`, NCHW, from the facts of each network's source. In float64: in float32 a
rounding can decide which pixel of a window is the largest, and with it a part of the gradients.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.network.layers import parametric_layers, with_features
from alexnet_jax.network.model import AlexNet
from alexnet_jax.network.networks import NETWORKS

torch = pytest.importorskip("torch", reason="the oracle is PyTorch, which is not installed")
F: Any = torch.nn.functional
pytestmark = pytest.mark.oracle


def paper(x, p):
    """The printed network; LRN's alpha is not divided in the paper, but it is in PyTorch."""
    x = F.relu(F.conv2d(F.pad(x, (0, 3, 0, 3)), *p["conv1"], stride=4))
    x = F.max_pool2d(towers(x, 5 * 1e-4, 2.0), 3, 2)
    x = F.relu(F.conv2d(x, *p["conv2"], padding=2, groups=2))
    x = F.max_pool2d(towers(x, 5 * 1e-4, 2.0), 3, 2)
    return head(convolutions(x, p), p, keep=0.5)


def original(x, p):
    """Run 145: block 1 normalizes before it pools and rectifies; a spatial norm in block 2."""
    x = F.conv2d(F.pad(x, (0, 3, 0, 3)), *p["conv1"], stride=4)
    x = F.relu(F.max_pool2d(towers(x, 1e-4, 2.0), 3, 2))
    x = towers(F.relu(F.conv2d(x, *p["conv2"], padding=2, groups=2)), 1e-4, 2.0)
    x = F.max_pool2d(spatial_norm(x, 5, 1e-3), 3, 2)
    return head(convolutions(x, p), p, keep=0.5)


def bvlc_alexnet(x, p):
    """Caffe's replica: k = 1, all channels normalized together, inverted dropout."""
    x = F.relu(F.conv2d(x, *p["conv1"], stride=4))
    x = F.max_pool2d(F.local_response_norm(x, 5, 1e-4, 0.75, 1.0), 3, 2)
    x = F.relu(F.conv2d(x, *p["conv2"], padding=2, groups=2))
    x = F.max_pool2d(F.local_response_norm(x, 5, 1e-4, 0.75, 1.0), 3, 2)
    return head(convolutions(x, p), p, keep=1.0)


def one_weird_trick(x, p):
    """torchvision's network."""
    x = F.max_pool2d(F.relu(F.conv2d(x, *p["conv1"], stride=4, padding=2)), 3, 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, *p["conv2"], padding=2)), 3, 2)
    x = F.adaptive_avg_pool2d(convolutions(x, p, groups=1), (6, 6))
    return head(x, p, keep=1.0)


def one_tower(x, p, adaptive=False):
    """What courses draw, in PyTorch's own layers with their defaults."""
    x = F.relu(F.conv2d(x, *p["conv1"], stride=4, padding=2))
    x = F.max_pool2d(F.local_response_norm(x, 5, 1e-4, 0.75, 2.0), 3, 2)
    x = F.relu(F.conv2d(x, *p["conv2"], padding=2))
    x = F.max_pool2d(F.local_response_norm(x, 5, 1e-4, 0.75, 2.0), 3, 2)
    x = convolutions(x, p, groups=1)
    return head(F.adaptive_avg_pool2d(x, (6, 6)) if adaptive else x, p, keep=1.0)


def cifar_11pct(x, p):
    """The four-layer net: normalization after pool 1 and before pool 2, unshared layers."""
    norm = functools.partial(F.local_response_norm, size=9, alpha=1e-3, beta=0.75, k=1.0)
    x = norm(F.max_pool2d(F.relu(F.conv2d(x, *p["conv1"], padding=2)), 3, 2, ceil_mode=True))
    x = norm(F.relu(F.conv2d(x, *p["conv2"], padding=2)))
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    x = F.relu(unshared(x, *p["local3"]))
    x = F.relu(unshared(x, *p["local4"]))
    return F.linear(hwc(x), *p["fc5"])


def cifar_18pct(x, p):
    """Max pooling, then twice average pooling of the pixels that a window covers."""
    average = functools.partial(
        F.avg_pool2d, kernel_size=3, stride=2, ceil_mode=True, count_include_pad=False
    )
    x = F.max_pool2d(F.conv2d(x, *p["conv1"], padding=2), 3, 2, ceil_mode=True)
    x = spatial_norm(F.relu(x), 3, 5e-5)
    x = spatial_norm(average(F.relu(F.conv2d(x, *p["conv2"], padding=2))), 3, 5e-5)
    x = average(F.relu(F.conv2d(x, *p["conv3"], padding=2)))
    return F.linear(hwc(x), *p["fc4"])


def towers(x, scale, k):
    """Normalizes each half of the channels by itself; PyTorch divides `scale` by the window."""
    halves = torch.chunk(x, 2, dim=1)
    return torch.cat([F.local_response_norm(half, 5, scale, 0.75, k) for half in halves], dim=1)


def spatial_norm(x, window, scale):
    """Response normalization within maps; average pooling with zeros is sum / window^2."""
    mean = F.avg_pool2d(x * x, window, 1, window // 2, count_include_pad=True)
    return x / (1 + scale * mean) ** 0.75


def convolutions(x, p, groups=2):
    """The layers conv3 to pool5, which all large networks share."""
    x = F.relu(F.conv2d(x, *p["conv3"], padding=1))
    x = F.relu(F.conv2d(x, *p["conv4"], padding=1, groups=groups))
    x = F.relu(F.conv2d(x, *p["conv5"], padding=1, groups=groups))
    return F.max_pool2d(x, 3, 2)


def head(x, p, keep):
    """Three dense layers in a pass without masks; 2012 halves what dropout would have masked."""
    x = F.relu(F.linear(hwc(x), *p["fc6"])) * keep
    x = F.relu(F.linear(x, *p["fc7"])) * keep
    return F.linear(x, *p["fc8"])


def hwc(x):
    """Flattens in the order of this project's layout."""
    return x.permute(0, 2, 3, 1).flatten(1)


def unshared(x, weight, bias):
    """An unshared 3x3 convolution: weight `[positions, in * 9, out]`, bias `[positions, out]`."""
    size = x.shape[2]
    columns = F.unfold(x, 3, padding=1)  # [n, in * 9, positions]
    out = torch.einsum("ncp,pco->npo", columns, weight) + bias
    return out.transpose(1, 2).reshape(x.shape[0], -1, size, size)


def as_torch(params):
    """Returns {layer: (weight, bias)} in PyTorch's layouts, ready for gradients."""
    layers = {}
    for name, leaves in params.items():
        kernel, bias = np.asarray(leaves["kernel"]), np.asarray(leaves["bias"])
        if kernel.ndim == 6:
            positions, window, _, inputs, outputs = kernel.shape[0] ** 2, *kernel.shape[2:]
            kernel = kernel.transpose(0, 1, 4, 2, 3, 5)
            kernel = kernel.reshape(positions, inputs * window**2, outputs)
            bias = bias.reshape(positions, outputs)
        else:
            kernel = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
        pair = (torch.tensor(np.ascontiguousarray(a)).requires_grad_() for a in (kernel, bias))
        layers[name] = tuple(pair)
    return layers


def from_torch(gradient, like):
    """Returns a weight gradient of PyTorch in the layout of the kernel `like`."""
    gradient = gradient.numpy()
    if like.ndim == 6:
        rows, columns, window, _, inputs, outputs = like.shape
        gradient = gradient.reshape(rows, columns, inputs, window, window, outputs)
        return gradient.transpose(0, 1, 3, 4, 2, 5)
    return gradient.transpose(2, 3, 1, 0) if like.ndim == 4 else gradient.T


def narrowed(network):
    """Returns the network with 96 units in fc6 and fc7: less to multiply, the same operations."""
    if not {"fc6", "fc7"} <= {layer.name for layer in parametric_layers(network.layers)}:
        return network
    layers = with_features(network.layers, {"fc6": 96, "fc7": 96})
    return dataclasses.replace(network, layers=layers)


def random_params(network, size, seed):
    """Returns random parameters under which the signal neither dies nor explodes."""
    blank = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    model = AlexNet(network)
    shapes: Any = jax.eval_shape(model.init, jax.random.key(0), blank)
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        if path[-1].key == "bias":
            return rng.normal(0, 0.1, leaf.shape)
        axes = leaf.shape[-4:-1] if leaf.ndim > 2 else leaf.shape[:1]
        return rng.standard_normal(leaf.shape) * np.sqrt(2 / np.prod(axes))

    return jax.tree_util.tree_map_with_path(draw, shapes["params"])


@pytest.mark.parametrize(
    ("name", "oracle", "spread"),
    [
        ("paper", paper, 60.0),
        ("original", original, 60.0),
        ("bvlc-alexnet", bvlc_alexnet, 60.0),
        ("one-weird-trick", one_weird_trick, 1.0),
        ("one-tower", one_tower, 60.0),
        ("one-tower-adaptive", functools.partial(one_tower, adaptive=True), 60.0),
        ("cifar-11pct", cifar_11pct, 60.0),
        ("cifar-18pct", cifar_18pct, 60.0),
    ],
)
def test_logits_and_gradients_are_those_of_pytorch(name, oracle, spread):
    network = narrowed(NETWORKS[name].with_classes(7))
    size, batch = network.image_size, 1 if NETWORKS[name].image_size > 100 else 2
    if name == "one-tower-adaptive":
        size = 160  # where its pooling makes 6 x 6 of 4 x 4 pixels
    params = random_params(network, size, seed=1)
    rng = np.random.default_rng(2)
    images = rng.standard_normal((batch, size, size, 3)) * spread
    direction = rng.standard_normal((batch, 7))

    def ours(params, images):
        logits: Any = AlexNet(network, dtype=jnp.float64).apply({"params": params}, images)
        return jnp.sum(logits * direction), logits

    with jax.enable_x64(True):
        (_, logits), grads = jax.jit(jax.value_and_grad(ours, (0, 1), has_aux=True))(params, images)
    theirs = as_torch(params)
    pixels = torch.tensor(images.transpose(0, 3, 1, 2).copy()).requires_grad_()
    expected = oracle(pixels, theirs)
    (expected * torch.tensor(direction)).sum().backward()

    assert_close("logits", logits, expected.detach().numpy())
    assert_close("images", grads[1], pixels.grad.numpy().transpose(0, 2, 3, 1))
    for layer, leaves in grads[0].items():
        weight, bias = theirs[layer]
        kernel = np.asarray(leaves["kernel"])
        assert_close(f"{layer} kernel", kernel, from_torch(weight.grad, kernel))
        assert_close(f"{layer} bias", np.ravel(leaves["bias"]), bias.grad.numpy().ravel())


def assert_close(what, ours, theirs):
    """Compares relative to the size of the whole array, as sums in another order differ."""
    ours = np.asarray(ours)
    error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    assert np.isfinite(error) and error < 1e-11, f"{what}: relative error {error:.2e}"
    assert np.abs(theirs).max() > 0
