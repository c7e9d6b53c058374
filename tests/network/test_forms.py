"""Gradients of images are those of the plain form; training keeps the fast one."""

import functools
from typing import Any

import compiling
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from alexnet_jax.network import minimal_filtering, model, ops, placement
from alexnet_jax.network.layers import (
    Activation,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    Lrn,
    MaxPool,
    Network,
    ResponseNorm,
)
from alexnet_jax.network.model import AlexNet, init_params
from alexnet_jax.network.towers import make_forward

_NETWORK = Network(
    "flat",
    (
        *(Conv("conv1", 16, 11, stride=4, weight_std=0.05), Activation()),
        *(Lrn(alpha=1e-2, groups=2), ResponseNorm(), MaxPool()),
        *(Conv("conv2", 8, 3, padding=1, groups=2, weight_std=0.2), AvgPool(2, 1)),
        *(Flatten(), Dense("fc3", 5, weight_std=0.1)),
    ),
    image_size=47,
    source="this test",
)


@pytest.fixture(autouse=True)
def minimal_filtering_everywhere(monkeypatch):
    """In tiles that round equal pixels differently; a program of fast forms has no convolution."""
    monkeypatch.setattr(minimal_filtering, "best_tile", lambda x, kernel, padding: 4)


@pytest.fixture(scope="module")
def params():
    with compiling.few_optimizations():
        return init_params(_NETWORK, 47, 0)


@pytest.fixture(scope="module")
def images():
    """A square on a flat background, in several colours."""
    colours = np.random.default_rng(0).uniform(-120, 130, (2, 2, 3)).astype(np.float32)
    pictures = np.broadcast_to(colours[:, None, None, 0], (2, 47, 47, 3)).copy()
    pictures[:, 30:40, 20:40] = colours[:, None, None, 1]
    return pictures


def _score(params, images, dtype=jnp.float32):
    """A sum over the images."""
    logits: Any = AlexNet(_NETWORK, dtype).apply({"params": params}, images)
    return jnp.tanh(logits).sum()


_GRADIENT = jax.grad(_score, argnums=1)


def _squares(tree):
    return sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(tree))


def _with_plain_forms(monkeypatch):
    for name in ("convolution", "max_pool", "avg_pool", "local_response_norm", "response_norm"):
        form = functools.partial(_without_sources, getattr(ops, f"plain_{name}"))
        monkeypatch.setattr(ops, name, form)


def _without_sources(form, *arrays, sources=None, **options):
    return form(*arrays, **options)


def _difference(ours, theirs):
    ours, theirs = (np.concatenate([x.ravel() for x in jax.tree.leaves(t)]) for t in (ours, theirs))
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def test_values_and_gradients_of_flat_images_are_those_of_the_plain_form(
    params, images, monkeypatch, few_optimizations
):
    def compute():
        return jax.jit(lambda *both: jax.value_and_grad(_score, argnums=(0, 1))(*both))(
            params, images
        )

    value, gradients = compute()
    with monkeypatch.context() as patch:
        module = model.layer_module
        patch.setattr(model, "layer_module", lambda name, layer, sources: module(name, layer))
        _, fast = compute()
    _with_plain_forms(monkeypatch)
    plain_value, plain = compute()
    np.testing.assert_allclose(value, plain_value, rtol=1e-6)
    assert _difference(gradients, plain) < 1e-5
    assert _difference(fast[1], plain[1]) > 0.1  # or these images would show nothing


def _penalty(params, images):
    return _squares(jax.grad(_score, argnums=1)(params, images, jnp.float64))


@pytest.mark.slow
def test_gradients_of_gradients_are_right(params, images, monkeypatch, float64):
    """Of a penalty on the gradient of the images, as in training with one, in float64.

    Without ties: there JAX's forward and reverse mode of a padded max pool take different pixels.
    """
    noise = np.random.default_rng(1).standard_normal(images[:1].shape)
    both = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), (params, images[:1] + noise))

    def compute():
        return jax.jit(lambda *both: jax.grad(_penalty, argnums=(0, 1))(*both))(*both)

    found = compute()
    _with_plain_forms(monkeypatch)
    assert _difference(found, compute()) < 1e-9


def _on_devices(params, images):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=(P(), P("data")), out_specs=P())
    def total(params, images):
        return jax.lax.psum(_score(params, images), "data")

    return total(params, images)


def _on_towers(params, images):
    forward = make_forward(_NETWORK, mesh=placement.make_mesh(2, devices=jax.devices()[:4]))
    return jnp.tanh(forward(params, images)).sum()


def _scanned(params, images):
    def add(total, image):
        return total + _score(params, image[None]), None

    return jax.lax.scan(add, 0.0, images)[0]


def _mapped(params, images):
    return jax.vmap(_score, (None, 0))(params, images[:, None]).sum()


def _perturbed(params, images):
    """The gradient at a layer, as Grad-CAM takes it."""

    def score(perturbation):
        variables = {"params": params, "perturbations": {"conv2": perturbation}}
        logits: Any = AlexNet(_NETWORK).apply(variables, images)
        return jnp.tanh(logits).sum()

    shape = jax.eval_shape(
        lambda images: AlexNet(_NETWORK).apply({"params": params}, images, capture="conv2"), images
    )
    return jax.grad(score)(jnp.zeros(shape.shape, shape.dtype))


SCORES = {
    "module": _score,
    "jit": jax.jit(_score),
    "vmap": _mapped,
    "scan": _scanned,
    "checkpoint": jax.checkpoint(_score),
    "cond": lambda *both: jax.lax.cond(True, _score, lambda *both: 0.0, *both),
    "shard_map": _on_devices,
    "towers": _on_towers,
    "preprocessed": lambda params, images: _score(params, (images - 3).astype(jnp.float32)),
}


def test_programs_without_gradients_have_fast_forms(params, images):
    assert _convolutions(_score, params, images) == 0


def _convolutions(function, *arguments):
    """How many a program for CPUs has: none in fast forms."""
    return jax.jit(function).lower(*arguments).as_text().count("stablehlo.convolution")


@pytest.mark.slow
@pytest.mark.parametrize("name", SCORES)
def test_any_transformation_knows_whether_images_are_differentiated(name, params, images):
    score = SCORES[name]
    assert _convolutions(jax.grad(score), params, images) == 0
    assert _convolutions(jax.value_and_grad(score, argnums=(0, 1)), params, images) >= 2


GRADIENTS = {
    "vjp": lambda params, images: jax.vjp(functools.partial(_score, params), images)[1](1.0),
    "vmap": lambda params, images: jax.vmap(_GRADIENT, (None, 0))(params, images[:, None]),
    "scan": lambda params, images: jax.lax.scan(
        lambda total, image: (total, _GRADIENT(params, image[None])), 0, images
    ),
    "perturbation": _perturbed,
    "generated images": lambda params, images: jax.grad(lambda gain: _score(params, gain * images))(
        1.0
    ),
    "of a gradient of parameters": lambda params, images: jax.grad(
        lambda images: _squares(jax.grad(_score)(params, images))
    )(images),
    "twice": lambda params, images: jax.grad(lambda images: _squares(_GRADIENT(params, images)))(
        images
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_images_have_plain_values_within_transformations(name, params, images):
    assert _convolutions(GRADIENTS[name], params, images) >= 2
