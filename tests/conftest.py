"""Test settings: several CPU devices, strict promotion, quiet logs, programs compiled once."""

import os
import tempfile

if "PYTEST_XDIST_WORKER" not in os.environ:
    # All processes of these tests share the programs that any of them has compiled.
    _compiled = tempfile.TemporaryDirectory(prefix="alexnet_jax-compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name
    os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(256 * 1024**2)  # which also makes it lock
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

import jax
import pytest

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def key():
    """A PRNG key."""
    return jax.random.key(0)


@pytest.fixture
def float64():
    """Double precision."""
    import float64

    with float64.precision():
        yield


@pytest.fixture
def few_optimizations():
    """Programs that are compiled in a fifth of the time, where their speed does not matter."""
    import compiling

    with compiling.few_optimizations():
        yield


@pytest.fixture
def sooner(monkeypatch):
    """The same in the processes that a test starts."""
    import compiling

    for name, value in compiling.SOONER.items():
        monkeypatch.setenv(name, value)
