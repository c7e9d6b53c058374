"""Programs that are compiled in a fifth of the time, where their speed does not matter."""

import contextlib
from collections.abc import Iterator

import jax

SOONER = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
"""Environment variable of a process that compiles so."""


@contextlib.contextmanager
def few_optimizations() -> Iterator[None]:
    """A context in which this process compiles so."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
