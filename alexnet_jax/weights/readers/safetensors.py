"""Our own export read back, bit for bit: everything needed is in the header of the file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from alexnet_jax.appearance import Appearance
from alexnet_jax.config import AugmentConfig, PreprocessConfig
from alexnet_jax.errors import InputError
from alexnet_jax.network.model import Params
from alexnet_jax.network.networks import find_network
from alexnet_jax.weights.readers.array_checks import check_floats
from alexnet_jax.weights.readers.foreign_weights import ForeignWeights, plain_inputs
from alexnet_jax.weights.readers.source_file import SourceFile

FORMAT = "alexnet_jax"
_MAX_SIDE = 4096


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
    try:
        name, classes = metadata["network"], int(metadata["classes"])
        size, step = int(metadata["image_size"]), int(metadata["step"])
        settings = json.loads(metadata["preprocessing"])
        names = tuple(str(name) for name in json.loads(metadata["class_names"]))
        stored = int(settings["stored_size"])
        preprocess = _preprocess_config(settings)
        params, arrays = unflatten(tensors)
        inputs = plain_inputs(arrays["mean"], arrays["scale"])
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"the header of {file.name} is damaged: {error!r}; export again") from None
    if network_name not in ("", name):
        raise InputError(f"{file.name} holds network '{name}', not '{network_name}'")
    if not 0 < size <= stored <= _MAX_SIDE or len(names) != classes:
        raise InputError(
            f"the header of {file.name} contradicts itself: {size} of {stored} pixels, "
            f"{len(names)} names for {classes} classes; export again"
        )
    side = {"image": size, "image-aligned": stored}.get(preprocess.mean)
    if inputs.scale.shape != (3,) or inputs.mean.shape != ((side, side, 3) if side else (3,)):
        raise InputError(f"{file.name}: the arrays of its preprocessing have wrong shapes")
    check_floats(tensors, file.name)
    return ForeignWeights(
        file=file,
        network=find_network(name, classes),
        params=params,
        image_size=size,
        stored_size=stored,
        preprocess=preprocess,
        inputs=inputs,
        form="safetensors of alexnet_jax",
        class_names=names,
        appearance=Appearance(
            "stored" if settings.get("orientation") == "stored" else "upright",
            "stored" if settings.get("colours") == "stored" else "shown",
        ),
        augment=AugmentConfig(mirror=bool(settings.get("mirror", True))),
        notes=(f"step {step} of its run",),
    )


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


def _preprocess_config(settings: dict[str, Any]) -> PreprocessConfig:
    fields = PreprocessConfig.__dataclass_fields__
    config = PreprocessConfig(**{name: settings[name] for name in fields})
    if config.scale not in ("none", "channel", "imagenet"):
        raise ValueError(f"scale {str(config.scale)[:20]!r}")
    if config.mean not in ("image", "image-aligned", "channel", "imagenet", "none"):
        raise ValueError(f"mean {str(config.mean)[:20]!r}")
    return config
