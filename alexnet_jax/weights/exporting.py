"""A run's weights written in any format, and checked."""

import importlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alexnet_jax.errors import InputError
from alexnet_jax.runs.run_weights import RunWeights
from alexnet_jax.weights import WRITERS, Form, Format
from alexnet_jax.weights.tried_runtimes import jax_readers, tried_runtimes
from alexnet_jax.weights.writers.description import check_finite_weights
from alexnet_jax.weights.writers.logits_check import Written, compare_logits
from alexnet_jax.weights.writers.output_files import (
    Exported,
    named_when_done,
    output_paths,
    size_in_bytes,
)
from alexnet_jax.weights.writers.program_spec import FREE_BATCHES, program_spec

_INNER_LISTS = re.compile(r"\[\n\s+([^][{}\"]*?)\n\s*\]")


def export(
    weights: RunWeights,
    output: str | Path,
    format: Format,
    form: Form = "whole",
    batch: int | None = None,
) -> Exported:
    """Writes parameters, or the program that uses them, and checks what was written.

    Args:
      form: of a program: `whole`, from uint8 images `[batch, stored, stored, 3]` to logits and
        probabilities; or `network`, from preprocessed float32 images, `[batch, 3, size, size]` in
        ONNX and `[batch, size, size, 3]` elsewhere, to logits; how to prepare them is in the
        sidecar.
      batch: the program's one batch size, which makes all its shapes static; None: any.

    Raises:
      InputError: a bad or taken name, a missing package, or a network that does not fit the format.
      CheckpointError: parameters are not finite, or what was written differs or computes other
        logits. Nothing is left then.
    """
    program = program_spec(format, form, batch)
    path, sidecar = output_paths(output, WRITERS[format])
    write = _load_writer(format)
    check_finite_weights(weights)
    with named_when_done(path, sidecar) as (file, description):
        written = write(weights, file, program) if program else write(weights, file)
        facts, check = written.description, written.check
        if written.compute is not None:
            batches = program.check_batches if program else FREE_BATCHES
            check += compare_logits(weights, written, batches)
            facts = facts | {"check": check}
        if program:
            facts = facts | read_by(format, form, batch)
        text = json.dumps(facts, indent=2, ensure_ascii=False)
        text = _INNER_LISTS.sub(lambda found: f"[{' '.join(found[1].split())}]", text)
        description.write_text(text + "\n", "utf-8")
        if file.is_file():
            shutil.copymode(description, file)  # safetensors makes files that others cannot read
    return Exported(path, sidecar, size_in_bytes(path), check, written.notes)


def read_by(format: Format, form: Form = "whole", batch: int | None = None) -> dict[str, Any]:
    """Returns what a sidecar says of the runtimes in which such files were tried."""
    facts: dict[str, Any] = {
        "runtimes_tried": [row._asdict() for row in tried_runtimes(format, form, batch)]
    }
    return facts | ({"jax_versions": jax_readers(batch)} if format == "stablehlo" else {})


def _load_writer(format: str) -> Callable[..., Written]:
    writer = WRITERS[format]
    try:
        module = importlib.import_module(f"{__package__}.writers.{writer.module}")
    except ImportError as error:
        raise InputError(
            f"--format {format} needs a package ({error}); type: pip install {error.name}, or "
            f'pip install -e ".[{writer.extra}]" in the folder of this project'
        ) from None
    return getattr(module, writer.function)
