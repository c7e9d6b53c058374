"""Each kind of layer as standard ONNX operators, NCHW, spelled for the strictest reader."""

from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.network import layers, ops

if TYPE_CHECKING:
    from alexnet_jax.weights.writers.onnx_graph import OnnxGraph


def add_layer(
    graph: "OnnxGraph",
    name: str,
    layer: layers.Layer,
    x: str,
    shape: tuple[int, ...],
    params: dict[str, np.ndarray],
) -> str:
    """Returns the output's name; `shape` is that of the input `x`, without batch, channels last."""
    match layer:
        case layers.Conv():
            kernel, bias = params["kernel"].transpose(3, 2, 0, 1), params["bias"]
            pads = _pads(shape, layer)
            return _convolve(graph, name, x, kernel, bias, layer.groups, layer.stride, pads)
        case layers.Local():
            return _local(graph, layer, x, shape, params)
        case layers.Dense():
            return _dense(graph, layer, x, shape, params)
        case layers.Activation(kind=kind):
            return graph.add(kind.capitalize(), [x], name)
        case layers.Lrn():
            return _lrn(graph, name, layer, x, shape)
        case layers.ResponseNorm(window=window):
            before, after = window // 2, window - 1 - window // 2
            ones = np.ones((shape[2], 1, window, window))
            return _normalized(graph, name, layer, x, ones, [before, before, after, after])
        case layers.MaxPool():
            # Explicit padding: readers disagree on `ceil_mode`.
            options = _windows(layer, _pads(shape, layer))
            return graph.add("MaxPool", [x], name, ceil_mode=0, **options)
        case layers.AvgPool():
            return _average(graph, name, layer, x, shape)
        case layers.AdaptiveAvgPool(size=size):
            return _adaptive(graph, name, size, x, shape)
        case layers.Flatten(groups=groups):
            return graph.grouped(
                x, name, groups, shape[2] // groups,
                lambda part, output, _: _flatten(graph, part, output),
            )  # fmt: skip
        case layers.Dropout(rate=rate, inverted=inverted):
            if inverted:
                return graph.add("Identity", [x], name)
            return graph.add("Mul", [x, graph.constant(f"{name}_keep", 1 - rate)], name)
    raise InputError(f"layer '{name}' ({type(layer).__name__}) cannot be expressed in ONNX")


def _windows(layer: layers.MaxPool | layers.AvgPool, pads: list[int]) -> dict[str, Any]:
    return {"kernel_shape": [layer.window] * 2, "strides": [layer.stride] * 2, "pads": pads}


def _pads(
    shape: tuple[int, ...], layer: layers.Conv | layers.MaxPool | layers.AvgPool | layers.Local
) -> list[int]:
    """Returns top, left, bottom, right."""
    rows, columns = (layers.padding_of(size, layer) for size in shape[:2])
    return [rows[0], columns[0], rows[1], columns[1]]


def _convolve(graph, name, x, kernel, bias, groups, stride=1, pads=(0, 0, 0, 0)):
    """`kernel` is `[out, in / groups, height, width]`."""
    weight = graph.constant(f"{name}_weight", kernel)
    inputs = [x, weight] if bias is None else [x, weight, graph.constant(f"{name}_bias", bias)]
    return graph.add(
        "Conv",
        inputs,
        name,
        dilations=[1, 1],
        group=groups,
        kernel_shape=kernel.shape[2:],
        pads=pads,
        strides=[stride] * 2,
    )


def _local(graph, layer: layers.Local, x, shape, params):
    name, kernel = layer.name, params["kernel"]
    rows, columns, window, _, channels, features = kernel.shape
    top, left, bottom, right = _pads(shape, layer)
    pads = graph.constant(f"{name}_pads", [0, 0, top, left, 0, 0, bottom, right], np.int64)
    x = graph.add("Pad", [x, pads], f"{name}_padded", mode="constant")
    patches = [
        graph.slice(x, f"{name}_{row}_{column}", [2, 3], [row, column], [rows, columns])
        for row in range(window)
        for column in range(window)
    ]
    x = graph.add("Concat", patches, f"{name}_patches", axis=1)
    x = graph.add("Transpose", [x], f"{name}_last", perm=[0, 2, 3, 1])
    # Each position is a group of a convolution over one pixel: products of many matrices have the
    # batch in the middle, and few readers know those.
    places, inputs = rows * columns, window * window * channels
    shape = graph.constant(f"{name}_flat", [-1, places * inputs, 1, 1], np.int64)
    x = graph.add("Reshape", [x, shape], f"{name}_positions")
    kernel = kernel.reshape(places, inputs, features).transpose(0, 2, 1).reshape(-1, inputs, 1, 1)
    x = _convolve(graph, f"{name}_product", x, kernel, params["bias"].ravel(), groups=places)
    shape = graph.constant(f"{name}_shape", [-1, rows, columns, features], np.int64)
    x = graph.add("Reshape", [x, shape], f"{name}_image")
    return graph.add("Transpose", [x], name, perm=[0, 3, 1, 2])


