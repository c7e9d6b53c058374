"""Training in float64, where different programs of one network stay together.

In float32 a rounding decides now and then which pixel of a window is the largest or whether a unit
is off, and from there on two courses part: when and how far depends on the processor and on the
versions. `python -m float64 VERB …` is `alexnet_jax.main` in float64.
"""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import compiling
import jax
import numpy as np

from alexnet_jax.main import main
from alexnet_jax.training import restoring, steps


@contextlib.contextmanager
def precision() -> Iterator[None]:
    """A context of double precision, and of programs that are compiled in a fifth of the time."""
    with compiling.few_optimizations(), jax.enable_x64(True):
        yield


def as_float64(tree: Any) -> Any:
    """Returns the tree with float64 in place of float32."""
    return jax.tree.map(lambda x: x.astype("f8") if x.dtype == np.float32 else x, tree)


@contextlib.contextmanager
def training() -> Iterator[None]:
    """A context in which `train` computes and keeps float64; validation is float32."""
    init, make = restoring.init_state, steps.make_train_step

    def make_train_step(network, optimizer, preprocess, augment, dtype, *others, **options):
        step = make(network, optimizer, preprocess, augment, np.float64, *others, **options)

        def step_in_float64(state, *arguments):
            return step(state, *as_float64(arguments))

        # What is compiled ahead, in another type, is nothing here.
        step_in_float64.lower = mock.Mock()  # type: ignore[attr-defined]
        return step_in_float64

    with (
        precision(),
        mock.patch.object(restoring, "init_state", lambda *given: as_float64(init(*given))),
        mock.patch.object(steps, "make_train_step", make_train_step),
    ):
        yield


if __name__ == "__main__":
    with training():
        sys.exit(main())
