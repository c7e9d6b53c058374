"""The class of every photo: by its folder, by a table, or by its name."""

import re
import unicodedata
from collections import Counter
from typing import NamedTuple

from alexnet_jax.errors import DataError
from alexnet_jax.preparation.sources.file_names import classes_in_names
from alexnet_jax.preparation.sources.layouts import CLASS_NAMES, Folder, listed, may_be_photo
from alexnet_jax.preparation.sources.splits import Layout
from alexnet_jax.preparation.sources.tables import Tables
from alexnet_jax.preparation.sources.tree import Entry

_BESIDE = "files beside the class folders"
_NO_PHOTOS = "files among the photos that are none by their names"
_ENOUGH = 0.9  # of the photos in folders that are alike but for a number, for a table to decide


class Labelled(NamedTuple):
    """Photos by split, each with its class; and all classes, also those that have no photo."""

    splits: dict[str, list[tuple[str, Entry]]]
    class_ids: list[str]


def label(layout: Layout) -> Labelled:
    """Finds the class of every photo, and notes in `layout` how, and what was left out.

    Raises:
      DataError: nothing tells the classes of the training photos, or a split has strange ones.
    """
    tables = Tables(layout.beside, layout.splits)
    before = len(layout.understood)
    folder = layout.splits["train"]
    if _is_flat(folder):
        splits = _by_table(layout, tables) or _by_names(layout, tables)
        ids = sorted({class_id for photos in splits.values() for class_id, _ in photos})
    elif splits := _are_parts(folder) and _by_table(layout, tables, _ENOUGH):
        ids = sorted({class_id for photos in splits.values() for class_id, _ in photos})
    else:
        ids = sorted(folder.tops)
        if not ids:
            raise DataError(_no_classes(layout, tables))
        splits = {"train": _by_folders(layout, "train", ids)}
        layout.understood.append(f"classes are the folders {listed(ids)}")
    for split in layout.splits:
        if split not in splits:
            splits[split] = _other_split(layout, split, ids, tables)
    layout.understood[before:before] = tables.told()
    layout.ignored.update(why for entry, why in layout.beside if not tables.used(entry))
    return Labelled({name: photos for name, photos in splits.items() if photos}, ids)


def _is_flat(folder: Folder) -> bool:
    return not folder.holders and bool(_photos(folder))


def _photos(folder: Folder) -> list[Entry]:
    return [entry for entry in folder.tree.entries if may_be_photo(entry.name)]


def _are_parts(folder: Folder) -> bool:
    """Returns whether the top folders are alike but for numbers: `images_1`, `images_2`, …."""
    return len({re.sub(r"\d+", "", name) for name in folder.holders}) == 1 < len(folder.holders)


def _by_table(
    layout: Layout, tables: Tables, enough: float = 0.0
) -> dict[str, list[tuple[str, Entry]]]:
    """Returns the training photos that a table labels, or all splits where it tells those too."""
    folder = layout.splits["train"]
    photos = _photos(folder)
    classes, splits = tables.labels("train", photos, above=None if enough else folder.root)
    if not classes or len(classes) < enough * len(photos):
        return {}
    if enough and set(classes.values()) <= set(folder.tops):
        return {}
    told = set(splits.values()) if list(layout.splits) == ["train"] else set()
    found: dict[str, list[tuple[str, Entry]]] = {split: [] for split in sorted(told | {"train"})}
    for index, entry in enumerate(photos):
        if index in classes:
            split = splits.get(index, "train") if told else "train"
            found[split].append((classes[index], entry))
    _tell_flat(layout, folder, photos, found)
    return found


def _by_names(layout: Layout, tables: Tables) -> dict[str, list[tuple[str, Entry]]]:
    folder = layout.splits["train"]
    photos = _photos(folder)
    classes = classes_in_names([entry.name for entry in photos])
    if not classes:
        raise DataError(_no_classes(layout, tables))
    found = {"train": [(c, entry) for c, entry in zip(classes, photos, strict=True) if c]}
    layout.understood.append("classes are taken from file names")
    _tell_flat(layout, folder, photos, found)
    return found