def _flatten(graph, x, output):
    x = graph.add("Transpose", [x], f"{output}_last", perm=[0, 2, 3, 1])
    return graph.add("Flatten", [x], output, axis=1)


def _dense(graph, layer: layers.Dense, x, shape, params):
    name, groups = layer.name, layer.groups
    kernels = np.split(params["kernel"], groups, axis=1)
    biases = np.split(params["bias"], groups)

    def add_part(part: str, output: str, i: int) -> str:
        mark = i if groups > 1 else ""
        weight = graph.constant(f"{name}_weight{mark}", kernels[i].T)  # [out, in]
        bias = graph.constant(f"{name}_bias{mark}", biases[i])
        inputs = [part, weight, bias]
        return graph.add("Gemm", inputs, output, alpha=1.0, beta=1.0, transA=0, transB=1)

    return graph.grouped(x, name, groups, shape[0] // groups, add_part)


def _lrn(graph, name, layer: layers.Lrn, x, shape):
    channels = shape[2] // layer.groups
    if layer.depth % 2 == 0:  # ONNX has them one channel later, and onnxruntime has none
        sums = np.asarray(ops.window_matrix(channels, layer.depth), np.float32).T
        banks = np.tile(sums[:, :, None, None], (layer.groups, 1, 1, 1))
        return _normalized(graph, name, layer, x, banks)
    options = {
        "alpha": layer.alpha * layer.depth,  # ONNX divides by the size, as Caffe and PyTorch do
        "beta": layer.beta,
        "bias": layer.bias,
        "size": layer.depth,
    }

    def add_part(part: str, output: str, _: int) -> str:
        return graph.add("LRN", [part], output, **options)

    return graph.grouped(x, name, layer.groups, channels, add_part)


def _normalized(graph, name, layer: layers.Lrn | layers.ResponseNorm, x, ones, pads=(0, 0, 0, 0)):
    """`ones` `[channels, channels / groups, window, window]` adds up the squares."""
    squares = graph.add("Mul", [x, x], f"{name}_squares")
    groups = ones.shape[0] // ones.shape[1]
    total = _convolve(graph, f"{name}_sum", squares, ones, None, groups, pads=pads)
    scaled = graph.add("Mul", [total, graph.constant(f"{name}_alpha", layer.alpha)], f"{name}_part")
    base = graph.add("Add", [scaled, graph.constant(f"{name}_k", layer.bias)], f"{name}_base")
    beta = graph.constant(f"{name}_beta", layer.beta)
    return graph.add("Div", [x, graph.add("Pow", [base, beta], f"{name}_divisor")], name)


def _average(graph, name, layer: layers.AvgPool, x, shape):
    """Overhang by `ceil_mode`, since readers disagree on how padding counts."""
    ceil = int(any(_pads(shape, layer)))
    options = _windows(layer, [0, 0, 0, 0])
    return graph.add("AveragePool", [x], name, ceil_mode=ceil, count_include_pad=0, **options)


def _adaptive(graph, name, size, x, shape):
    if tuple(shape[:2]) == (size, size):
        return graph.add("Identity", [x], name)
    for axis, extent in ((1, shape[1]), (0, shape[0])):  # constants on the right: OpenCV 4.7
        end = "columns" if axis else "rows"
        matrix = graph.constant(f"{name}_{end}", averaging_matrix(extent, size).T)
        x = graph.add("MatMul", [x, matrix], f"{name}_{end}_averaged")
        x = graph.add("Transpose", [x], f"{name}_turned" if axis else name, perm=[0, 1, 3, 2])
    return x


def averaging_matrix(extent: int, size: int) -> np.ndarray:
    """Returns float32 `[size, extent]`, what adaptive pooling does along one axis."""
    units = np.eye(extent, dtype=np.float32).reshape(extent, extent, 1, 1)
    return np.asarray(ops.adaptive_avg_pool(units, size))[:, :, 0, 0].T  # type: ignore[arg-type]
