"""Which arrays of a file are torchvision's AlexNet, whatever their names begin with.

Wrappers (`DataParallel`, `torch.compile`, FSDP, activation checkpoints, Opacus) put a part of their
own anywhere into a name; classes, trainers and dictionaries of training put any in front. What must
stand is `features.0.weight` and so on. Where the convolutions alone stand in a sequence of another
name, as fastai has them (`0.0.0.weight`), they are known by their shapes.
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
"""What modules around others call these."""
_COUNTER = "n_averaged"  # of `torch.optim.swa_utils.AveragedModel`, beside its `module.`
_PLAIN = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "model_state",
    "state",
    "weights",
    "params",
)
"""What a training calls its network, before all others where a file holds several."""
_AVERAGE = re.compile(r"(^|_)(ema|swa|avg|averaged?|shadow|polyak)(_|\d*$)", re.IGNORECASE)
_MOST_NAMED = 4
_MOST_NETWORKS = 100


class Layout(NamedTuple):
    """Where the network's arrays are.

    Attributes:
      paths: of torchvision's keys.
      told: what the user should know, one line each.
    """

    paths: dict[str, Path]
    told: tuple[str, ...]


def find_layout(
    arrays: Mapping[Path, Any], shapes: Mapping[str, tuple[int, ...]], what: str
) -> Layout:
    """Returns the `Layout` of the one network among the arrays.

    Args:
      arrays: whatever has a `shape`, by path.
      shapes: of torchvision's weights, by prefix (`features.0`), convolutions first.
      what: name of the file, for messages.

    Raises:
      InputError: there is no such network or there are several of the same rank, a name occurs
        twice, or an array stands between the network's layers that it has no use for.
    """
    plain = {path: _unwrapped(path) for path in arrays if path and path[-1] != _COUNTER}
    named = _named_bases(plain, shapes)
    bases = named or _shaped_bases(arrays, plain, shapes)
    if not bases:
        raise InputError(
            f"{what} holds no network under the names of torchvision's AlexNet, which has "
            f"{_layers(shapes)}; it has {_named(list(plain.values())) or 'no array with a name'}"
        )
    if len(bases) > _MOST_NETWORKS:
        raise InputError(f"{what} holds {len(bases):,} networks; save the one that is meant alone")
    different = _different(bases, arrays, what)
    base = _chosen(list(different), what)
    told = _about_sets(base, list(different))
    if not named:
        told.append(f"the convolutions are those of '{_name(base)}', known by their shapes")
    paths, head = _with_head(different[base], arrays, plain, base)
    if head:
        told.append(f"the classifier's last layer was taken from '{head}'")
    rest = _others(paths, arrays, plain, base, bases)
    trunk = next(plain[path][:-2] for key, path in paths.items() if key.startswith("features."))
    for parts in rest:
        if _below(parts, trunk) or _is_amid_classifier(parts, base, paths):
            raise InputError(
                f"{what}: '{'.'.join(parts)}' is no array of torchvision's AlexNet, which has "
                f"{_layers(shapes)}"
            )
    behind = [parts for parts in rest if _below(parts, (*base, "classifier"))]
    if behind and "classifier.6.weight" in paths:
        name, last = ".".join(behind[0][:-1]), ".".join((*base, "classifier.6"))
        told.append(
            f"'{name}' is no layer of torchvision's AlexNet, and may stand behind the last: the "
            f"outputs here are those of '{last}', not of the file's whole network"
        )
    if rest:
        told.append(f"left out, as they belong to no layer: {_named(rest)}")
    return Layout(paths, tuple(told))


def _layers(shapes: Mapping[str, Any]) -> str:
    return f"{', '.join(shapes)}, each .weight and .bias"


def _others(
    paths: Mapping[str, Path],
    arrays: Mapping[Path, Any],
    plain: Mapping[Path, Path],
    base: Path,
    bases: Iterable[Path],
) -> list[Path]:
    """Returns the names that were not taken, less those of other networks and second names."""
    used = {plain[path] for path in paths.values()}
    places = {_place(arrays[path]) for path in paths.values()}
    used |= {parts for path, parts in plain.items() if _place(arrays[path]) in places}
    return [
        parts
        for parts in dict.fromkeys(plain.values())
        if parts not in used and _owner(parts, bases) in (base, None)
    ]


def _owner(parts: Path, bases: Iterable[Path]) -> Path | None:
    """Returns the innermost set of weights that an array lies in."""
    return max((base for base in bases if _below(parts, base)), key=len, default=None)


def _unwrapped(path: Path) -> Path:
    return tuple(part for part in path if part not in WRAPPERS)


_Bases = dict[Path, dict[str, list[Path]]]
"""By what stands before torchvision's keys: the paths of each key."""


def _named_bases(plain: Mapping[Path, Path], shapes: Mapping[str, Any]) -> _Bases:
    known = {f"{prefix}.{leaf}" for prefix in shapes for leaf in ("weight", "bias")}
    bases: _Bases = {}
    for path, parts in plain.items():
        key = ".".join(parts[-3:])
        if key in known:
            bases.setdefault(parts[:-3], {}).setdefault(key, []).append(path)
    return {b: keys for b, keys in bases.items() if any(k.startswith("features.") for k in keys)}


