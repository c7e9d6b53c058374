"""The operations of an ONNX model, one after another, as layers.

The order is that of the graph: from the input, each result is read by one operation. Weights may be
initializers, inputs with a default, or constants, transposed or not.
Source: onnx/onnx docs/Operators.md, of all versions.
"""

from typing import Any, Literal, NamedTuple

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.network import layers as ours
from alexnet_jax.weights.readers.layer_sequence import SOFTMAX, FileLayer
from alexnet_jax.weights.readers.onnx_proto import Model, Node, read_array
from alexnet_jax.weights.readers.source_file import SourceFile

_SAME_VALUES = ("Identity", "Cast")
_CONSTANT = "Constant"
_MAX_NODES = 10_000


class Sequence(NamedTuple):
    """The layers; `image_size` in pixels, 0 where it is free."""

    layers: list[FileLayer]
    image_size: int
    flattened: Literal["chw", "hwc"]


class _Unfit(Exception):
    """What no layer of ours has."""


def read_sequence(file: SourceFile, model: Model) -> Sequence:
    """Raises `InputError` for a model that branches, or whose input is no image."""
    reader = _Reader(file, model)
    layers: list[FileLayer] = []
    name, size, is_nhwc = _read_input(file, model)
    flattened: Literal["chw", "hwc"] = "chw"
    is_last = False  # the channels, by a transposition
    for _ in range(_MAX_NODES):
        node = reader.reader_of(name)
        if node is None:
            return Sequence(layers, size, flattened)
        order = node.attributes.get("perm")
        if node.op == "Transpose" and order == [0, 3, 1, 2] and is_nhwc and not layers:
            is_nhwc = False
        elif node.op == "Transpose" and order == [0, 2, 3, 1]:
            is_last = True
        elif node.op == "Add" and layers and layers[-1].weights is not None:
            layers[-1] = reader.with_bias(layers[-1], node)
        elif node.op not in _SAME_VALUES:
            if node.op in ("Flatten", "Reshape") and is_last:
                flattened, is_last = "hwc", False
            layers.append(reader.read_layer(node, is_last or is_nhwc))
        name = node.outputs[0] if node.outputs else ""
    raise InputError(f"{file.name} goes in a circle; export it again")


def _read_input(file: SourceFile, model: Model) -> tuple[str, int, bool]:
    """Returns the input's name, the side of its images, and whether channels come last."""
    images = {name: shape for name, shape in model.inputs.items() if len(shape) == 4}
    name, shape = next(iter(images.items()), ("", (0, 0, 0, 0)))
    is_nhwc = shape[3] == 3 and shape[1] != 3
    channels, height, width = (shape[3], *shape[1:3]) if is_nhwc else shape[1:]
    if not images or channels not in (0, 3) or height != width or not 0 <= height < 2**16:
        shapes = ", ".join(str(list(shape)[:8]) for shape in list(model.inputs.values())[:4])
        raise InputError(
            f"{file.name} takes inputs of shape {shapes or 'nothing'}, not images "
            "[batch, 3, size, size]; only classifiers of squares can be imported"
        )
    return name, height, is_nhwc


