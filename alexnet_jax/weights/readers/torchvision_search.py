"""The search for torchvision's arrays in a file, whatever is before or within their names.

Wrappers (`DataParallel`, `torch.compile`, FSDP, activation checkpoints, Opacus) put parts anywhere
into a name, classes and trainers any before it. Convolutions alone in a sequence of another name,
as in fastai (`0.0.0.weight`), are known by their shapes.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.torch_tree import Path, Tensor

WRAPPERS = {
    "module",
    "_module",
    "_orig_mod",
    "_forward_module",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
}
_COUNTER = "n_averaged"  # of `torch.optim.swa_utils.AveragedModel`, beside its `module.`
# What a training calls its network, in the order of preference.
_NETWORK_NAMES = (
    *("state_dict", "model_state_dict", "model", "net", "network", "model_state", "state"),
    *("weights", "params"),
)
_AVERAGE = re.compile(r"(^|_)(ema|swa|avg|averaged?|shadow|polyak)(_|\d*$)", re.IGNORECASE)
_SLICE = re.compile(r"^slice[1-5]$")  # of the package lpips: `net.slice2.3.weight`
_MAX_SHOWN = 4
_MAX_NETWORKS = 100


class FoundArrays(NamedTuple):
    """The paths of torchvision's keys, and what the user should know, one line each."""

    paths: dict[str, Path]
    messages: tuple[str, ...]


_Bases = dict[Path, dict[str, list[Path]]]
"""By what is before torchvision's keys, a network's base: the paths of each key."""


def find_arrays(
    arrays: Mapping[Path, Any], shapes: Mapping[str, tuple[int, ...]], file_name: str
) -> FoundArrays:
    """`InputError`: no network, several of one rank, a name twice, or an unknown array within."""
    names = {
        path: tuple(_SLICE.sub("features", part) for part in path if part not in WRAPPERS)
        for path in arrays
        if path and path[-1] != _COUNTER
    }
    named = _bases_by_name(names, shapes)
    bases = named or _bases_by_shape(arrays, names, shapes)
    expected = f"torchvision's AlexNet, which has {', '.join(shapes)}, each .weight and .bias"
    if not bases:
        raise InputError(
            f"{file_name} holds no network under the names of {expected}; it has "
            f"{_list_names(list(names.values())) or 'no array with a name'}"
        )
    if len(bases) > _MAX_NETWORKS:
        raise InputError(f"{file_name} holds {len(bases):,} networks; save the right one alone")
    different = _different_networks(bases, arrays, file_name)
    base = _choose(list(different), file_name)
    messages = _about_others(base, list(different))
    if not named:
        messages.append(f"the convolutions are those of '{_show(base)}', known by their shapes")
    paths, head = _with_nested_head(different[base], arrays, names, base)
    if head:
        messages.append(f"the classifier's last layer was taken from '{head}'")
    rest = _unused(paths, arrays, names, base, bases)
    trunk = next(names[path][:-2] for key, path in paths.items() if key.startswith("features."))
    for name in rest:
        if _is_inside(name, trunk) or _is_amid_classifier(name, base, paths):
            raise InputError(f"{file_name}: '{'.'.join(name)}' is no array of {expected}")
    after = [name for name in rest if _is_inside(name, (*base, "classifier"))]
    if after and "classifier.6.weight" in paths:
        messages.append(
            f"'{'.'.join(after[0][:-1])}' is no layer of torchvision's AlexNet, and may follow "
            f"the last: the outputs here are those of '{'.'.join((*base, 'classifier.6'))}', not "
            "of the file's complete network"
        )
    if rest:
        messages.append(f"left out, as they belong to no layer: {_list_names(rest)}")
    return FoundArrays(paths, tuple(messages))


def _bases_by_name(names: Mapping[Path, Path], shapes: Mapping[str, Any]) -> _Bases:
    known = {f"{prefix}.{leaf}" for prefix in shapes for leaf in ("weight", "bias")}
    bases: _Bases = {}
    for path, name in names.items():
        key = ".".join(name[-3:])
        if key in known:
            bases.setdefault(name[:-3], {}).setdefault(key, []).append(path)
    return {b: keys for b, keys in bases.items() if any(k.startswith("features.") for k in keys)}


def _bases_by_shape(
    arrays: Mapping[Path, Any], names: Mapping[Path, Path], shapes: Mapping[str, tuple[int, ...]]
) -> _Bases:
    numbers = {p.partition(".")[2]: s for p, s in shapes.items() if p.startswith("features.")}
    bases: _Bases = {}
    for path, name in names.items():
        if len(name) > 2 and name[-2] in numbers and name[-1] in ("weight", "bias"):
            shape = numbers[name[-2]]
            if arrays[path].shape == (shape if name[-1] == "weight" else shape[:1]):
                key = f"features.{name[-2]}.{name[-1]}"
                bases.setdefault(name[:-2], {}).setdefault(key, []).append(path)
    return {base: keys for base, keys in bases.items() if len(keys) == 2 * len(numbers)}


