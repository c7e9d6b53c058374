"""A whole PyTorch module that computes something else than torchvision's AlexNet is refused."""

from typing import Any

import pytest

from alexnet_jax.errors import InputError
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.weights import READERS
from alexnet_jax.weights.readers.pickled_values import Name, Stub
from alexnet_jax.weights.readers.torch_modules import check_modules

LAYERS = NETWORKS["one-weird-trick"].layers
PATHS = {"features.0.weight": ("net", "features", "0", "weight")}


def module(kind, below=None, where="torch.nn.modules.any", **attributes: Any) -> Stub:
    stub = Stub(Name(where, kind))
    stub.state = {"training": True, "_modules": below or {}} | attributes
    return stub


def convolution(stride, padding, **others: Any) -> Stub:
    stub = module("Conv2d", stride=(stride, stride), padding=(padding, padding), dilation=(1, 1))
    stub.state |= {"padding_mode": "zeros"} | others
    return stub


def whole(features=(), classifier=(), output_size: Any = (6, 6), avgpool=None):
    """Returns the modules of torchvision's AlexNet as its pickle has them, with changes."""
    relu = module("ReLU", inplace=True)
    maximum = module("MaxPool2d", kernel_size=3, stride=2, padding=0, dilation=1, ceil_mode=False)
    trunk = [convolution(4, 2), relu, maximum, convolution(1, 2), relu, maximum]
    trunk += [convolution(1, 1), relu, convolution(1, 1), relu, convolution(1, 1), relu, maximum]
    dense = module("Linear", in_features=9, out_features=9)
    head = [module("Dropout", p=0.5), dense, relu, module("Dropout", p=0.5), dense, relu, dense]
    inside = {
        "features": module("Sequential", {str(i): m for i, m in enumerate(trunk)} | dict(features)),
        "avgpool": avgpool or module("AdaptiveAvgPool2d", output_size=output_size),
        "classifier": module(
            "Sequential", {str(i): m for i, m in enumerate(head)} | dict(classifier)
        ),
    }
    net = module("AlexNet", inside, where="torchvision.models.alexnet")
    return {("net",): net} | {("net", name): part for name, part in inside.items()}


@pytest.mark.parametrize(
    "modules",
    [
        {},
        whole(),
        whole(output_size=6),
        whole(avgpool=module("Identity")),
        whole() | {("net",): Stub()},
        whole(classifier={"0": module("Identity"), "7": module("LogSoftmax", dim=1)}),
        whole(features={"13": module("Identity"), "0": convolution(4, 2, padding_mode="zeros")}),
        whole(classifier={"6": module("Sequential", {"0": module("Linear")})}),
        whole(features={"3": module("Conv2d", stride=(1, 1), padding="same")}),
        whole(features={"3": module("Wrapper", {"_orig_mod": convolution(1, 2)}, "torch")}),
    ],
)
def test_what_computes_the_same_is_taken(modules):
    assert check_modules(modules, PATHS, LAYERS, "a.pth") == ()


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (whole(features={"0": convolution(2, 2)}), r"features\.0' is Conv2d with stride=\(2, 2\)"),
        (whole(features={"3": convolution(1, 0)}), r"padding=\(0, 0\), where .* padding=2"),
        (whole(features={"6": convolution(1, 1, padding_mode="reflect")}), "padding_mode=reflect"),
        (whole(features={"8": convolution(1, 1, dilation=(2, 2))}), "dilation"),
        (whole(features={"1": module("GELU")}), r"features\.1' is GELU, where .* has ReLU"),
        (whole(features={"1": module("Identity")}), "is Identity, where .* has ReLU"),
        (whole(features={"2": module("AvgPool2d")}), "is AvgPool2d, where .* has MaxPool2d"),
        (whole(features={"2": module("MaxPool2d", kernel_size=2)}), "kernel_size=2"),
        (whole(features={"5": module("MaxPool2d", ceil_mode=True)}), "ceil_mode=True"),
        (whole(features={"13": module("LocalResponseNorm")}), "LocalResponseNorm.* has nothing"),
        (whole(output_size=(1, 1)), r"avgpool' is AdaptiveAvgPool2d with output_size=\(1, 1\)"),
        (whole(classifier={"2": module("Tanh")}), r"classifier\.2' is Tanh, where .* has ReLU"),
    ],
)
def test_another_network_of_the_same_shapes_is_refused_by_the_module(modules, message):
    with pytest.raises(InputError, match=rf"a\.pth: its module 'net\..*{message}"):
        check_modules(modules, PATHS, LAYERS, "a.pth")


