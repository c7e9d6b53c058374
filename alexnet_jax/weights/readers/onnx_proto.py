"""ONNX's messages, as far as sequences of layers need them; arrays are views of the file.

Source: onnx/onnx onnx/onnx.proto.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.messages import parse_message
from alexnet_jax.weights.readers.source_file import SourceFile, open_source

_MODEL = {"producer": (2, "text"), "graph": (7, "bytes"), "properties": (14, "bytes*")}
_GRAPH = {
    "nodes": (1, "bytes*"),
    "arrays": (5, "bytes*"),
    "inputs": (11, "bytes*"),
    "outputs": (12, "bytes*"),
}
_NODE = {
    "inputs": (1, "text*"),
    "outputs": (2, "text*"),
    "name": (3, "text"),
    "op": (4, "text"),
    "attributes": (5, "bytes*"),
    "domain": (7, "text"),
}
_ATTRIBUTE = {
    "name": (1, "text"),
    "number": (2, "float"),
    "whole": (3, "int"),
    "text": (4, "bytes"),
    "array": (5, "bytes"),
    "numbers": (7, "float*"),
    "wholes": (8, "int*"),
    "kind": (20, "int"),
}
_KINDS = {1: "number", 2: "whole", 3: "text", 4: "array", 6: "numbers", 7: "wholes"}
_ARRAY = {
    "shape": (1, "int*"),
    "dtype": (2, "int"),
    "float32": (4, "bytes*"),  # packed
    "int64": (7, "int*"),
    "name": (8, "text"),
    "raw": (9, "bytes"),
    "float64": (10, "bytes*"),  # packed
    "external": (13, "bytes*"),
    "location": (14, "int"),
}
_NAME_OF_ARRAY = {"name": _ARRAY["name"]}
_PAIR = {"key": (1, "text"), "value": (2, "bytes")}
_VALUE, _TYPE, _TENSOR_TYPE = ({"x": (number, "bytes")} for number in (2, 1, 2))
_NAME, _SHAPE, _DIMENSION = {"name": (1, "text")}, {"sides": (1, "bytes*")}, {"side": (1, "int")}
_DTYPES = {1: "<f4", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8", 16: "<u2"}
_BFLOAT16 = 16
_EXTERNAL = 1


class Node(NamedTuple):
    """An operation; what it reads and makes is named."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]  # numbers, texts, lists of numbers, messages of arrays


class Model(NamedTuple):
    """A model; `inputs` have their shapes, 0 where a side is free."""

    producer: str
    properties: dict[str, str]
    nodes: list[Node]
    arrays: dict[str, Any]  # messages
    inputs: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]


def read_model(file: SourceFile) -> Model:
    model = parse_message(file, file.data, _MODEL)
    graph = parse_message(file, model.graph or b"", _GRAPH)
    arrays = {parse_message(file, raw, _NAME_OF_ARRAY).name or "": raw for raw in graph.arrays}
    inputs = dict(_read_input(file, raw) for raw in graph.inputs)
    return Model(
        model.producer or "",
        _read_pairs(file, model.properties),
        [_read_node(file, raw) for raw in graph.nodes],
        arrays,
        {name: shape for name, shape in inputs.items() if name not in arrays},
        tuple(parse_message(file, raw, _NAME).name or "" for raw in graph.outputs),
    )