def _different_networks(
    bases: _Bases, arrays: Mapping[Path, Any], file_name: str
) -> dict[Path, dict[str, Path]]:
    """Each set of arrays once: some have several names."""
    contents: dict[Path, set[tuple[str, str]]] = {}
    for base in sorted(bases, key=_rank):
        for key, paths in bases[base].items():
            if len({_place(arrays[path]) for path in paths}) > 1:
                both = " and ".join(f"'{'.'.join(path)}'" for path in paths[:2])
                raise InputError(f"{file_name} holds '{key}' twice: {both}; remove one of them")
        content = {(key, _place(arrays[paths[0]])) for key, paths in bases[base].items()}
        if not any(content <= other for other in contents.values()):
            contents = {b: other for b, other in contents.items() if not other <= content}
            contents[base] = content
    return {base: {key: paths[0] for key, paths in bases[base].items()} for base in contents}


def _choose(bases: list[Path], file_name: str) -> Path:
    first, *others = sorted(bases, key=_rank)
    equal = [base for base in others if _rank(base) == _rank(first)]
    if equal:
        both = ", ".join(f"'{_show(base)}'" for base in [first, *equal])
        raise InputError(
            f"{file_name} holds several networks: {both}; save the right one alone, as "
            "torch.save(its state_dict, FILE)"
        )
    return first


def _rank(base: Path) -> tuple[Any, ...]:
    last = len(_NETWORK_NAMES)
    ranks = tuple(_NETWORK_NAMES.index(p) if p in _NETWORK_NAMES else last for p in base)
    return _is_average(base), ranks


def _about_others(base: Path, bases: list[Path]) -> list[str]:
    others = [other for other in bases if other != base]
    if not others:
        return [f"'{_show(base)}' is an average of a training's weights"] * _is_average(base)
    left = ", ".join(f"'{_show(other)}'" + " (an average)" * _is_average(other) for other in others)
    return [
        f"the weights are those of '{_show(base)}'; left out: {left} (to use another, save it "
        "alone with torch.save)"
    ]


def _with_nested_head(
    paths: dict[str, Path], arrays: Mapping[Path, Any], names: Mapping[Path, Path], base: Path
) -> tuple[dict[str, Path], str]:
    """`classifier[6]` is often replaced by `Sequential(Dropout, Linear)` or the like."""
    head = (*base, "classifier", "6")
    inside = {name: path for path, name in names.items() if _is_inside(name, head)}
    weights = [name for name in inside if name[-1] == "weight" and len(name) > len(head) + 1]
    if len(weights) == 1 and len(arrays[inside[weights[0]]].shape) == 2:
        layer = weights[0][:-1]
        if set(inside) == {(*layer, "weight"), (*layer, "bias")}:
            found = {f"classifier.6.{name[-1]}": path for name, path in inside.items()}
            return paths | found, ".".join(layer)
    return paths, ""


def _unused(
    paths: Mapping[str, Path],
    arrays: Mapping[Path, Any],
    names: Mapping[Path, Path],
    base: Path,
    bases: Iterable[Path],
) -> list[Path]:
    places = {_place(arrays[path]) for path in paths.values()}
    used = {names[path] for path in paths.values()}
    used |= {name for path, name in names.items() if _place(arrays[path]) in places}

    def owner(name: Path) -> Path | None:  # the innermost network that an array is in
        return max((b for b in bases if _is_inside(name, b)), key=len, default=None)

    unused = [name for name in dict.fromkeys(names.values()) if name not in used]
    return [name for name in unused if owner(name) in (base, None)]


def _is_amid_classifier(name: Path, base: Path, paths: Mapping[str, Path]) -> bool:
    """Such an array changes what the last dense layer computes; a head after it does not."""
    place = name[len(base) :][:2] if _is_inside(name, base) else ()
    if len(place) < 2 or place[0] != "classifier" or not re.fullmatch("[0-9]{1,4}", place[1]):
        return False
    taken = [int(key.split(".")[1]) for key in paths if key.startswith("classifier.")]
    return int(place[1]) < max(taken, default=-1)


def _is_inside(name: Path, base: Path) -> bool:
    return name[: len(base)] == base and len(name) > len(base)


def _is_average(base: Path) -> bool:
    return any(_AVERAGE.search(part) for part in base)


def _place(array: Any) -> str:
    return str(array.place() if isinstance(array, Tensor) else id(array))


def _show(base: Path) -> str:
    return ".".join(base) or "the top level"


def _list_names(names: list[Path]) -> str:
    first = ", ".join(f"'{'.'.join(name)[:80]}'" for name in names[:_MAX_SHOWN])
    more = len(names) - _MAX_SHOWN
    return f"{first} and {more:,} more" if more > 0 else first
