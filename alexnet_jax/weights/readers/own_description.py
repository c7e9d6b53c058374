"""What `export` writes about a run, in the metadata of safetensors and ONNX."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from alexnet_jax.appearance import Appearance
from alexnet_jax.config import AugmentConfig, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Network
from alexnet_jax.network.networks import find_network
from alexnet_jax.weights.readers.array_checks import check_floats
from alexnet_jax.weights.readers.foreign_weights import ForeignWeights, LayerArrays
from alexnet_jax.weights.readers.source_file import SourceFile

_MAX_SIDE = 4096


class Description(NamedTuple):
    """A run without its arrays."""

    network: Network
    image_size: int
    stored_size: int
    preprocess: PreprocessConfig
    class_names: tuple[str, ...]
    settings: dict[str, Any]  # what else is said of the preprocessing
    step: int


def read_description(
    file: SourceFile, metadata: Mapping[str, str], network_name: str
) -> Description:
    """Raises `InputError` for metadata that are damaged, contradictory, or of another network."""
    try:
        name, classes = metadata["network"], int(metadata["classes"])
        size, step = int(metadata["image_size"]), int(metadata["step"])
        settings = json.loads(metadata["preprocessing"])
        names = tuple(str(name) for name in json.loads(metadata["class_names"]))
        stored = int(settings["stored_size"])
        preprocess = _preprocess_config(settings)
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"the header of {file.name} is damaged: {error!r}; export again") from None
    if network_name not in ("", name):
        raise InputError(f"{file.name} holds network '{name}', not '{network_name}'")
    if not 0 < size <= stored <= _MAX_SIDE or len(names) != classes:
        raise InputError(
            f"the header of {file.name} contradicts itself: {size} of {stored} pixels, "
            f"{len(names)} names for {classes} classes; export again"
        )
    network = find_network(name, classes)
    return Description(network, size, stored, preprocess, names, settings, step)


def describe_weights(
    file: SourceFile, of: Description, params: LayerArrays, inputs: Inputs, form: str
) -> ForeignWeights:
    """Raises `InputError` for arrays of the preprocessing that do not fit."""
    side = {"image": of.image_size, "image-aligned": of.stored_size}.get(of.preprocess.mean)
    if inputs.scale.shape != (3,) or inputs.mean.shape != ((side, side, 3) if side else (3,)):
        raise InputError(f"{file.name}: the arrays of its preprocessing have wrong shapes")
    check_floats({"mean": np.asarray(inputs.mean), "scale": np.asarray(inputs.scale)}, file.name)
    return ForeignWeights(
        file=file,
        network=of.network,
        params=params,
        image_size=of.image_size,
        stored_size=of.stored_size,
        preprocess=of.preprocess,
        inputs=inputs,
        form=form,
        class_names=of.class_names,
        appearance=Appearance(
            "stored" if of.settings.get("orientation") == "stored" else "upright",
            "stored" if of.settings.get("colours") == "stored" else "shown",
        ),
        augment=AugmentConfig(mirror=bool(of.settings.get("mirror", True))),
        notes=(f"step {of.step} of its run",),
    )


def _preprocess_config(settings: dict[str, Any]) -> PreprocessConfig:
    fields = PreprocessConfig.__dataclass_fields__
    config = PreprocessConfig(**{name: settings[name] for name in fields})
    if config.scale not in ("none", "channel", "imagenet"):
        raise ValueError(f"scale {str(config.scale)[:20]!r}")
    if config.mean not in ("image", "image-aligned", "channel", "imagenet", "none"):
        raise ValueError(f"mean {str(config.mean)[:20]!r}")
    return config
