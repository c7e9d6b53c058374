"""Two towers and replicas against one device: the same network, sharded."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quick

from alexnet_jax.errors import InputError
from alexnet_jax.network import placement, towers
from alexnet_jax.network.layers import (
    Conv,
    Dense,
    Flatten,
    Gather,
    Lrn,
    Network,
    summarize,
    with_changes,
    with_features,
)
from alexnet_jax.network.model import AlexNet
from alexnet_jax.network.networks import NETWORKS

SIZE, IMAGES = 64, 4
WIDTHS = {"conv1": 8, "conv2": 16, "conv3": 24, "conv4": 24, "conv5": 16, "fc6": 32, "fc7": 32}
MESHES = {"1x2": (2, 2), "2x1": (1, 2), "2x2": (2, 4)}


def narrow(name):
    """The network `name` with few features and 7 classes, which two towers could not share."""
    network = NETWORKS[name]
    layers = with_features(network.layers, WIDTHS | {"fc8": 7})
    layers = with_changes(layers, Conv, weight_std=0.1)
    return Network(f"narrow {name}", layers, SIZE, "this test")


def mesh_of(name):
    """A mesh of replicas x towers."""
    width, count = MESHES[name]
    return placement.make_mesh(width, devices=jax.devices()[:count])


@functools.cache
def setting(name):
    """A narrow network, its parameters, images and labels."""
    network = narrow(name)
    images = jax.random.normal(jax.random.key(1), (IMAGES, SIZE, SIZE, 3))
    params = jax.jit(AlexNet(network).init)(jax.random.key(0), images)["params"]
    return network, params, images, jnp.arange(IMAGES) % 7


def values_and_gradients(network, dtype, mesh):
    """The jitted (mean loss, logits), gradients of one batch, with dropout."""
    forward = towers.make_forward(network, dtype, mesh)

    def loss(params, images, labels, key):
        logits = forward(params, images, train=True, key=key)
        own = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
        return -jnp.mean(own), logits

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


@functools.cache
def on_one_device(name):
    """What one device makes of the setting."""
    network, params, images, labels = setting(name)
    step = values_and_gradients(network, jnp.float32, None)
    return step(params, images, labels, jax.random.key(2))


def assert_close(ours, theirs, tolerance):
    """Asserts a difference below `tolerance` of the maximum of each leaf."""

    def check(ours, theirs):
        ours, theirs = np.asarray(ours, np.float32), np.asarray(theirs, np.float32)
        assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()

    jax.tree.map(check, ours, theirs)


@pytest.mark.parametrize(
    ("name", "mesh"),
    quick.rows([("paper", "2x2")], [("paper", "2x2"), ("paper", "2x1"), ("no-talk", "1x2")]),
)
def test_outputs_and_gradients_are_those_of_one_device(name, mesh, few_optimizations):
    network, params, images, labels = setting(name)
    mesh = mesh_of(mesh)
    params = jax.device_put(params, placement.shardings(mesh, network, params))
    images, labels = jax.device_put((images, labels), placement.batch_sharding(mesh))
    step = values_and_gradients(network, jnp.float32, mesh)
    found = step(params, images, labels, jax.random.key(2))
    assert_close(found, on_one_device(name), 1e-5)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_towers_talk_where_the_gpus_of_the_paper_do(platform, dtype):
    network, params, images, labels = setting("paper")
    step = values_and_gradients(network, jnp.dtype(dtype), mesh_of("2x2"))
    traced = step.trace(params, images, labels, jax.random.key(2))
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    short = {"float32": "f32", "bfloat16": "bf16"}[dtype]

    def results(operation):
        found = re.findall(rf'"stablehlo\.{operation}".*?-> tensor<([^>]*)>', text, re.DOTALL)
        return sorted(found)

    # Half of the four images on each replica; what stands before conv3, fc6, fc7 and fc8. The
    # classifier and what follows is the same on both towers, so that no gradient comes back.
    gathered = [f"2x3x3x16x{short}", f"2x1x1x16x{short}", f"2x32x{short}", f"2x32x{short}"]
    scattered = [f"2x3x3x8x{short}", f"2x1x1x8x{short}", f"2x16x{short}"]
    assert results("all_gather") == sorted(gathered)
    assert results("reduce_scatter") == sorted(scattered)
    # One sum over the replicas per parameter, of a tower's share, in float32.
    placed = placement.shardings(mesh_of("2x2"), network, params)
    shapes = jax.tree.map(lambda leaf, sharding: sharding.shard_shape(leaf.shape), params, placed)
    leaves = jax.tree.leaves(shapes, is_leaf=lambda shape: isinstance(shape, tuple))
    summed = ["x".join(map(str, (*shape, "f32"))) for shape in leaves]
    assert results("all_reduce") == sorted(summed)
    assert "feature_group_count = 2" not in text
    for other in ("all_to_all", "collective_permute", "collective_broadcast"):
        assert f"stablehlo.{other}" not in text


@pytest.mark.parametrize("name", ["paper", "original", "non-overlapping", "no-talk", "six-conv"])
def test_a_tower_is_half_of_everything_but_the_classifier(name):
    network = NETWORKS[name]
    share = towers.tower_network(network, 2)
    whole = {summary.name: summary for summary in summarize(network)}
    gathers = []
    for summary in summarize(share):
        if isinstance(summary.layer, Gather):
            gathers.append(summary.name)
        elif summary.name == "fc8":
            assert summary == whole["fc8"]
        else:
            assert summary.weights * 2 == whole[summary.name].weights
            assert summary.macs * 2 == whole[summary.name].macs
    last = {"no-talk": ["gather7"], "six-conv": ["gather2", "gather5"]}
    expected = last.get(name, ["gather2"])
    assert gathers[: len(expected)] == expected and gathers[-1] == "gather7"
    assert towers.tower_network(network, 1) is network


def test_a_layer_is_captured_whole(few_optimizations):
    network, params, images, _ = setting("paper")
    whole = towers.make_forward(network)
    sharded = towers.make_forward(network, mesh=mesh_of("2x2"))
    found, expected = (
        jax.jit(functools.partial(forward, capture="norm1"))(params, images)
        for forward in (sharded, whole)
    )
    assert_close(found, expected, 1e-5)
    with pytest.raises(InputError, match="no layer 'gatherless'"):
        sharded(params, images, capture="gatherless")


@pytest.mark.slow
def test_towers_of_a_cut_network_and_of_pictures_that_are_no_squares(few_optimizations):
    network, params, images, _ = setting("paper")
    images = jnp.concatenate([images, images[:, :, :21]], axis=2)  # 64 x 85
    names = ("norm1", "conv3")

    def loss(forward, params, capture):
        found = forward(params, images, capture=capture)
        return sum(jnp.sum(jnp.sin(each)) for each in jax.tree.leaves(found))

    def gradients(network, mesh, capture):
        forward = towers.make_forward(network, mesh=mesh)
        return jax.jit(jax.grad(lambda params: loss(forward, params, capture)))(params)

    for cut, capture in ((network.until("conv3"), None), (network, names)):
        found = gradients(cut, mesh_of("2x2"), capture)
        expected = gradients(cut, None, capture)
        assert np.abs(expected["conv1"]["kernel"]).max() > 1e-3
        assert_close(found, expected, 1e-4)


@pytest.mark.slow
def test_a_dense_layer_where_a_network_is_cut_is_divided(few_optimizations):
    network, params, images, _ = setting("paper")
    cut = network.until("fc6")
    forward = towers.make_forward(cut, mesh=mesh_of("1x2"))

    def grad(forward):
        return jax.jit(jax.grad(lambda x: jnp.sum(jnp.sin(forward(params, x)))))(images)

    assert_close(grad(forward), grad(towers.make_forward(cut)), 1e-4)


GROUPED = (Conv("conv1", 6, 3), Lrn(groups=2), Conv("conv2", 8, 3, groups=2), Flatten())


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((*NETWORKS["one-weird-trick"].layers,), "has no groups, so it has no 2 towers"),
        ((*NETWORKS["caffenet"].layers,), "'norm1' normalizes across the border"),
        ((*GROUPED, Dense("fc3", 5), Dense("fc4", 3)), "'fc3' has 5 features"),
        ((Conv("conv1", 6, 3, groups=3), *GROUPED[2:], Dense("fc3", 4)), "that every tower has"),
        (
            (GROUPED[0], Conv("conv2", 6, 3, groups=3), Flatten(), Dense("fc3", 4)),
            "'conv2' has 3 groups",
        ),
    ],
)
def test_networks_that_do_not_divide_are_refused(layers, message):
    with pytest.raises(InputError, match=message):
        towers.tower_network(Network("odd", layers, 32, "this test"), 2)
