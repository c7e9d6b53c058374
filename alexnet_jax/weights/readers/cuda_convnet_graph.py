"""The layers of a cuda-convnet checkpoint: which feeds which, and how they are computed.

A checkpoint keeps each layer as a dictionary. Layers with weights that lie equally deep are the
towers of one of our layers (`conv4a`, `conv4b`); a tower's inputs may come in any order, and do:
`fc2048bb` and `conv6b` of 2012 name the other tower first.
Source: 2012 file `layer.py`; cuda-convnet2 `layer.py`.
"""

from typing import Any, NamedTuple

from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import (
    Activation,
    AvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Local,
    Lrn,
    MaxPool,
    ResponseNorm,
)

WEIGHT_KINDS = {"conv": Conv, "local": Local, "fc": Dense}
_TRANSPARENT = {"data", "concat"}
_MOST_LAYERS = 1000


class Member(NamedTuple):
    """One layer with weights of the file, a tower of one of ours.

    Attributes:
      name: in the file.
      values: its dictionary.
      sources: for each of its inputs the names of the layers with weights that it comes from;
        none: the images.
    """

    name: str
    values: dict[str, Any]
    sources: tuple[tuple[str, ...], ...]


class Graph(NamedTuple):
    """The layers of a file.

    Attributes:
      levels: the towers of each layer with weights, from the images to the classes.
      layers: the same network in our terms, without names and initial values.
      image_size: height and width of its input in pixels.
    """

    levels: list[list[Member]]
    layers: tuple[Layer, ...]
    image_size: int


