"""Which folders of a source are its training, validation and test.

Names alone do not decide: a folder `train` that holds class folders is a split; one that holds
photos beside other folders of photos is a class (there are trains among vehicles).
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from alexnet_jax.errors import DataError
from alexnet_jax.preparation.sources.layouts import (
    WRAPPERS,
    Folder,
    find_wrapper,
    holds_splits_in_classes,
    listed,
    loose_photos,
    refuse_groups,
    turned,
)
from alexnet_jax.preparation.sources.split_names import is_filler, split_name
from alexnet_jax.preparation.sources.tree import Entry, Parts, Tree

_MOST_WRAPPERS = 8
_UNLABELLED = {"unknown", "unlabelled", "unlabeled", "none", "pred", "predict", "prediction"}
_NO_PART = _UNLABELLED | WRAPPERS  # beside a folder of training photos
_OUTSIDE = "files outside train, validation and test"


@dataclass
class Layout:
    """Folders by split, whose top folders are the classes, or which hold photos alone.

    Attributes:
      root: of the source.
      splits: by name; there is always one for training.
      ignored: what was left out, and why.
      broken: links that lead nowhere, with their targets.
      understood: what was taken for what, a line each.
      beside: files that lie on the way down, with why each is left out unless it tells labels.
    """

    root: Path
    splits: dict[str, Folder]
    ignored: Counter[str]
    broken: dict[Parts, str]
    understood: list[str] = field(default_factory=list)
    beside: list[tuple[Entry, str]] = field(default_factory=list)


def find_layout(root: Path, tree: Tree) -> Layout:
    """Finds splits and class folders, through folders that only wrap them.

    Args:
      root: of the source.
      tree: all its files.

    Raises:
      DataError: no layout that is known, or one that could be meant in two ways.
    """
    layout = Layout(root, {}, tree.ignored, tree.broken)
    folder = Folder(root, (), tree)
    for _ in range(_MOST_WRAPPERS):
        if holds_splits_in_classes(folder):
            folder = turned(folder)
            layout.understood.append("the folder of every class holds its splits")
        named = _split_folders(folder, layout)
        if named:
            _take_splits(folder, named, layout)
            return layout
        wrapper = find_wrapper(folder)
        if not wrapper:
            break
        _leave_others(layout, folder, [wrapper], f"files beside the folder '{wrapper}'")
        folder = folder.below(wrapper)
    if folder.inside:
        layout.understood.append(f"the photos are those in the folder {'/'.join(folder.inside)}")
    refuse_groups(folder)
    layout.splits["train"] = folder
    return layout


def _split_folders(folder: Folder, layout: Layout) -> dict[str, str]:
    """Returns the split of each top folder that is one; empty: there are none here."""
    tops = folder.tops
    named = {} if folder.names_classes else _named(folder)
    if not named or _wraps_all(folder):
        return {}
    train = [name for name, split in named.items() if split == "train"]
    deep = [name for name in named if tops[name].holds_folders]
    others = [n for n in folder.holders if n not in named and n.lower() not in _NO_PART]
    several = bool(train) and len(set(named.values())) > 1
    if others and (not deep and not several or not train):
        _refuse_test_beside_classes(folder, deep, others)
        layout.understood.append(
            f"taken for classes, not for splits, as they lie beside {listed(others, 5)}: "
            f"{listed(named)}"
        )
        return {}
    if others and not several and _are_kinds(folder, [*train, *others]):
        layout.understood.append(f"taken for a class, not for a split: {train[0]}")
        return {}
    if others and not several:
        raise DataError(
            f"{folder} holds '{train[0]}', in which there are the folders "
            f"{listed(tops[train[0]].below, 5)}, beside {listed(others, 5)}; if '{train[0]}' is "
            f"the training split, {folder.hint(train[0])}; if it is a class, call it something else"
        )
    if not train:
        raise DataError(
            f"{folder} has {listed(named)} but no train folder; call the folder of the training "
            "photos train"
        )
    return _one_each(folder, named)


def _wraps_all(folder: Folder) -> bool:
    """Returns whether the only folder with photos holds several splits, whatever it is called."""
    holders = folder.holders
    inner = map(split_name, folder.tops[holders[0]].below) if len(holders) == 1 else ()
    return len({said.split for said in inner if said}) > 1


def _are_kinds(folder: Folder, names: list[str]) -> bool:
    """Returns whether all these folders hold folders, and none of the same name as another's."""
    inner = [{name.casefold() for name in folder.tops[top].below} for top in names]
    deep = all(folder.tops[name].holds_folders for name in names)
    return deep and sum(map(len, inner)) == len(set().union(*inner))


