"""LPIPS against the formula in NumPy, and in PyTorch where it is installed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from safetensors.numpy import save_file

import alexnet_jax
from alexnet_jax.errors import InputError
from alexnet_jax.insight.lpips import lpips
from alexnet_jax.network.layers import with_features
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.weights.writers import torch_zip
from experiments.real_weights import trunk as trunks

pytestmark = pytest.mark.usefixtures("few_optimizations")

CHANNELS = (64, 192, 384, 256, 256)
SIZES = [(31, 31), (40, 57)]


@pytest.fixture(scope="module")
def arrays():
    """A random trunk with torchvision's keys, whose signals stay of one size."""
    return {
        name: array * np.float32(2.2 if name.endswith("weight") else 1)
        for name, array in trunks.random_trunk(seed=0).items()
    }


@pytest.fixture(scope="module")
def params(arrays):
    """The same, as ours."""
    return {
        layer: {
            "kernel": arrays[f"features.{place}.weight"].transpose(2, 3, 1, 0),
            "bias": arrays[f"features.{place}.bias"],
        }
        for layer, place in zip(trunks.LAYERS, (0, 3, 6, 8, 10), strict=True)
    }


@pytest.fixture(scope="module")
def heads():
    rng = np.random.default_rng(1)
    return [np.maximum(rng.normal(0.05, 0.1, n), 0).astype(np.float32) for n in CHANNELS]


@pytest.fixture(scope="module")
def metric(params, heads):
    return lpips(params, heads)


