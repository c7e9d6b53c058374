"""Any of our networks as an ONNX model: nodes and constant arrays in the making."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx  # pyright: ignore[reportMissingImports]
from onnx import TensorProto, helper, numpy_helper  # pyright: ignore[reportMissingImports]

from alexnet_jax.network.layers import layer_names, summarize
from alexnet_jax.runs.run_weights import RunWeights
from alexnet_jax.weights.writers import onnx_layers
from alexnet_jax.weights.writers.description import mean_and_scale
from alexnet_jax.weights.writers.program_spec import ProgramSpec

OPSET, IR_VERSION = 17, 8  # ONNX 1.12 of 2022: old enough for every runtime


def build_model(weights: RunWeights, spec: ProgramSpec, facts: dict[str, Any]) -> onnx.ModelProto:
    """From `images` to `logits` and `probabilities`, or from `preprocessed` to `logits`.

    NCHW within. Tools can cut it at each layer's name (`conv1`, …) and at `preprocessed`. `facts`
    are metadata.
    """
    run = weights.run
    graph = OnnxGraph()
    x = _preprocessing(graph, weights) if spec.whole else spec.input_name
    summaries = summarize(run.network, run.image_size)
    for name, summary in zip(layer_names(run.network.layers), summaries, strict=True):
        params = weights.params.get(name, {})
        x = onnx_layers.add_layer(graph, name, summary.layer, x, summary.input_shape, params)
    outputs = [graph.add("Identity", [x], "logits")]
    if spec.whole:  # from `x`, since converters that retype outputs break what reads them
        outputs.append(graph.add("Softmax", [x], "probabilities", axis=1))
    batch = spec.batch or "batch"
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
    images = helper.make_tensor_value_info(spec.input_name, dtype, [batch, *spec.image_shape(run)])
    results = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, run.network.classes])
        for name in outputs
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, run.network.name, [images], results, graph.arrays),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="alexnet_jax",
    )
    text = {k: v if isinstance(v, str) else json.dumps(v) for k, v in facts.items()}
    helper.set_model_props(model, text)
    return model


class OnnxGraph:
    """Every optional attribute that PyTorch's exporter writes is written: old readers need some."""

    def __init__(self):
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: list[onnx.TensorProto] = []

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        # Readers make modules of nodes: a bare name may be that of a method (`float`).
        node = helper.make_node(op, inputs, [output], name=f"{op}_{output}", **attributes)
        self.nodes.append(node)
        return output

    def constant(self, name: str, array: Any, dtype: Any = np.float32) -> str:
        array = np.ascontiguousarray(array, dtype)
        self.arrays.append(numpy_helper.from_array(array, name))
        return name

    def slice(
        self, x: str, output: str, axes: list[int], starts: list[int], lengths: list[int]
    ) -> str:
        bounds = {
            "starts": starts,
            "ends": [start + length for start, length in zip(starts, lengths, strict=True)],
            "axes": axes,
            "steps": [1] * len(axes),
        }
        names = [self.constant(f"{output}_{k}", v, np.int64) for k, v in bounds.items()]
        return self.add("Slice", [x, *names], output)

    def grouped(
        self, x: str, name: str, groups: int, width: int, add_part: Callable[[str, str, int], str]
    ) -> str:
        """`add_part` takes an input, its output's name and its number; `width` in channels."""
        if groups == 1:
            return add_part(x, name, 0)
        inputs = [f"{name}_in{i}" for i in range(groups)]
        sizes = self.constant(f"{name}_sizes", [width] * groups, np.int64)
        node = helper.make_node("Split", [x, sizes], inputs, name=f"Split_{name}", axis=1)
        self.nodes.append(node)
        parts = [add_part(part, f"{name}_out{i}", i) for i, part in enumerate(inputs)]
        return self.add("Concat", parts, name, axis=1)


def _preprocessing(graph: OnnxGraph, weights: RunWeights) -> str:
    run = weights.run
    x, size = "images", run.image_size
    start = (run.stored_size - size) // 2
    if run.stored_size != size:
        x = graph.slice(x, "crop", [1, 2], [start] * 2, [size] * 2)
    x = graph.add("Cast", [x], "pixels", to=TensorProto.FLOAT)
    mean, scale = mean_and_scale(run)
    for name, array, op, output in (
        ("mean", mean, "Sub", "centred"),
        ("scale", scale, "Div", "scaled"),
    ):
        if array is not None:
            # Whole images: OpenCV 4.6 takes three numbers for those of three rows.
            whole = np.broadcast_to(array, (size, size, 3))
            x = graph.add(op, [x, graph.constant(name, whole)], output)
    return graph.add("Transpose", [x], "preprocessed", perm=[0, 3, 1, 2])
