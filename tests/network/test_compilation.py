"""Programs compiled with little optimization compute what `jax.jit` computes, wherever they run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.network.compilation import jit

X = np.linspace(-1, 1, 7, dtype=np.float32)


def cubed(x):
    return x**3


@pytest.mark.parametrize(
    "around",
    [
        lambda f: jax.jit(f),
        lambda f: jax.vmap(jax.grad(f)),
        lambda f: jax.jit(jax.vmap(jax.grad(f))),
        lambda f: jax.checkpoint(f),
        lambda f: lambda x: jax.lax.map(f, x),
    ],
    ids=["jit", "grad", "grad in jit", "checkpoint", "loop"],
)
def test_inside_other_programs_it_is_the_function(around):
    np.testing.assert_allclose(around(jit(cubed))(X), around(cubed)(X), rtol=1e-6)


def test_on_a_cpu_llvm_optimizes_less_and_elsewhere_nothing_changes(monkeypatch):
    given = []
    real = jax.jit

    def noting(function, **options):
        given.append(options)
        return real(function, **options)

    monkeypatch.setattr(jax, "jit", noting)
    jit(cubed, donate_argnums=0)(jnp.asarray(X))
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    jit(cubed, donate_argnums=0)(jnp.asarray(X))
    few = {"compiler_options": {"xla_backend_optimization_level": 1}}
    plain = {"donate_argnums": 0}
    assert given == [plain, plain | few, plain]


def test_it_has_what_programs_of_jax_have():
    program = jit(cubed)
    program(X), program(X)
    assert program._cache_size() == 1
    assert isinstance(program, jax.stages.Wrapped)
    assert program.lower(X).compile()(X).shape == program.trace(X).out_info.shape == (7,)
    exported = jax.export.export(program, platforms=("cpu", "tpu"))(X)
    assert exported.platforms == ("cpu", "tpu")
