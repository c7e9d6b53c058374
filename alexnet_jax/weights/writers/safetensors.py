"""Parameters out to safetensors: one flat file for other programs, checked after writing."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file

from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.errors import CheckpointError, InputError
from alexnet_jax.network.layers import Network, layer_names, summarize
from alexnet_jax.network.model import Params
from alexnet_jax.runs.weights import RunWeights
from alexnet_jax.weights.readers.safetensors import FORMAT, read_safetensors
from alexnet_jax.weights.writers import output as output_files

LAYOUT = {
    "images": "[batch, height, width, channels], RGB",
    "convolution kernel": "HWIO: [height, width, channels_in / groups, channels_out]",
    "dense kernel": "[in / groups, out]; images are flattened in the order height, width, channel",
    "unshared kernel": "[out_height, out_width, height, width, channels_in, channels_out]",
    "towers": "group g owns the g-th contiguous part of the channels",
}


class Export(NamedTuple):
    """What was written.

    Attributes:
      path: the safetensors file.
      config_path: its sidecar.
      tensors: number of arrays in the file.
      bytes: size of the file.
      difference: largest absolute difference between what is in the file and the parameters;
        always 0.0, since anything else is an error.
    """

    path: Path
    config_path: Path
    tensors: int
    bytes: int
    difference: float

    def summary(self) -> str:
        """Returns one line for the user."""
        return (
            f"wrote {self.path} ({self.tensors} tensors, {self.bytes / 1e6:.1f} MB) and "
            f"{self.config_path.name}; read back, largest difference {self.difference:g}"
        )


def export_safetensors(weights: RunWeights, output: str | Path) -> Export:
    """Writes parameters and preprocessing arrays to `output`, and `<stem>.config.json` beside it.

    Tensors are called `conv1.kernel`, `conv1.bias`, …, `inputs.mean` and `inputs.scale`, all
    float32. The sidecar holds everything needed to use them: the layers, the layout, the
    preprocessing and the class names.

    Args:
      weights: from `load_weights`.
      output: a file name ending in `.safetensors`; nothing may exist there.

    Raises:
      InputError: the name does not fit, exists already, or cannot be written.
      CheckpointError: the parameters are not finite, or the written file differs from them.
    """
    path = Path(output)
    config_path = path.with_suffix(".config.json")
    _check_output(path, config_path)
    tensors = flatten(weights.params, weights.run.inputs)
    _check_finite(tensors)
    config = describe(weights)
    with output_files.fresh(path, config_path) as (file, sidecar):
        save_file(tensors, file, metadata=_metadata(config))
        difference = _verify(file, tensors)
        output_files.write_json(sidecar, config)
        shutil.copymode(sidecar, file)  # safetensors makes files that others cannot read
    return Export(path, config_path, len(tensors), path.stat().st_size, difference)


def flatten(params: Params, inputs: Inputs) -> dict[str, np.ndarray]:
    """Returns `{"conv1.kernel": …, "inputs.mean": …}`, contiguous arrays.

    The colour PCA stays behind: it is needed in training only.
    """
    tensors = {
        f"{layer}.{name}": np.ascontiguousarray(array)
        for layer, arrays in params.items()
        for name, array in arrays.items()
    }
    for name in ("mean", "scale"):
        tensors[f"inputs.{name}"] = np.ascontiguousarray(getattr(inputs, name), np.float32)
    return tensors


def describe(weights: RunWeights) -> dict[str, Any]:
    """Returns the sidecar's contents: how to use the parameters without this program."""
    run = weights.run
    return {
        "format": FORMAT,
        "version": 1,
        "network": run.network.name,
        "source": run.network.source,
        "step": weights.step,
        "classes": run.network.classes,
        "class_names": list(run.class_names),
        "image_size": run.image_size,
        "preprocessing": {
            **run.appearance._asdict(),
            "resize": f"shorter side to {run.stored_size} pixels",
            "crop": f"centre {run.stored_size}x{run.stored_size}, "
            f"then centre {run.image_size}x{run.image_size}",
            "stored_size": run.stored_size,
            "range": "0..255",
            "channels": "RGB",
            "formula": "(image - inputs.mean) / inputs.scale",
            "mirror": run.config.augment.mirror,
            **dataclasses.asdict(run.config.preprocess),
        },
        "layout": LAYOUT,
        "layers": _layers(run.network, run.image_size),
    }


def check_params(weights: RunWeights) -> None:
    """Raises `CheckpointError` unless all parameters and preprocessing arrays are finite."""
    _check_finite(flatten(weights.params, weights.run.inputs))


def _layers(network: Network, image_size: int) -> list[dict[str, Any]]:
    summaries = summarize(network, image_size)
    return [
        {
            "type": type(summary.layer).__name__,
            **dataclasses.asdict(summary.layer),
            "name": name,
            "output_shape": list(summary.output_shape),
        }
        for name, summary in zip(layer_names(network.layers), summaries, strict=True)
    ]


def _metadata(config: dict[str, Any]) -> dict[str, str]:
    """Returns the header's metadata, which may hold strings only: the rest as JSON."""
    names = ("format", "version", "network", "step", "classes", "image_size")
    plain = {name: str(config[name]) for name in names}
    objects = {
        name: json.dumps(config[name]) for name in ("layout", "preprocessing", "class_names")
    }
    return plain | objects


def _check_output(path: Path, config_path: Path) -> None:
    if path.suffix != ".safetensors":
        raise InputError(f"--output {path} should end in .safetensors")
    output_files.refuse_existing(path, config_path)


def _check_finite(tensors: dict[str, np.ndarray]) -> None:
    for name, array in tensors.items():
        if not np.isfinite(array).all():
            raise CheckpointError(
                f"{name} has values that are not finite; export another checkpoint"
            )


def _verify(path: Path, tensors: dict[str, np.ndarray]) -> float:
    """Returns 0.0 if the file holds exactly these arrays, bit for bit."""
    written, _ = read_safetensors(path)
    if written.keys() != tensors.keys():
        raise CheckpointError(f"{path} lost or gained tensors in writing; check the disk")
    for name, array in tensors.items():
        same = written[name].dtype == array.dtype and written[name].shape == array.shape
        if not same or written[name].tobytes() != array.tobytes():
            raise CheckpointError(f"{path}: {name} changed in writing; check the disk")
    return max(
        float(np.max(np.abs(written[name] - array), initial=0)) for name, array in tensors.items()
    )
