"""Meshes of the devices there are, and which rows of a batch lie where."""

import dataclasses

import jax
import numpy as np
import pytest

from alexnet_jax.errors import InputError
from alexnet_jax.network import placement
from alexnet_jax.network.networks import NETWORKS


@pytest.mark.parametrize(
    ("options", "devices", "message"),
    [
        ({"towers": 3}, 4, "1 or 2 towers, not 3; set --towers 1 or 2"),
        ({"towers": 2}, 1, "2 towers need 2 devices, and there is 1 device; JAX_NUM_CPU_DEVICES=2"),
        ({"towers": 2, "replicas": 3}, 4, "need 6 devices, and there are 4 devices; JAX_NUM_CPU_D"),
        ({"replicas": -1}, 4, "replicas is -1"),
        ({"towers": 2, "replicas": 2, "batch_size": 5}, 4, "5 images does not divide over 2 repl"),
        ({"batch_size": 9, "replicas": 2, "accumulation": 3}, 2, "in 3 parts each; .*iple of 6"),
    ],
)
def test_impossible_meshes_are_refused_in_one_line(options, devices, message):
    with pytest.raises(InputError, match=message) as caught:
        placement.make_mesh(**options, devices=jax.devices()[:devices])
    assert "\n" not in str(caught.value)


def test_by_default_a_mesh_takes_as_many_devices_as_the_batch_divides_over():
    assert dict(placement.make_mesh(1, batch_size=6).shape) == {"data": 3, "tower": 1}
    assert dict(placement.make_mesh(2, batch_size=5).shape) == {"data": 1, "tower": 2}
    assert dict(placement.make_mesh(1, batch_size=12, accumulation=6).shape)["data"] == 2
    three = placement.make_mesh(2, devices=jax.devices()[:3])
    assert dict(three.shape) == {"data": 1, "tower": 2}


@dataclasses.dataclass(frozen=True)
class FakeDevice:
    """A device of a machine that is not here."""

    id: int
    process_index: int
    slice_index: int
    platform: str = "gpu"


def test_the_devices_of_several_nodes_make_a_mesh_in_which_towers_are_neighbours():
    nodes = [FakeDevice(i, i // 4, i // 4) for i in (5, 0, 7, 2, 1, 6, 3, 4)]
    mesh = placement.make_mesh(2, devices=nodes, batch_size=8)
    assert [device.id for device in mesh.devices.ravel()] == list(range(8))
    with pytest.raises(InputError, match="leave some of the 8 devices of all processes without"):
        placement.make_mesh(2, 2, devices=nodes)
    with pytest.raises(InputError, match="6 images does not divide over 4 replicas"):
        placement.make_mesh(2, devices=nodes, batch_size=6)


def test_a_mesh_takes_all_devices_unless_replicas_are_counted():
    assert dict(placement.make_mesh(2, batch_size=6).shape) == {"data": 2, "tower": 2}
    assert dict(placement.make_mesh().shape) == {"data": 4, "tower": 1}
    assert dict(placement.make_mesh(2, 1).shape) == {"data": 1, "tower": 2}
    assert placement.mesh_or_none(placement.make_mesh(1, 1)) is None
    assert placement.mesh_or_none(placement.make_mesh(2, 1)) is not None


def test_grouped_kernels_are_split_and_the_classifier_is_whole():
    mesh = placement.make_mesh(2)
    params = {
        "conv2": {"kernel": np.ones((5, 5, 48, 256)), "bias": np.ones(256)},
        "fc8": {"kernel": np.ones((4096, 1000)), "bias": np.ones(1000)},
    }
    found = placement.put(mesh, NETWORKS["paper"], {"velocity": params, "step": np.int32(3)})
    pieces = jax.tree.map(lambda leaf: leaf.addressable_shards[0].data.shape, found)
    assert pieces["velocity"]["conv2"] == {"kernel": (5, 5, 48, 128), "bias": (128,)}
    assert pieces["velocity"]["fc8"] == {"kernel": (4096, 1000), "bias": (1000,)}
    assert pieces["step"] == ()


def test_each_replica_has_its_rows_of_a_batch():
    mesh = placement.make_mesh(2)
    rows = np.arange(12).reshape(6, 2)
    placed = placement.batch_putter(mesh, 6)({"images": rows})["images"]
    assert {shard.data.shape for shard in placed.addressable_shards} == {(3, 2)}
    np.testing.assert_array_equal(placement.to_host(placed), rows)
    assert placement.own_rows(mesh, 6) is None  # one process computes all of them
