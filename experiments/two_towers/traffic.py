"""What towers and replicas send each other: by formula, and in a compiled program.

The formula reads a tower's layers (paper §3.2, figure 2). All that crosses from device to device in
a program are the collective operations in the text of `jax.stages.Compiled.as_text()`.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from alexnet_jax.network.layers import Gather, Network, Parametric, summarize
from alexnet_jax.network.modules import DATA, TOWER
from alexnet_jax.network.towers import tower_network


class Exchange(NamedTuple):
    """What one tower sends to the others at one place of the network, for one image.

    Attributes:
      layer: the parametric layer that reads the channels of all towers.
      shape: what the tower has itself, without the batch axis.
      forward: elements of activations sent before the layer.
      backward: elements of their gradients sent after it (the transposed exchange); 0 before the
        classifier, which every tower computes whole, so that each has the gradient it needs.
    """

    layer: str
    shape: tuple[int, ...]
    forward: int
    backward: int

    def forward_bytes(self, dtype: Any = jnp.float32) -> int:
        return self.forward * jnp.dtype(dtype).itemsize

    def backward_bytes(self, dtype: Any = jnp.float32) -> int:
        return self.backward * jnp.dtype(dtype).itemsize


def exchanges(
    network: Network, image_size: int | None = None, towers: int = 2
) -> tuple[Exchange, ...]:
    """Returns where the towers of a whole network talk, from the image to the logits."""
    summaries = summarize(tower_network(network, towers), image_size)
    found = []
    for place, summary in enumerate(summaries):
        if isinstance(summary.layer, Gather):
            following = (
                later for later in summaries[place:] if isinstance(later.layer, Parametric)
            )
            sent = math.prod(summary.input_shape) * (towers - 1)
            back = 0 if summary.layer.invariant else sent
            found.append(Exchange(next(following).name, summary.input_shape, sent, back))
    return tuple(found)


def gradient_bytes(network: Network, towers: int = 1, image_size: int | None = None) -> int:
    """Returns the bytes of float32 gradients that one device sums over the replicas per step.

    They are those of the tower's share of the parameters, whatever the dtype of the activations.
    """
    return 4 * sum(
        summary.params for summary in summarize(tower_network(network, towers), image_size)
    )


Groups = tuple[tuple[int, ...], ...]


class Collective(NamedTuple):
    """One operation of a compiled program that sends data from device to device.

    Attributes:
      operation: its name in XLA, e.g. `all-gather`.
      arrays: results on one device, each (dtype in XLA's letters, shape); several where XLA has
        combined operations.
      groups: numbers of the devices that talk to each other, by their places in the mesh.
    """

    operation: str
    arrays: tuple[tuple[str, tuple[int, ...]], ...]
    groups: Groups

    @property
    def group_size(self) -> int:
        return len(self.groups[0])

    @property
    def bytes(self) -> int:
        """Size of the results on one device."""
        return sum(_bytes(dtype) * math.prod(shape) for dtype, shape in self.arrays)

    @property
    def sent_bytes(self) -> int:
        """Bytes that one device has to send to the others of its group, at the least.

        Its own part of a gathered array to each of them, theirs of a scattered sum; of a sum that
        all devices get, the two together.
        """
        others, size = self.group_size - 1, self.group_size
        match self.operation:
            case "all-gather" | "all-to-all" | "ragged-all-to-all":
                return self.bytes * others // size
            case "reduce-scatter":
                return self.bytes * others
            case "all-reduce":
                return 2 * self.bytes * others // size
            case _:
                return self.bytes


def _bytes(dtype: str) -> int:
    if dtype in ("pred", "token"):
        return int(dtype == "pred")
    if found := re.match(r"(?:bf|[sufc])(\d+)", dtype):
        return -(-int(found.group(1)) // 8)
    raise ValueError(f"no size is known for the HLO dtype '{dtype}'")


_OPERATIONS = (
    "all-gather|all-reduce|reduce-scatter|ragged-all-to-all|all-to-all|collective-permute|"
    "collective-broadcast"
)
_INSTRUCTION = re.compile(
    rf"^\s*(?:ROOT )?%?[\w.\-]+ = (\(.*?\)|\S+) ({_OPERATIONS})(-start)?\((?=.*\))"
)
_ARRAY = re.compile(r"(\w+)\[([\d,<= ]*)\]")
_LIST = r"\{((?:\{[\d,]*\},?\s*)*)\}"


def collectives(text: str) -> tuple[Collective, ...]:
    """Returns the collective operations in the text of an optimized HLO module, in order.

    An operation that starts and ends at two places (`all-gather-start`) counts once; one in the
    body of a loop counts once, however often the loop runs. `ValueError`: unknown syntax.
    """
    found = []
    for line in text.splitlines():
        if match := _INSTRUCTION.match(line):
            shape, operation, start = match.groups()
            if start and operation != "all-reduce":  # (operands, results, …)
                shape = list(_parts(shape))[1]
            arrays = tuple(
                (dtype, tuple(int(extent.strip("<= ")) for extent in extents.split(",") if extent))
                for dtype, extents in _ARRAY.findall(re.sub(r"\{.*?\}|/\*.*?\*/", "", shape))
            )
            found.append(Collective(operation, arrays, _groups(line, text)))
    return tuple(found)


def _parts(shape: str) -> Iterator[str]:
    """Yields the elements of the outermost tuple in the text of a shape."""
    depth, part = 0, ""
    for letter in shape[1:-1]:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            yield part
            part = ""
        else:
            part += letter
    yield part


def _groups(line: str, text: str) -> Groups:
    """Returns the groups of an instruction; those of a permutation are the devices it links."""
    if match := re.search(rf"source_target_pairs={_LIST}", line):
        return _linked(_rows(match.group(1)))
    if match := re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", line):
        shape, counted, order = (_numbers(part or "") for part in match.groups())
        devices = np.arange(math.prod(counted)).reshape(counted)
        devices = devices.transpose(order or None).reshape(shape)
        return tuple(tuple(row) for row in devices.tolist())
    if match := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", line):
        return _along(*match.groups())
    if match := re.search(rf"replica_groups={_LIST}", line):
        if match.group(1):
            return _rows(match.group(1))
        counts = (re.search(rf"{name}=(\d+)", text) for name in ("num_partitions", "replica_count"))
        return (tuple(range(math.prod(int(count.group(1)) for count in counts if count))),)
    raise ValueError(f"the devices of this HLO operation are not understood: {line.strip()[:300]}")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)


def _rows(text: str) -> Groups:
    return tuple(_numbers(row) for row in re.findall(r"\{([\d,]*)\}", text))


def _along(mesh: str, axes: str) -> Groups:
    """Returns the groups that differ along `axes`, `'a','b':(2)3`, of a `mesh`, `'a'=2,'b'=12`.

    `'b':(2)3` is a part of the axis b: it has 3 places, each 12 / (2 * 3) wide, and comes 2 times.
    """
    sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", mesh)}
    chosen = {
        name: (int(before or 1), int(size or sizes[name]))
        for name, before, size in re.findall(r"'(\w+)'(?::\((\d+)\)(\d+))?", axes)
    }
    split = []
    for name, whole in sizes.items():
        before, size = chosen.get(name, (1, 1))
        split += [before, size, whole // (before * size)]
    last = [3 * place + 1 for place in range(len(sizes))]
    devices = np.moveaxis(np.arange(math.prod(split)).reshape(split), last, range(-len(last), 0))
    rows = devices.reshape(-1, math.prod(size for _, size in chosen.values()))
    return tuple(tuple(row) for row in rows.tolist())


def _linked(pairs: Groups) -> Groups:
    groups: list[set[int]] = []
    for pair in pairs:
        touched = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in touched]
        groups.append(set(pair).union(*touched))
    return tuple(tuple(sorted(group)) for group in groups)


def axes_of(groups: Groups, mesh_shape: Mapping[str, int]) -> tuple[str, ...]:
    """Returns the axes of a mesh (`Mesh.shape`) along which the devices of each group differ."""
    places = np.arange(math.prod(mesh_shape.values())).reshape(tuple(mesh_shape.values()))
    wide = [axis for axis, size in mesh_shape.items() if size > 1]
    wanted = {frozenset(group) for group in groups}
    for count in range(len(wide) + 1):
        for chosen in itertools.combinations(wide, count):
            last = [list(mesh_shape).index(axis) for axis in chosen]
            moved = np.moveaxis(places, last, range(-len(last), 0)) if last else places
            rows = moved.reshape(-1, math.prod(mesh_shape[axis] for axis in chosen))
            if {frozenset(row) for row in rows.tolist()} == wanted:
                return chosen
    raise ValueError(f"no axes of the mesh {dict(mesh_shape)} have the groups {groups}")


class Account(NamedTuple):
    """The collectives of one program, by what they carry."""

    forward: tuple[Collective, ...]  # gathers of activations over the towers
    backward: tuple[Collective, ...]  # sums of their gradients, of which each tower keeps its part
    gradients: tuple[Collective, ...]  # sums of arrays over the replicas
    scalars: tuple[Collective, ...]  # sums over the replicas: loss, credits and counts
    others: tuple[Collective, ...]  # a step needs none


def account(found: Iterable[Collective], mesh_shape: Mapping[str, int]) -> Account:
    """Sorts collectives by what they carry.

    XLA may combine sums over the replicas to one operation. Its arrays are separated here, so
    that `gradients` and `scalars` hold no mixed ones. An operation whose groups are single devices
    sends nothing and is left out: XLA's CPU backend keeps the sums of a single replica.
    """
    kinds: dict[str, list[Collective]] = {name: [] for name in Account._fields}
    for one in found:
        axes = axes_of(one.groups, mesh_shape)
        if not axes:
            continue
        if one.operation == "all-reduce" and axes == (DATA,):
            for kind, scalar in (("gradients", False), ("scalars", True)):
                if arrays := tuple(a for a in one.arrays if (math.prod(a[1]) == 1) == scalar):
                    kinds[kind].append(one._replace(arrays=arrays))
        elif one.operation == "all-gather" and axes == (TOWER,):
            kinds["forward"].append(one)
        elif one.operation == "reduce-scatter" and axes == (TOWER,):
            kinds["backward"].append(one)
        else:
            kinds["others"].append(one)
    return Account(**{name: tuple(members) for name, members in kinds.items()})
