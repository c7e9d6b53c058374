"""Any of our networks as an ONNX graph: standard operators, one tensor per layer name."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx  # pyright: ignore[reportMissingImports]
from onnx import TensorProto, helper, numpy_helper  # pyright: ignore[reportMissingImports]

from alexnet_jax.errors import InputError
from alexnet_jax.network import layers, ops
from alexnet_jax.runs.run_weights import RunWeights
from alexnet_jax.weights.writers.description import mean_and_scale

OPSET, IR_VERSION = 17, 8  # ONNX 1.12 of 2022: old enough for every runtime


def build_model(weights: RunWeights, facts: dict[str, Any]) -> onnx.ModelProto:
    """From uint8 `images` `[batch, s, s, 3]` to `logits` and `probabilities`; NCHW within.

    Tools can cut it at each layer's name (`conv1`, …) and `preprocessed`. `facts` are metadata.
    """
    run = weights.run
    graph = OnnxGraph()
    x = _preprocessing(graph, weights)
    summaries = layers.summarize(run.network, run.image_size)
    for name, summary in zip(layers.layer_names(run.network.layers), summaries, strict=True):
        x = _layer(graph, name, summary.layer, x, summary.input_shape, weights.params.get(name, {}))
    graph.add("Identity", [x], "logits")
    graph.add("Softmax", ["logits"], "probabilities", axis=1)
    size, classes = run.stored_size, run.network.classes
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", size, size, 3])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", classes])
        for name in ("logits", "probabilities")
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, run.network.name, [images], outputs, graph.arrays),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="alexnet_jax",
    )
    text = {k: v if isinstance(v, str) else json.dumps(v) for k, v in facts.items()}
    helper.set_model_props(model, text)
    return model


class OnnxGraph:
    """Nodes and constant arrays in the making."""

    def __init__(self):
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: list[onnx.TensorProto] = []

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, array: Any, dtype: Any = np.float32) -> str:
        array = np.ascontiguousarray(array, dtype)
        self.arrays.append(numpy_helper.from_array(array, name))
        return name

    def grouped(
        self, x: str, name: str, groups: int, width: int, add_part: Callable[[str, str, int], str]
    ) -> str:
        """`add_part` takes an input, its output's name and its number; `width` in channels."""
        if groups == 1:
            return add_part(x, name, 0)
        inputs = [f"{name}.in{i}" for i in range(groups)]
        sizes = self.constant(f"{name}.sizes", [width] * groups, np.int64)
        node = helper.make_node("Split", [x, sizes], inputs, name=f"{name}.split", axis=1)
        self.nodes.append(node)
        parts = [add_part(part, f"{name}.out{i}", i) for i, part in enumerate(inputs)]
        return self.add("Concat", parts, name, axis=1)


def _preprocessing(graph: OnnxGraph, weights: RunWeights) -> str:
    run = weights.run
    mean, scale = mean_and_scale(run)
    x = "images"
    start = (run.stored_size - run.image_size) // 2
    if run.stored_size != run.image_size:
        bounds = [
            graph.constant(f"crop.{name}", values, np.int64)
            for name, values in (
                ("starts", [start] * 2),
                ("ends", [start + run.image_size] * 2),
                ("axes", [1, 2]),
            )
        ]
        x = graph.add("Slice", [x, *bounds], "crop")
    x = graph.add("Cast", [x], "float", to=TensorProto.FLOAT)
    if mean is not None:
        x = graph.add("Sub", [x, graph.constant("mean", mean)], "centred")
    if scale is not None:
        x = graph.add("Div", [x, graph.constant("scale", scale)], "scaled")
    return graph.add("Transpose", [x], "preprocessed", perm=[0, 3, 1, 2])


