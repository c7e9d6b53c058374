"""How our programs are compiled: as `jax.jit` does it, sooner where that costs nothing."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.core

_ON_A_CPU = {"xla_backend_optimization_level": 1}
"""LLVM then takes two thirds of the time or less, and a step of our networks comes out as fast, of
most with the same bits (JAX 0.10.2 and 0.12.0: the time is spent in libraries and in loops that XLA
itself makes wide). Level 0 makes steps two to three times slower."""


class jit:  # noqa: N801  # as the function that it stands for
    """`jax.jit(function, **options)`, which on a CPU is compiled with little optimization."""

    def __init__(self, function: Callable[..., Any], **options: Any):
        self._inside = jax.jit(function, **options)
        self._function, self._options = function, options
        functools.update_wrapper(self, function)

    @functools.cached_property
    def _whole(self) -> Any:  # later than at its making: the backend is then chosen
        if jax.default_backend() != "cpu":
            return self._inside
        return jax.jit(self._function, compiler_options=_ON_A_CPU, **self._options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # Inside another program, or while it is differentiated, JAX takes no options.
        for leaf in jax.tree.leaves((args, kwargs)):
            if isinstance(leaf, jax.core.Tracer):
                return self._inside(*args, **kwargs)
        return self._whole(*args, **kwargs)

    def trace(self, *args: Any, **kwargs: Any) -> Any:
        return self._whole.trace(*args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        return self._whole.lower(*args, **kwargs)

    def _cache_size(self) -> int:
        return self._whole._cache_size()
