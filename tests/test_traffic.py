"""What crosses between towers and replicas: the formula, and compiled programs against it."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest
import quick
from jax import lax
from jax.sharding import PartitionSpec as P

from alexnet_jax.config import AugmentConfig, Config, DataConfig, PreprocessConfig
from alexnet_jax.network import placement
from alexnet_jax.network.layers import Conv, Network, with_changes, with_features
from alexnet_jax.network.networks import NETWORKS
from experiments.two_towers import traffic
from experiments.two_towers.scale import abstract_step

PAPER = {  # half of 13 x 13 x 256, of 6 x 6 x 256, and of 4096 twice
    "conv3": ((13, 13, 128), 21_632, 21_632),
    "fc6": ((6, 6, 128), 4_608, 4_608),
    "fc7": ((2048,), 2_048, 2_048),
    "fc8": ((2048,), 2_048, 0),
}


def test_exchanges_of_the_paper():
    found = traffic.exchanges(NETWORKS["paper"])
    assert {one.layer: tuple(one[1:]) for one in found} == PAPER
    assert [one.layer for one in found] == ["conv3", "fc6", "fc7", "fc8"]
    assert found[0].forward_bytes() == found[0].backward_bytes() == 86_528
    assert found[0].forward_bytes(jnp.bfloat16) == 43_264
    assert found[3].backward_bytes() == 0
    assert traffic.exchanges(NETWORKS["paper"], towers=1) == ()


def test_exchanges_of_other_networks():
    # 11 x 11 after pool2 from 195 pixels: 47, 23, 11.
    assert traffic.exchanges(NETWORKS["original"], 195)[0].shape == (11, 11, 128)
    layers = {
        name: [one.layer for one in traffic.exchanges(NETWORKS[name])]
        for name in ("no-talk", "six-conv")
    }
    assert layers == {"no-talk": ["fc8"], "six-conv": ["conv3", "conv6", "fc6", "fc7", "fc8"]}


def test_gradients_that_replicas_sum():
    whole, classifier = 60_965_224, 4_097_000
    assert traffic.gradient_bytes(NETWORKS["paper"]) == 4 * whole
    shared = (whole - classifier) // 2 + classifier
    assert traffic.gradient_bytes(NETWORKS["paper"], 2) == 4 * shared


HEADER = "HloModule jit_step, is_scheduled=true, num_partitions=4\n"
TOWERS, REPLICAS = ((0, 1), (2, 3)), ((0, 2), (1, 3))


@pytest.mark.parametrize(
    ("line", "operation", "size", "sent", "groups"),
    [
        (
            "%all-gather.3 = f32[2,3,3,16]{3,2,1,0} all-gather(%p), channel_id=1, "
            "replica_groups={{0,1},{2,3}}, dimensions={3}, use_global_device_ids=true",
            "all-gather",
            2 * 3 * 3 * 16 * 4,
            2 * 3 * 3 * 8 * 4,
            TOWERS,
        ),
        (
            "ROOT %ag = (bf16[2,8]{1,0:T(8,128)(2,1)}, bf16[2,16]{1,0:T(8,128)(2,1)S(1)}) "
            "all-gather-start(bf16[2,8]{1,0} %p), replica_groups=[2,2]<=[4], dimensions={1}",
            "all-gather",
            64,
            32,
            TOWERS,
        ),
        (
            "%sums = (f32[5]{0}, f32[3,4]{1,0}, /*index=2*/f32[]) all-reduce(%a, %b, %c), "
            "replica_groups=[2,2]<=[2,2]T(1,0), to_apply=%add",
            "all-reduce",
            (5 + 12 + 1) * 4,
            (5 + 12 + 1) * 4,
            REPLICAS,
        ),
        (
            "%sum = f64[3]{0} all-reduce-start(%a), replica_groups={}, to_apply=%add",
            "all-reduce",
            24,
            36,
            ((0, 1, 2, 3),),
        ),
        (
            "%rs = ((f32[2,8]{1,0}), f32[2,4]{1,0}, u32[]) reduce-scatter-start(%a), "
            "replica_groups={{0,2}, {1,3}}, dimensions={1}, to_apply=%add",
            "reduce-scatter",
            32,
            32,
            REPLICAS,
        ),
        (
            "%sum = f32[] all-reduce(%a), channel_id=3, replica_groups=mesh['axis_0'=2,"
            "'axis_1'=2] {'axis_0'}, use_global_device_ids=true, to_apply=%add",
            "all-reduce",
            4,
            4,
            REPLICAS,
        ),
        (
            "%sum = f32[] all-reduce(%a), replica_groups=mesh['a'=4] {'a':(2)2}, to_apply=%add",
            "all-reduce",
            4,
            4,
            TOWERS,
        ),
        (
            "%a2a = (pred[2]{0}, pred[2]{0}) all-to-all(%a, %b), replica_groups={{0,1},{2,3}}",
            "all-to-all",
            4,
            2,
            TOWERS,
        ),
        (
            "%cp = u8[7]{0} collective-permute(%a), source_target_pairs={{0,2},{2,0},{3,1}}",
            "collective-permute",
            7,
            7,
            REPLICAS,
        ),
    ],
)
def test_reads_an_operation(line, operation, size, sent, groups):
    (found,) = traffic.collectives(HEADER + "  " + line + ', metadata={op_name="jit(step)/x"}\n')
    assert (found.operation, found.bytes, found.sent_bytes) == (operation, size, sent)
    assert found.groups == groups
    assert found.group_size == len(groups[0])


def test_reads_nothing_else():
    text = """
      %all-gather-done.1 = f32[2,16]{1,0} all-gather-done(%all-gather-start.1)
      %fusion = f32[2]{0} fusion(%all-reduce.2), calls=%fused, metadata={op_name="all-reduce("}
      %add = f32[] add(%x, %y)
    """
    assert traffic.collectives(text) == ()
    with pytest.raises(ValueError, match="not understood: %x = f32"):
        traffic.collectives("%x = f32[2] all-gather(%y), replica_groups=@mesh{tower}")


@pytest.mark.parametrize(
    ("groups", "axes"),
    [
        (TOWERS, ("tower",)),
        (((3, 1), (0, 2)), ("data",)),
        (((0, 1, 2, 3),), ("data", "tower")),
        (((0,), (1,), (2,), (3,)), ()),
    ],
)
def test_finds_the_axes_of_groups(groups, axes):
    assert traffic.axes_of(groups, {"data": 2, "tower": 2}) == axes


def test_groups_of_no_axes_are_refused():
    with pytest.raises(ValueError, match="no axes"):
        traffic.axes_of(((0, 3), (1, 2)), {"data": 2, "tower": 2})


def test_reads_compiled_operations():
    mesh = placement.make_mesh(2, 2)

    def talk(x):
        gathered = lax.all_gather(x, "tower", axis=1, tiled=True)
        summed = lax.psum(jnp.sin(x), "data")
        scattered = lax.psum_scatter(jnp.cos(x), "data", scatter_dimension=1, tiled=True)
        sent = lax.ppermute(jnp.tan(x), "tower", [(0, 1), (1, 0)])
        turned = lax.all_to_all(jnp.exp(x), ("data", "tower"), 0, 1, tiled=True)
        return gathered, summed, scattered, sent, turned

    every = P(("data", "tower"))
    specs = (every, every, every, every, every)
    mapped = jax.shard_map(talk, mesh=mesh, in_specs=every, out_specs=specs, check_vma=False)
    text = jax.jit(mapped).lower(jnp.ones((16, 2))).compile().as_text()
    shape = dict(mesh.shape)
    found = {
        (one.operation, traffic.axes_of(one.groups, shape), one.sent_bytes)
        for one in traffic.collectives(str(text))
    }
    assert found == {
        ("all-gather", ("tower",), 4 * 2 * 4),
        ("all-reduce", ("data",), 4 * 2 * 4),
        ("reduce-scatter", ("data",), 4 * 1 * 4),
        ("collective-permute", ("tower",), 4 * 2 * 4),
        ("all-to-all", ("data", "tower"), 4 * 2 * 4 * 3 // 4),
    }


SIZE, IMAGES = 64, 10
WIDTHS = {"conv1": 8, "conv2": 16, "conv3": 24, "conv4": 24, "conv5": 16, "fc6": 32, "fc7": 32}


@functools.cache
def narrow():
    layers = with_features(NETWORKS["paper"].layers, WIDTHS | {"fc8": 7})
    return Network("narrow", with_changes(layers, Conv, weight_std=0.1), SIZE, "this test")


RECIPE = Config(
    data=DataConfig(stored_size=SIZE + 8),
    augment=AugmentConfig(colour_noise=0.1),
    preprocess=PreprocessConfig(mean="image-aligned"),
)


@pytest.mark.slow
@pytest.mark.parametrize(("replicas", "towers"), quick.rows([(2, 2)], [(1, 2), (2, 1), (2, 2)]))
def test_a_compiled_step_sends_what_the_formula_says(replicas, towers):
    mesh = placement.make_mesh(towers, replicas)
    step, arguments = abstract_step(narrow(), RECIPE, mesh, IMAGES)
    text = step.lower(*arguments).compile().as_text()
    found = traffic.account(traffic.collectives(text), mesh.shape)
    talk = traffic.exchanges(narrow(), towers=towers)
    images = IMAGES // replicas
    forward = [one.forward_bytes() * images for one in talk]
    backward = [one.backward_bytes() * images for one in talk if one.backward]
    assert len(forward) == (4 if towers == 2 else 0) and len(backward) == len(forward[1:])
    assert sorted(one.sent_bytes for one in found.forward) == sorted(forward)
    assert sorted(one.sent_bytes for one in found.backward) == sorted(backward)
    # The gradients of a tower's share, each once, in float32. Loss, two credits, and the count of
    # the images for the sums and for the mean.
    summed = sum(one.bytes for one in found.gradients)
    assert summed == (traffic.gradient_bytes(narrow(), towers) if replicas > 1 else 0)
    scalars = [array for one in found.scalars for array in one.arrays]
    assert set(scalars) <= {("f32", ())} and len(scalars) == (5 if replicas > 1 else 0)
    assert found.others == ()
    # No device has something of each image of the batch, e.g. the masks of dropout.
    assert bool(re.findall(rf"\w\[{IMAGES},\d", text)) == (replicas == 1)
