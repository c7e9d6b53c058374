"""Which folders of a source are its training, validation and test; names alone do not decide.

A `train` that holds photos next to other folders of photos is a class (trains among vehicles).
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from alexnet_jax.errors import DataError
from alexnet_jax.preparation.file_trees.tree import Entry, Parts, Tree
from alexnet_jax.preparation.photo_folders.class_folders import (
    WRAPPERS,
    PhotoFolder,
    find_wrapper,
    holds_splits_in_classes,
    listed,
    refuse_groups,
    swap_layers,
)
from alexnet_jax.preparation.photo_folders.split_names import is_filler, plain_split, split_name

_MAX_WRAPPERS = 8
_UNLABELLED = {"unknown", "unlabelled", "unlabeled", "none", "pred", "predict", "prediction"}
_NO_CLASSES = _UNLABELLED | WRAPPERS  # where they are next to a folder of training photos
_OUTSIDE = "files outside train, validation and test"


@dataclass
class SourceLayout:
    """The folder of each split; its top folders are the classes, or it holds photos alone."""

    root: Path
    splits: dict[str, PhotoFolder]  # there is always one for training
    left_out: Counter[str]  # number of files by why they were left out
    broken_links: dict[Parts, str]
    # how the source was read, one line for each decision
    understood: list[str] = field(default_factory=list)
    # files outside the class folders, with why each is left out unless it gives labels
    beside: list[tuple[Entry, str]] = field(default_factory=list)

    def leave_others(self, folder: PhotoFolder, taken: list[str], why: str) -> None:
        for entry in folder.tree.entries:
            if len(entry.parts) == 1:
                self.beside.append((entry, why))
            elif entry.parts[0] not in taken:
                self.left_out[f"files in the folder '{entry.parts[0]}'"] += 1


def find_layout(root: Path, tree: Tree) -> SourceLayout:
    layout = SourceLayout(root, {}, tree.left_out, tree.broken_links)
    folder = PhotoFolder(root, (), tree)
    for _ in range(_MAX_WRAPPERS):
        if holds_splits_in_classes(folder):
            folder = swap_layers(folder)
            layout.understood.append("the folder of every class holds its splits")
        split_folders = _find_splits(folder, layout)
        if split_folders:
            _take_splits(folder, split_folders, layout)
            return layout
        wrapper = find_wrapper(folder)
        if not wrapper:
            break
        layout.leave_others(folder, [wrapper], f"files next to the folder '{wrapper}'")
        folder = folder.below(wrapper)
    if folder.inside:
        layout.understood.append(f"the photos are those in the folder {'/'.join(folder.inside)}")
    refuse_groups(folder)
    layout.splits["train"] = folder
    return layout


def _find_splits(folder: PhotoFolder, layout: SourceLayout) -> dict[str, str]:
    tops = folder.tops
    named = {} if folder.names_classes else _named_splits(folder)
    if not named or _wraps_splits(folder):
        return {}
    train = [name for name, split in named.items() if split == "train"]
    deep = [name for name in named if tops[name].holds_folders]
    others = [n for n in folder.with_photos if n not in named and n.lower() not in _NO_CLASSES]
    several = bool(train) and len(set(named.values())) > 1
    if others and not several:
        if not deep or not train:
            _refuse_test_beside_classes(folder, deep, others)
            layout.understood.append(
                f"taken for classes, not for splits, because next to them are {listed(others, 5)}: "
                f"{listed(named)}"
            )
            return {}
        if _are_classes_of_kinds(folder, [*train, *others]):
            layout.understood.append(f"taken for a class, not for a split: {train[0]}")
            return {}
        raise DataError(
            f"{folder} holds '{train[0]}' with the folders {listed(tops[train[0]].below, 5)}, and "
            f"next to it {listed(others, 5)}; if '{train[0]}' is the training split, "
            f"{folder.remedy(train[0])}; if it is a class, rename it"
        )
    if not train:
        raise DataError(
            f"{folder} has {listed(named)} but no train folder; rename the folder of the training "
            "photos to train"
        )
    return _one_folder_each(folder, named)


def _wraps_splits(folder: PhotoFolder) -> bool:
    names = folder.with_photos
    inner = map(split_name, folder.tops[names[0]].below) if len(names) == 1 else ()
    return len({found.split for found in inner if found}) > 1


def _are_classes_of_kinds(folder: PhotoFolder, names: list[str]) -> bool:
    """Whether all these folders hold folders, of which no two share a name."""
    inner = [{name.casefold() for name in folder.tops[top].below} for top in names]
    deep = all(folder.tops[name].holds_folders for name in names)
    return deep and sum(map(len, inner)) == len(set().union(*inner))


def _named_splits(folder: PhotoFolder) -> dict[str, str]:
    """A name with other words counts, as `seg_train`, if there is a `seg_test` or the like."""
    splits = {name: split for name in folder.tops if (split := plain_split(name))}
    if "train" not in splits.values():
        sets: defaultdict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
        for name in folder.tops:
            if (found := split_name(name)) and found.other_words:
                sets[found.other_words][name] = found.split
        whole = [s for s in sets.values() if "train" in s.values() and len(set(s.values())) > 1]
        if len(whole) > 1:
            raise DataError(
                f"{folder} holds several sets of splits: {listed(n for s in whole for n in s)}; "
                "arrange them as train/CLASS and test/CLASS"
            )
        splits |= whole[0] if whole else {}
    evaluation = "test" if "validation" in splits.values() else "validation"
    return {name: evaluation if s == "evaluation" else s for name, s in splits.items()}


def _one_folder_each(folder: PhotoFolder, named: dict[str, str]) -> dict[str, str]:
    """Of two folders for a split, returns the one that is not empty."""
    tops = folder.tops
    chosen = dict(named)
    for split, count in Counter(named.values()).items():
        names = [name for name in chosen if chosen[name] == split]
        full = [name for name in names if tops[name].photos]
        unlabelled = not any(tops[name].holds_folders for name in full)
        if len(full) > 1 and len(chosen) == len(full) and unlabelled:
            return {}  # parts of one set of photos, which a table or their names label
        if count > 1 and len(full) != 1:
            raise DataError(
                f"{folder} has two folders for one split: {listed(names)}; put them together, or "
                "move one away"
            )
        if count > 1:
            chosen = {n: s for n, s in chosen.items() if n not in names or n in full}
    return chosen


def _refuse_test_beside_classes(folder: PhotoFolder, deep: list[str], others: list[str]) -> None:
    known = {name.casefold() for name in others}
    known |= {inner.casefold() for name in others for inner in folder.tops[name].below}
    remedy = f"put the training photos in {folder}/train"
    if len(others) == 1:
        remedy = f"if '{others[0]}' is for training, rename it to train"
    for name in deep:
        if any(inner.casefold() in known for inner in folder.tops[name].below):
            raise DataError(
                f"{folder} holds '{name}' with the folders {listed(folder.tops[name].below, 5)}, "
                f"and next to it {listed(others, 5)}, but no train folder; {remedy}"
            )


def _take_splits(folder: PhotoFolder, named: dict[str, str], layout: SourceLayout) -> None:
    layout.leave_others(folder, list(named), _OUTSIDE)
    classes: set[str] = set()
    found = []
    for name in sorted(named, key=lambda name: named[name] != "train"):  # it gives the classes
        split = named[name]
        inner = _unwrapped(folder.below(name), split, classes, layout)
        if split == "train":
            refuse_groups(inner)
            classes = {top.casefold() for top in inner.tops}
        layout.splits[split] = inner
        place = "/".join(inner.inside[len(folder.inside) :])
        found.append(split if place == split else f"{split} from '{place}'")
    where = f" in {'/'.join(folder.inside)}" if folder.inside else ""
    layout.understood.append(f"splits{where}: {', '.join(found)}")


def _unwrapped(
    folder: PhotoFolder, split: str, classes: set[str], layout: SourceLayout
) -> PhotoFolder:
    for _ in range(_MAX_WRAPPERS):
        names = folder.with_photos
        if len(names) != 1 or folder.loose_photos() or folder.names_classes:
            break
        if names[0].casefold() in classes or not _wraps_split(folder, names[0], split):
            break
        layout.leave_others(folder, names, _OUTSIDE)
        folder = folder.below(names[0])
    return folder


def _wraps_split(folder: PhotoFolder, name: str, split: str) -> bool:
    found = split_name(name)
    known = (found is not None and found.split == split) or name.lower() in _UNLABELLED
    alone = len(folder.tops) == 1 and folder.tops[name].holds_folders
    return known or alone or is_filler(name)
