"""MXNet's `.params`, written by hand as `src/ndarray/ndarray.cc` writes them."""

import struct

import numpy as np
import pytest
from hostile import memory_below

from alexnet_jax.errors import InputError
from alexnet_jax.weights import READERS
from alexnet_jax.weights.importing import import_weights
from alexnet_jax.weights.readers.file_kinds import find_source

read = READERS["mxnet"].read
pytestmark = pytest.mark.filterwarnings("ignore:(THESE WEIGHTS LOOK RANDOM|the file ends with)")

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
BLOCK = [*(f"features.{i}." for i in (0, 2, 4, 5, 6, 9, 11)), "output."]
SYMBOL = [f"arg:alexnet3_{kind}{i}_" for kind, n in (("conv", 5), ("dense", 3)) for i in range(n)]
TYPES = {"f4": 0, "f8": 1, "f2": 2, "i4": 4}


def array(values, form="v2") -> bytes:
    """Returns an array as MXNet 1.5 and later have it, or as one of the two forms before."""
    shape = values.shape
    if form == "legacy":
        head = struct.pack(f"<I{len(shape)}I", len(shape), *shape)
    else:
        magic = {"v1": (0xF993FAC8,), "v2": (0xF993FAC9, 0), "v3": (0xF993FACA, 0)}[form]
        head = struct.pack(f"<{len(magic)}I", *magic)
        head += struct.pack(f"<I{len(shape)}q", len(shape), *shape)
    return head + struct.pack("<iii", 1, 0, TYPES[values.dtype.str[1:]]) + values.tobytes()


def file_of(arrays, form="v2") -> bytes:
    data = struct.pack("<QQQ", 0x112, 0, len(arrays))
    data += b"".join(array(values, form) for values in arrays.values())
    data += struct.pack("<Q", len(arrays))
    return data + b"".join(struct.pack("<Q", len(n)) + n.encode() for n in arrays)


@pytest.fixture
def params(narrow_params):
    return narrow_params("one-weird-trick", 96)


@pytest.fixture
def arrays(params, channels_first):
    """By the names of gluon's block."""
    found = channels_first(params)
    return {
        f"{prefix}{leaf}": values
        for prefix, name in zip(BLOCK, LAYERS, strict=True)
        for leaf, values in zip(("weight", "bias"), found[name], strict=True)
    }


def write(tmp_path, data, name="alexnet.params"):
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


def as_symbol(arrays):
    names = dict(zip(BLOCK, SYMBOL, strict=True))
    return {
        names[f"{name.rpartition('.')[0]}."] + name.rpartition(".")[2]: values
        for name, values in arrays.items()
    }


@pytest.mark.parametrize("form", ["legacy", "v1", "v2", "v3"])
@pytest.mark.parametrize("rename", [dict, as_symbol])
def test_every_form_and_both_names_give_the_parameters(
    form, rename, arrays, params, tmp_path, assert_same_params
):
    file = write(tmp_path, file_of(rename(arrays), form))
    assert find_source(file) == "mxnet"
    found = read(file)
    assert found.network.name == "one-weird-trick" and found.network.classes == 3
    assert_same_params(found.params, params)


@pytest.mark.parametrize("dtype", ["f2", "f8"])
def test_other_floats_become_float32(dtype, arrays, params, tmp_path):
    cast = {name: values.astype(dtype) for name, values in arrays.items()}
    kernel = read(write(tmp_path, file_of(cast))).params["fc6"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, params["fc6"]["kernel"].astype(dtype).astype("f4"))


def test_a_file_without_the_classifier_gets_a_fresh_one(arrays, tmp_path):
    trunk = {name: values for name, values in arrays.items() if not name.startswith("output")}
    done = import_weights(write(tmp_path, file_of(trunk)), workdir=tmp_path / "run")
    assert done.fresh == ("fc8",)


def with_names(arrays, **names):
    return {names.get(name.replace(".", "_"), name): values for name, values in arrays.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: file_of(a | {"features.13.gamma": np.ones(4, "f4")}),
            r"'features.13.gamma' is no array of gluon's AlexNet, which has features.0, ",
        ),
        (
            lambda a: file_of(with_names(a, output_bias="arg:conv1_bias")),
            "'arg:conv1_bias' is no array of gluon",
        ),
        (
            lambda a: file_of({n: v for n, v in a.items() if n != "features.4.bias"}),
            "has only the weight of 'features.4'; get it again",
        ),
        (
            lambda a: file_of({n: v for n, v in a.items() if not n.startswith("features.4.")}),
            "'conv3' has no weights; get the whole file",
        ),
        (
            lambda a: file_of(a | {"features.0.weight": a["features.0.weight"][..., :-1]}),
            r"'features.0' has weights \[11, 10, 3, 4\].* needs \[11, 11, 3, 4\]",
        ),
        (
            lambda a: file_of(a | {"features.9.weight": a["features.9.weight"].astype("i4")}),
            "has type int32, not a floating-point one",
        ),
        (lambda a: file_of(a | {"output.bias": a["output.bias"] * np.nan}), "not finite"),
        (lambda a: file_of(a).replace(b"features.4.bias", b"features.4.weig"), "no array of gluon"),
        (lambda a: file_of(a).replace(b"output.bias", b"output.\xff\xfeas"), "is no array"),
        (lambda a: file_of(a).replace(b"\xc9\xfa\x93\xf9\0", b"\xc9\xfa\x93\xf9\1"), "sparse"),
        (lambda a: struct.pack("<QQQ", 0x112, 0, 2**60), "announces 1,152,921,504,606,846,976"),
        (lambda a: struct.pack("<QQQI", 0x112, 0, 1, 2**31), "an array of 2,147,483,648 axes"),
        (
            lambda a: (
                struct.pack("<QQQIiIq", 0x112, 0, 1, 0xF993FAC9, 0, 1, 2**62)
                + struct.pack("<iii", 1, 0, 0)
            ),
            "is cut off: 18,446,744,073,709,551,616 bytes are announced and 0 left",
        ),
        (
            lambda a: struct.pack("<QQQIiIqiii", 0x112, 0, 1, 0xF993FAC9, 0, 1, 2, 1, 0, 12),
            "the unknown type 12",
        ),
        (
            lambda a: struct.pack("<QQQIiI", 0x112, 0, 1, 0xF993FAC9, 0, 0),
            "has an array without values",
        ),
        (
            lambda a: struct.pack("<QQQ", 0x112, 0, 1) + array(np.ones(2, "f4")) + bytes(8),
            "has 1 arrays and 0 names",
        ),
    ],
)
def test_other_contents_are_refused_in_one_line(change, message, arrays, tmp_path):
    file = write(tmp_path, change(arrays))
    with memory_below(4_000_000), pytest.raises(InputError, match=message) as caught:
        import_weights(file, "mxnet", tmp_path / "run")
    assert "\n" not in str(caught.value) and "alexnet.params" in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("size", [16, 24, 40, 200, 3000, -1, -30, -300])
def test_a_file_cut_off_anywhere_is_refused(size, arrays, tmp_path):
    with pytest.raises(InputError, match="alexnet.params is cut off.*get the file again"):
        read(write(tmp_path, file_of(arrays)[:size]))
