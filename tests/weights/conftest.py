"""Runs of narrow networks, with parameters under which the signal neither dies nor explodes."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.config import Config, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.network.layers import Conv, parametric_layers, with_features
from alexnet_jax.network.model import AlexNet
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.runs.run_folder import Run
from alexnet_jax.runs.run_weights import RunWeights

CLASSES = 7


@pytest.fixture
def narrow_network(monkeypatch):
    """Returns `narrow(name, widths, …)`, which makes a network of `NETWORKS` a narrow one."""

    def narrow(name, widths, **changes):
        layers = with_features(NETWORKS[name].layers, widths)
        network = dataclasses.replace(NETWORKS[name], layers=layers, **changes)
        monkeypatch.setitem(NETWORKS, name, network)
        return network

    return narrow


@pytest.fixture(scope="session")
def assert_same_params():
    """Returns a function that compares parameters bit for bit."""

    def compare(found, expected):
        assert found.keys() == expected.keys()
        for layer, leaves in expected.items():
            for leaf, array in leaves.items():
                same = found[layer][leaf].tobytes() == np.asarray(array).tobytes()
                assert same and found[layer][leaf].shape == array.shape, (layer, leaf)

    return compare


@pytest.fixture(scope="session")
def narrow_weights():
    """Returns `make(name, size=, mean=, scale=)`: a narrow network of that name, as a run has it.

    Stored images are 8 pixels larger than the network's input.
    """
    return make_weights


def make_weights(
    name, size=0, mean: Any = "image", scale: Any = "none", change=lambda layers: layers
):
    network = NETWORKS[name].with_classes(CLASSES)
    layers = parametric_layers(network.layers)[:-1]
    widths = {layer.name: 16 if isinstance(layer, Conv) else 24 for layer in layers}
    layers = change(with_features(network.layers, widths))
    network = dataclasses.replace(network, layers=layers)
    if not size:  # 96: conv1's last window overhangs, and two by two pixels are left before fc6
        size = 96 if network.image_size > 100 else network.image_size
    stored = size + 8
    rng = np.random.default_rng(1)
    shapes = {"image": (size, size, 3), "image-aligned": (stored, stored, 3)}
    inputs = Inputs(
        rng.uniform(90, 160, shapes.get(mean, (3,))).astype(np.float32),
        rng.uniform(40, 60, 3).astype(np.float32),
        np.zeros((3, 3), np.float32),
    )
    config = Config(network=name, preprocess=PreprocessConfig(mean=mean, scale=scale))
    names = tuple(f"class {i}" for i in range(CLASSES))
    run = Run(Path("run"), config, network, size, stored, names, inputs, {})
    return RunWeights(run, random_params(network, size, rng), 40)


def random_params(network, size, rng):
    blank = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    shapes = jax.eval_shape(AlexNet(network).init, jax.random.key(0), blank)["params"]

    def draw(path, leaf):
        if path[-1].key == "bias":
            return rng.normal(0, 0.3, leaf.shape).astype(np.float32)
        axes = leaf.shape[-4:-1] if leaf.ndim > 2 else leaf.shape[:1]
        return (rng.normal(size=leaf.shape) * np.sqrt(2 / np.prod(axes))).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.fixture
def expected_logits():
    """Returns a function from a run and stored images to logits, written out once more."""

    def compute(weights, images):
        run = weights.run
        start = (run.stored_size - run.image_size) // 2
        window = slice(start, start + run.image_size)
        x = images[:, window, window].astype(np.float32)
        settings = run.config.preprocess
        if settings.mean == "image-aligned":
            x = x - run.inputs.mean[window, window]
        elif settings.mean != "none":
            x = x - run.inputs.mean
        if settings.scale != "none":
            x = x / run.inputs.scale
        return np.asarray(jax.jit(AlexNet(run.network).apply)({"params": weights.params}, x))

    return compute


@pytest.fixture(scope="session")
def prepare_by_sidecar():
    """Returns a function from a sidecar and stored images to the network's input, NHWC."""

    def prepare(facts, images):
        size = facts["image_size"]
        start = (images.shape[1] - size) // 2
        x = images[:, start : start + size, start : start + size].astype(np.float32)
        values = facts["preprocessing"]
        if values["mean_values"] is not None:
            x = x - np.array(values["mean_values"], np.float32)
        if values["scale_values"] is not None:
            x = x / np.array(values["scale_values"], np.float32)
        return x

    return prepare