def _shaped_bases(
    arrays: Mapping[Path, Any], plain: Mapping[Path, Path], shapes: Mapping[str, tuple[int, ...]]
) -> _Bases:
    """Returns the sequences that have all convolutions, at their places and in their shapes."""
    numbers = {p.partition(".")[2]: s for p, s in shapes.items() if p.startswith("features.")}
    found: dict[Path, dict[str, list[Path]]] = {}
    for path, parts in plain.items():
        if len(parts) > 2 and parts[-2] in numbers and parts[-1] in ("weight", "bias"):
            shape = numbers[parts[-2]]
            if arrays[path].shape == (shape if parts[-1] == "weight" else shape[:1]):
                key = f"features.{parts[-2]}.{parts[-1]}"
                found.setdefault(parts[:-2], {}).setdefault(key, []).append(path)
    return {base: keys for base, keys in found.items() if len(keys) == 2 * len(numbers)}


def _different(bases: _Bases, arrays: Mapping[Path, Any], what: str) -> dict[Path, dict[str, Path]]:
    """Returns one path a key, and each set of arrays once: a name may stand for another's array."""
    contents: dict[Path, set[tuple[str, str]]] = {}
    for base in sorted(bases, key=_rank):
        for key, paths in bases[base].items():
            if len({_place(arrays[path]) for path in paths}) > 1:
                names = " and ".join(f"'{'.'.join(path)}'" for path in paths[:2])
                raise InputError(f"{what} holds '{key}' twice: {names}")
        content = {(key, _place(arrays[paths[0]])) for key, paths in bases[base].items()}
        if not any(content <= other for other in contents.values()):
            contents = {b: other for b, other in contents.items() if not other <= content}
            contents[base] = content
    return {base: {key: paths[0] for key, paths in bases[base].items()} for base in contents}


def _place(array: Any) -> str:
    return str(array.place() if isinstance(array, Tensor) else id(array))


def _is_average(base: Path) -> bool:
    return any(_AVERAGE.search(part) for part in base)


def _rank(base: Path) -> tuple[Any, ...]:
    """Returns what sorts the network itself before its averages and other networks."""
    ranks = tuple(_PLAIN.index(p) if p in _PLAIN else len(_PLAIN) for p in base)
    return _is_average(base), ranks


def _chosen(bases: list[Path], what: str) -> Path:
    first, *others = sorted(bases, key=_rank)
    equal = [base for base in others if _rank(base) == _rank(first)]
    if equal:
        names = ", ".join(f"'{_name(base)}'" for base in [first, *equal])
        raise InputError(
            f"{what} holds several networks: {names}; save the one that is meant alone, as "
            "torch.save(its state_dict, FILE)"
        )
    return first


def _about_sets(base: Path, bases: list[Path]) -> list[str]:
    others = [other for other in bases if other != base]
    if not others:
        return [f"'{_name(base)}' is an average of a training's weights"] * _is_average(base)
    left = ", ".join(f"'{_name(other)}'" + " (an average)" * _is_average(other) for other in others)
    return [
        f"the weights are those of '{_name(base)}'; left out: {left} (to take that, save it alone "
        "with torch.save)"
    ]


def _name(base: Path) -> str:
    return ".".join(base) or "the top level"


def _with_head(
    keys: dict[str, Path], arrays: Mapping[Path, Any], plain: Mapping[Path, Path], base: Path
) -> tuple[dict[str, Path], str]:
    """Returns the keys with the last layer from a sequence in its place, and its name there.

    `classifier[6]` is often replaced by `Sequential(Dropout, Linear)` or the like; where that has
    one layer with weights, it is the layer.
    """
    head = (*base, "classifier", "6")
    inside = {parts: path for path, parts in plain.items() if _below(parts, head)}
    weights = [parts for parts in inside if parts[-1] == "weight" and len(parts) > len(head) + 1]
    if len(weights) == 1 and len(arrays[inside[weights[0]]].shape) == 2:
        if set(inside) == {weights[0], (*weights[0][:-1], "bias")}:
            found = {f"classifier.6.{parts[-1]}": path for parts, path in inside.items()}
            return keys | found, ".".join(weights[0][:-1])
    return keys, ""


def _is_amid_classifier(parts: Path, base: Path, keys: Mapping[str, Path]) -> bool:
    """Returns whether an array stands between the dense layers that were found.

    Another head behind the last of them is left out; something before it would change what they
    compute.
    """
    place = parts[len(base) :][:2] if _below(parts, base) else ()
    if len(place) < 2 or place[0] != "classifier" or not re.fullmatch("[0-9]{1,4}", place[1]):
        return False
    taken = [int(key.split(".")[1]) for key in keys if key.startswith("classifier.")]
    return int(place[1]) < max(taken, default=-1)


def _below(parts: Path, base: Path) -> bool:
    return parts[: len(base)] == base and len(parts) > len(base)


def _named(names: list[Path]) -> str:
    """Returns the first names and the number of the others."""
    first = ", ".join(f"'{'.'.join(parts)[:80]}'" for parts in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{first} and {more:,} more" if more > 0 else first
