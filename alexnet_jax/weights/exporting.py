"""A run's weights written in any format, and checked."""

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path

from alexnet_jax.errors import InputError
from alexnet_jax.runs.weights import RunWeights
from alexnet_jax.weights import WRITERS, Format, Writer
from alexnet_jax.weights.writers import output_files
from alexnet_jax.weights.writers.description import check_finite
from alexnet_jax.weights.writers.logits_check import compare_logits
from alexnet_jax.weights.writers.output_files import Exported
from alexnet_jax.weights.writers.written import Written


def export(weights: RunWeights, output: str | Path, form: Format) -> Exported:
    """Writes parameters, or the program that uses them, and checks what was written.

    Args:
      output: file or folder to write; neither it nor its sidecar may exist.

    Raises:
      InputError: the name does not fit, or cannot be written; a package is missing; the format
        cannot express the network.
      CheckpointError: the parameters are not finite, or what was written differs from them or
        computes other logits. Nothing is left then.
    """
    writer = WRITERS[form]
    path, sidecar = output_files.output_paths(output, writer.endings, writer.sidecar_ending)
    write = _load(writer, form)
    check_finite(weights)
    with output_files.named_when_done(path, sidecar) as (file, description):
        written = write(weights, file)
        check = written.check
        if written.compute is not None:
            check += compare_logits(weights, written.compute, written.program, written.engine)
        output_files.write_json(description, written.describe(check))
        if file.is_file():
            shutil.copymode(description, file)  # safetensors makes files that others cannot read
    size = output_files.size_in_bytes(path)
    return Exported(path, sidecar, size, check, written.notes)


def _load(writer: Writer, form: str) -> Callable[[RunWeights, Path], Written]:
    try:
        module = importlib.import_module(f"{__package__}.writers.{writer.module}")
    except ImportError as error:
        raise InputError(
            f"--format {form} needs a package ({error}); type: pip install {error.name}, or "
            f'pip install -e ".[{writer.extra}]" in the folder of this project'
        ) from None
    return getattr(module, writer.function)
