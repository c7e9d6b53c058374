"""Our own export read back, bit for bit: everything needed is in the header of the file."""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from alexnet_jax.errors import InputError
from alexnet_jax.network.model import Params
from alexnet_jax.weights.readers.array_checks import check_floats
from alexnet_jax.weights.readers.foreign_weights import ForeignWeights, plain_inputs
from alexnet_jax.weights.readers.own_description import describe_weights, read_description
from alexnet_jax.weights.readers.source_file import SourceFile

FORMAT = "alexnet_jax"


def recognizes(file: SourceFile) -> bool:
    """Whether `export` wrote it."""
    try:
        with safe_open(file.path, framework="numpy") as opened:
            return (opened.metadata() or {}).get("format") == FORMAT
    except (OSError, SafetensorError):
        return False


def read(file: SourceFile, network_name: str = "") -> ForeignWeights:
    tensors, metadata = read_safetensors(file.path)
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"{file.name} was not written by `export`; if it has torchvision's keys, name "
            "--source torchvision"
        )
    description = read_description(file, metadata, network_name)
    try:
        params, arrays = unflatten(tensors)
        inputs = plain_inputs(arrays["mean"], arrays["scale"])
    except (KeyError, ValueError) as error:
        raise InputError(f"the header of {file.name} is damaged: {error!r}; export again") from None
    check_floats(tensors, file.name)
    return describe_weights(file, description, params, inputs, "safetensors of alexnet_jax")


def unflatten(tensors: dict[str, np.ndarray]) -> tuple[Params, dict[str, np.ndarray]]:
    """Returns the parameter tree and the preprocessing arrays (`mean`, `scale`)."""
    params: dict[str, dict[str, np.ndarray]] = {}
    for key, array in tensors.items():
        layer, _, name = key.rpartition(".")
        params.setdefault(layer, {})[name] = array
    inputs = params.pop("inputs", {})
    return params, inputs


def read_safetensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns tensors and metadata; bfloat16 becomes float32; `InputError` if damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: _read_tensor(file, name, path) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} is not a complete safetensors file: {error}; get it again"
        ) from None


def _read_tensor(file: Any, name: str, path: str | Path) -> np.ndarray:
    try:
        array = file.get_tensor(name)
    except (AttributeError, KeyError, TypeError, ValueError):  # float8, and smaller ones
        dtype = file.get_slice(name).get_dtype()
        raise InputError(
            f"{path}: '{name[:80]}' has numbers of type {dtype}, which cannot be read here; save "
            "it as float32"
        ) from None
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
