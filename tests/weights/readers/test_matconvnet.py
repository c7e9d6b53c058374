"""MatConvNet's files, as SciPy writes them, become Caffe's networks, or are refused."""

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hostile import memory_below
from scipy.io import savemat
from sequences import narrow_sequence

from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Activation, Conv, Dense, Dropout, Flatten, Lrn, MaxPool
from alexnet_jax.weights import READERS
from alexnet_jax.weights.importing import import_weights
from alexnet_jax.weights.readers.file_kinds import find_source
from alexnet_jax.weights.readers.matlab_file import UNKNOWN, read_matlab
from alexnet_jax.weights.readers.source_file import open_source

read = READERS["matconvnet"].read


def cells(values: Any) -> np.ndarray:
    array = np.empty((1, len(values)), object)
    array[0, :] = values
    return array


def layers_of(layers, *, old=False):
    """Returns `FileLayer`s as SimpleNN has them; `old`: of before 2015."""
    found, side = [], None
    for item in layers:
        layer, pad = item.layer, [item.padding[0], item.padding[1]] * 2
        match layer:
            case Conv() | Dense():
                weights = item.weights
                if isinstance(layer, Dense):
                    side = side or (1, weights.shape[0])
                    weights = weights.reshape(side[0], side[0], -1, layer.features)
                    side = None
                names = ("filters", "biases")
                arrays = dict(zip(names, (weights, item.bias[None]), strict=True))
                made = arrays if old else {"weights": cells(list(arrays.values()))}
                if isinstance(layer, Conv):
                    made |= {
                        "pad": np.array(pad, float) if any(pad) else 0.0,
                        "stride": [float(layer.stride)] * 2,
                    }
                made |= {"type": "conv"}
            case Activation():
                made = {"type": "relu", "leak": 0.0}
            case Lrn():
                param = [layer.depth, layer.bias, layer.alpha, layer.beta]
                made = {"type": "normalize" if old else "lrn", "param": param}
            case MaxPool():
                made = {"type": "pool", "method": "max", "pool": [3.0, 3.0], "stride": [2.0, 2.0]}
                made |= {"pad": [0.0, 1.0, 0.0, 1.0]}  # as written for Caffe's networks
            case Flatten():
                side = (2, 0)
                continue
            case Dropout():
                made = {"type": "dropout", "rate": 0.5}
            case kind:
                made = {"type": kind}
        found.append({"name": item.name} | made)
    return cells(found)


def save(tmp_path, layers, size, *, old=False, compressed=True, mean=None, **more):
    mean = np.full((size, size, 3), 110, "f4") if mean is None else mean
    normalization = {"imageSize": [size, size, 3.0], "averageImage": mean, "border": [8.0, 8.0]}
    names = cells([f"name {i}, more" for i in range(5)])
    meta = {"normalization": normalization, "classes": {"description": names}}
    content = {"layers": layers} | (meta if old else {"meta": meta}) | more
    savemat(tmp_path / "net.mat", content, do_compression=compressed)
    return tmp_path / "net.mat"


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", ["caffenet", "bvlc-alexnet"])
def test_parameters_come_back_bit_for_bit(name, old, narrow_network, tmp_path, assert_same_params):
    size, layers, params = narrow_sequence(narrow_network, name, flattened="hwc")
    mean = np.random.default_rng(0).uniform(90, 130, (size, size, 3)).astype("f4")
    layers = layers_of([*layers, layers[0]._replace(name="prob", layer="softmax")], old=old)
    file = save(tmp_path, layers, size, old=old, compressed=not old, mean=mean)
    assert find_source(file) == "matconvnet"
    found = read(file)
    assert (found.network.name, found.image_size, found.stored_size) == (name, size, 256)
    assert_same_params(found.params, params)
    assert found.preprocess.mean == "image"
    np.testing.assert_array_equal(found.inputs.mean, mean)
    assert found.class_names[4] == "name 4, more"


def test_a_network_in_one_variable_and_a_mean_of_channels(narrow_network, tmp_path):
    size, layers, _ = narrow_sequence(narrow_network, "caffenet", flattened="hwc")
    mean = np.array([123, 117, 104], "f4").reshape(1, 1, 3)
    meta = {"normalization": {"imageSize": [size, size, 3.0], "averageImage": mean}}
    savemat(tmp_path / "net.mat", {"net": {"layers": layers_of(layers), "meta": meta}})
    found = read(tmp_path / "net.mat")
    assert found.preprocess.mean == "channel" and found.inputs.mean.tolist() == [123, 117, 104]


