"""TVM's Relax on the CPU, compiled for each shape."""

import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx


def load(file, option):
    model = onnx.load(file)
    name = model.graph.input[0].name

    def run(images):
        module = from_onnx(
            model,
            shape_dict={name: list(images.shape)},
            dtype_dict={name: str(images.dtype)},
            keep_params_in_input=False,
        )
        module = relax.transform.DecomposeOpsForInference()(module)
        module = relax.transform.LegalizeOps()(module)
        machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
        outputs = machine["main"](tvm.runtime.tensor(images))
        return (outputs if hasattr(outputs, "numpy") else outputs[0]).numpy()

    return run
