"""What all exported programs have in common: what goes in, what comes out, and the arithmetic."""

from typing import Any

import numpy as np

from alexnet_jax.runs.folder import Run
from alexnet_jax.runs.weights import RunWeights
from alexnet_jax.weights.writers.safetensors import describe


def describe_program(weights: RunWeights, form: str, checked: str) -> dict[str, Any]:
    """Returns the sidecar of a program: how to call it without this one.

    Args:
      weights: what was exported.
      form: name of the format.
      checked: what the check has found.
    """
    run = weights.run
    size, classes = run.stored_size, run.network.classes
    facts = describe(weights)
    for name in ("layout", "layers", "version"):
        del facts[name]
    facts["preprocessing"]["where"] = (
        "resize and crop to the stored size before; the rest is in the program"
    )
    return facts | {
        "format": form,
        "inputs": [
            {
                "name": "images",
                "shape": ["batch", size, size, 3],
                "dtype": "uint8",
                "meaning": "RGB, 0..255, height before width",
            }
        ],
        "outputs": [
            {"name": name, "shape": ["batch", classes], "dtype": "float32", "meaning": meaning}
            for name, meaning in (
                ("logits", "before the softmax"),
                ("probabilities", "of the centre view; in the order of class_names"),
            )
        ],
        "check": checked,
    }


def mean_and_scale(run: Run) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns what is subtracted from the centre view, and by what it is divided then.

    Returns:
      float32 `[size, size, 3]` or `[3]`, and `[3]`; None where there is nothing to do.
    """
    settings, inputs = run.config.preprocess, run.inputs
    mean = None if settings.mean == "none" else np.asarray(inputs.mean, np.float32)
    if mean is not None and mean.ndim == 3:
        start = (mean.shape[0] - run.image_size) // 2
        mean = mean[start : start + run.image_size, start : start + run.image_size]
    scale = None if settings.scale == "none" else np.asarray(inputs.scale, np.float32)
    return mean, scale