CHANGES = {
    "another kind": ("norm1", {"type": "bnorm"}, r"'norm1' \(bnorm\) is no part of an AlexNet"),
    "a leak": ("relu1", {"leak": 0.1}, r"'relu1' \(relu\) is no part"),
    "constants": ("norm1", {"param": [5, 2, 2e-5, 0.75]}, "has k 2, but norm1 has 1"),
    "an even window": ("norm1", {"param": [4, 1, 2e-5, 0.75]}, "over 4 channels, no odd number"),
    "pooling": ("pool1", {"method": "avg"}, r"\(avg pool\) stands where"),
    "a window": ("pool1", {"pool": [2.0, 3.0]}, "pool of 2x3 pixels"),
    "padding": ("conv2", {"pad": [2.0, 2.0, 1.0, 1.0]}, "other padding across than down"),
    "numbers": ("conv2", {"pad": [2.0, 2.0]}, "with 2 numbers where 4 should be"),
    "complex padding": ("conv2", {"pad": 2 + 1j}, "with 1 numbers where 4 should be"),
    "a stride": ("conv1", {"stride": "four"}, "with 0 numbers where 2 should be"),
    "no filters": ("conv1", {"weights": "none"}, "conv without filters"),
    "dilation": ("conv2", {"dilate": 2.0}, "conv of 5x5 pixels"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_no_alexnet_is_refused_by_name(change, narrow_network, tmp_path):
    size, layers, _ = narrow_sequence(narrow_network, "bvlc-alexnet", flattened="hwc")
    name, values, message = CHANGES[change]
    stored = layers_of(layers)
    for layer in stored[0]:
        layer |= values if layer["name"] == name else {}
    with pytest.raises(InputError, match=message) as caught:
        import_weights(save(tmp_path, stored, size), workdir=tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_other_files_of_matlab_are_named(narrow_network, tmp_path):
    size, layers, _ = narrow_sequence(narrow_network, "caffenet", flattened="hwc")
    stored = layers_of(layers)
    changes: list[tuple[str, dict[str, Any]]] = [
        ("holds a DagNN", {"params": cells([1.0])}),
        ("holds no network", {"layers": 3.0}),
        (r"shape \[5, 5, 3\], not", {"mean": np.zeros((5, 5, 3))}),
        ("not finite", {"mean": np.full(3, np.nan)}),
    ]
    for message, change in changes:
        with pytest.raises(InputError, match=message):
            read(save(tmp_path, **({"layers": stored, "size": size} | change)))
    new = tmp_path / "new.mat"
    new.write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(InputError, match="version 7.3.*save it with -v7"):
        read(new)


def test_values_are_those_of_scipy(tmp_path):
    values = {
        "a": np.arange(12, dtype="f4").reshape(3, 4),
        "b": np.arange(5.0),  # doubles are stored as small whole numbers
        "c": np.array([[1 + 2j]]),
        "d": {"x": "text", "y": cells(["one", np.array([[1]], np.uint8)])},
        "e": np.array([[-3]], np.int16),
    }
    for compressed in (False, True):
        savemat(tmp_path / "a.mat", values, do_compression=compressed)
        found = read_matlab(open_source(tmp_path / "a.mat"))
        np.testing.assert_array_equal(found["a"], values["a"])
        assert found["a"].dtype == np.float32 and list(found["b"][0]) == [0, 1, 2, 3, 4]
        assert found["c"] is UNKNOWN and found["e"].item() == -3
        assert found["d"]["x"] == "text" and found["d"]["y"][0] == "one"


HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"


def element(kind, data) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(kind, dims, rest=b"", name=b"layers") -> bytes:
    flags = element(6, struct.pack("<II", kind, 0))
    return element(14, flags + element(5, struct.pack("<2i", *dims)) + element(1, name) + rest)


def nested(depth) -> bytes:
    inner = b""
    for _ in range(depth):
        inner = matrix(1, (1, 1), inner)
    return inner


BOMBS = {
    "zeros": element(15, zlib.compress(bytes(200_000_000)))[:-1],
    "many zeros": element(15, zlib.compress(element(14, bytes(900_000)))) * 100,
    "many cells": matrix(1, (2**31 - 1, 2**31 - 1)),
    "many structures": matrix(2, (2**30, 1), element(5, b"\x08\0\0\0") + element(1, b"x" * 8)),
    "a huge array": matrix(7, (2**31 - 1, 100), element(7, bytes(8))),
    "a negative side": matrix(7, (-1, 2), element(7, bytes(8))),
    "nested cells": nested(3000),
    "a long name": matrix(7, (1, 1), element(7, bytes(4)), b"x" * 500_000),
    "a huge length": struct.pack("<II", 14, 2**32 - 1) + bytes(100),
    "a long text": matrix(4, (1, 500_000), element(4, bytes(1_000_000))),
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_damaged_files_are_refused_in_little_memory(bomb, tmp_path):
    file = tmp_path / "net.mat"
    file.write_bytes(HEADER + BOMBS[bomb])
    with memory_below(30 * len(BOMBS[bomb]) + 8_000_000):
        with pytest.raises(InputError, match="net.mat") as caught:
            import_weights(file, workdir=tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_cut_off_anywhere_is_refused(compressed, narrow_network, tmp_path):
    size, layers, _ = narrow_sequence(narrow_network, "caffenet", flattened="hwc")
    file = save(tmp_path, layers_of(layers), size, compressed=compressed)
    data = file.read_bytes()
    for share in (0.01, 0.3, 0.6, 0.9):
        file.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InputError, match="net.mat"):
            read(file)