def _layer(
    graph: OnnxGraph,
    name: str,
    layer: layers.Layer,
    x: str,
    shape: tuple[int, ...],
    params: dict[str, np.ndarray],
) -> str:
    """`shape` is that of our input, without batch, channels last."""
    match layer:
        case layers.Conv():
            return _convolution(graph, layer, x, shape, params)
        case layers.Local():
            return _local(graph, layer, x, shape, params)
        case layers.Dense():
            return _dense(graph, layer, x, shape, params)
        case layers.Activation(kind=kind):
            return graph.add(kind.capitalize(), [x], name)
        case layers.Lrn():
            return _lrn(graph, name, layer, x, shape)
        case layers.ResponseNorm():
            return _response_norm(graph, name, layer, x, shape)
        case layers.MaxPool() | layers.AvgPool():
            options: dict[str, Any] = {
                "kernel_shape": [layer.window] * 2,
                "strides": [layer.stride] * 2,
                # Explicit padding: runtimes disagree on `ceil_mode`.
                "pads": _pads(shape, layer),
            }
            if isinstance(layer, layers.MaxPool):
                return graph.add("MaxPool", [x], name, **options)
            return graph.add("AveragePool", [x], name, count_include_pad=0, **options)
        case layers.AdaptiveAvgPool(size=size):
            return _adaptive(graph, name, size, x, shape)
        case layers.Flatten(groups=groups):
            split = graph.constant(
                f"{name}.split", [0, groups, shape[2] // groups, *shape[:2]], np.int64
            )
            flat = graph.constant(f"{name}.shape", [0, -1], np.int64)
            x = graph.add("Reshape", [x, split], f"{name}.groups")
            x = graph.add("Transpose", [x], f"{name}.last", perm=[0, 1, 3, 4, 2])
            return graph.add("Reshape", [x, flat], name)
        case layers.Dropout(rate=rate, inverted=inverted):
            if inverted:
                return graph.add("Identity", [x], name)
            return graph.add("Mul", [x, graph.constant(f"{name}.keep", 1 - rate)], name)
    raise InputError(f"layer '{name}' ({type(layer).__name__}) cannot be expressed in ONNX")


def _pads(
    shape: tuple[int, ...], layer: layers.Conv | layers.MaxPool | layers.AvgPool | layers.Local
) -> list[int]:
    """Returns top, left, bottom, right."""
    rows, columns = (layers.padding_of(size, layer) for size in shape[:2])
    return [rows[0], columns[0], rows[1], columns[1]]


def _convolution(graph, layer: layers.Conv, x, shape, params):
    kernel = graph.constant(f"{layer.name}.weight", params["kernel"].transpose(3, 2, 0, 1))
    bias = graph.constant(f"{layer.name}.bias", params["bias"])
    return graph.add(
        "Conv",
        [x, kernel, bias],
        layer.name,
        kernel_shape=[layer.window] * 2,
        strides=[layer.stride] * 2,
        pads=_pads(shape, layer),
        group=layer.groups,
    )


def _local(graph, layer: layers.Local, x, shape, params):
    name, kernel = layer.name, params["kernel"]
    rows, columns, window, _, channels, features = kernel.shape
    top, left, bottom, right = _pads(shape, layer)
    pads = graph.constant(f"{name}.pads", [0, 0, top, left, 0, 0, bottom, right], np.int64)
    x = graph.add("Pad", [x, pads], f"{name}.padded")
    axes = graph.constant(f"{name}.axes", [2, 3], np.int64)
    patches = []
    for row in range(window):
        for column in range(window):
            place = f"{name}.{row}.{column}"
            starts = graph.constant(f"{place}.starts", [row, column], np.int64)
            ends = graph.constant(f"{place}.ends", [row + rows, column + columns], np.int64)
            patches.append(graph.add("Slice", [x, starts, ends, axes], place))
    x = graph.add("Concat", patches, f"{name}.patches", axis=1)
    x = graph.add("Transpose", [x], f"{name}.positions", perm=[2, 3, 0, 1])
    kernel = kernel.reshape(rows, columns, window * window * channels, features)
    x = graph.add("MatMul", [x, graph.constant(f"{name}.weight", kernel)], f"{name}.product")
    bias = graph.constant(f"{name}.bias", params["bias"][:, :, None])
    x = graph.add("Add", [x, bias], f"{name}.biased")
    return graph.add("Transpose", [x], name, perm=[2, 3, 0, 1])


def _dense(graph, layer: layers.Dense, x, shape, params):
    name, groups = layer.name, layer.groups
    kernels = np.split(params["kernel"], groups, axis=1)
    biases = np.split(params["bias"], groups)

    def add_part(part: str, output: str, i: int) -> str:
        mark = i if groups > 1 else ""
        weight = graph.constant(f"{name}.weight{mark}", kernels[i])
        bias = graph.constant(f"{name}.bias{mark}", biases[i])
        return graph.add("Gemm", [part, weight, bias], output)

    return graph.grouped(x, name, groups, shape[0] // groups, add_part)


def _lrn(graph, name, layer: layers.Lrn, x, shape):
    if layer.depth % 2 == 0:
        raise InputError(
            f"layer '{name}' normalizes over {layer.depth} channels, but ONNX has odd windows only"
        )
    options = {
        "alpha": layer.alpha * layer.depth,  # ONNX divides by the size, as Caffe and PyTorch do
        "beta": layer.beta,
        "bias": layer.bias,
        "size": layer.depth,
    }

    def add_part(part: str, output: str, _: int) -> str:
        return graph.add("LRN", [part], output, **options)

    return graph.grouped(x, name, layer.groups, shape[2] // layer.groups, add_part)


def _response_norm(graph, name, layer: layers.ResponseNorm, x, shape):
    window, channels = layer.window, shape[2]
    ones = graph.constant(f"{name}.ones", np.ones((channels, 1, window, window)))
    before, after = window // 2, window - 1 - window // 2
    squares = graph.add("Mul", [x, x], f"{name}.squares")
    total = graph.add(
        "Conv", [squares, ones], f"{name}.sum", pads=[before, before, after, after], group=channels
    )
    scaled = graph.add("Mul", [total, graph.constant(f"{name}.alpha", layer.alpha)], f"{name}.part")
    base = graph.add("Add", [scaled, graph.constant(f"{name}.k", layer.bias)], f"{name}.base")
    beta = graph.constant(f"{name}.beta", layer.beta)
    return graph.add("Div", [x, graph.add("Pow", [base, beta], f"{name}.divisor")], name)


def _adaptive(graph, name, size, x, shape):
    if tuple(shape[:2]) == (size, size):
        return graph.add("Identity", [x], name)
    rows, columns = (averaging_matrix(extent, size) for extent in shape[:2])
    right = graph.constant(f"{name}.columns", columns.T)
    left = graph.constant(f"{name}.rows", rows)
    return graph.add("MatMul", [left, graph.add("MatMul", [x, right], f"{name}.wide")], name)


def averaging_matrix(extent: int, size: int) -> np.ndarray:
    """Returns float32 `[size, extent]`, what adaptive pooling does along one axis."""
    units = np.eye(extent, dtype=np.float32).reshape(extent, extent, 1, 1)
    return np.asarray(ops.adaptive_avg_pool(units, size))[:, :, 0, 0].T  # type: ignore[arg-type]
