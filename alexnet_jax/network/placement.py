"""Where arrays lie: the `("data", "tower")` mesh, and what each device and process holds."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, Sharding
from jax.sharding import PartitionSpec as P

from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Network, layer_names
from alexnet_jax.network.modules import DATA, TOWER


def make_mesh(
    towers: int = 1,
    replicas: int = 0,
    *,
    batch_size: int | None = None,
    accumulation: int = 1,
    devices: Sequence[Any] | None = None,
) -> Mesh:
    """Returns a mesh `("data", "tower")` of `replicas` times `towers` devices.

    `replicas` 0: as many as there are devices for and, in one process, as the batch (images per
    step) divides over. `accumulation` is the parts in which each replica computes its share.
    Raises `InputError` where the devices are too few, or the batch does not divide.
    """
    devices = jax.devices() if devices is None else list(devices)
    if towers not in (1, 2):
        raise InputError(f"a network has 1 or 2 towers, not {towers}; set --towers 1 or 2")
    have = f"{len(devices)} device" + "s" * (len(devices) != 1)
    rehearse = (
        f"; JAX_NUM_CPU_DEVICES={towers * max(1, replicas)} makes a CPU as many"
        if devices[0].platform == "cpu"
        else ""
    )
    if replicas < 0:
        raise InputError(f"replicas is {replicas}; it must be 0 (all devices) or more")
    if towers * max(1, replicas) > len(devices):
        wanted = f"{replicas} replicas of {towers} towers" if replicas else "2 towers"
        raise InputError(
            f"{wanted} need {towers * max(1, replicas)} devices, and there "
            f"{'is' if len(devices) == 1 else 'are'} {have}{rehearse}"
        )
    several = len({device.process_index for device in devices}) > 1
    replicas = replicas or _fitting_replicas(
        len(devices) // towers, batch_size, accumulation, several
    )
    if replicas * towers < len(devices) and several:
        raise InputError(
            f"{replicas} replicas of {towers} towers leave some of the {have} of all processes "
            "without work; set --replicas 0, or start fewer processes"
        )
    shares = replicas * accumulation
    if batch_size is not None and batch_size % shares:
        parts = f" in {accumulation} parts each" if accumulation > 1 else ""
        raise InputError(
            f"a batch of {batch_size} images does not divide over {replicas} replicas{parts}; "
            f"choose a batch size that is a multiple of {shares}, or fewer --replicas"
        )
    types = (AxisType.Auto, AxisType.Auto)
    grid = _grid(devices[: replicas * towers], (replicas, towers))
    return Mesh(grid, (DATA, TOWER), axis_types=types)


def _fitting_replicas(
    limit: int, batch_size: int | None, accumulation: int, several_processes: bool
) -> int:
    if several_processes or batch_size is None:
        return limit
    fitting = (n for n in range(limit, 0, -1) if batch_size % (n * accumulation) == 0)
    return next(fitting, limit)


def _grid(devices: list[Any], shape: tuple[int, int]) -> np.ndarray:
    """Towers are neighbours on the fastest wires there are."""
    slices = {getattr(device, "slice_index", None) or 0 for device in devices}
    if devices[0].platform == "tpu" and len(slices) == 1:
        try:
            return mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
        except (NotImplementedError, ValueError) as error:
            raise InputError(
                f"these TPU chips make no mesh of {shape[0]} replicas and {shape[1]} towers "
                f"({error}); use all of a slice, with --replicas 0"
            ) from error
    # Not `jax.make_mesh`, which refuses the devices of several nodes or slices.
    order = [
        (getattr(device, "slice_index", None) or 0, device.process_index, device.id)
        for device in devices
    ]
    grid = np.empty(len(devices), object)
    for place, number in enumerate(sorted(range(len(devices)), key=order.__getitem__)):
        grid[place] = devices[number]
    return grid.reshape(shape)


def mesh_or_none(mesh: Mesh) -> Mesh | None:
    """None for a mesh of one device, for which nothing needs to be sharded."""
    return mesh if mesh.size > 1 else None


def partition_specs(mesh: Mesh, network: Network, tree: Any) -> Any:
    """`network` is the whole one, not that of one tower."""
    split = set(layer_names(network.layers)) if mesh.shape[TOWER] > 1 else set()
    if network.classifier:
        split -= {network.classifier.name}

    def spec(path, leaf):
        layer = getattr(path[-2], "key", None) if len(path) > 1 else None
        return P(*(None,) * (leaf.ndim - 1), TOWER) if layer in split else P()

    return jax.tree.map_with_path(spec, tree)


def shardings(mesh: Mesh, network: Network, tree: Any) -> Any:
    """Returns one `NamedSharding` per leaf of `tree`: of parameters, velocities, a whole state.

    A leaf in `{layer: {"kernel": …, "bias": …}}` is split on its last axis over the towers, except
    in the classifier. Every other leaf is whole on each device.
    """
    specs = partition_specs(mesh, network, tree)
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P(DATA))


def whole_sharding(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P())


def put(mesh: Mesh | None, network: Network, tree: Any) -> Any:
    """In several processes each gives the same values, and nothing is sent."""
    if mesh is None:
        return jax.device_put(tree)
    return jax.tree.map(put_whole, tree, shardings(mesh, network, tree))


def put_whole(leaf: Any, sharding: Sharding) -> jax.Array:
    """Every process gives the same values."""
    there = isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(sharding, leaf.ndim)
    if there or sharding.is_fully_addressable:
        return leaf if there else jax.device_put(leaf, sharding)
    values = np.asarray(leaf)
    return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])


def own_rows(mesh: Mesh | None, batch_size: int) -> tuple[int, ...] | None:
    """Returns the rows of a batch that this process's devices compute, ascending; None: all."""
    if mesh is None or batch_sharding(mesh).is_fully_addressable:
        return None
    places = batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
    return tuple(sorted({row for place in places.values() for row in _range(place, batch_size)}))


def _range(place: Any, batch_size: int) -> range:
    return range(*place[0].indices(batch_size))


def batch_putter(mesh: Mesh | None, batch_size: int) -> Callable[[Any], Any]:
    """Returns a function: a tree of this process's rows to arrays of the whole batch."""
    if mesh is None:
        return jax.device_put
    sharding, rows = batch_sharding(mesh), own_rows(mesh, batch_size)
    if rows is None:
        return lambda batch: jax.device_put(batch, sharding)
    place_of = {row: place for place, row in enumerate(rows)}

    def put_array(array: np.ndarray) -> jax.Array:
        def piece(index):  # rows of one device, which lie side by side here, too
            wanted = _range(index, batch_size)
            first = place_of[wanted.start]
            return array[first : first + len(wanted)]

        return jax.make_array_from_callback((batch_size, *array.shape[1:]), sharding, piece)

    return lambda batch: jax.tree.map(put_array, batch)


def to_host(leaf: Any) -> np.ndarray:
    """An array spread over processes is gathered: all of them must ask for it."""
    if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        from jax.experimental import multihost_utils

        leaf = multihost_utils.process_allgather(leaf, tiled=True)
    return np.asarray(leaf)
