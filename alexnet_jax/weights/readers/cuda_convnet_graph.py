"""The layers of a cuda-convnet checkpoint: how they are connected, and what they compute.

Layers with weights at one depth are towers of one of our layers (`conv4a`, `conv4b`); their inputs
come in any order: `fc2048bb` and `conv6b` of 2012 name the other tower first.
Source: 2012 file `layer.py`; cuda-convnet2 `layer.py`.
"""

from typing import Any, NamedTuple

from alexnet_jax.errors import InputError
from alexnet_jax.network import layers as ours

_WITH_WEIGHTS = ("conv", "local", "fc")
_MAX_LAYERS = 1000

_Nodes = dict[str, dict[str, Any]]
"""The dictionaries of the file by the name of the layer."""


class Tower(NamedTuple):
    """One layer with weights of the file, a tower of one of ours."""

    name: str
    values: dict[str, Any]  # its dictionary
    sources: tuple[tuple[str, ...], ...]  # of each input, the layers with weights; none: images


class Graph(NamedTuple):
    """The layers of a file."""

    levels: list[list[Tower]]  # towers of each layer with weights, from images to classes
    layers: tuple[ours.Layer, ...]  # the same network, without names and initial values
    image_size: int  # side of its input in pixels


def read_graph(layers: Any, file_name: str) -> Graph:
    """`layers` is `model_state['layers']`: a list (2011) or a dictionary (2012, 2014)."""
    try:
        nodes = _read_nodes(layers)
        towers, depths = _find_towers(nodes)
        count = max(depths.values(), default=0)
        levels = [sorted(t for t in towers if depths[t.name] == i + 1) for i in range(count)]
        found = [layer for level in levels for layer in _layers_up_to(nodes, level)]
        size = _number(levels[0][0].values["imgSize"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{file_name} has no layers that can be used here: {str(error)[:100]!r}"
        ) from None
    return Graph(levels, _with_flatten(found), size)


def is_grouped(level: list[Tower]) -> bool:
    """Whether each tower sees exactly one tower of the layer below, another each."""
    seen = [tower.sources for tower in level]
    single = all(len(sources) == 1 and len(sources[0]) == 1 for sources in seen)
    return len(level) > 1 and single and len(set(seen)) == len(seen)


def _read_nodes(layers: Any) -> _Nodes:
    values = list(layers.values()) if isinstance(layers, dict) else layers
    if not isinstance(values, list) or not 0 < len(values) <= _MAX_LAYERS:
        raise ValueError("it has no list of layers")
    nodes: _Nodes = {}
    for value in values:
        if not isinstance(value, dict) or not {"name", "type"} <= value.keys():
            raise ValueError("a layer has neither name nor type")
        nodes[str(value["name"])] = value
    names = list(nodes)
    for value in nodes.values():
        inputs = value.get("inputs", [])
        inputs = [inputs] if isinstance(inputs, str) else list(inputs)
        value["inputs"] = [names[i] if isinstance(i, int) else i for i in inputs]
    return nodes


def _find_towers(nodes: _Nodes) -> tuple[list[Tower], dict[str, int]]:
    sources: dict[str, tuple[str, ...]] = {}  # of the output of any layer
    towers, depths = [], {}
    waiting = [name for name, value in nodes.items() if not value["type"].startswith("cost")]
    while waiting:
        ready = [n for n in waiting if all(i in sources for i in nodes[n]["inputs"])]
        if not ready:
            raise ValueError(f"{waiting[0]} has inputs that do not exist")
        for name in ready:
            below = tuple(sources[i] for i in nodes[name]["inputs"])
            if nodes[name]["type"] in _WITH_WEIGHTS:
                towers.append(Tower(name, nodes[name], below))
                depths[name] = 1 + max((depths[s] for group in below for s in group), default=0)
                sources[name] = (name,)
            else:
                sources[name] = tuple(dict.fromkeys(s for group in below for s in group))
        waiting = [name for name in waiting if name not in sources]
    return towers, depths


def _layers_up_to(nodes: _Nodes, level: list[Tower]) -> list[ours.Layer]:
    between: list[ours.Layer] = []
    name = level[0].values["inputs"][0]
    while nodes[name]["type"] not in (*_WITH_WEIGHTS, "data"):
        between += reversed(_without_weights(nodes[name], len(level)))
        name = nodes[name]["inputs"][0]
    if nodes[name]["type"] in _WITH_WEIGHTS:
        # Before 2012 a neuron was part of its layer; later the layer has only its name.
        between += _activation(nodes[name].get("neuron"))
    return [*reversed(between), _with_weights(level)]


def _without_weights(node: dict[str, Any], towers: int) -> list[ours.Layer]:
    match node["type"]:
        case "data" | "concat":
            return []
        case "neuron":
            return _activation(node["neuron"])
        case "cmrnorm":
            return [
                ours.Lrn(node["size"], node["scale"], node["pow"], node.get("minDiv", 1.0), towers)
            ]
        case "rnorm":
            k = node.get("minDiv", 1.0)
            return [ours.ResponseNorm(node["size"], node["scale"], node["pow"], k)]
        case "pool" if node["pool"] in ("max", "avg") and not node.get("start", 0):
            pool = ours.MaxPool if node["pool"] == "max" else ours.AvgPool
            return [pool(node["sizeX"], node["stride"]), *_activation(node.get("neuron"))]
        case "hs" | "dropout2" | "dropout" as kind:
            return [ours.Dropout(1 - node.get("keep", 0.5), inverted=kind == "dropout")]
        case kind:
            raise ValueError(f"no known network has layers of type '{kind}'")


def _activation(neuron: Any) -> list[ours.Layer]:
    if not isinstance(neuron, dict) or neuron["type"] == "ident":
        return []
    kinds: dict[str, Any] = {"relu": "relu", "tanh": "tanh", "logistic": "sigmoid"}
    if neuron["type"] not in kinds:
        raise ValueError(f"no known network has neurons of type '{neuron['type']}'")
    return [ours.Activation(kinds[neuron["type"]])]


def _with_weights(level: list[Tower]) -> ours.Layer:
    values = level[0].values
    if len({tower.values["type"] for tower in level}) > 1:
        raise ValueError(f"{level[0].name} and {level[-1].name} are of different types")
    groups = len(level) if is_grouped(level) else 1
    if values["type"] == "fc":
        return ours.Dense("", sum(_number(tower.values["outputs"]) for tower in level), groups)
    features = sum(_number(tower.values["filters"]) for tower in level)
    window, padding = _number(values["filterSize"]), abs(_number(values["padding"]))
    if values["type"] == "local":
        return ours.Local("", features, window, padding)
    groups *= _number(values.get("groups", 1))
    return ours.Conv("", features, window, _number(values["stride"]), padding, groups)


def _with_flatten(layers: list[ours.Layer]) -> tuple[ours.Layer, ...]:
    for place, layer in enumerate(layers):
        if isinstance(layer, ours.Dense):
            return (*layers[:place], ours.Flatten(layer.groups), *layers[place:])
    return tuple(layers)


def _number(value: Any) -> int:
    first = value[0] if isinstance(value, list) else value
    if type(first) is not int:
        raise ValueError("a size that is no number")
    return first
