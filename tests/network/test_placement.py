"""Meshes of the devices there are, and which rows of a batch lie where."""

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
        ({"towers": 2}, 1, "even number of devices, not 1 device; use --towers 1; JAX_NUM_CPU_DEV"),
        ({"towers": 2}, 3, "even number of devices, not 3 devices"),
        ({"towers": 2, "replicas": 3}, 4, "need 6 devices, and there are 4 devices; JAX_NUM_CPU_D"),
        ({"replicas": -1}, 4, "replicas is -1"),
        ({"towers": 2, "batch_size": 5}, 4, "5 images does not divide over 2 replicas; choose"),
        ({"batch_size": 9, "accumulation": 3}, 2, "in 3 parts each; .* multiple of 6"),
    ],
)
def test_impossible_meshes_are_refused_in_one_line(options, devices, message):
    with pytest.raises(InputError, match=message) as caught:
        placement.make_mesh(**options, devices=jax.devices()[:devices])
    assert "\n" not in str(caught.value)


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
