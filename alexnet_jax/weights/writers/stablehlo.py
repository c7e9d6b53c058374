"""A program as StableHLO for CPUs, GPUs and TPUs."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flatbuffers  # noqa: F401  # jax.export writes with it
import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export
from jax import lax

from alexnet_jax.data.preprocess import preprocess
from alexnet_jax.evaluation.views import centre_view
from alexnet_jax.network.layers import Dense
from alexnet_jax.network.model import AlexNet
from alexnet_jax.runs.run_weights import RunWeights
from alexnet_jax.weights.writers.description import describe_program
from alexnet_jax.weights.writers.logits_check import Written
from alexnet_jax.weights.writers.program_spec import ProgramSpec

PLATFORMS = ("cpu", "cuda", "tpu")
USE = (
    "from jax import export; program = export.deserialize(bytearray(open(FILE, 'rb').read())); "
    "program.call(images)['logits']; the StableHLO itself, for programs without JAX: "
    "program.mlir_module_serialized, whose first argument is the platform, int32: 0 is the CPU"
)


def write(weights: RunWeights, path: Path, spec: ProgramSpec) -> Written:
    """Three platforms; JAX of at least the next six months can read it."""
    path.write_bytes(lower(weights, spec).serialize())
    program = jax_export.deserialize(bytearray(path.read_bytes()))

    def compute(images: np.ndarray) -> Any:
        with _without_cache():
            return program.call(spec.prepare(weights.run, images))["logits"]

    description = describe_program(
        weights,
        spec,
        "stablehlo",
        jax=jax.__version__,
        platforms=list(program.platforms),
        calling_convention_version=program.calling_convention_version,
        use=USE,
    )
    engine = f"JAX {jax.__version__} on the CPU"
    return Written(description, compute, "the StableHLO program", engine)


def lower(weights: RunWeights, spec: ProgramSpec) -> jax_export.Exported:
    """To `logits` and for the whole `probabilities`, float32 `[batch, classes]`."""
    run = weights.run
    grouped = {
        layer.name for layer in run.network.layers if isinstance(layer, Dense) and layer.groups > 1
    }

    def program(images: jax.Array) -> dict[str, jax.Array]:
        # The compiler would rearrange grouped dense kernels ahead of time, for many seconds.
        params: Any = {
            name: lax.optimization_barrier(jax.tree.map(jnp.asarray, leaves))
            if name in grouped
            else leaves
            for name, leaves in weights.params.items()
        }
        if spec.whole:
            images = preprocess(
                run.inputs,
                centre_view(images, run.image_size),
                config=(run.config.preprocess, run.config.augment),
            )
        logits: Any = AlexNet(run.network).apply({"params": params}, images)
        outputs = {"logits": logits}
        return outputs | {"probabilities": jax.nn.softmax(logits)} if spec.whole else outputs

    (batch,) = (spec.batch,) if spec.batch else jax_export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *spec.image_shape(run)), spec.dtype)
    return jax_export.export(jax.jit(program), platforms=PLATFORMS)(images)


@contextlib.contextmanager
def _without_cache() -> Iterator[None]:
    """Keeps the program out of the user's cache, since it holds all parameters."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, math.inf)
    try:
        yield
    finally:
        jax.config.update(name, before)
