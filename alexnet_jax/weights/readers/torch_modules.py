"""Whether the modules in a file of PyTorch's compute what torchvision's AlexNet computes.

A file of a whole program object keeps the attributes of its modules beside their arrays. They are
compared with the layers of our network: another stride or activation leaves every shape as it is,
and would be answered wrongly. Nothing of the file is run.
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
from alexnet_jax.weights.readers.torchvision_layout import WRAPPERS

_OF_PYTORCH = "torch.nn.modules."
_IDLE = ("Dropout", "Dropout2d", "Identity")
"""They leave the outputs of a network in use as they are."""
_MOST_NAMED = 4
_MOST_WRAPPERS = 8  # around each other; a file may say that a module lies in itself


def check_modules(
    modules: Mapping[Path, Stub], paths: Mapping[str, Path], layers: Sequence[Layer], what: str
) -> tuple[str, ...]:
    """Returns what to say of the modules around the arrays that were taken.

    Args:
      modules: of the file, by path; a `state_dict` has none.
      paths: of torchvision's keys in the file.
      layers: of torchvision's AlexNet.
      what: name of the file, for messages.

    Raises:
      InputError: a module of PyTorch's own computes something else than the layer in its place.
    """
    unknown: list[str] = []
    for path, child, layer in _expected(modules, paths, layers):
        name = ".".join(path)
        made_by = str(child.made_by)
        kind = made_by.rpartition(".")[2][:60]
        if children_of(child):  # a last layer in a sequence of its own: known by its arrays
            continue
        if kind in _IDLE and made_by.startswith(_OF_PYTORCH):
            if not isinstance(layer, Dropout | AdaptiveAvgPool | None):  # 6x6 at 224 pixels anyway
                raise _different(what, name, kind, _kind(layer))
        elif not made_by.startswith(_OF_PYTORCH):
            if not isinstance(layer, Dropout):
                unknown.append(f"'{name[:120]}' ({kind})")
        elif layer is None or kind != _kind(layer):
            raise _different(what, name, kind, _kind(layer) if layer else "nothing")
        else:
            for field, ours in _fields(layer):
                theirs = attributes_of(child).get(field, ours)
                if _pair(theirs, layer) != _pair(ours, layer):
                    found = f"{kind} with {field}={str(theirs)[:40]}"
                    raise _different(what, name, found, f"{field}={ours}")
    if not unknown:
        return ()
    more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
    return (
        "not modules of PyTorch's own, and taken for the layers that stand there: "
        f"{', '.join(unknown[:_MOST_NAMED])}{more}",
    )


def _expected(
    modules: Mapping[Path, Stub], paths: Mapping[str, Path], layers: Sequence[Layer]
) -> Iterator[tuple[Path, Stub, Layer | None]]:
    """Yields each module of the network's with its path and the layer that it should be."""
    flat = next(i for i, layer in enumerate(layers) if isinstance(layer, Flatten))
    trunk = _without_wrappers(paths["features.0.weight"][:-1])[:-1]
    before = {str(i): layer for i, layer in enumerate(layers[: flat - 1])}
    inside = children_of(modules.get(trunk))
    absent = Stub(Name(f"{_OF_PYTORCH}linear", "Identity"))  # what is not there changes nothing
    for name in dict.fromkeys((*inside, *(before if inside else ()))):
        yield (*trunk, name), _wrapped(inside.get(name, absent)), before.get(name)
    base = _without_wrappers(trunk)[:-1]
    beside = children_of(modules.get(base))
    if "avgpool" in beside:
        yield (*base, "avgpool"), _wrapped(beside["avgpool"]), layers[flat - 1]
    behind = {str(i): layer for i, layer in enumerate(layers[flat + 1 :])}
    head = beside.get("classifier")
    for name, child in children_of(head and _wrapped(head)).items():
        if name in behind:  # what stands behind the last layer is told by its arrays
            yield (*base, "classifier", name), _wrapped(child), behind[name]


def _without_wrappers(path: Path) -> Path:
    """Returns the path of the outermost module that wraps the one at `path`, or `path`."""
    while path and path[-1] in WRAPPERS:
        path = path[:-1]
    return path


def _wrapped(module: Stub) -> Stub:
    """Returns the module that is wrapped, or `module` itself where it wraps none."""
    for _ in range(_MOST_WRAPPERS):
        inside = children_of(module)
        if len(inside) != 1 or not inside.keys() <= WRAPPERS:
            break
        module = next(iter(inside.values()))
    return module


def _different(what: str, name: str, found: str, expected: str) -> InputError:
    return InputError(
        f"{what}: its module '{name[:120]}' is {found[:120]}, where torchvision's AlexNet has "
        f"{expected}; it is another network, which the arrays alone do not tell. If the module is "
        "not what was trained, save the arrays alone: torch.save(model.state_dict(), FILE)"
    )


def _kind(layer: Layer) -> str:
    match layer:
        case Conv():
            return "Conv2d"
        case Activation():
            return "ReLU"
        case MaxPool():
            return "MaxPool2d"
        case AdaptiveAvgPool():
            return "AdaptiveAvgPool2d"
        case Dense():
            return "Linear"
    return "Dropout"


def _fields(layer: Layer) -> tuple[tuple[str, Any], ...]:
    match layer:
        case Conv():
            return (
                ("stride", layer.stride),
                ("padding", layer.padding),
                ("dilation", 1),
                ("padding_mode", "zeros"),
            )
        case MaxPool():
            return (
                ("kernel_size", layer.window),
                ("stride", layer.stride),
                ("padding", 0),
                ("dilation", 1),
                ("ceil_mode", False),
            )
        case AdaptiveAvgPool():
            return (("output_size", layer.size),)
    return ()


def _pair(value: Any, layer: Layer) -> Any:
    """Returns a number of pixels, or PyTorch's word for a padding, as height and width."""
    if isinstance(layer, Conv) and isinstance(value, str):
        value = {"same": layer.window // 2, "valid": 0}.get(value, value)
    return (value, value) if type(value) is int else value
