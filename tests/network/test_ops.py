"""Every kernel against its definition, against hand-made loops and against the 2012 code."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quick
from jax.sharding import PartitionSpec as P

from alexnet_jax.network import conv_ops, minimal_filtering, ops

DTYPES = ("float32", "bfloat16")


def _normal(seed, shape, dtype="float32"):
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return jnp.asarray(values).astype(dtype)


def _assert_same(fast, plain, *args, dtype="float32", rtol=2e-5):
    """Asserts equal values and equal gradients for a random cotangent."""
    shape = jax.eval_shape(plain, *args)
    assert shape.dtype == jnp.dtype(dtype)
    grad = _normal(99, shape.shape, dtype)

    @jax.jit
    def compute(args, grad):
        (out, pull), (expected, pull_expected) = jax.vjp(fast, *args), jax.vjp(plain, *args)
        return (out, *pull(grad)), (expected, *pull_expected(grad))

    rtol = rtol if dtype == "float32" else 2e-2
    for ours, theirs in zip(*compute(args, grad), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        ours, theirs = np.asarray(ours, np.float32), np.asarray(theirs, np.float32)
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())


def _assert_equals_definition(name, options, *args, dtype="float32"):
    """Asserts that a kernel and its `plain_` form agree."""
    forms = (functools.partial(getattr(ops, form), **options) for form in (name, f"plain_{name}"))
    _assert_same(*forms, *args, dtype=dtype)


# name: (image shape, window, features, stride, padding, groups)
CONVOLUTIONS = {
    "one": ((2, 5, 5, 3), (3, 3), 4, 1, ((1, 1), (1, 1)), 1),
    "conv1": ((2, 39, 39, 3), (11, 11), 4, 4, ((0, 0), (0, 0)), 1),
    "conv1 overhanging": ((2, 36, 36, 3), (11, 11), 4, 4, ((0, 3), (0, 3)), 1),
    "conv1 torchvision": ((2, 40, 40, 3), (11, 11), 4, 4, ((2, 2), (2, 2)), 1),
    "conv1 unused pixels": ((2, 38, 41, 3), (11, 11), 4, 4, ((0, 0), (0, 0)), 1),
    "conv1 two towers": ((2, 36, 36, 4), (11, 11), 6, 4, ((0, 3), (0, 3)), 2),
    "conv2": ((2, 9, 9, 8), (5, 5), 6, 1, ((2, 2), (2, 2)), 2),
    "three groups": ((1, 6, 7, 6), (3, 3), 9, 1, ((1, 1), (1, 1)), 3),
    "wide": ((1, 5, 6, 12), (3, 3), 8, 1, ((1, 1), (1, 1)), 1),
    "1x1": ((2, 4, 4, 6), (1, 1), 5, 1, ((0, 0), (0, 0)), 1),
    "stride 2": ((2, 9, 8, 3), (3, 3), 4, 2, ((1, 2), (0, 1)), 1),
    "stride over window": ((2, 9, 8, 3), (2, 2), 4, 3, ((0, 0), (1, 1)), 1),
    "lopsided": ((2, 6, 7, 4), (3, 2), 4, 1, ((2, 0), (0, 1)), 2),
    "oblong with a stride": ((2, 39, 45, 3), (7, 11), 4, 4, ((1, 0), (0, 2)), 1),
    "oblong over the squares": ((2, 39, 45, 3), (9, 13), 4, 4, ((0, 0), (0, 0)), 1),
    "whole image": ((3, 6, 6, 4), (6, 6), 5, 1, ((0, 0), (0, 0)), 1),
}


@pytest.mark.parametrize(
    ("case", "dtype"),
    [(case, "float32") for case in CONVOLUTIONS]
    + [(case, "bfloat16") for case in ("conv1 overhanging", "conv2")],
)
def test_convolution_equals_its_definition(case, dtype):
    _check_convolution(case, dtype)


def _check_convolution(case, dtype="float32"):
    shape, window, features, stride, padding, groups = CONVOLUTIONS[case]
    options = {"stride": stride, "padding": padding, "groups": groups}
    kernel = _normal(1, (*window, shape[-1] // groups, features), dtype)
    _assert_equals_definition("convolution", options, _normal(0, shape, dtype), kernel, dtype=dtype)


@pytest.mark.parametrize(
    "case", quick.only(["conv1 overhanging", "conv2", "lopsided"], CONVOLUTIONS)
)
def test_minimal_filtering_equals_the_definition_where_it_does_not_pay(case, monkeypatch):
    """Forced on every shape that it can compute; these are too small for it to be chosen."""
    monkeypatch.setattr(minimal_filtering, "_MIN_GAIN", 0)
    _check_convolution(case)


FEW_CHANNELS = {
    "one column in a patch": ((2, 9, 10), (5, 5), 1, ((2, 2), (2, 2))),
    "columns that patches share": ((9, 9, 10), (5, 5), 1, ((2, 2), (2, 2))),
    "a stride, with a rest": ((9, 14, 12), (7, 7), 2, ((0, 1), (0, 1))),
    "oblong and lopsided": ((12, 8, 9), (3, 4), 3, ((1, 0), (0, 2))),
}


@pytest.mark.parametrize("case", FEW_CHANNELS)
def test_one_product_of_patches_equals_the_definition(case):
    sizes, window, stride, padding = FEW_CHANNELS[case]
    with jax.enable_x64(True):
        x, kernel = _normal(0, (*sizes, 3), "float64"), _normal(1, (*window, 3, 5), "float64")
        forms = [
            functools.partial(form, stride=stride, padding=padding)
            for form in (conv_ops.by_patches, ops.plain_convolution)
        ]
        grad = _normal(2, jax.eval_shape(forms[1], x, kernel).shape, "float64")
        ours, theirs = ((form(x, kernel), *jax.vjp(form, x, kernel)[1](grad)) for form in forms)
        for value, expected in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("version", "dtype", "directly"),
    [
        ((0, 10, 2), "float32", {"kernel"}),
        ((0, 12, 0), "float32", {"output", "kernel"}),
        ((0, 12, 0), "bfloat16", set()),
    ],
)
def test_layers_of_few_channels_are_computed_as_the_version_is_fast(
    version, dtype, directly, monkeypatch
):
    monkeypatch.setattr(jax, "__version_info__", version)
    x, kernel = (jax.ShapeDtypeStruct(s, dtype) for s in ((9, 8, 8, 3), (5, 5, 3, 4)))
    for result in ("output", "images", "kernel"):
        form = functools.partial(
            conv_ops.one_group, stride=1, padding=((2, 2), (2, 2)), result=result
        )
        found = "conv_general_dilated" in str(jax.make_jaxpr(form)(x, kernel))
        assert found == (result in directly), result


@pytest.mark.parametrize("form", (ops.convolution, ops.plain_convolution))
def test_overhanging_conv1_reads_zeros(form):
    images, kernel = jnp.ones((1, 224, 224, 3)), jnp.ones((11, 11, 3, 1))
    out = form(images, kernel, stride=4, padding=((0, 3), (0, 3)))[0, :, :, 0]
    assert out.shape == (55, 55)
    np.testing.assert_allclose(out[:-1, :-1], 363)
    np.testing.assert_allclose(out[-1, :-1], 264)
    np.testing.assert_allclose(out[:-1, -1], 264)
    assert out[-1, -1] == 192


def _local_loop(x, kernel, padding):
    x = np.pad(x, ((0, 0), *padding, (0, 0)))
    height, width, rows, columns, _, features = kernel.shape
    out = np.zeros((len(x), height, width, features))
    for i in range(height):
        for j in range(width):
            patch = x[:, i : i + rows, j : j + columns]
            out[:, i, j] = np.tensordot(patch, kernel[i, j], axes=3)
    return out


@pytest.mark.parametrize(
    ("shape", "window", "padding"),
    [
        ((3, 6, 6, 4), (3, 3), ((1, 1), (1, 1))),
        ((2, 5, 7, 3), (3, 2), ((0, 0), (1, 0))),
        ((2, 4, 4, 2), (1, 1), ((0, 0), (0, 0))),
    ],
)
def test_local_convolution_equals_a_loop(shape, window, padding):
    out_size = [
        size + sum(edges) - extent + 1
        for size, edges, extent in zip(shape[1:3], padding, window, strict=True)
    ]
    x, kernel = _normal(0, shape), _normal(1, (*out_size, *window, shape[-1], 5))
    out, pull = jax.vjp(functools.partial(ops.local_convolution, padding=padding), x, kernel)
    expected = _local_loop(np.asarray(x), np.asarray(kernel), padding)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)
    # It is linear in each argument, so <gradient, direction> is the value along the direction.
    grad = np.asarray(_normal(2, out.shape))
    grad_x, grad_kernel = pull(jnp.asarray(grad))
    dx, dk = np.asarray(_normal(3, x.shape)), np.asarray(_normal(4, kernel.shape))
    np.testing.assert_allclose(
        np.vdot(grad_x, dx), np.vdot(grad, _local_loop(dx, np.asarray(kernel), padding)), rtol=1e-3
    )
    np.testing.assert_allclose(
        np.vdot(grad_kernel, dk), np.vdot(grad, _local_loop(np.asarray(x), dk, padding)), rtol=1e-3
    )


# window, stride, padding, image height and width
POOLS = [
    (3, 2, ((0, 0), (0, 0)), (7, 9)),
    (3, 2, ((0, 1), (0, 1)), (8, 8)),
    (3, 2, ((0, 0), (0, 0)), (8, 10)),
    (2, 2, ((0, 0), (0, 0)), (6, 6)),
    (2, 2, ((0, 1), (0, 0)), (5, 7)),
    (3, 1, ((1, 1), (1, 1)), (5, 6)),
    (3, 3, ((0, 1), (0, 2)), (8, 7)),
    (2, 3, ((0, 0), (0, 0)), (8, 8)),
    (5, 2, ((2, 1), (1, 2)), (9, 8)),
    (4, 4, ((0, 0), (0, 0)), (4, 4)),
]
QUICK_POOLS = POOLS[:2] + POOLS[8:9]
TYPED_POOLS = [(*pool, "float32") for pool in POOLS] + [(*POOLS[1], "bfloat16")]


@pytest.mark.parametrize(
    ("window", "stride", "padding", "size", "dtype"),
    quick.rows([(*pool, "float32") for pool in QUICK_POOLS], TYPED_POOLS),
)
def test_max_pool_equals_its_definition(window, stride, padding, size, dtype):
    options = {"window": window, "stride": stride, "padding": padding}
    fast = functools.partial(ops.max_pool, **options)
    plain = functools.partial(ops.plain_max_pool, **options)
    x = _normal(0, (2, *size, 3), dtype)
    np.testing.assert_array_equal(fast(x), plain(x))
    _assert_same(fast, plain, x, dtype=dtype)


@pytest.mark.parametrize(("window", "stride", "padding", "size"), quick.rows(QUICK_POOLS, POOLS))
def test_max_pool_gradient_goes_to_the_first_of_tied_pixels(window, stride, padding, size):
    options = {"window": window, "stride": stride, "padding": padding}
    # Few whole numbers: most windows have several maxima, and sums of gradients are exact.
    x = jnp.round(_normal(0, (2, *size, 3)))
    y, pull = jax.vjp(functools.partial(ops.max_pool, **options), x)
    expected, pull_expected = jax.vjp(functools.partial(ops.plain_max_pool, **options), x)
    grad = jnp.round(8 * _normal(1, y.shape))
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(pull(grad)[0], pull_expected(grad)[0])


def test_max_pool_gradient_of_a_constant_image():
    x = jnp.zeros((1, 5, 5, 1))
    pool = functools.partial(ops.max_pool, window=3, stride=2, padding=((0, 0), (0, 0)))
    grad = jax.grad(lambda x: pool(x).sum())(x)
    expected = np.zeros((5, 5))
    expected[::2, ::2][:2, :2] = 1
    np.testing.assert_array_equal(grad[0, :, :, 0], expected)


@pytest.mark.parametrize(
    ("window", "stride", "padding", "size", "dtype"),
    quick.rows([(*pool, "float32") for pool in QUICK_POOLS], TYPED_POOLS),
)
def test_avg_pool_equals_its_definition(window, stride, padding, size, dtype):
    options = {"window": window, "stride": stride, "padding": padding}
    _assert_equals_definition("avg_pool", options, _normal(0, (2, *size, 3), dtype), dtype=dtype)


@pytest.mark.parametrize("form", (ops.avg_pool, ops.plain_avg_pool))
@pytest.mark.parametrize(("window", "stride", "padding", "size"), quick.rows(QUICK_POOLS, POOLS))
def test_avg_pool_divides_by_the_pixels_it_covers(form, window, stride, padding, size):
    x = _normal(0, (2, *size, 3))
    out = form(x, window=window, stride=stride, padding=padding)
    (top, _), (left, _) = padding
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            row, column = i * stride - top, j * stride - left
            pixels = np.asarray(x)[:, max(row, 0) : row + window, max(column, 0) : column + window]
            np.testing.assert_allclose(out[:, i, j], pixels.mean((1, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("extent", "size"), [(7, 6), (6, 6), (13, 6), (3, 6), (12, 6), (5, 1)])
def test_adaptive_avg_pool_windows(extent, size):
    x = _normal(0, (2, extent, extent + 1, 3))
    out = ops.adaptive_avg_pool(x, size)
    assert out.shape == (2, size, size, 3)
    for i in range(size):
        for j in range(size):
            rows = slice(i * extent // size, -(-(i + 1) * extent // size))
            columns = slice(j * (extent + 1) // size, -(-(j + 1) * (extent + 1) // size))
            expected = np.asarray(x)[:, rows, columns].mean((1, 2))
            np.testing.assert_allclose(out[:, i, j], expected, rtol=1e-5, atol=1e-6)


LRN_INPUT = [100.0, -200.0, 300.0, 400.0, -500.0, 600.0, 700.0]
LRN_GOLDEN = {  # (bias, alpha): the seven outputs
    (2.0, 2e-5): [
        30.836784, -42.044821, 43.819129, 42.294851, -40.010272, 50.376103, 64.556445
    ],
    (2.0, 1e-4): [12.5, -14.865089, 14.461559, 13.465396, -12.48618, 15.766808, 20.332207],
    (1.0, 2e-5): [
        36.741959, -46.473616, 46.530243, 43.953634, -41.077261, 51.811395, 66.650308
    ],
}  # fmt: skip


@pytest.mark.parametrize("form", (ops.local_response_norm, ops.plain_local_response_norm))
@pytest.mark.parametrize(("bias", "alpha"), LRN_GOLDEN)
def test_local_response_norm_golden_values(form, bias, alpha):
    x = jnp.asarray(LRN_INPUT).reshape(1, 1, 1, 7)
    out = form(x, depth=5, alpha=alpha, beta=0.75, bias=bias, groups=1)
    np.testing.assert_allclose(out.ravel(), LRN_GOLDEN[bias, alpha], rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("channels", "depth", "groups", "beta"),
    [(12, 5, 1, 0.75), (12, 5, 2, 0.75), (9, 9, 3, 0.5), (8, 4, 2, 0.75), (3, 5, 1, 1.3)],
)
def test_local_response_norm_equals_its_definition(channels, depth, groups, beta, dtype):
    options = {"depth": depth, "alpha": 0.1, "beta": beta, "bias": 1.5, "groups": groups}
    x = _normal(0, (2, 3, 4, channels), dtype) * jnp.asarray(3, dtype)
    _assert_equals_definition("local_response_norm", options, x, dtype=dtype)


@pytest.mark.parametrize("form", (ops.local_response_norm, ops.plain_local_response_norm))
def test_an_even_window_has_a_channel_more_before(form):
    x = jnp.ones(8).at[3].set(100.0).reshape(1, 1, 1, 8)
    out = form(x, depth=4, alpha=1.0, beta=0.75, bias=1.0)
    assert np.flatnonzero(out.ravel() < 0.01).tolist() == [
        2,
        4,
        5,
    ]  # they see channel 3, as it does


def test_local_response_norm_stays_within_groups():
    options = {"depth": 5, "alpha": 0.1, "beta": 0.75, "bias": 2.0}
    x = _normal(0, (2, 3, 3, 16))
    whole = ops.local_response_norm(x, groups=2, **options)
    halves = [ops.local_response_norm(half, groups=1, **options) for half in jnp.split(x, 2, -1)]
    np.testing.assert_allclose(whole, jnp.concatenate(halves, -1), rtol=1e-6)


@pytest.mark.parametrize("form", (ops.response_norm, ops.plain_response_norm))
def test_response_norm_golden_values(form):
    x = 10 * jnp.arange(1.0, 50.0).reshape(1, 7, 7, 1)
    out = form(x, window=5, alpha=1e-3 / 25, beta=0.75, bias=1.0)[0, :, :, 0]
    golden = [2.939694, 9.959201, 21.986815]
    np.testing.assert_allclose([out[0, 0], out[3, 3], out[6, 6]], golden, rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("window", "beta", "size"), [(5, 0.75, (7, 6)), (3, 0.6, (4, 2))])
def test_response_norm_equals_its_definition(window, beta, size, dtype):
    options = {"window": window, "alpha": 0.1, "beta": beta, "bias": 1.0}
    x = _normal(0, (2, *size, 3), dtype)
    _assert_equals_definition("response_norm", options, x, dtype=dtype)


def _small_network(params, images):
    """A conv, LRN, max pool, grouped conv, average pool, and a sum."""
    x = ops.convolution(images, params["conv1"], stride=4, padding=((0, 3), (0, 3)))
    x = ops.local_response_norm(x, depth=5, alpha=1e-2, beta=0.75, bias=2.0, groups=1)
    x = ops.response_norm(x, window=3, alpha=1e-2, beta=0.75, bias=1.0)
    x = ops.max_pool(x, window=3, stride=2, padding=((0, 1), (0, 1)))
    x = ops.convolution(x, params["conv2"], padding=((1, 1), (1, 1)), groups=2)
    x = ops.avg_pool(x, window=2, stride=2, padding=((0, 0), (0, 0)))
    return (x**2).sum()


def _small_params():
    return {"conv1": _normal(1, (11, 11, 3, 8)) * 0.1, "conv2": _normal(2, (3, 3, 4, 6))}


def test_one_gradient_whatever_the_transformation():
    params, images = _small_params(), _normal(0, (2, 36, 36, 3))

    @jax.jit
    def transformed(params, images):
        gradient = jax.grad(_small_network)
        mapped = jax.vmap(gradient, in_axes=(None, 0))(params, images[:, None])
        return (
            gradient(params, images),
            jax.grad(jax.checkpoint(_small_network))(params, images),
            jax.tree.map(lambda x: x.sum(0), mapped),
        )

    expected, *others = transformed(params, images)
    donating = jax.jit(jax.grad(_small_network), donate_argnums=0)
    others.append(donating(jax.tree.map(jnp.copy, params), images))
    for tree in others:
        for ours, theirs in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    shapes = jax.eval_shape(jax.grad(_small_network), params, images)
    assert jax.tree.map(lambda x: x.shape, shapes) == jax.tree.map(lambda x: x.shape, params)


@pytest.mark.parametrize("manual", [("data", "tower"), ("tower",), ("data",)])
def test_gradients_inside_shard_map(manual):
    mesh = jax.make_mesh((2, 2), ("data", "tower"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    params, images = _small_params(), _normal(0, (4, 36, 36, 3))
    specs = {"data": P("data") if "data" in manual else P(), "tower": P()}
    if "tower" in manual:
        specs["tower"] = P(None, None, None, "tower")

    def compute(params, images, prefix, groups):
        convolution, norm, max_pool, avg_pool = (
            getattr(ops, prefix + name)
            for name in ("convolution", "local_response_norm", "max_pool", "avg_pool")
        )
        x = convolution(images, params["conv1"], stride=4, padding=((0, 3), (0, 3)))
        x = norm(x, depth=5, alpha=1e-2, beta=0.75, bias=2.0, groups=groups)
        x = max_pool(x, window=3, stride=2, padding=((0, 1), (0, 1)))
        return (avg_pool(x, window=2, stride=2, padding=((0, 0), (0, 0))) ** 2).sum()

    def shard(params, images):
        return jax.lax.psum(compute(params, images, "", 1), manual)

    def whole(params, images):
        return compute(params, images, "plain_", 2 if "tower" in manual else 1)

    mapped = jax.shard_map(
        shard,
        mesh=mesh,
        in_specs=({"conv1": specs["tower"]}, specs["data"]),
        out_specs=P(),
        axis_names=set(manual),
    )
    params = {"conv1": params["conv1"]}
    ours = jax.jit(jax.grad(mapped, argnums=(0, 1)))(params, images)
    theirs = jax.grad(whole, argnums=(0, 1))(params, images)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("platform", ("cuda", "tpu"))
def test_accelerators_get_the_plain_form(platform):
    gradient = jax.jit(jax.grad(_small_network))
    text = (
        gradient.trace(_small_params(), _normal(0, (4, 36, 36, 3)))
        .lower(lowering_platforms=(platform,))
        .as_text()
    )
    assert "feature_group_count = 2" in text
    assert "select_and_scatter" in text
    assert "dot_general" not in text


def test_cpu_gets_the_fast_form():
    lowered = jax.jit(jax.grad(_small_network)).lower(_small_params(), _normal(0, (4, 36, 36, 3)))
    assert "select_and_scatter" not in lowered.as_text()
    assert "conditional" not in (lowered.compile().as_text() or "conditional")