def pairs(height, width, count=2):
    """Blocks of colour and the same with noise, in -1..1, float64."""
    rng = np.random.default_rng(height)
    blocks = rng.uniform(-1, 1, (count, -(-height // 8), -(-width // 8), 3))
    x = blocks.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
    return x, np.clip(x + rng.normal(0, 0.2, x.shape), -1, 1)


def features(params, x):
    """Yields the five layers of `[n, h, w, 3]`, written out once more."""
    x = (x - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
    settings = {"conv1": (4, 2), "conv2": (1, 2), "conv3": (1, 1), "conv4": (1, 1), "conv5": (1, 1)}
    for layer, (stride, padding) in settings.items():
        if layer in ("conv2", "conv3"):
            x = sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2].max(axis=(-2, -1))
        kernel, bias = (params[layer][leaf].astype(float) for leaf in ("kernel", "bias"))
        x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        windows = sliding_window_view(x, kernel.shape[:2], (1, 2))[:, ::stride, ::stride]
        x = np.maximum(np.einsum("nhwcij,ijcf->nhwf", windows, kernel, optimize=True) + bias, 0)
        yield x


def reference(params, heads, x, y):
    """Returns float64 `[n, 5]` and maps before their enlargement."""
    maps = []
    for head, *pair in zip(heads, features(params, x), features(params, y), strict=True):
        ours, theirs = (f / (np.sqrt((f**2).sum(-1, keepdims=True)) + 1e-10) for f in pair)
        maps.append((ours - theirs) ** 2 @ head.astype(float))
    return np.stack([each.mean(axis=(1, 2)) for each in maps], axis=-1), maps


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_distances_are_those_of_the_formula(metric, params, heads, height, width):
    x, y = pairs(height, width)
    expected, _ = reference(params, heads, x, y)
    assert (expected > 1e-3).all()
    layers = metric.distance(x, y, per_layer=True)
    assert layers.dtype == jnp.float32
    np.testing.assert_allclose(layers, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(metric.distance(x, y), expected.sum(axis=1), rtol=0, atol=2e-6)


def test_double_precision_and_gradients(params, heads, float64):
    metric = lpips(params, heads)
    x, y = pairs(33, 31, count=1)
    expected, _ = reference(params, heads, x, y)
    value, gradient = jax.value_and_grad(lambda x: metric.distance(x, y)[0])(jnp.asarray(x))
    assert value.dtype == jnp.float64
    np.testing.assert_allclose(value, expected.sum(), rtol=1e-12)
    direction = np.random.default_rng(2).normal(size=x.shape)
    ahead, behind = (
        reference(params, heads, x + step * direction, y)[0].sum() for step in (1e-7, -1e-7)
    )
    slope = (ahead - behind) / 2e-7
    np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-5)


def test_maps_are_those_of_the_layers_enlarged(metric, params, heads):
    x, y = pairs(40, 57)
    _, small = reference(params, heads, x, y)
    found = metric.distance(x, y, per_layer=True, spatial=True)
    assert found.shape == (2, 40, 57, 5)
    for place, expected in enumerate(small):
        rows, columns = (
            enlargement(extent, size)
            for extent, size in zip(expected.shape[1:], (40, 57), strict=True)
        )
        expected = rows @ expected @ columns.T
        np.testing.assert_allclose(found[..., place], expected, rtol=0, atol=2e-6)
    summed = metric.distance(x, y, spatial=True)
    np.testing.assert_allclose(summed, found.sum(axis=-1), rtol=0, atol=1e-6)


def enlargement(extent, size):
    """Returns `[size, extent]`, bilinear with centres at half pixels, the edges repeated."""
    centres = np.clip((np.arange(size) + 0.5) * extent / size - 0.5, 0, extent - 1)
    return np.maximum(1 - np.abs(centres[:, None] - np.arange(extent)), 0)


def test_equal_pictures_have_no_distance_and_no_gradient(metric):
    x, y = (np.concatenate([each, np.zeros((1, 31, 31, 3))]) for each in pairs(31, 31, count=1))
    y[1] = x[1]
    value, gradient = jax.value_and_grad(lambda x: metric.distance(x, y).sum())(jnp.asarray(x))
    assert jnp.isfinite(gradient).all() and value > 0
    assert metric.distance(x, x).tolist() == [0, 0]
    assert not gradient[1].any() and gradient[0].any()


def test_places_where_no_channel_is_active_give_finite_gradients(params, heads):
    quiet = {
        layer: leaves | {"bias": leaves["bias"] - 100 * (layer == "conv3")}
        for layer, leaves in params.items()
    }
    x, y = pairs(31, 31)
    metric = lpips(quiet, heads)
    gradient = jax.grad(lambda x: metric.distance(x, y).sum())(jnp.asarray(x))
    assert jnp.isfinite(gradient).all() and gradient.any()
    assert not metric.distance(x, y, per_layer=True)[:, 2].any()


def test_another_range_is_the_same_picture(metric):
    x, y = pairs(31, 31)
    expected = metric.distance(x, y)
    other = dataclasses.replace(metric, value_range=(10.0, 265.0))
    found = other.distance(*((each + 1) * 127.5 + 10 for each in (x, y)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_it_can_be_an_argument_of_a_compiled_function_and_mapped(metric):
    x, y = (jnp.asarray(each, jnp.float32) for each in pairs(31, 31))

    @jax.jit
    def one_by_one(metric, x, y):
        return jax.vmap(lambda x, y: metric.distance(x[None], y[None])[0])(x, y)

    expected = metric.distance(x, y)
    np.testing.assert_allclose(one_by_one(metric, x, y), expected, rtol=0, atol=1e-6)
    assert metric.distance(x[:0], y[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((1, 30, 64, 3)), None, "30x64 pixels are too small .* 31x31: enlarge"),
        (np.zeros((1, 31, 31, 3), np.uint8), None, r"not uint8: .*value_range=\(0, 1\)"),
        (np.zeros((31, 31, 3)), None, r"not \[31, 31, 3\]; add an axis"),
        (np.zeros((1, 3, 31, 31)), None, r"\[n, height, width, 3\], not \[1, 3, 31, 31\]"),
        (np.zeros((2, 31, 31, 3)), np.zeros((1, 31, 31, 3)), "one shape, not"),
    ],
)
def test_pictures_that_cannot_be_compared(metric, x, y, message):
    with pytest.raises(InputError, match=message):
        metric.distance(x, x if y is None else y)


def test_heads_and_trunks_that_do_not_fit(params, heads):
    with pytest.raises(InputError, match=r"the heads have \[64, 192, 384, 256\] values"):
        lpips(params, heads[:4])
    without = {layer: leaves for layer, leaves in params.items() if layer != "conv4"}
    with pytest.raises(InputError, match="the trunk's 'conv4' has .* 'one-weird-trick'"):
        lpips(without, heads)
    with pytest.raises(InputError, match="run folder, a classifier or parameters by layer"):
        lpips(7, heads)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"\(black, white\), such as \(0, 1\)"):
        lpips(params, heads, value_range=(1, -1))


def test_the_file_of_the_heads(tmp_path, params, heads, metric):
    file = tmp_path / "alex.pth"
    named = {f"lin{i}.model.1.weight": head.reshape(1, -1, 1, 1) for i, head in enumerate(heads)}
    torch_zip.write(named, file)
    for found, expected in zip(lpips(params, file).heads, metric.heads, strict=True):
        np.testing.assert_array_equal(found, expected)
    torch_zip.write(named | {"lin5.model.1.weight": named["lin4.model.1.weight"]}, file)
    with pytest.raises(InputError, match="not the heads of LPIPS for AlexNet"):
        lpips(params, file)


@pytest.mark.filterwarnings("ignore:.*HAVE FRESH RANDOM VALUES", "ignore:THESE WEIGHTS LOOK RANDOM")
def test_the_trunk_of_a_run_folder(tmp_path, arrays, heads, metric, monkeypatch):
    layers = with_features(NETWORKS["one-weird-trick"].layers, {"fc6": 4, "fc7": 4, "fc8": 3})
    small = dataclasses.replace(NETWORKS["one-weird-trick"], layers=layers)
    monkeypatch.setitem(NETWORKS, "one-weird-trick", small)
    file, labels = tmp_path / "trunk.safetensors", tmp_path / "labels.txt"
    save_file(arrays, file)
    labels.write_text("ant\nbee\ncat\n")
    alexnet_jax.import_weights(file, "torchvision", tmp_path / "run", labels=labels)
    made = alexnet_jax.lpips(tmp_path / "run", heads)
    jax.tree.map(np.testing.assert_array_equal, made.params, metric.params)
    with pytest.warns(UserWarning, match="imported without"):
        classifier = alexnet_jax.load(tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, lpips(classifier, heads).params, metric.params)
    classifier.scale = np.ones(3, np.float32)
    with pytest.raises(InputError, match="scaled in another way than torchvision's"):
        lpips(classifier, heads)
    classifier.network = NETWORKS["one-tower"].until("conv3")
    with pytest.raises(InputError, match="network 'one-tower until conv3', but LPIPS needs"):
        lpips(classifier, heads)


@pytest.mark.oracle
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_values_and_gradients_are_pytorchs(metric, arrays, heads, height, width):
    torch = pytest.importorskip("torch", reason="the oracle is PyTorch, which is not installed")
    from torch.nn import functional

    def maps(x):
        shift, scale = ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450])
        x = (x - torch.tensor(shift)[:, None, None]) / torch.tensor(scale)[:, None, None]
        for place in (0, 3, 6, 8, 10):
            if place in (3, 6):
                x = functional.max_pool2d(x, 3, 2)
            weight, bias = (
                torch.from_numpy(arrays[f"features.{place}.{leaf}"]) for leaf in ("weight", "bias")
            )
            stride, padding = {0: (4, 2), 3: (1, 2)}.get(place, (1, 1))
            x = torch.relu(functional.conv2d(x, weight, bias, stride, padding))
            yield x / (torch.sqrt((x**2).sum(dim=1, keepdim=True)) + 1e-10)

    x, y = (each.astype(np.float32) for each in pairs(height, width))
    ours, theirs = (torch.from_numpy(each).permute(0, 3, 1, 2) for each in (x, y))
    ours = ours.requires_grad_()
    spatial, total = torch.zeros(x.shape[:3]), torch.zeros(len(x))
    for a, b, head in zip(maps(ours), maps(theirs), heads, strict=True):
        each = functional.conv2d((a - b) ** 2, torch.from_numpy(head)[None, :, None, None])
        total = total + each.mean(dim=(1, 2, 3))
        spatial = spatial + functional.interpolate(each, x.shape[1:3], mode="bilinear")[:, 0]
    total.sum().backward()
    np.testing.assert_allclose(metric.distance(x, y), total.detach(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        metric.distance(x, y, spatial=True), spatial.detach(), rtol=0, atol=1e-5
    )
    expected = ours.grad.permute(0, 2, 3, 1).numpy()
    found = jax.grad(lambda x: metric.distance(x, y).sum())(jnp.asarray(x))
    assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)
