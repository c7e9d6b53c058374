"""Which part of the computation a program holds, and for which batches."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from alexnet_jax.errors import InputError, did_you_mean
from alexnet_jax.evaluation.views import centre_view
from alexnet_jax.runs.run_folder import Run
from alexnet_jax.weights import FORMS, WRITERS
from alexnet_jax.weights.writers.description import mean_and_scale

FREE_BATCHES = (1, 3)
"""What a program for any batch is checked with."""


class ProgramSpec(NamedTuple):
    """`form`: `whole`, from stored images to probabilities; `network`, what lies between."""

    form: str = "whole"
    batch: int | None = None  # None: any
    layout: str = "NHWC"  # of the network's own input

    @property
    def whole(self) -> bool:
        return self.form == "whole"

    @property
    def input_name(self) -> str:
        return "images" if self.whole else "preprocessed"

    @property
    def dtype(self) -> type:
        return np.uint8 if self.whole else np.float32

    @property
    def check_batches(self) -> tuple[int, ...]:
        return (self.batch,) if self.batch else FREE_BATCHES

    def image_shape(self, run: Run) -> tuple[int, int, int]:
        size = run.stored_size if self.whole else run.image_size
        return (3, size, size) if self.layout == "NCHW" and not self.whole else (size, size, 3)

    def prepare(self, run: Run, images: np.ndarray) -> np.ndarray:
        """Returns the program's input for stored images, uint8 `[n, s, s, 3]`."""
        return images if self.whole else network_input(run, images, self.layout)


def network_input(run: Run, images: np.ndarray, layout: str) -> np.ndarray:
    """Returns float32 in that layout: the centres of uint8 `[n, s, s, 3]`, preprocessed."""
    mean, scale = mean_and_scale(run)
    x = np.asarray(centre_view(jnp.asarray(images), run.image_size), np.float32)
    x = x if mean is None else x - mean
    x = x if scale is None else x / scale
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2) if layout == "NCHW" else x)


def program_spec(format: str, form: str, batch: int | None) -> ProgramSpec | None:
    """Returns what is to be written; None for a format of arrays, which has no such choices."""
    if format not in WRITERS:
        raise InputError(
            f"unknown format '{format}'.{did_you_mean(format, WRITERS)} Known: {', '.join(WRITERS)}"
        )
    if form not in FORMS:
        raise InputError(f"--form {form} is neither of {' and '.join(FORMS)}; choose one")
    if batch is not None and batch < 1:
        raise InputError(f"--batch {batch} is no number of images; give 1 or more, or leave it out")
    layout = WRITERS[format].layout
    if layout:
        return ProgramSpec(form, batch, layout)
    options: dict[str, Any] = {"--form": form != "whole", "--batch": batch is not None}
    given = [name for name, is_given in options.items() if is_given]
    if given:
        programs = ", ".join(name for name, writer in WRITERS.items() if writer.layout)
        raise InputError(
            f"{' and '.join(given)}: {format} holds arrays, not a program; leave it out, or choose "
            f"--format {programs}"
        )
    return None
