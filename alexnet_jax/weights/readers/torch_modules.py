"""Checks that the modules in a PyTorch file compute what torchvision's AlexNet computes.

With another stride or activation every shape stays, and the answers would be wrong.
Source: pytorch/pytorch torch/nn/modules/conv.py, pooling.py and activation.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import (
    Activation,
    AdaptiveAvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool,
)
from alexnet_jax.weights.readers.pickled_values import Name, Stub
from alexnet_jax.weights.readers.torch_tree import Path, attributes_of, children_of
from alexnet_jax.weights.readers.torchvision_search import WRAPPERS

_PYTORCH = "torch.nn.modules."
_NO_OPERATIONS = ("Dropout", "Dropout2d", "Identity")  # outside of training
_MAX_SHOWN = 4
_MAX_WRAPPERS = 8  # around each other; a file may say that a module is inside itself


def check_modules(
    modules: Mapping[Path, Stub], paths: Mapping[str, Path], layers: Sequence[Layer], file_name: str
) -> tuple[str, ...]:
    """Returns messages on modules of unknown classes; `InputError` if a known one differs."""
    unknown: list[str] = []
    for path, module, layer in _expected_layers(modules, paths, layers):
        name, class_name = ".".join(path), str(module.made_by)
        kind = class_name.rpartition(".")[2][:60]
        if children_of(module):  # a last layer in a sequence of its own: known by its arrays
            continue
        if not class_name.startswith(_PYTORCH):
            if not isinstance(layer, Dropout):
                unknown.append(f"'{name[:120]}' ({kind})")
            continue
        expected, fields = _module_of(layer) if layer else ("nothing", {})
        if kind in _NO_OPERATIONS:
            # Adaptive pooling changes nothing at 224 pixels.
            if layer is not None and not isinstance(layer, Dropout | AdaptiveAvgPool):
                raise _difference(file_name, name, kind, expected)
            continue
        if kind != expected:
            raise _difference(file_name, name, kind, expected)
        for field, ours in fields.items():
            theirs = attributes_of(module).get(field, ours)
            if _as_pair(theirs, layer) != _as_pair(ours, layer):
                found = f"{kind} with {field}={str(theirs)[:40]}"
                raise _difference(file_name, name, found, f"{field}={ours}")
    if not unknown:
        return ()
    more = f" and {len(unknown) - _MAX_SHOWN} more" if len(unknown) > _MAX_SHOWN else ""
    return (
        "modules of unknown classes, taken for the layers in their places: "
        f"{', '.join(unknown[:_MAX_SHOWN])}{more}",
    )


def _expected_layers(
    modules: Mapping[Path, Stub], paths: Mapping[str, Path], layers: Sequence[Layer]
) -> Iterator[tuple[Path, Stub, Layer | None]]:
    flat = next(i for i, layer in enumerate(layers) if isinstance(layer, Flatten))
    trunk = _without_wrappers(paths["features.0.weight"][:-1])[:-1]
    expected = {str(i): layer for i, layer in enumerate(layers[: flat - 1])}
    children = children_of(modules.get(trunk))
    absent = Stub(Name(f"{_PYTORCH}linear", "Identity"))
    for name in dict.fromkeys((*children, *(expected if children else ()))):
        yield (*trunk, name), _unwrapped(children.get(name, absent)), expected.get(name)
    base = _without_wrappers(trunk)[:-1]
    siblings = children_of(modules.get(base))
    if "avgpool" in siblings:
        yield (*base, "avgpool"), _unwrapped(siblings["avgpool"]), layers[flat - 1]
    expected = {str(i): layer for i, layer in enumerate(layers[flat + 1 :])}
    classifier = siblings.get("classifier")
    for name, module in children_of(classifier and _unwrapped(classifier)).items():
        if name in expected:  # anything after the last layer is found by its arrays
            yield (*base, "classifier", name), _unwrapped(module), expected[name]


def _without_wrappers(path: Path) -> Path:
    while path and path[-1] in WRAPPERS:
        path = path[:-1]
    return path


def _unwrapped(module: Stub) -> Stub:
    for _ in range(_MAX_WRAPPERS):
        children = children_of(module)
        if len(children) != 1 or not children.keys() <= WRAPPERS:
            break
        module = next(iter(children.values()))
    return module


def _difference(file_name: str, module: str, found: str, expected: str) -> InputError:
    return InputError(
        f"{file_name}: its module '{module[:120]}' is {found[:120]}, where torchvision's AlexNet "
        f"has {expected}; it is another network with the same arrays. If the module is not what "
        "was trained, save the arrays alone: torch.save(model.state_dict(), FILE)"
    )


def _module_of(layer: Layer) -> tuple[str, dict[str, Any]]:
    match layer:
        case Conv(stride=stride, padding=padding):
            fields = {"stride": stride, "padding": padding, "dilation": 1}
            return "Conv2d", fields | {"padding_mode": "zeros"}
        case MaxPool(window=window, stride=stride):
            fields = {"kernel_size": window, "stride": stride, "padding": 0, "dilation": 1}
            return "MaxPool2d", fields | {"ceil_mode": False}
        case AdaptiveAvgPool(size=size):
            return "AdaptiveAvgPool2d", {"output_size": size}
        case Activation():
            return "ReLU", {}
        case Dense():
            return "Linear", {}
    return "Dropout", {}


def _as_pair(value: Any, layer: Layer | None) -> Any:
    if isinstance(layer, Conv) and isinstance(value, str):
        value = {"same": layer.window // 2, "valid": 0}.get(value, value)
    return (value, value) if type(value) is int else value
