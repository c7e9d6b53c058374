#!/usr/bin/env bash
# onnxconverter-common's `convert_float_to_float16` writes models that ONNX's checker and onnxruntime
# refuse, from valid models of two usual kinds, without a warning:
#  - a Cast from bytes to float in the graph, as where images come in: the Cast stays float32, and what
#    reads it has become float16 (with either value of keep_io_types);
#  - an output that another node reads, as logits that are an output and the Softmax's input: with
#    keep_io_types=True the output's name goes to float32, and its reader expects float16.
# Guessed: the docstring's "keep_io_types" concerns inputs and outputs only, the rest is consistent.
# Control: the same models without the Cast, and with a reader of the last product itself, are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxconverter-common==1.16.0 onnx==1.20.1 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxconverter_common import float16

print(*(f"{name} {version(name)}" for name in ("onnxconverter-common", "onnx", "onnxruntime")))


def model(*, bytes_in, reader_of):
    """x [n, 4] to logits [n, 3] and probabilities of `reader_of`."""
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT)] if bytes_in else []
    nodes += [
        helper.make_node("MatMul", ["f" if bytes_in else "x", "w"], ["product"]),
        helper.make_node("Identity", ["product"], ["logits"]),
        helper.make_node("Softmax", [reader_of], ["probabilities"], axis=1),
    ]
    kind = TensorProto.UINT8 if bytes_in else TensorProto.FLOAT
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3])
        for name in ("logits", "probabilities")
    ]
    weight = numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "w")
    images = helper.make_tensor_value_info("x", kind, ["n", 4])
    graph = helper.make_graph(nodes, "g", [images], outputs, [weight])
    opset = [helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made, np.arange(8).reshape(2, 4).astype(np.uint8 if bytes_in else np.float32)


def outcome(made, x, keep):
    """Returns refusals of the checker and of onnxruntime, or that the logits are right."""
    half = float16.convert_float_to_float16(made, keep_io_types=keep)
    refusals = []
    try:
        onnx.checker.check_model(half, full_check=True)
    except Exception:
        refusals.append("checker")
    try:
        session = onnxruntime.InferenceSession(
            half.SerializeToString(), providers=["CPUExecutionProvider"]
        )
    except Exception:
        return [*refusals, "onnxruntime"]
    given = x.astype(np.float16) if "16" in session.get_inputs()[0].type else x
    [logits] = session.run(["logits"], {"x": given})
    assert np.array_equal(logits.astype(np.float32), x[:, :3].astype(np.float32))
    return refusals or ["right"]


for bytes_in in (False, True):
    for reader_of in ("product", "logits"):
        for keep in (False, True):
            found = outcome(*model(bytes_in=bytes_in, reader_of=reader_of), keep)
            words = f"Cast: {bytes_in}, Softmax of {reader_of}, keep_io_types={keep}"
            print(f"{words}: {', '.join(found)}")
            bad = bytes_in or (reader_of == "logits" and keep)
            assert found == (["checker", "onnxruntime"] if bad else ["right"])
print("as found")
PYTHON