def read_graph(layers: Any, what: str) -> Graph:
    """Returns the graph of `model_state['layers']`, a list (2011) or a dictionary (2012, 2014).

    Raises:
      InputError: it has other layers than these networks, or is damaged.
    """
    try:
        nodes = _nodes(layers, what)
        members, depths = _members(nodes)
        count = max(depths.values(), default=0)
        levels = [sorted(m for m in members if depths[m.name] == i + 1) for i in range(count)]
        specs: list[Layer] = []
        for level in levels:
            specs += _specs(nodes, level)
        size = _number(levels[0][0].values["imgSize"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{what}: its layers are damaged: {str(error)[:100]!r}") from None
    return Graph(levels, _tidy(specs), size)


def _nodes(layers: Any, what: str) -> dict[str, dict[str, Any]]:
    values = list(layers.values()) if isinstance(layers, dict) else layers
    if not isinstance(values, list) or not 0 < len(values) <= _MOST_LAYERS:
        raise InputError(f"{what} is no checkpoint of cuda-convnet: it has no list of layers")
    nodes: dict[str, dict[str, Any]] = {}
    for value in values:
        if not isinstance(value, dict) or not {"name", "type"} <= value.keys():
            raise InputError(f"{what}: a layer has neither name nor type")
        nodes[str(value["name"])] = value
    names = list(nodes)
    for value in nodes.values():
        inputs = value.get("inputs", [])
        inputs = [inputs] if isinstance(inputs, str) else list(inputs)
        value["inputs"] = [names[i] if isinstance(i, int) else i for i in inputs]
    return nodes


def _members(nodes: dict[str, dict[str, Any]]) -> tuple[list[Member], dict[str, int]]:
    """Returns the layers with weights, and how deep each one lies, from 1."""
    sources: dict[str, tuple[str, ...]] = {}  # where the output of any layer comes from
    members, depths = [], {}
    waiting = [name for name, value in nodes.items() if not value["type"].startswith("cost")]
    while waiting:
        ready = [n for n in waiting if all(i in sources for i in nodes[n]["inputs"])]
        if not ready:
            raise ValueError(f"{waiting[0]} has inputs that do not exist")
        for name in ready:
            inputs = nodes[name]["inputs"]
            below = tuple(sources[i] for i in inputs)
            if nodes[name]["type"] in WEIGHT_KINDS:
                members.append(Member(name, nodes[name], below))
                depths[name] = 1 + max((depths[s] for group in below for s in group), default=0)
                sources[name] = (name,)
            else:
                sources[name] = tuple(dict.fromkeys(s for group in below for s in group))
        waiting = [name for name in waiting if name not in sources]
    return members, depths


def _specs(nodes: dict[str, dict[str, Any]], level: list[Member]) -> list[Layer]:
    """Returns what lies before a layer with weights, since the one below, and the layer."""
    first = level[0]
    between: list[Layer] = []
    name = first.values["inputs"][0]
    while nodes[name]["type"] not in (*WEIGHT_KINDS, "data"):
        between += reversed(_simple(nodes[name], len(level)))
        name = nodes[name]["inputs"][0]
    if nodes[name]["type"] in WEIGHT_KINDS:
        between += _own_neuron(nodes, name)
    return [*reversed(between), _weighted(level)]


def _simple(node: dict[str, Any], towers: int) -> list[Layer]:
    """Returns a layer without weights in our terms."""
    match node["type"]:
        case kind if kind in _TRANSPARENT:
            return []
        case "neuron":
            return _activation(node["neuron"])
        case "cmrnorm":
            return [Lrn(node["size"], node["scale"], node["pow"], node.get("minDiv", 1.0), towers)]
        case "rnorm":
            k = node.get("minDiv", 1.0)
            return [ResponseNorm(node["size"], node["scale"], node["pow"], k)]
        case "pool" if node["pool"] in ("max", "avg") and not node.get("start", 0):
            pool = MaxPool if node["pool"] == "max" else AvgPool
            return [pool(node["sizeX"], node["stride"]), *_activation(node.get("neuron"))]
        case "hs" | "dropout2" | "dropout" as kind:
            return [Dropout(1 - node.get("keep", 0.5), inverted=kind == "dropout")]
        case kind:
            raise ValueError(f"layers of type '{kind}' are in none of our networks")


def _own_neuron(nodes: dict[str, dict[str, Any]], name: str) -> list[Layer]:
    """Before 2012 a neuron was part of its layer; later the layer keeps its name only."""
    return _activation(nodes[name].get("neuron"))


def _activation(neuron: Any) -> list[Layer]:
    if not isinstance(neuron, dict) or neuron["type"] == "ident":
        return []
    kinds: dict[str, Any] = {"relu": "relu", "tanh": "tanh", "logistic": "sigmoid"}
    if neuron["type"] not in kinds:
        raise ValueError(f"neurons of type '{neuron['type']}' are in none of our networks")
    return [Activation(kinds[neuron["type"]])]


def _weighted(level: list[Member]) -> Layer:
    values = level[0].values
    kinds = {member.values["type"] for member in level}
    if len(kinds) > 1:
        raise ValueError(f"{level[0].name} and {level[-1].name} are of different types")
    groups = len(level) if is_grouped(level) else 1
    if values["type"] == "fc":
        features = sum(_number(member.values["outputs"]) for member in level)
        return Dense("", features, groups)
    features = sum(_number(member.values["filters"]) for member in level)
    window, padding = _number(values["filterSize"]), abs(_number(values["padding"]))
    if values["type"] == "local":
        return Local("", features, window, padding)
    groups *= _number(values.get("groups", 1))
    return Conv("", features, window, _number(values["stride"]), padding, groups)


def is_grouped(level: list[Member]) -> bool:
    """Returns whether each tower sees one tower of the layer below, another each."""
    seen = [member.sources for member in level]
    alone = all(len(sources) == 1 and len(sources[0]) == 1 for sources in seen)
    return len(level) > 1 and alone and len(set(seen)) == len(seen)


def _tidy(specs: list[Layer]) -> tuple[Layer, ...]:
    """Returns the layers with a `Flatten` before the first dense one."""
    for place, layer in enumerate(specs):
        if isinstance(layer, Dense):
            # Whatever a level's dropout and neurons are, the image was flattened below them.
            return (*specs[:place], Flatten(layer.groups), *specs[place:])
    return tuple(specs)


def _number(value: Any) -> int:
    """Returns a number that the file keeps once, or once for every input."""
    first = value[0] if isinstance(value, list) else value
    if type(first) is not int:
        raise ValueError("a size that is no number")
    return first
