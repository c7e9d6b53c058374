"""Keras's `.h5` of the Theano days, written as Keras 1.2 writes it."""

import sys

import numpy as np
import pytest

from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Lrn, layer_names
from alexnet_jax.weights import READERS
from alexnet_jax.weights.importing import import_weights
from alexnet_jax.weights.readers.file_kinds import find_source

h5py = pytest.importorskip("h5py", reason="h5py is not installed: pip install '.[hdf5]'")
read = READERS["keras"].read
pytestmark = pytest.mark.filterwarnings("ignore:THESE WEIGHTS LOOK RANDOM")

NAMES = {
    "conv1": ["conv_1"],
    "conv2": ["conv_2_1", "conv_2_2"],
    "conv3": ["conv_3"],
    "conv4": ["conv_4_1", "conv_4_2"],
    "conv5": ["conv_5_1", "conv_5_2"],
    "fc6": ["dense_1"],
    "fc7": ["dense_2"],
    "fc8": ["dense_3"],
}


@pytest.fixture
def params(narrow_params):
    return narrow_params("keras-alexnet", 99)


@pytest.fixture
def layers(params, channels_first):
    """Weights and biases by Keras's names."""
    found = {"maxpooling2d_1": (), "lambda_1": ()}
    for name, (weights, biases) in channels_first(params).items():
        # What Theano convolves with is turned.
        weights = weights.T if weights.ndim == 2 else np.rot90(weights, 2, (2, 3))
        parts = NAMES[name]
        axis = 1 if weights.ndim == 2 else 0
        kernels = np.split(weights, len(parts), axis)
        found |= dict(zip(parts, zip(kernels, np.split(biases, len(parts)), strict=True)))  # noqa: B905
    return found


def write(tmp_path, layers, top="", change=lambda file: None):
    path = tmp_path / "alexnet_weights.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group(top) if top else file
        group.attrs["layer_names"] = [name.encode() for name in layers]
        for name, arrays in layers.items():
            layer = group.create_group(name)
            layer.attrs["weight_names"] = [
                f"{name}_{leaf}".encode() for leaf in "Wb"[: len(arrays)]
            ]
            for leaf, array in zip("Wb", arrays, strict=False):
                layer.create_dataset(f"{name}_{leaf}", data=array)
        change(group)
    return path


@pytest.mark.parametrize("top", ["", "model_weights"])
def test_weights_alone_and_whole_models_give_the_parameters(
    top, layers, params, tmp_path, assert_same_params
):
    file = write(tmp_path, layers, top)
    assert find_source(file) == "keras"
    found = read(file)
    assert_same_params(found.params, params)
    assert found.network.name == "keras-alexnet" and found.network.classes == 3
    assert "turned by 180 degrees" in found.messages[0]


def test_the_normalization_follows_pooling_and_does_not_divide(layers, tmp_path):
    network = read(write(tmp_path, layers)).network
    assert [name for name in layer_names(network.layers) if name[:4] in ("pool", "norm")] == (
        ["pool1", "norm1", "pool2", "norm2", "pool5"]
    )
    norms = [layer for layer in network.layers if isinstance(layer, Lrn)]
    assert norms == [Lrn(depth=5, alpha=1e-4, beta=0.75, bias=2.0, groups=1)] * 2


def link(file):
    file["conv_9"] = h5py.ExternalLink("other.h5", "/conv_9")


def soft(file):
    file["conv_9"] = h5py.SoftLink("/conv_1")


def large(file):
    file.create_dataset("conv_9", (10**6, 10**6), "f4", chunks=(10, 10), compression="gzip")


def external(file):
    file.create_dataset("conv_9", (3,), "f4", external=[("/dev/zero", 0, 12)])


def nested(file):
    file.create_group("/".join(["conv_9"] * 8)).create_dataset("W", data=np.ones(3, "f4"))


def text(file):
    file["conv_9"] = "text"


def normalization(file):
    for leaf in ("gamma", "beta", "running_mean", "running_std"):
        file[f"batchnormalization_1/batchnormalization_1_{leaf}"] = np.ones(4, "f4")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (link, "'conv_9' is a link, which Keras never writes"),
        (soft, "'conv_9' is a link, which Keras never writes"),
        (large, "'conv_9' is no array of numbers as Keras writes them"),
        (external, "'conv_9' is no array of numbers as Keras writes them"),
        (nested, "'conv_9' is a link|'conv_9' has|too deep"),
        (text, "'conv_9' is no array of numbers"),
        (normalization, "its layer 'batchnormalization_1' of 4 arrays is no part of the AlexNet"),
    ],
)
def test_what_keras_never_writes_or_is_no_alexnet_is_refused(change, message, layers, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        import_weights(write(tmp_path, layers, change=change), "keras", tmp_path / "run")
    assert "\n" not in str(caught.value) and "alexnet_weights.h5" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: {n: a for n, a in v.items() if n != "conv_2_2"}, "only one of conv_2_1 and con"),
        (lambda v: {n: a for n, a in v.items() if n != "conv_3"}, "'conv3' has no weights"),
        (lambda v: v | {"conv_3": (v["conv_3"][0].T, v["conv_3"][1])}, "'conv_3' has weights"),
        (lambda v: v | {"conv_3": v["dense_1"]}, "conv_3 has weights of shape"),
        (lambda v: v | {"dense_3": (v["dense_3"][0] * np.nan, v["dense_3"][1])}, "not finite"),
        (lambda v: {"lambda_1": ()}, "holds no layers with weights"),
        (lambda v: v | {"dense_1": v["dense_1"][:1]}, "its layer 'dense_1' of 1 arrays"),
    ],
)
def test_other_arrays_are_refused(change, message, layers, tmp_path):
    with pytest.raises(InputError, match=message):
        read(write(tmp_path, change(layers)))


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_file_cut_off_anywhere_is_refused(share, layers, tmp_path):
    data = write(tmp_path, layers).read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="cut.h5 (cannot be read as HDF5|holds no)") as caught:
        read(tmp_path / "cut.h5")
    assert "\n" not in str(caught.value)


def test_without_h5py_the_package_is_named(layers, tmp_path, monkeypatch):
    file = write(tmp_path, layers)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match="needs h5py; type: pip install h5py"):
        read(file)
