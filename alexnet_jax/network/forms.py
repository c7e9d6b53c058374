"""The choice between an operation's definition, its plain `lax` form, and a fast form for CPUs.

It is made when a program is lowered for a platform, with one exception: fast forms round equal
pixels differently, by their place. Where images are flat, a pool's winners would be arbitrary then,
and with them the gradient of the images. A program that differentiates the images gets values of
the plain form, and so its winners; gradients, which choose nothing, stay fast.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax import lax


def by_platform(
    plain: Callable,
    fast: Callable,
    *fast_gradients: Callable,
    elsewhere: Callable | None = None,
    exact: Callable | None = None,
) -> Callable:
    """Returns `op(*arrays, sources=None, **options)`: `fast` on CPUs, `elsewhere` on others.

    `elsewhere` is `plain` unless given. Where any of `sources` is differentiated, the value is that
    of `plain` on all platforms; gradients remain those of the platform's form. `exact` has these
    values, too, and is faster on CPUs. `fast_gradients`, one for each array, map the arrays and the
    gradient of the result; without them, `fast` is differentiated.
    """
    elsewhere, exact = elsewhere or plain, exact or plain

    @functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
    def compute(options, differentiated, sources, *arrays):
        forms = (exact, plain) if differentiated else (fast, elsewhere)
        cpu, default = (functools.partial(form, **dict(options)) for form in forms)
        return lax.platform_dependent(*arrays, cpu=cpu, default=default)

    def forward(options, differentiated, sources, *arrays):
        # JAX says for each argument whether its tangent is more than a symbolic zero. That of the
        # layer's own input is so in training, too: it depends on the parameters of layers before.
        differentiated = differentiated or any(
            source.perturbed for source in jax.tree.leaves(sources)
        )
        values = tuple(array.value for array in arrays)
        sources = jax.tree.map(lambda source: source.value, sources)
        return compute(options, differentiated, sources, *values), values

    def backward(options, differentiated, values, grad):
        # One choice for each array, so that an unused gradient (of the first layer's input)
        # disappears from the program.
        gradients = [
            lax.platform_dependent(
                *values,
                grad,
                cpu=functools.partial(form, **dict(options)),
                default=functools.partial(gradient(elsewhere, argument), **dict(options)),
            )
            for argument, form in enumerate(
                fast_gradients or [gradient(fast, i) for i in range(len(values))]
            )
        ]
        return (None, *gradients)

    compute.defvjp(forward, backward, symbolic_zeros=True)

    def op(*arrays, sources=None, **options):
        return compute(tuple(options.items()), False, sources, *match_variance(*arrays))

    return op


def gradient(form: Callable, argument: int) -> Callable:
    """Returns the function from arrays and the gradient of `form`'s result to that of one array."""

    def compute(*arrays_and_grad: jax.Array, **options: Any) -> jax.Array:
        *arrays, grad = arrays_and_grad

        def of(value):
            return form(*arrays[:argument], value, *arrays[argument + 1 :], **options)

        return jax.vjp(of, arrays[argument])[1](grad)[0]

    return compute


def match_variance(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Marks all arrays as varying over the manual mesh axes that any of them varies over.

    Inside `shard_map` the gradient of an array that is equal on all devices is the sum over these.
    A `custom_vjp` does not add it up; this marking, transposed, does.
    """
    varying = [_varying_axes(array) for array in arrays]
    axes = frozenset().union(*varying)
    missing = [tuple(sorted(axes - own)) for own in varying]
    return tuple(
        lax.pcast(array, names, to="varying") if names else array
        for array, names in zip(arrays, missing, strict=True)
    )


def _varying_axes(array):
    kind = jax.typeof(array)
    return kind.mat.varying if hasattr(kind, "mat") else kind.vma  # `vma` before JAX 0.10
