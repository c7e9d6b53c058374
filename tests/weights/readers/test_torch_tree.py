"""Tensors are found wherever a training has put them, in files as `torch.save` writes them."""

import argparse
import collections
import functools
import io
import pickle
import sys
import types
import zipfile
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hostile import memory_below

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers import torchvision
from alexnet_jax.weights.readers.pickled_values import Stub
from alexnet_jax.weights.readers.source_file import open_source
from alexnet_jax.weights.readers.torch_file import open_torch, read_torch
from alexnet_jax.weights.readers.torch_tree import Tensor, find_tensors


class Module:
    """Keeps what `torch.nn.Module` keeps, under its names."""

    def __init__(self, parameters=(), modules=(), **others):
        self._parameters = collections.OrderedDict(parameters)
        self._buffers = collections.OrderedDict()
        self._modules = collections.OrderedDict(modules)
        self.training = False
        self.__dict__.update(others)


class FloatStorage:
    """A type that is only named."""


class _Storage:
    def __init__(self, array):
        self.array = array


def _rebuild_tensor_v2(*_):
    pass


def saved(path, value):
    """Writes a value as `torch.save` does; its arrays become tensors of float32."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    FloatStorage.__module__ = "torch"
    _rebuild_tensor_v2.__module__ = "torch._utils"
    vars(torch)["FloatStorage"] = FloatStorage
    vars(utils)["_rebuild_tensor_v2"] = _rebuild_tensor_v2
    storages: list[np.ndarray] = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            if isinstance(obj, _Storage):
                storages.append(obj.array)
                return "storage", FloatStorage, str(len(storages) - 1), "cpu", obj.array.size
            return None

        def reducer_override(self, obj: Any) -> Any:
            if not isinstance(obj, np.ndarray):
                return NotImplemented
            array = np.ascontiguousarray(obj, np.float32)
            strides = tuple(step // 4 for step in array.strides)
            hooks = collections.OrderedDict()
            return _rebuild_tensor_v2, (_Storage(array), 0, array.shape, strides, False, hooks)

    file = io.BytesIO()
    with mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        Pickler(file, 2).dump(value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", file.getvalue())
        for place, array in enumerate(storages):
            archive.writestr(f"a/data/{place}", array.tobytes())
        archive.writestr("a/version", b"3\n")
    return open_source(path)


W, B = np.arange(6.0).reshape(2, 3), np.array([7.0, 8.0])
ARRAYS = {"features.0.weight": W, "features.0.bias": B}


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        (ARRAYS, ""),
        ({"anything": {"at": {"all": ARRAYS}}}, "anything.at.all."),
        ([ARRAYS], "0."),
        (("a", ARRAYS), "1."),
        (collections.defaultdict(dict, model=ARRAYS), "model."),
        (argparse.Namespace(net=ARRAYS), "net."),
    ],
)
def test_the_path_of_a_tensor_is_its_name(value, prefix, tmp_path):
    found = read_torch(saved(tmp_path / "a.pth", value))
    assert found.keys() == {prefix + name for name in ARRAYS}


def test_a_whole_module_gives_the_names_of_its_state_dict(tmp_path):
    layer = Module({"weight": W, "bias": B}, hooks=functools.partial(print))
    net = Module({"scale": B}, {"features": Module(modules={"0": layer, "1": Module()})})
    vars(net)["itself"] = [net]  # what refers to itself ends
    opened = open_torch(saved(tmp_path / "a.pth", {"epoch": 3, "net": net}))
    names = {"net.scale", "net.features.0.weight", "net.features.0.bias"}
    assert {".".join(path) for path in opened.tensors} == names
    path = ("net", "features", "0", "weight")
    np.testing.assert_array_equal(opened.array(path), W)
    assert opened.program_of(path) == f"{Module.__module__}.Module"


@pytest.mark.parametrize(
    ("beside", "names"),
    [
        ({"class_to_idx": {"rose": 1, "daisy": 0, "tulip": 2}}, ("daisy", "rose", "tulip")),
        ({"classes": ["b", "a"]}, ("b", "a")),
        ({"extra": {"class_names": ("b", "a")}}, ("b", "a")),
        ({"net": Module(class_to_idx={"b": 0, "a": 1})}, ("b", "a")),
        ({"class_to_idx": {"a": 1, "b": 2}}, ()),  # no output 0
        ({"classes": 3}, ()),
        ({"classes": [1, 2]}, ()),
    ],
)
def test_class_names_beside_the_tensors_are_found(beside, names, tmp_path):
    opened = open_torch(saved(tmp_path / "a.pth", beside | {"state_dict": ARRAYS}))
    assert opened.class_names == names


def test_a_whole_network_is_imported_and_its_program_is_told(
    narrow_network, tmp_path, assert_same_params
):
    widths = {"conv1": 2, "conv2": 3, "conv3": 2, "conv4": 3, "conv5": 2}
    narrow = narrow_network("one-weird-trick", widths)
    rng = np.random.default_rng(0)
    arrays, convolutions = {}, {}
    for key in torchvision.layer_keys(narrow)[:5]:
        weight, bias = rng.normal(size=key.weight_shape), rng.normal(size=key.weight_shape[:1])
        convolutions[key.prefix.split(".")[1]] = Module({"weight": weight, "bias": bias})
        arrays[f"{key.prefix}.weight"], arrays[f"{key.prefix}.bias"] = weight, bias
    between = {str(i): Module() for i in range(13)}  # activations and poolings of some class
    features = {"features": Module(modules=between | convolutions)}
    net = Module(modules={"module": Module(modules=features)})
    averaged = {f"module.{name}": array + 1 for name, array in arrays.items()}
    value = {"net": net, "net_ema": averaged, "loss": Module({"weight": B})}
    found = torchvision.read(saved(tmp_path / "a.pth", value))
    assert_same_params(found.params, torchvision.from_torchvision(arrays, narrow))
    program, unknown, sets, left = found.messages
    assert "complete program object" in program and "none of its code was run" in program
    assert "taken for the layers in their places" in unknown
    assert sets.startswith("the weights are those of 'net'; left out: 'net_ema' (an average)")
    assert left == "left out, as they belong to no layer: 'loss.weight'"


def tensor(place=0):
    return Tensor(types.SimpleNamespace(key=str(place)), 0, (1,), (1,))


def test_a_pyramid_of_lists_is_gone_through_once():
    """Forty levels of two references to the level below: 2**40 ways down."""
    level: Any = [tensor()]
    for _ in range(30):
        level = [level, level]
    assert len(find_tensors(level)[0]) == 1


def test_depth_and_number_have_an_end():
    deep: Any = tensor()
    for _ in range(100_000):
        deep = [deep]
    assert find_tensors(deep)[0] == {}
    many = [tensor(i) for i in range(20_001)]
    with pytest.raises(ValueError, match="more than 20,000 tensors"):
        find_tensors(many)
    with pytest.raises(ValueError, match="impossible shape"):
        find_tensors([tensor()._replace(shape=((),))])
    assert find_tensors({"a" * 1000: tensor(), Stub(): [tensor(1)]})[0].keys() == {("?", "0")}


@pytest.mark.slow
def test_many_containers_and_modules_cost_no_paths():
    containers = 20_000
    deep = {".".join("a" * 38): [[[]] for _ in range(containers)]}
    with memory_below(450 * containers):  # a path of forty parts has 360 bytes
        assert find_tensors(deep) == ({}, {})
    inner = Stub()
    for _ in range(50_000):  # in an hour, if each went through those around it
        outer = Stub()
        outer.state, inner = {"_modules": inner}, outer
    assert find_tensors(inner)[1].keys() == {()}


def test_a_file_without_tensors_is_refused(tmp_path):
    for value in ({}, {"model": {"a": 1}}, [], 3, argparse.Namespace(a=1)):
        with pytest.raises(InputError, match="holds no tensors by name"):
            open_torch(saved(tmp_path / "a.pth", value))


@pytest.mark.oracle
def test_files_that_pytorch_writes(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch, which writes them, is not installed")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    expected = {name: value.numpy() for name, value in net.state_dict().items()}
    optimizer = torch.optim.Adam(net.parameters())
    everything = {"net": net, "optimizer": optimizer, "size": torch.Size([1]),
                  "device": torch.device("cpu"), "sparse": torch.eye(2).to_sparse()}  # fmt: skip
    values = {"": net, "module.": torch.nn.DataParallel(net), "net.": everything}
    for prefix, value in values.items():
        for zipped in (True, False):
            torch.save(value, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
            found = read_torch(open_source(tmp_path / "a.pth"))
            for name, array in expected.items():
                np.testing.assert_array_equal(found[prefix + name], array)
    torch.jit.script(net).save(str(tmp_path / "a.pt"))
    found = read_torch(open_source(tmp_path / "a.pt"))
    np.testing.assert_array_equal(found["0.weight"], expected["0.weight"])