def read_array(file: SourceFile, raw: Any) -> np.ndarray:
    """Raises `InputError` for an array that is no array of numbers, or not complete."""
    array = parse_message(file, raw, _ARRAY)
    name, shape = (array.name or "")[:80], tuple(array.shape)
    if array.dtype not in _DTYPES:
        raise InputError(
            f"{file.name}: array '{name}' is of ONNX's type {array.dtype}, not of floating-point "
            "numbers; export the model without quantization"
        )
    if array.location == _EXTERNAL:
        data = _read_external(file, array, name)
    elif array.raw is not None:
        data = array.raw
    elif array.int64:
        data = np.array(array.int64, "<i8").tobytes()
    else:
        pieces = array.float32 or array.float64
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    dtype = np.dtype(_DTYPES[array.dtype])
    plausible = len(shape) <= 8 and all(side >= 0 for side in shape)
    if not plausible or math.prod(shape) * dtype.itemsize != len(data):
        raise InputError(
            f"{file.name}: array '{name}' of shape {list(shape)[:8]} has {len(data):,} bytes; the "
            "file is damaged: get it again"
        )
    values = np.frombuffer(data, dtype).reshape(shape)
    if array.dtype == _BFLOAT16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


def files_beside(file: SourceFile, model: Model) -> list[SourceFile]:
    """Returns the files that hold arrays of the model."""
    arrays = (parse_message(file, raw, _ARRAY) for raw in model.arrays.values())
    pairs = [_read_pairs(file, a.external) for a in arrays if a.location == _EXTERNAL]
    names = dict.fromkeys(pair.get("location", "") for pair in pairs)
    return [_open_beside(file, name) for name in names]


def _open_beside(file: SourceFile, location: str) -> SourceFile:
    """Nothing else than a file in the same folder is opened."""
    place = Path(location)
    if place.name in ("", "..") or place.name != str(place):
        raise InputError(
            f"{file.name} has arrays in '{location[:80]}', which is no file beside the model; save "
            "the model with its arrays beside it"
        )
    return open_source(file.path.parent / place.name)


def _read_external(file: SourceFile, array: Any, name: str) -> memoryview:
    pairs = _read_pairs(file, array.external)
    other = _open_beside(file, pairs.get("location", ""))
    try:
        start = int(pairs.get("offset", 0))
        length = int(pairs.get("length", len(other.data) - start))
        if start < 0 or length < 0:
            raise ValueError
    except ValueError:
        raise InputError(f"{file.name}: array '{name}' is at no place in {other.name}") from None
    return other.data[start : start + length]


def _read_node(file: SourceFile, raw: Any) -> Node:
    node = parse_message(file, raw, _NODE)
    attributes = {}
    for item in node.attributes:
        attribute = parse_message(file, item, _ATTRIBUTE)
        attributes[attribute.name or ""] = _value_of(attribute)
    op = ".".join(part for part in (node.domain, node.op) if part and part != "ai.onnx")
    outputs = tuple(node.outputs)
    name = node.name or (outputs[0] if outputs else "")
    return Node(op[:80], name[:80], tuple(node.inputs), outputs, attributes)


def _value_of(attribute: Any) -> Any:
    if attribute.kind in _KINDS:
        value = getattr(attribute, _KINDS[attribute.kind])
        is_number = attribute.kind in (1, 2)  # zeros may be left out
        value = 0 if value is None and is_number else value
    else:  # before 2018 the kind was not stored
        found = (getattr(attribute, name) for name in _KINDS.values())
        value = next((value for value in found if value not in (None, [])), None)
    if value is not None and value is attribute.text:
        return bytes(attribute.text[:80]).decode("utf-8", "replace")
    return value


def _read_pairs(file: SourceFile, raw: list[Any]) -> dict[str, str]:
    pairs = (parse_message(file, item, _PAIR) for item in raw)
    return {pair.key or "": bytes(pair.value or b"").decode("utf-8", "replace") for pair in pairs}


def _read_input(file: SourceFile, raw: Any) -> tuple[str, tuple[int, ...]]:
    name = parse_message(file, raw, _NAME).name or ""
    return name, tuple(_sides(file, raw))


def _sides(file: SourceFile, raw: Any) -> Iterator[int]:
    for fields in (_VALUE, _TYPE, _TENSOR_TYPE):
        raw = parse_message(file, raw or b"", fields).x
    for side in parse_message(file, raw or b"", _SHAPE).sides:
        yield parse_message(file, side, _DIMENSION).side or 0