def test_what_wraps_a_layer_or_the_trunk_hides_nothing():
    def wrapped(inside: Stub, name="module") -> Stub:
        return module("Wrapper", {name: inside}, where="torch.nn.parallel.data_parallel")

    paths = {"features.0.weight": ("net", "features", "module", "0", "module", "weight")}
    for first, activation, message in (
        (convolution(4, 2), "ReLU", ""),
        (convolution(3, 2), "ReLU", r"features\.module\.0' is Conv2d with stride"),
        (convolution(4, 2), "Tanh", r"net\.classifier\.2' is Tanh"),
    ):
        changes = {"features": {"0": wrapped(first)}, "classifier": {"2": module(activation)}}
        modules: Any = whole(**changes)
        trunk = modules["net", "features", "module"] = modules["net", "features"]
        head = modules["net", "classifier"]
        modules["net",] = module("Net", {"features": wrapped(trunk), "classifier": wrapped(head)})
        if message:
            with pytest.raises(InputError, match=message):
                check_modules(modules, paths, LAYERS, "a.pth")
        else:
            assert check_modules(modules, paths, LAYERS, "a.pth") == ()


def test_a_module_that_lies_in_itself_ends():
    endless = module("Wrapper", where="torch.nn.parallel")
    endless.state["_modules"] = {"module": endless}
    assert check_modules(whole(features={"0": endless}), PATHS, LAYERS, "a.pth") == ()


def test_a_pooling_that_is_not_there_is_missed():
    modules = whole()  # adaptive pooling hides it: every shape stays as it is
    del modules["net", "features"].state["_modules"]["12"]
    with pytest.raises(InputError, match="features.12' is Identity, where .* has MaxPool2d"):
        check_modules(modules, PATHS, LAYERS, "a.pth")


def test_a_class_that_nobody_knows_is_told():
    strange = {str(i): module(f"Mine{i}", where="lesson") for i in (1, 4, 7, 9, 11)}
    told = check_modules(whole(features=strange), PATHS, LAYERS, "a.pth")
    assert told[0].endswith("'net.features.9' (Mine9) and 1 more") and len(told) == 1


@pytest.mark.oracle
def test_modules_as_pytorch_saves_them(tmp_path, recwarn):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    relu = nn.ReLU(inplace=True)  # one object at five places, which the pickle has once

    class AlexNet(nn.Module):
        def __init__(self, stride):
            super().__init__()
            maximum = nn.MaxPool2d(3, 2)
            trunk = [nn.Conv2d(3, 64, 11, stride, 2), relu, maximum]
            trunk += [nn.Conv2d(64, 192, 5, padding=2), relu, maximum]
            trunk += [nn.Conv2d(192, 384, 3, padding=1), relu]
            trunk += [nn.Conv2d(384, 256, 3, padding=1), relu]
            self.features = nn.Sequential(*trunk, nn.Conv2d(256, 256, 3, padding=1), relu, maximum)
            self.avgpool = nn.AdaptiveAvgPool2d((6, 6))

    for name in ("alexnet", "other"):
        made = type("AlexNet", (AlexNet,), {"__module__": "__main__", "__qualname__": "AlexNet"})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("__main__.AlexNet", made, raising=False)
            torch.save(made(4 if name == "alexnet" else 3), tmp_path / f"{name}.pth")
    assert "conv1" in READERS["torchvision"].read(tmp_path / "alexnet.pth").params
    with pytest.raises(InputError, match=r"features\.0' is Conv2d with stride=\(3, 3\)"):
        READERS["torchvision"].read(tmp_path / "other.pth")
