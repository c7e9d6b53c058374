"""Parameters to safetensors: one flat file for other programs, read back bit for bit."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from alexnet_jax.errors import CheckpointError
from alexnet_jax.runs.run_weights import RunWeights
from alexnet_jax.weights.readers.safetensors import read_safetensors
from alexnet_jax.weights.writers.description import describe_weights, named_arrays
from alexnet_jax.weights.writers.logits_check import Written


def write(weights: RunWeights, path: Path) -> Written:
    """Writes `conv1.kernel`, …, `inputs.mean`, `inputs.scale`; the header has all for an import."""
    arrays = named_arrays(weights)
    description = describe_weights(weights)
    # The header's metadata may hold strings only: the rest is JSON.
    names = ("format", "version", "network", "step", "classes", "image_size")
    header = {name: str(description[name]) for name in names}
    for name in ("layout", "preprocessing", "class_names"):
        header[name] = json.dumps(description[name])
    save_file(arrays, path, metadata=header)
    written, _ = read_safetensors(path)
    if written.keys() != arrays.keys():
        raise CheckpointError(f"{path} lost or gained tensors in writing; check the disk")
    for name, array in arrays.items():
        check_same_bits(name, written[name], array)
    check = f"{len(arrays)} tensors read back, largest difference 0"
    return Written(description, check=check)


def check_same_bits(name: str, written: np.ndarray | None, array: np.ndarray) -> None:
    if (
        written is None
        or (written.dtype, written.shape) != (array.dtype, array.shape)
        or written.tobytes() != array.tobytes()
    ):
        raise CheckpointError(f"{name} changed in writing; check the disk")
