"""A run's weights written in any format, and checked."""

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from alexnet_jax.errors import InputError
from alexnet_jax.runs.run_weights import RunWeights
from alexnet_jax.weights import WRITERS, Format
from alexnet_jax.weights.writers.description import check_finite_weights
from alexnet_jax.weights.writers.logits_check import Written, compare_logits
from alexnet_jax.weights.writers.output_files import (
    Exported,
    named_when_done,
    output_paths,
    size_in_bytes,
)


def export(weights: RunWeights, output: str | Path, form: Format) -> Exported:
    """Writes parameters, or the program that uses them, and checks what was written.

    Raises:
      InputError: a bad or taken name, a missing package, or a network that does not fit the format.
      CheckpointError: parameters are not finite, or what was written differs or computes other
        logits. Nothing is left then.
    """
    path, sidecar = output_paths(output, WRITERS[form])
    write = _load_writer(form)
    check_finite_weights(weights)
    with named_when_done(path, sidecar) as (file, description):
        written = write(weights, file)
        facts, check = written.description, written.check
        if written.compute is not None:
            check += compare_logits(weights, written.compute, written.program, written.engine)
            facts = facts | {"check": check}
        text = json.dumps(facts, indent=2, ensure_ascii=False)
        description.write_text(text + "\n", "utf-8")
        if file.is_file():
            shutil.copymode(description, file)  # safetensors makes files that others cannot read
    return Exported(path, sidecar, size_in_bytes(path), check, written.notes)


def _load_writer(form: str) -> Callable[[RunWeights, Path], Written]:
    writer = WRITERS[form]
    try:
        module = importlib.import_module(f"{__package__}.writers.{writer.module}")
    except ImportError as error:
        raise InputError(
            f"--format {form} needs a package ({error}); type: pip install {error.name}, or "
            f'pip install -e ".[{writer.extra}]" in the folder of this project'
        ) from None
    return getattr(module, writer.function)
