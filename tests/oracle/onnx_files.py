"""ONNX models of a sequence of layers, written by hand in several spellings."""

import numpy as np
from hostile import field, varint

from alexnet_jax.network.layers import (
    Activation,
    AdaptiveAvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Lrn,
    MaxPool,
)

_DTYPES = {"float32": 1, "int64": 7, "float16": 10, "float64": 11}


def packed(values) -> bytes:
    return b"".join(varint(value % 2**64) for value in values)


def array(name, values, *, form="raw", external=None) -> bytes:
    """`form`: `raw`, or `typed` in a list; `external`: `(file, offset)`, where the values are."""
    body = field(1, packed(values.shape)) + field(2, _DTYPES[values.dtype.name]) + field(8, name)
    if external:
        pairs = {"location": external[0], "offset": external[1], "length": values.nbytes}
        entries = [field(1, key) + field(2, str(value)) for key, value in pairs.items()]
        return body + b"".join(field(13, entry) for entry in entries) + field(14, 1)
    if form == "typed":
        number = {"float32": 4, "float64": 10}[values.dtype.name]
        return body + field(number, np.ascontiguousarray(values).tobytes())
    return body + field(9, np.ascontiguousarray(values).tobytes())


def attribute(name, value) -> bytes:
    """A whole number, float, text, list of whole numbers, or message of an array."""
    number, kind = {int: (3, 2), float: (2, 1), str: (4, 3), bytes: (5, 4), list: (8, 7)}[
        type(value)
    ]
    if isinstance(value, list):  # unpacked, as onnx writes it
        values = b"".join(field(8, item) for item in value)
        return field(1, name) + values + field(20, kind)
    return field(1, name) + field(number, value) + field(20, kind)


def node(op, inputs, output, **attributes) -> bytes:
    body = b"".join(field(1, name) for name in inputs) + field(2, output) + field(3, f"n_{output}")
    items = [field(5, attribute(name, value)) for name, value in attributes.items()]
    return body + field(4, op) + b"".join(items)


def value(name, shape) -> bytes:
    sides = b"".join(field(1, field(1, side) if side else field(2, "n")) for side in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, sides)))


def model(nodes, arrays, inputs, outputs=("out",), producer="pytorch", properties=()) -> bytes:
    graph = b"".join(field(1, item) for item in nodes) + b"".join(field(5, a) for a in arrays)
    graph += b"".join(field(11, item) for item in inputs)
    graph += b"".join(field(12, field(1, name)) for name in outputs)
    entries = b"".join(field(14, field(1, k) + field(2, v)) for k, v in properties)
    return field(1, 8) + field(2, producer) + field(7, graph) + field(8, field(2, 17)) + entries


def nodes_of(layers, *, transposed=True, reshape=False, unit_pool=True):
    """Returns nodes and named arrays of `FileLayer`s, from `in` to `out`."""
    nodes, arrays, last = [], {}, "in"
    for i, (name, layer, padding, weights, bias) in enumerate(layers):
        output = "out" if i == len(layers) - 1 else name
        inputs = [last]
        if weights is not None:
            is_conv = isinstance(layer, Conv)
            kernel = weights.transpose(3, 2, 0, 1) if is_conv else weights
            arrays |= {f"{name}.w": kernel if is_conv or not transposed else kernel.T}
            arrays |= {f"{name}.b": bias}
            inputs += [f"{name}.w", f"{name}.b"]
        pads = [padding[0]] * 2 + [padding[1]] * 2
        match layer:
            case Conv():
                options = {"strides": [layer.stride] * 2, "pads": pads, "group": layer.groups}
                made = node("Conv", inputs, output, **options)
            case Dense():
                made = node("Gemm", inputs, output, transB=int(transposed))
            case Activation():
                made = node(layer.kind.capitalize(), inputs, output)
            case Lrn():
                alpha = layer.alpha * layer.depth
                options = {"alpha": alpha, "beta": layer.beta, "bias": layer.bias}
                made = node("LRN", inputs, output, size=layer.depth, **options)
            case MaxPool():
                options = {"strides": [layer.stride] * 2, "kernel_shape": [layer.window] * 2}
                made = node("MaxPool", inputs, output, pads=pads, **options)
            case AdaptiveAvgPool():
                if not unit_pool:
                    continue
                made = node("AveragePool", inputs, output, kernel_shape=[1, 1], strides=[1, 1])
            case Flatten() if reshape:
                arrays["shape"] = np.array([0, -1])
                made = node("Reshape", [last, "shape"], output)
            case Flatten():
                made = node("Flatten", inputs, output, axis=1)
            case Dropout():
                made = node("Dropout", inputs, output)
            case kind:  # of a layer that is none of ours
                made = node(kind, inputs, output)
        nodes.append(made)
        last = name
    return nodes, arrays


def write_model(layers, size, *, producer="pytorch", form="raw", as_inputs=False, **spelling):
    """Returns the bytes of a model of `FileLayer`s."""
    nodes, arrays = nodes_of(layers, **spelling)
    inputs = [value("in", (0, 3, size, size))]
    if as_inputs:  # as in ONNX's first versions
        inputs += [value(name, values.shape) for name, values in arrays.items()]
    messages = [
        array(name, values, form=form if values.dtype.kind == "f" else "raw")
        for name, values in arrays.items()
    ]
    return model(nodes, messages, inputs, producer=producer)
