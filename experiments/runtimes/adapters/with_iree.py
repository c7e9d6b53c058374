"""IREE, from the StableHLO of an artifact of `jax.export`, lowered by JAX for the CPU alone."""

import tempfile
from pathlib import Path

import iree.runtime
import jax
import numpy as np
from jax import export

from experiments.runtimes.adapters.tool import run_tool


def load(file, option):
    artifact = export.deserialize(bytearray(Path(file).read_bytes()))
    folder = Path(tempfile.mkdtemp())
    text, compiled = folder / "program.mlir", folder / "program.vmfb"
    program = export.export(jax.jit(artifact.call), platforms=["cpu"])(*artifact.in_avals)
    text.write_text(program.mlir_module())
    words = ["--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu"]
    words += ["--iree-llvmcpu-target-cpu=host", "-o", str(compiled), str(text)]
    run_tool("iree-compile", words, compiled)
    module = iree.runtime.load_vm_flatbuffer_file(str(compiled), driver="local-task")

    def run(images):
        logits = module.main(images)[0]
        return np.array(logits)  # a copy: what it lies in goes with it

    return run
