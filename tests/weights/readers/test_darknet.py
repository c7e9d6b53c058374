"""Darknet's `.weights`, written by hand in the order of its `src/parser.c`."""

import struct

import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.data.preprocess import preprocess
from alexnet_jax.errors import InputError
from alexnet_jax.weights import READERS
from alexnet_jax.weights.importing import import_weights
from alexnet_jax.weights.readers.file_kinds import find_source

read = READERS["darknet"].read
pytestmark = pytest.mark.filterwarnings("ignore:THESE WEIGHTS LOOK RANDOM")

CONVOLUTIONS = ["conv1", "conv2", "conv3", "conv4", "conv5"]
HEADERS = {
    "0.1": struct.pack("<3iI", 0, 1, 0, 640),
    "0.2": struct.pack("<3iQ", 0, 2, 0, 640),
    "transposed": struct.pack("<3iI", 0, 1001, 0, 640),
}


@pytest.fixture
def params(narrow_params):
    return narrow_params("darknet-alexnet", 99)


def values_of(params, channels_first, statistics=None, is_transposed=False):
    parts = []
    for name, (weights, biases) in channels_first(params).items():
        weights = weights.T if is_transposed and weights.ndim == 2 else weights
        own = [] if statistics is None or name not in statistics else [*statistics[name]]
        is_dense = weights.ndim == 2
        parts += [biases, *([] if is_dense else own), weights, *(own if is_dense else [])]
    return np.concatenate([part.reshape(-1) for part in parts]).astype("<f4").tobytes()


def write(tmp_path, data, name="alexnet.weights"):
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


@pytest.mark.parametrize("header", HEADERS)
def test_headers_of_both_lengths_and_transposed_weights(
    header, params, channels_first, tmp_path, assert_same_params
):
    values = values_of(params, channels_first, is_transposed=header == "transposed")
    file = write(tmp_path, HEADERS[header] + values)
    found = read(file)
    assert_same_params(found.params, params)
    assert found.network.classes == 3 and found.class_order == "names"
    assert "no names and no shapes" in found.messages[0] and "folded" not in found.messages[0]
    if header != "transposed":  # no such file is known: a version above 1000
        assert find_source(file) == "darknet"


@pytest.mark.parametrize(
    ("normalized", "text"),
    [
        (CONVOLUTIONS, "after the convolutions"),
        (["fc6", "fc7"], "after the hidden dense layers"),
        ([*CONVOLUTIONS, "fc6", "fc7"], "after all layers but the last"),
    ],
)
def test_batch_normalization_is_folded(normalized, text, params, channels_first, tmp_path):
    rng = np.random.default_rng(2)
    statistics = {
        name: (
            rng.uniform(0.5, 2, len(params[name]["bias"])),  # scales, means, variances
            rng.normal(size=len(params[name]["bias"])),
            rng.uniform(0.5, 2, len(params[name]["bias"])),
        )
        for name in normalized
    }
    values = values_of(params, channels_first, statistics)
    found = read(write(tmp_path, HEADERS["0.2"] + values))
    assert f"normalization {text}, which was folded" in found.messages[0]

    for name, (scale, mean, variance) in statistics.items():
        kernel, bias = params[name]["kernel"].astype("f8"), params[name]["bias"].astype("f8")
        deviation = np.sqrt(variance) + 1e-6
        expected = kernel / deviation * scale, bias - mean / deviation * scale
        for leaf, array in zip(("kernel", "bias"), expected, strict=True):
            np.testing.assert_allclose(found.params[name][leaf], array, rtol=1e-6, atol=1e-7)
    assert found.params["fc8"]["bias"].tobytes() == params["fc8"]["bias"].tobytes()


def test_images_are_between_0_and_1(params, channels_first, tmp_path):
    found = read(write(tmp_path, HEADERS["0.2"] + values_of(params, channels_first)))
    pixels = jnp.array([[[[0, 128, 255]]]], jnp.uint8)
    result = preprocess(found.inputs, pixels, config=(found.preprocess, found.augment))
    np.testing.assert_allclose(np.ravel(result), [0, 128 / 255, 1], rtol=1e-6)
    assert (found.image_size, found.stored_size) == (99, 256)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:-4], r"values, but network 'darknet-alexnet' has [\d,]+ and 10 for each"),
        (lambda d: d + bytes(4), "is of another network, or incomplete"),
        (lambda d: d[:-3], "is no complete .weights file"),
        (lambda d: d[:12], "alexnet.weights is no complete .weights file"),
        (lambda d: d[:20] + b"\0\0\xc0\x7f" + d[24:], "conv1 biases' has values that are not fin"),
    ],
)
def test_other_contents_are_refused_in_one_line(change, message, params, channels_first, tmp_path):
    data = HEADERS["0.2"] + values_of(params, channels_first)
    with pytest.raises(InputError, match=message) as caught:
        import_weights(write(tmp_path, change(data)), "darknet", tmp_path / "run")
    assert "\n" not in str(caught.value) and "alexnet.weights" in str(caught.value)


def test_values_that_are_no_variances_are_refused(params, channels_first, tmp_path):
    statistics = {name: -np.ones((3, len(params[name]["bias"]))) for name in CONVOLUTIONS}
    values = values_of(params, channels_first, statistics)
    with pytest.raises(InputError, match="conv1's variances are negative or not finite"):
        read(write(tmp_path, HEADERS["0.2"] + values))
