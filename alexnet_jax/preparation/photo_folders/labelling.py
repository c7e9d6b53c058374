"""The class of every photo: by its folder, by a table, or by its name."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

from alexnet_jax.errors import DataError
from alexnet_jax.preparation.file_trees.tree import Entry
from alexnet_jax.preparation.photo_folders.class_folders import (
    CLASS_NAMES,
    PhotoFolder,
    listed,
    may_be_photo,
)
from alexnet_jax.preparation.photo_folders.label_tables import LabelTables
from alexnet_jax.preparation.photo_folders.split_folders import SourceLayout

LabelledPhotos = list[tuple[str, Entry]]
"""Photos, each after the id of its class."""

_MIN_LABELLED = 0.9  # of the photos in folders that differ by a number, for a table to decide
_NUMBER = re.compile(r"[ ._(-]+\d{1,12}\)?$")
_LETTERS = re.compile(r"[^\W\d_]+")
_CAMERA_WORDS = set(
    "burst capture clip copy download dsc dscf dscn eos file fig figure frame gopr gopro hpim "
    "ilsvrc im image images img imgp jpeg kin mvi no p page photo photos pic pict picture pxl sam "
    "sample scan screen screenshot sdc snap snapchat unnamed untitled vid video wa whatsapp "
    "wp".split()
)
_MAX_UNNAMED = 0.05  # of the photos, whose names give no class


def label_photos(layout: SourceLayout) -> tuple[dict[str, LabelledPhotos], list[str]]:
    """Returns photos by split, and the ids of all classes, also of those without a photo."""
    tables = LabelTables(layout.beside, layout.splits)
    before = len(layout.understood)
    folder = layout.splits["train"]
    splits: dict[str, LabelledPhotos] = {}
    if _is_flat(folder):
        splits = _by_table(layout, tables) or _by_names(layout, tables)
    elif _are_parts(folder):
        splits = _by_table(layout, tables, _MIN_LABELLED)
    ids = sorted({class_id for photos in splits.values() for class_id, _ in photos})
    if not splits:
        ids = sorted(folder.tops)
        if not ids:
            raise DataError(_no_classes(layout, tables))
        splits = {"train": _by_folders(layout, "train", ids)}
        layout.understood.append(f"classes are the folders {listed(ids)}")
    for split in layout.splits:
        if split not in splits:
            splits[split] = _label_other_split(layout, split, ids, tables)
    layout.understood[before:before] = tables.summary()
    layout.left_out.update(why for entry, why in layout.beside if not tables.used(entry))
    return {split: photos for split, photos in splits.items() if photos}, ids


def _is_flat(folder: PhotoFolder) -> bool:
    return not folder.with_photos and bool(folder.photos())


def _are_parts(folder: PhotoFolder) -> bool:
    """Whether the top folders differ by numbers only: `images_1`, `images_2`."""
    names = folder.with_photos
    return len(names) > 1 and len({re.sub(r"\d+", "", name) for name in names}) == 1


def _by_table(
    layout: SourceLayout, tables: LabelTables, min_labelled: float = 0.0
) -> dict[str, LabelledPhotos]:
    folder = layout.splits["train"]
    photos = folder.photos()
    classes, splits = tables.labels("train", photos, above=None if min_labelled else folder.root)
    if not classes or len(classes) < min_labelled * len(photos):
        return {}
    if min_labelled and set(classes.values()) <= set(folder.tops):
        return {}
    if list(layout.splits) != ["train"]:
        splits = {}
    found = {split: [] for split in sorted({*splits.values(), "train"})}
    for index, entry in enumerate(photos):
        if index in classes:
            found[splits.get(index, "train")].append((classes[index], entry))
    _note_flat(layout, found)
    return found


def _by_names(layout: SourceLayout, tables: LabelTables) -> dict[str, LabelledPhotos]:
    photos = layout.splits["train"].photos()
    classes = classes_in_names([entry.name for entry in photos])
    if not classes:
        raise DataError(_no_classes(layout, tables))
    found = {"train": [(c, entry) for c, entry in zip(classes, photos, strict=True) if c]}
    layout.understood.append("classes are taken from file names")
    _note_flat(layout, found)
    return found


def _note_flat(layout: SourceLayout, found: dict[str, LabelledPhotos]) -> None:
    folder = layout.splits["train"]
    counts = Counter(class_id for part in found.values() for class_id, _ in part)
    layout.understood.append(f"classes: {listed(f'{c} {n:,}' for c, n in sorted(counts.items()))}")
    layout.left_out["photos of train that have no label"] += len(folder.photos()) - counts.total()
    _note_files_beside_photos(layout, folder)


def _note_files_beside_photos(layout: SourceLayout, folder: PhotoFolder) -> None:
    others = (entry for entry in folder.tree.entries if not may_be_photo(entry.name))
    layout.beside += [(entry, "files next to the photos") for entry in others]


def _by_folders(layout: SourceLayout, split: str, ids: list[str]) -> LabelledPhotos:
    """Names that differ only in case or accents are one class."""
    folder = layout.splits[split]
    known = {class_id: class_id for class_id in ids}
    folded = Counter(map(_folded, ids))
    similar = {_folded(class_id): class_id for class_id in ids if folded[_folded(class_id)] == 1}
    photos = []
    for entry in folder.tree.entries:
        if len(entry.parts) == 1:
            if entry.name != CLASS_NAMES:
                layout.beside.append((entry, "files next to the class folders"))
            continue
        top = entry.parts[0]
        if top not in known:
            if _folded(top) not in similar:
                raise DataError(
                    f"class '{top}' of the {split} split of {folder.root} is not in train; add "
                    f"photos of it there, or move {'/'.join((*folder.inside, top))} away"
                )
            known[top] = similar[_folded(top)]
            layout.understood.append(f"class '{top}' of {split} is '{known[top]}' of train")
        if may_be_photo(entry.name):
            photos.append((known[top], entry))
        else:  # what programs put next to every photo: IMG_1.jpg.json, 7.xml, IMG_1.MOV
            layout.left_out["files among the photos that are none by their names"] += 1
    if not photos:
        raise DataError(f"the {split} split of {folder.root} has no images")
    return photos


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _label_other_split(
    layout: SourceLayout, split: str, ids: list[str], tables: LabelTables
) -> LabelledPhotos:
    folder = layout.splits[split]
    if not _is_flat(folder):
        return _by_folders(layout, split, ids)
    photos = folder.photos()
    classes, _ = tables.labels(split, photos, set(ids))
    if not classes:
        names = classes_in_names([entry.name for entry in photos])
        known = {_folded(class_id): class_id for class_id in ids}
        classes = {i: known[_folded(n)] for i, n in enumerate(names) if _folded(n) in known}
    layout.left_out[f"photos of {split} that have no label"] += len(photos) - len(classes)
    _note_files_beside_photos(layout, folder)
    return [(classes[i], entry) for i, entry in enumerate(photos) if i in classes]


def _no_classes(layout: SourceLayout, tables: LabelTables) -> str:
    folder = layout.splits["train"]
    expected = (
        f"expected {folder.root.name}/CLASS/IMAGE or {folder.root.name}/train/CLASS/IMAGE, names "
        "such as cat.1.jpg and dog.1.jpg, or a table (.csv) of photos and their classes"
    )
    left_out = [f"left out: {count:,} {why}" for why, count in layout.left_out.items() if count]
    notes = "; ".join(filter(None, [tables.unused(), *left_out]))
    notes = f" ({notes})" if notes else ""
    if folder.inside and folder.photos():
        return (
            f"{folder.root} has only one class ('{folder.inside[-1]}'), or no class folders in it; "
            f"{expected}{notes}"
        )
    return f"{folder.root} has no class folders; {expected}{notes}"


def classes_in_names(names: Sequence[str]) -> list[str]:
    """Returns the class in each file's name, such as cat.0.jpg, dog-1.png; empty: it has none.

    A name is a word, a separator and a number. Words are classes, whatever their case, if nearly
    all names have that form and at least two words have two files or more; cameras' are none.
    """
    words = [_word(name) for name in names]
    counts = Counter(word.casefold() for word in words if word)
    frequent = [word for word, count in counts.items() if count > 1]
    unnamed = len(names) - sum(counts[word] for word in frequent)
    if len(frequent) < 2 or unnamed > _MAX_UNNAMED * len(names):
        return []
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for word in words:
        spellings[word.casefold()][word] += 1
    usual = {word: found.most_common(1)[0][0] for word, found in spellings.items()}
    return [usual[word.casefold()] if word.casefold() in frequent else "" for word in words]


def _word(name: str) -> str:
    stem = name.rpartition(".")[0]
    number = _NUMBER.search(stem)
    word = stem[: number.start()].strip() if number else ""
    letters = _LETTERS.search(word)
    return word if letters and letters[0].casefold() not in _CAMERA_WORDS else ""