def _tell_flat(
    layout: Layout, folder: Folder, photos: list[Entry], found: dict[str, list[tuple[str, Entry]]]
) -> None:
    counts = Counter(class_id for part in found.values() for class_id, _ in part)
    layout.understood.append(f"classes: {listed(f'{c} {n:,}' for c, n in sorted(counts.items()))}")
    layout.ignored["photos of train that have no label"] += len(photos) - counts.total()
    layout.beside += [
        (e, "files beside the photos") for e in folder.tree.entries if not may_be_photo(e.name)
    ]


def _by_folders(layout: Layout, split: str, ids: list[str]) -> list[tuple[str, Entry]]:
    """Returns the photos of a split whose top folders are classes.

    Names that differ only in case or in how accents are stored are one class.
    """
    folder = layout.splits[split]
    known = {class_id: class_id for class_id in ids}
    folded = Counter(map(_folded, ids))
    alike = {_folded(class_id): class_id for class_id in ids if folded[_folded(class_id)] == 1}
    photos = []
    for entry in folder.tree.entries:
        if len(entry.parts) == 1:
            if entry.name != CLASS_NAMES:
                layout.beside.append((entry, _BESIDE))
            continue
        top = entry.parts[0]
        if top not in known:
            if _folded(top) not in alike:
                raise DataError(
                    f"class '{top}' of the {split} split of {folder.root} is not in train; lay "
                    f"photos of it there, or move {'/'.join((*folder.inside, top))} away"
                )
            known[top] = alike[_folded(top)]
            layout.understood.append(f"class '{top}' of {split} is '{known[top]}' of train")
        if may_be_photo(entry.name):
            photos.append((known[top], entry))
        else:  # what programs lay beside every photo: IMG_1.jpg.json, 7.xml, IMG_1.MOV
            layout.ignored[_NO_PHOTOS] += 1
    if not photos:
        raise DataError(f"the {split} split of {folder.root} has no images")
    return photos


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _other_split(
    layout: Layout, split: str, ids: list[str], tables: Tables
) -> list[tuple[str, Entry]]:
    """Returns the labelled photos of a split that is not the training; the others are counted."""
    folder = layout.splits[split]
    if not _is_flat(folder):
        return _by_folders(layout, split, ids)
    photos = _photos(folder)
    classes, _ = tables.labels(split, photos, set(ids))
    if not classes:
        names = classes_in_names([entry.name for entry in photos])
        known = {_folded(class_id): class_id for class_id in ids}
        classes = {i: known[_folded(n)] for i, n in enumerate(names) if _folded(n) in known}
    layout.ignored[f"photos of {split} that have no label"] += len(photos) - len(classes)
    layout.beside += [
        (e, "files beside the photos") for e in folder.tree.entries if not may_be_photo(e.name)
    ]
    return [(classes[i], entry) for i, entry in enumerate(photos) if i in classes]


def _no_classes(layout: Layout, tables: Tables) -> str:
    folder = layout.splits["train"]
    names = [name for name in (e.name for e in folder.tree.entries) if may_be_photo(name)]
    ways = (
        f"expected {folder.root.name}/CLASS/IMAGE or {folder.root.name}/train/CLASS/IMAGE, names "
        "such as cat.1.jpg and dog.1.jpg, or a table (.csv) of photos and their classes"
    )
    left = [f"left out: {count:,} {why}" for why, count in layout.ignored.items() if count]
    notes = "; ".join(filter(None, [tables.looked_at(), *left]))
    looked = f" ({notes})" if notes else ""
    if folder.inside and names:
        return (
            f"{folder.root} has only one class ('{folder.inside[-1]}'), or no class folders in it; "
            f"{ways}{looked}"
        )
    return f"{folder.root} has no class folders; {ways}{looked}"
