#!/usr/bin/env bash
# OpenCV reads an ONNX AveragePool with count_include_pad=1 and computes it as if it were 0: padding is
# left out of the mean. So 4.6 to 4.14, and the classic engine of 5.0. The new engine of 5.0 counts
# explicit padding, as it should; but with ceil_mode=1 and no padding it also counts what a last window
# overhangs by, which the operator's page excludes. No warning, and no refusal.
# Guessed: the attribute is read, or the file is refused. Controls: onnxruntime, and the means by hand.
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

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
x = np.arange(1, 37, dtype=np.float32).reshape(1, 1, 6, 6)
np.save("x.npy", x)
for name, options in {"pads": {"pads": [0, 0, 1, 1]}, "ceil": {"ceil_mode": 1}}.items():
    for include in (0, 1):
        node = helper.make_node(
            "AveragePool",
            ["x"],
            ["y"],
            kernel_shape=[3, 3],
            strides=[2, 2],
            count_include_pad=include,
            **options,
        )
        infos = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (("x", [1, 1, 6, 6]), ("y", [1, 1, 3, 3]))
        ]
        model = helper.make_model(
            helper.make_graph([node], "pool", infos[:1], infos[1:]),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
        )
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, f"{name}{include}.onnx")
        session = onnxruntime.InferenceSession(f"{name}{include}.onnx")
        [control] = session.run(None, {"x": x})
        np.save(f"{name}{include}.npy", control)
        # The last window holds four pixels and, with padding, five zeros.
        counted = 9 if (name, include) == ("pads", 1) else 4
        assert np.isclose(control[0, 0, 2, 2], x[0, 0, 4:, 4:].sum() / counted)
PYTHON
cat >read.py <<'PYTHON'
import sys

import cv2
import numpy as np

version, engine, *wrong = sys.argv[1:]
x = np.load("x.npy")
found = []
for name in ("pads0", "pads1", "ceil0", "ceil1"):
    engines = [getattr(cv2.dnn, engine)] if engine else []
    net = cv2.dnn.readNetFromONNX(f"{name}.onnx", *engines)
    net.setInput(x)
    seen, control = net.forward(), np.load(f"{name}.npy")
    if not np.allclose(seen, control, rtol=1e-5):
        found.append(name)
        last, right = seen[0, 0, 2, 2], control[0, 0, 2, 2]
        print(f"opencv {cv2.__version__} {engine} {name}: last mean {last:.2f}, right is {right:.2f}")
print(f"opencv {cv2.__version__} {engine}: wrong in {found}")
assert cv2.__version__ == version and found == wrong
PYTHON
read_with() { # read_with PACKAGE_VERSION NUMPY_VERSION ENGINE WRONG: in an environment of its own
  [ -d "$folder/$1" ] || python3 -m venv "$folder/$1"
  "$folder/$1/bin/pip" install --quiet opencv-python-headless==$1 numpy==$2
  "$folder/$1/bin/python" read.py ${1%.*} "$3" $4
}
read_with 4.6.0.66 1.26.4 "" pads1
read_with 4.14.0.94 2.4.6 "" pads1
read_with 5.0.0.93 2.4.6 ENGINE_CLASSIC pads1
read_with 5.0.0.93 2.4.6 ENGINE_NEW ceil1
echo "as found"
