"""A run's weights written in any format."""

import importlib
from pathlib import Path

from alexnet_jax.runs.weights import RunWeights
from alexnet_jax.weights import WRITERS, Format
from alexnet_jax.weights.writers.output import Exported
from alexnet_jax.weights.writers.safetensors import Export


def export(weights: RunWeights, output: str | Path, form: Format) -> Export | Exported:
    """Writes parameters, or the program that uses them, and checks what was written.

    Args:
      weights: from `load_weights`.
      output: what to write; see the function of each format.
      form: name of the format.

    Raises:
      InputError: the output's name does not fit, exists already, or cannot be written; a package
        is missing; the format cannot express the network.
      CheckpointError: the parameters are not finite, or the check failed. Nothing is left then.
    """
    module = importlib.import_module(f"{__package__}.writers.{WRITERS[form]}")
    return getattr(module, f"export_{form}")(weights, output)
