#!/usr/bin/env bash
# ONNX's reference evaluator computes LRN for as many channels as the batch has images; the other
# channels are only divided by bias ** beta, as if nothing were near them. No warning. So LRN is right
# only where the batch equals the channels, and a batch of 1 normalizes one channel.
# Guessed: it is the specification's formula, and can be leaned on as a control of exported files.
# Controls: onnxruntime, and the formula of the operator's page (square sums over the channels c - 2 to
# c + 2 for size 5).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "numpy", np.__version__)
CHANNELS, SIZE, ALPHA, BETA, BIAS = 6, 5, 1e-2, 0.75, 2.0
shape = ["n", CHANNELS, 3, 3]
node = helper.make_node("LRN", ["x"], ["y"], size=SIZE, alpha=ALPHA, beta=BETA, bias=BIAS)
x_info, y_info = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
model = helper.make_model(
    helper.make_graph([node], "lrn", [x_info], [y_info]),
    opset_imports=[helper.make_opsetid("", 17)],
    ir_version=8,
)
onnx.checker.check_model(model, full_check=True)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def formula(x):
    squares = np.stack(
        [(x[:, max(0, c - 2) : c + 3] ** 2).sum(1) for c in range(CHANNELS)], axis=1
    )
    return x / (BIAS + ALPHA / SIZE * squares) ** BETA


for n in (1, 2, CHANNELS):
    x = np.random.default_rng(n).normal(0, 30, (n, CHANNELS, 3, 3)).astype(np.float32)
    [seen], [control] = ReferenceEvaluator(model).run(None, {"x": x}), session.run(None, {"x": x})
    assert np.allclose(control, formula(x), rtol=1e-5)
    right = [c for c in range(CHANNELS) if np.allclose(seen[:, c], control[:, c], rtol=1e-4)]
    plain = [c for c in range(CHANNELS) if np.allclose(seen[:, c], x[:, c] / BIAS**BETA, rtol=1e-5)]
    print(f"batch {n}: right in channels {right}, not normalized in {plain}")
    assert right == list(range(n)) and plain == list(range(n, CHANNELS))
print("as found")
PYTHON
