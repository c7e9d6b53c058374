"""What describes exported weights: sidecars, and the arithmetic before the network."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_jax.errors import CheckpointError
from alexnet_jax.network.layers import layer_names, summarize
from alexnet_jax.runs.run_folder import Run
from alexnet_jax.runs.run_weights import RunWeights
from alexnet_jax.weights.readers.safetensors import FORMAT

if TYPE_CHECKING:
    from alexnet_jax.weights.writers.program_spec import ProgramSpec

LAYOUT = {
    "images": "[batch, height, width, channels], RGB",
    "convolution kernel": "HWIO: [height, width, channels_in / groups, channels_out]",
    "dense kernel": "[in / groups, out]; images are flattened in the order height, width, channel",
    "unshared kernel": "[out_height, out_width, height, width, channels_in, channels_out]",
    "towers": "group g owns the g-th contiguous part of the channels",
}


def describe_weights(weights: RunWeights) -> dict[str, Any]:
    run = weights.run
    summaries = summarize(run.network, run.image_size)
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
        "layers": [
            {
                "type": type(summary.layer).__name__,
                **dataclasses.asdict(summary.layer),
                "name": name,
                "output_shape": list(summary.output_shape),
            }
            for name, summary in zip(layer_names(run.network.layers), summaries, strict=True)
        ],
    }


def describe_program(
    weights: RunWeights, spec: "ProgramSpec", format: str, **facts: Any
) -> dict[str, Any]:
    run, batch = weights.run, spec.batch or "batch"
    description = describe_weights(weights)
    for name in ("layout", "layers", "version"):
        del description[name]
    if spec.whole:
        where = "resize and crop to the stored size before; the rest is in the program"
        meaning = "RGB, 0..255, height before width"
    else:
        where = "all of it before the program"
        meaning = f"the formula's result, RGB, as {spec.layout}"
        description["preprocessing"] |= preprocessing_values(run)
    description["preprocessing"]["where"] = where
    logits = {
        "name": "logits",
        "shape": [batch, run.network.classes],
        "dtype": "float32",
        "meaning": "before the softmax",
    }
    probabilities = logits | {
        "name": "probabilities",
        "meaning": "of the centre view; in the order of class_names",
    }
    image = {
        "name": spec.input_name,
        "shape": [batch, *spec.image_shape(run)],
        "dtype": np.dtype(spec.dtype).name,
        "meaning": meaning,
    }
    return description | {
        "format": format,
        "form": spec.form,
        "batch": spec.batch or "any",
        "inputs": [image],
        "outputs": [logits, probabilities] if spec.whole else [logits],
        "check": "",  # filled in after the check
        **facts,
    }


def metadata(description: dict[str, Any]) -> dict[str, Any]:
    """Returns a description without images: viewers show it as text."""
    values = description["preprocessing"].items()
    return description | {"preprocessing": {k: v for k, v in values if np.ndim(v) < 2}}


def preprocessing_values(run: Run) -> dict[str, Any]:
    """Returns the arrays of the formula, for who prepares images without this library."""

    def plain(array: np.ndarray | None) -> Any:
        # The shortest decimals that are these float32 numbers.
        return None if array is None else array.astype(np.str_).astype(np.float64).tolist()

    mean, scale = mean_and_scale(run)
    return {
        "formula": "(image - mean_values) / scale_values of the crop, as float32; null: without it",
        "mean_values": plain(mean),
        "scale_values": plain(scale),
    }


def mean_and_scale(run: Run) -> tuple[np.ndarray | None, np.ndarray | None]:
    """To subtract, float32 `[size, size, 3]` or `[3]`, and to divide by, `[3]`; None: nothing."""
    settings, inputs = run.config.preprocess, run.inputs
    mean = None if settings.mean == "none" else np.asarray(inputs.mean, np.float32)
    if mean is not None and mean.ndim == 3:
        start = (mean.shape[0] - run.image_size) // 2
        mean = mean[start : start + run.image_size, start : start + run.image_size]
    scale = None if settings.scale == "none" else np.asarray(inputs.scale, np.float32)
    return mean, scale


def named_arrays(weights: RunWeights) -> dict[str, np.ndarray]:
    """Returns `{"conv1.kernel": …, "inputs.mean": …}` without the colour PCA, contiguous."""
    arrays = {
        f"{layer}.{name}": np.ascontiguousarray(array)
        for layer, leaves in weights.params.items()
        for name, array in leaves.items()
    }
    for name in ("mean", "scale"):
        array = getattr(weights.run.inputs, name)
        arrays[f"inputs.{name}"] = np.ascontiguousarray(array, np.float32)
    return arrays


def check_finite_weights(weights: RunWeights) -> None:
    for name, array in named_arrays(weights).items():
        if not np.isfinite(array).all():
            raise CheckpointError(
                f"{name} has values that are not finite; export another checkpoint"
            )
