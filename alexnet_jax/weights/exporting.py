"""Every format in which weights leave this program, by name."""

from pathlib import Path
from typing import Literal

from alexnet_jax.runs.weights import RunWeights
from alexnet_jax.weights.writers import safetensors as archive
from alexnet_jax.weights.writers.output import Exported

Format = Literal["safetensors", "torchvision", "stablehlo", "onnx", "savedmodel", "tflite"]


def export(weights: RunWeights, output: str | Path, form: Format) -> archive.Export | Exported:
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
    match form:
        case "safetensors":
            return archive.export_safetensors(weights, output)
        case "torchvision":
            from alexnet_jax.weights.writers.torchvision import export_torchvision

            return export_torchvision(weights, output)
        case "stablehlo":
            from alexnet_jax.weights.writers.stablehlo import export_stablehlo

            return export_stablehlo(weights, output)
        case "onnx":
            from alexnet_jax.weights.writers.onnx import export_onnx

            return export_onnx(weights, output)
        case "savedmodel":
            from alexnet_jax.weights.writers.tensorflow import export_savedmodel

            return export_savedmodel(weights, output)
        case "tflite":
            from alexnet_jax.weights.writers.tensorflow import export_tflite

            return export_tflite(weights, output)