def _named(folder: Folder) -> dict[str, str]:
    """Returns the top folders whose names mean splits.

    A name with other words in it, as `seg_train`, does where there is `seg_test` or the like.
    """
    read = {name: split_name(name) for name in folder.tops}
    found = {name: said.split for name, said in read.items() if said and not said.rest}
    if "train" not in found.values():
        sets: defaultdict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
        for name, said in read.items():
            if said and said.rest:
                sets[said.rest][name] = said.split
        whole = [s for s in sets.values() if "train" in s.values() and len(set(s.values())) > 1]
        if len(whole) > 1:
            raise DataError(
                f"{folder} holds several sets of splits: {listed(n for s in whole for n in s)}; "
                "lay them out as train/CLASS and test/CLASS"
            )
        found |= whole[0] if whole else {}
    evaluation = "test" if "validation" in found.values() else "validation"
    found = {n: evaluation if split == "evaluation" else split for n, split in found.items()}
    return found


def _one_each(folder: Folder, named: dict[str, str]) -> dict[str, str]:
    """Returns one folder a split: of two, that which is not empty."""
    for split, count in Counter(named.values()).items():
        names = [name for name in named if named[name] == split]
        full = [name for name in names if folder.tops[name].photos]
        if len(full) > 1 and len(named) == len(full):
            if not any(folder.tops[name].holds_folders for name in full):
                return {}  # parts of one heap of photos; what labels them will tell
        if count > 1 and len(full) != 1:
            raise DataError(
                f"{folder} has two folders for one split: {listed(names)}; put them together, or "
                "move one away"
            )
        for name in names:
            if count > 1 and name not in full:
                del named[name]
    return named


def _refuse_test_beside_classes(folder: Folder, deep: list[str], others: list[str]) -> None:
    known = {name.casefold() for name in others}
    known |= {inner.casefold() for name in others for inner in folder.tops[name].below}
    remedy = f"lay the training photos in {folder}/train"
    if len(others) == 1:
        remedy = f"if '{others[0]}' is for training, rename it to train"
    for name in deep:
        if any(inner.casefold() in known for inner in folder.tops[name].below):
            raise DataError(
                f"{folder} holds '{name}' with the folders {listed(folder.tops[name].below, 5)}, "
                f"and beside it {listed(others, 5)}, but no train folder; {remedy}"
            )


def _take_splits(folder: Folder, named: dict[str, str], layout: Layout) -> None:
    _leave_others(layout, folder, list(named), _OUTSIDE)
    order = sorted(named, key=lambda name: named[name] != "train")  # it tells the classes
    classes: set[str] = set()
    said = []
    for name in order:
        part = _unwrapped(folder.below(name), named[name], classes, layout)
        if named[name] == "train":
            refuse_groups(part)
            classes = {top.casefold() for top in part.tops}
        layout.splits[named[name]] = part
        place = "/".join(part.inside[len(folder.inside) :])
        said.append(named[name] if place == named[name] else f"{named[name]} from '{place}'")
    where = f" in {'/'.join(folder.inside)}" if folder.inside else ""
    layout.understood.append(f"splits{where}: {', '.join(said)}")


def _unwrapped(folder: Folder, split: str, classes: set[str], layout: Layout) -> Folder:
    """Returns the folder in which the classes of a split lie, or its photos alone."""
    for _ in range(_MOST_WRAPPERS):
        holders = folder.holders
        if len(holders) != 1 or loose_photos(folder.tree) or folder.names_classes:
            break
        only = holders[0]
        if only.casefold() in classes or not _wraps_split(folder, only, split):
            break
        _leave_others(layout, folder, [only], _OUTSIDE)
        folder = folder.below(only)
    return folder


def _wraps_split(folder: Folder, name: str, split: str) -> bool:
    said = split_name(name)
    known = said is not None and said.split == split or name.lower() in _UNLABELLED
    alone = len(folder.tops) == 1 and folder.tops[name].holds_folders
    return known or alone or is_filler(name)


def _leave_others(layout: Layout, folder: Folder, taken: list[str], why: str) -> None:
    """Counts what lies beside the folders that are taken; a folder by its name."""
    for entry in folder.tree.entries:
        if len(entry.parts) == 1:
            layout.beside.append((entry, why))
        elif entry.parts[0] not in taken:
            layout.ignored[f"files in the folder '{entry.parts[0]}'"] += 1
