"""A folder of class folders, or the same in a tar or tar.gz.

Two layouts, told apart by the names at the top:

    root/train/<class>/…  root/{val,validation,valid,test}/<class>/…
    root/<class>/…        a share of every class is set aside for validation

A folder may hold `train.tar.gz`, `test.tar.gz` and so on instead. Labels number the class folders
in sorted order. A file `class_names.csv` (rows of `folder,name`) beside the class folders gives
readable names. The content of a file decides whether it is an image, not its name.
"""

import csv
import io
from collections import Counter
from pathlib import Path

from alexnet_jax.config import DataConfig
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.preparation.sources.archives import Entry, Tree, list_tar, plain_tar, read_tree
from alexnet_jax.preparation.sources.source import Record, Source, unique_names
from alexnet_jax.preparation.splitting import hold_out

CLASS_NAMES = "class_names.csv"
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
_BESIDE = "files beside the class folders"
_ARCHIVES = (".tar", ".tar.gz", ".tgz")
_MAX_CSV_BYTES = 16 * 1024**2


def list_images(data: DataConfig, work: Path) -> Source:
    """Lists the images of `data.source`, see the module's text.

    Raises:
      InputError: nothing there, or a file that is no tar.
      DataError: no class folders, an empty class, or a class without training images.
    """
    if not data.source:
        raise InputError("data.source is empty; give a folder or a tar of class folders")
    root = Path(data.source)
    splits, ignored = split_trees(root, work)
    if "train" not in splits:
        raise DataError(f"{root} has {', '.join(splits)} but no train folder")
    ids = sorted({parts[0] for parts in splits["train"].folders})
    if not ids:
        links = f" ({ignored['links']} links are not followed)" if ignored["links"] else ""
        raise DataError(
            f"{root} has no class folders{links}; expected {root.name}/<class>/<image> or "
            f"{root.name}/train/<class>/<image>"
        )
    records = {split: _records(root, split, tree, ids, ignored) for split, tree in splits.items()}
    names = _read_names(splits, ids)
    if list(records) == ["train"] and data.validation_fraction:
        train, validation = hold_out(records["train"], data.validation_fraction)
        records = {"train": train, "validation": validation}
    return Source(unique_names(names, ids), tuple(ids), records, dict(+ignored))


def split_trees(root: Path, work: Path) -> tuple[dict[str, Tree], Counter[str]]:
    """Lists a source by split; below each tree's top are the class folders.

    Returns:
      Trees by split name, and what was left out.
    """
    tree = read_tree(root, work)
    ignored = tree.ignored
    archives = _split_archives(tree) if root.is_dir() else {}
    tops = {parts[0] for parts in tree.folders}
    if archives and not any(top.lower() in _SPLITS for top in tops):
        splits = {}
        ignored["files beside the archives"] += len(tree.entries) - len(archives)
        for split, path in archives.items():
            part = list_tar(plain_tar(path, work), str(path))
            ignored.update(part.ignored)
            splits[split] = _without_top(part, split)
        return splits, +ignored
    if not root.is_dir():
        tree = _without_wrapper(tree)
        tops = {parts[0] for parts in tree.folders}
    named = {top: _SPLITS[top.lower()] for top in sorted(tops) if top.lower() in _SPLITS}
    if not named:
        return {"train": tree}, ignored
    if len(set(named.values())) < len(named):
        raise DataError(f"{root} has two folders for one split: {', '.join(named)}")
    ignored["files outside train, validation and test"] += sum(
        entry.parts[0] not in named for entry in tree.entries
    )
    return {split: _below(tree, top) for top, split in named.items()}, +ignored


def _split_archives(tree: Tree) -> dict[str, Path]:
    found = {}
    for entry in tree.entries:
        for ending in _ARCHIVES:
            stem = entry.parts[0].removesuffix(ending)
            if len(entry.parts) == 1 and stem != entry.parts[0] and stem.lower() in _SPLITS:
                found[_SPLITS[stem.lower()]] = Path(entry.path)
    return found


def _without_top(tree: Tree, split: str) -> Tree:
    """Takes the split's name off the top, where an archive of one split has it there."""
    tree = _without_wrapper(tree)
    tops = {parts[0] for parts in tree.folders}
    if len(tops) == 1 and _SPLITS.get(next(iter(tops)).lower()) == split:
        return _below(tree, tops.pop())
    return tree


def _without_wrapper(tree: Tree) -> Tree:
    """Takes off a single top folder that only wraps the others, as archives often have it."""
    tops = {entry.parts[0] for entry in tree.entries}
    deep = any(len(entry.parts) >= 3 for entry in tree.entries)
    if len(tops) == 1 and deep and next(iter(tops)).lower() not in _SPLITS:
        return _below(tree, tops.pop())
    return tree


def _below(tree: Tree, top: str) -> Tree:
    entries = [e._replace(parts=e.parts[1:]) for e in tree.entries if e.parts[0] == top]
    folders = {parts[1:] for parts in tree.folders if parts[0] == top and len(parts) > 1}
    return Tree([entry for entry in entries if entry.parts], folders)


def _records(
    root: Path, split: str, tree: Tree, ids: list[str], ignored: Counter[str]
) -> list[Record]:
    """Returns the images of a split; counts the files beside its class folders in `ignored`."""
    labels = {class_id: label for label, class_id in enumerate(ids)}
    records = []
    for entry in tree.entries:
        if len(entry.parts) == 1:
            ignored[_BESIDE] += entry.name != CLASS_NAMES
            continue
        if entry.parts[0] not in labels:
            raise DataError(
                f"class '{entry.parts[0]}' of the {split} split of {root} is not in train"
            )
        key, label = "/".join(entry.parts), labels[entry.parts[0]]
        records.append(Record(key, label, entry.path, entry.offset, entry.size))
    if not records:
        raise DataError(f"the {split} split of {root} has no images")
    return records


def _read_names(splits: dict[str, Tree], ids: list[str]) -> list[str]:
    """Returns the names in `class_names.csv` where there is one; otherwise the folder names."""
    names = {class_id: class_id for class_id in ids}
    for tree in splits.values():
        for entry in tree.entries:
            if entry.parts == (CLASS_NAMES,):
                names |= _read_csv(entry)
    return [" ".join(names[class_id].split()) for class_id in ids]


def _read_csv(entry: Entry) -> dict[str, str]:
    with open(entry.path, "rb") as file:
        file.seek(entry.offset)
        data = file.read(min(entry.size, _MAX_CSV_BYTES))
    rows = csv.reader(io.StringIO(data.decode("utf-8-sig", "replace")))
    return {row[0].strip(): row[1].strip() for row in rows if len(row) >= 2 and row[1].strip()}