class _Reader:
    def __init__(self, file: SourceFile, model: Model):
        self.file, self.model = file, model
        self.makers = {output: node for node in model.nodes for output in node.outputs}
        self.readers: dict[str, list[Node]] = {}
        for node in model.nodes:
            for name in dict.fromkeys(node.inputs):
                self.readers.setdefault(name, []).append(node)

    def reader_of(self, name: str) -> Node | None:
        """The operation that reads a result; its shape may be read beside it."""
        nodes = [node for node in self.readers.get(name, []) if node.op != "Shape"]
        if len(nodes) > 1:
            both = ", ".join(f"'{node.name}' ({node.op})" for node in nodes[:2])
            raise InputError(
                f"{self.file.name}: {len(nodes)} layers read what '{name[:80]}' is: {both}; an "
                "AlexNet is one sequence of layers"
            )
        return nodes[0] if nodes else None

    def read_layer(self, node: Node, is_last: bool) -> FileLayer:
        try:
            if is_last:
                raise _Unfit(f"{node.op} of channels that come last")
            return self._read_layer(node)
        except _Unfit as error:
            return FileLayer(node.name, str(error))

    def _read_layer(self, node: Node) -> FileLayer:
        match node.op:
            case "Conv":
                return self._convolution(node)
            case "Gemm" | "MatMul":
                return self._dense(node)
            case "Relu" | "Tanh" | "Sigmoid":
                kind: Any = node.op.lower()
                return FileLayer(node.name, ours.Activation(kind))
            case "LRN":
                size, alpha = _get(node, "size", 0), _get(node, "alpha", 1e-4)
                if size < 1 or size % 2 == 0:  # ONNX and its runtimes read other channels
                    raise _Unfit(f"LRN over {size} channels, no odd number")
                beta, k = _get(node, "beta", 0.75), _get(node, "bias", 1.0)
                return FileLayer(node.name, ours.Lrn(size, alpha / size, beta, k))
            case "MaxPool" | "AveragePool":
                return _pool(node)
            case "Flatten" if _get(node, "axis", 1) == 1:
                return FileLayer(node.name, ours.Flatten())
            case "Reshape" if self._makes_vectors(node):
                return FileLayer(node.name, ours.Flatten())
            case "Dropout":  # no operation outside of training
                return FileLayer(node.name, ours.Dropout(inverted=True))
            case "Softmax" | "LogSoftmax":
                return FileLayer(node.name, SOFTMAX)
        raise _Unfit(node.op)

    def _makes_vectors(self, node: Node) -> bool:
        """Whether a shape, if it is known, has two sides; it was an attribute before 2017."""
        shape = node.attributes.get("shape")
        if shape is None and len(node.inputs) > 1:
            shape = self.array(node.inputs[1])
        return shape is None or len(np.ravel(shape)) == 2

    def with_bias(self, layer: FileLayer, node: Node) -> FileLayer:
        arrays = [self.array(name) for name in node.inputs]
        found = [array for array in arrays if array is not None]
        assert layer.weights is not None
        if layer.bias is not None or not found or found[0].size != layer.weights.shape[-1]:
            return FileLayer(node.name, "Add")
        return layer._replace(bias=found[0].reshape(-1))

    def array(self, name: str, depth: int = 0) -> np.ndarray | None:
        """Returns a constant; None for a result that depends on the image."""
        if name in self.model.arrays:
            return read_array(self.file, self.model.arrays[name])
        node = self.makers.get(name)
        if node is None or depth > 4:
            return None
        if node.op == _CONSTANT and isinstance(node.attributes.get("value"), memoryview):
            return read_array(self.file, node.attributes["value"])
        if node.op in (*_SAME_VALUES, "Transpose") and node.inputs:
            array = self.array(node.inputs[0], depth + 1)
            order = node.attributes.get("perm")
            if array is None or node.op != "Transpose":
                return array
            return array.transpose(order if sorted(order or []) == [*range(array.ndim)] else None)
        return None

    def _weights(self, node: Node) -> tuple[np.ndarray, np.ndarray | None]:
        weights = self.array(node.inputs[1]) if len(node.inputs) > 1 else None
        name = "".join(node.inputs[2:3])
        bias = self.array(name) if name else None
        if weights is None or (name and bias is None):
            raise _Unfit(f"{node.op} whose weights are no constants")
        return weights, bias

    def _convolution(self, node: Node) -> FileLayer:
        weights, bias = self._weights(node)
        if weights.ndim != 4 or _get(node, "auto_pad", "") not in _NO_PADDING:
            raise _Unfit("Conv with automatic padding or without height and width")
        features, _, *sides = weights.shape
        stride, padding = _stride_and_padding(node)
        groups = _get(node, "group", 1)
        window = _one(node, "window", sides)
        conv = ours.Conv("", features, window, stride, groups=groups, overhang=False)
        kernel = weights.transpose(2, 3, 1, 0)
        return FileLayer(node.name, conv, padding, kernel, bias)

    def _dense(self, node: Node) -> FileLayer:
        weights, bias = self._weights(node)
        settings = {"alpha": 1.0, "beta": 1.0, "transA": 0}
        if weights.ndim != 2 or any(_get(node, k, v) != v for k, v in settings.items()):
            raise _Unfit(f"{node.op} with a factor, or of no matrix")
        weights = weights.T if _get(node, "transB", 0) else weights
        return FileLayer(node.name, ours.Dense("", weights.shape[1]), (0, 0), weights, bias)


_NO_PADDING = ("", "NOTSET", "VALID")


def _get(node: Node, name: str, default: Any) -> Any:
    value = node.attributes.get(name, default)
    if type(value) is not type(default):
        raise _Unfit(f"{node.op} whose {name} is another kind of value")
    return value


def _pool(node: Node) -> FileLayer:
    stride, padding = _stride_and_padding(node)
    window = _one(node, "window", _get(node, "kernel_shape", []))
    is_max, overhang = node.op == "MaxPool", bool(_get(node, "ceil_mode", 0))
    # Libraries disagree on what averages of padded windows count: no network here has any.
    is_unclear = not is_max and (any(padding) or (overhang and _get(node, "count_include_pad", 0)))
    if _get(node, "auto_pad", "") not in _NO_PADDING or is_unclear:
        raise _Unfit(f"{node.op} with automatic or averaged padding")
    pool = ours.MaxPool if is_max else ours.AvgPool
    return FileLayer(node.name, pool(window, stride, overhang), padding)


def _stride_and_padding(node: Node) -> tuple[int, tuple[int, int]]:
    pads = _get(node, "pads", [0, 0, 0, 0])
    if len(pads) != 4 or pads[::2] != pads[1::2] or set(_get(node, "dilations", [1])) != {1}:
        raise _Unfit(f"{node.op} with other padding across than down, or with gaps")
    return _one(node, "stride", _get(node, "strides", [1, 1])), (pads[0], pads[2])


def _one(node: Node, what: str, sides: list[int]) -> int:
    if len(sides) != 2 or sides[0] != sides[1] or sides[0] < 1:
        raise _Unfit(f"{node.op} with {what} {list(sides)[:8]}")
    return sides[0]
