"""ILSVRC-2012 as image-net.org gives it, in tars with a devkit; or as Kaggle packs it.

Expected in one folder, each packed or unpacked:

    ILSVRC2012_img_train.tar           or train/<WordNet id>/*.JPEG (or the 1,000 inner tars there)
    ILSVRC2012_img_val.tar             or val/*.JPEG, or val/<WordNet id>/*.JPEG
    ILSVRC2012_devkit_t12.tar.gz       or ILSVRC2012_devkit_t12/
                                       or LOC_val_solution.csv and LOC_synset_mapping.txt

or, from Kaggle, ILSVRC/Data/CLS-LOC/{train,val,test} with the last two files above it. Nothing is
unpacked: an inner tar of a class lies uncompressed in the training tar. Without a file of labels,
classes are named by their WordNet ids, and only a validation set in class folders is known.
"""

import re
import tarfile
from collections import Counter
from pathlib import Path

from alexnet_jax.config import DataConfig
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.locations import readable
from alexnet_jax.preparation.sources.archives import read_tree
from alexnet_jax.preparation.sources.imagenet_labels import (
    DEVKIT,
    KAGGLE,
    MAPPING,
    SOLUTION,
    ImagenetLabels,
    read_labels,
    validation_number,
)
from alexnet_jax.preparation.sources.source import Record, Source, unique_names
from alexnet_jax.preparation.sources.tree import Entry, Tree
from alexnet_jax.preparation.sources.walk import walk_folder

TRAIN, VALIDATION = "ILSVRC2012_img_train", "ILSVRC2012_img_val"
ARCHIVES = {
    f"{TRAIN}.tar": (147_897_477_120, "1d675b47d978889d74fa0da5fadfb00e"),
    f"{VALIDATION}.tar": (6_744_924_160, "29b22e2961454d5413ddabcf34fc5622"),
    f"{DEVKIT}.tar.gz": (None, "fa75699e90414af021442c21a62c3abf"),
}
"""Bytes (None: not known here) and published MD5 sums of the archives of image-net.org."""
_WORDNET_ID = re.compile(r"n\d{8}")


def list_images(data: DataConfig, work: Path) -> Source:
    """Lists training and validation images of the folder `data.source`.

    Raises:
      InputError: no such folder, or an order of classes that needs the missing devkit.
      DataError: no training images, or archives that disagree with the devkit.
    """
    if not data.source or not Path(data.source).is_dir():
        raise InputError(
            f"data.source is '{data.source}'; give the folder that holds {TRAIN}.tar, "
            f"{VALIDATION}.tar and {DEVKIT}.tar.gz, or {'/'.join(KAGGLE)} of Kaggle"
        )
    root = _folder_of_images(Path(data.source))
    ignored: Counter[str] = Counter()
    told = read_labels(root, work)
    train = _training_entries(root, work, ignored)
    ids = _ordered_ids(data, root, sorted(train), told)
    names = [told.names.get(wordnet_id, wordnet_id) if told else wordnet_id for wordnet_id in ids]
    labels = {wordnet_id: label for label, wordnet_id in enumerate(ids)}
    splits = {
        "train": [
            entry.record(f"{wordnet_id}/{entry.name}", labels[wordnet_id])
            for wordnet_id in ids
            for entry in train[wordnet_id]
        ]
    }
    validation = _validation_records(root, work, labels, told, ignored)
    if validation:
        splits["validation"] = validation
    if (root / "test").is_dir():
        ignored["photos of test that have no label"] += len(walk_folder(root / "test").entries)
    place = [f"the images are those in {root}"] if root != Path(data.source) else []
    understood = (*place, *(told.understood if told else ()))
    names, ignored = unique_names(names, ids), +ignored
    return Source(names, tuple(ids), splits, dict(ignored), understood=understood)


def _ordered_ids(
    data: DataConfig, root: Path, ids: list[str], told: ImagenetLabels | None
) -> list[str]:
    """Returns the WordNet ids of the training images in the order of the labels."""
    if told and told.names:
        unknown = sorted(set(ids) - set(told.names))
        if unknown:
            where = "the devkit" if told.ordered else MAPPING
            raise DataError(f"class {unknown[0]} of {root} is not in {where}")
    if data.class_order != "ilsvrc":
        return ids
    if told is None or not told.ordered:
        raise InputError(f"data.class_order 'ilsvrc' needs {DEVKIT}.tar.gz in {root}")
    return [wordnet_id for wordnet_id in told.names if wordnet_id in ids]


def _folder_of_images(given: Path) -> Path:
    """Returns the folder that holds the images; Kaggle's archive has it three folders down."""
    places = [given, *(given.joinpath(*KAGGLE[first:]) for first in (2, 1, 0))]
    found = (p for p in places if _training_place(p))
    return next(found, given)


def _training_place(root: Path) -> Path | None:
    return next((root / n for n in (f"{TRAIN}.tar", TRAIN, "train") if (root / n).exists()), None)


def _training_entries(root: Path, work: Path, ignored: Counter[str]) -> dict[str, list[Entry]]:
    """Returns the training images by WordNet id; counts what else there is in `ignored`."""
    place = _training_place(root)
    if place is None:
        raise DataError(
            f"{root} has neither {TRAIN}.tar nor a folder 'train', here or in {'/'.join(KAGGLE)}"
        )
    tree = read_tree(place, work)
    _count_left_out(tree, ignored)
    classes: dict[str, list[Entry]] = {}
    for entry in tree.entries:
        stem, dot, ending = entry.name.rpartition(".")
        if dot and ending == "tar" and _WORDNET_ID.fullmatch(stem):
            classes[stem] = _inner_entries(entry, ignored)
        elif len(entry.parts) > 1 and _WORDNET_ID.fullmatch(entry.parts[-2]):
            classes.setdefault(entry.parts[-2], []).append(entry)
        else:
            ignored["training files outside the classes' folders"] += 1
    if not classes:
        raise DataError(f"the training images of {root} have no WordNet ids (n01440764 …)")
    return classes


def _count_left_out(tree: Tree, ignored: Counter[str]) -> None:
    ignored.update(tree.ignored)
    ignored["links that lead outside an archive or nowhere"] += len(tree.broken)


def _inner_entries(outer: Entry, ignored: Counter[str]) -> list[Entry]:
    """Lists the images of one class: a tar that lies in `outer`, perhaps inside another tar."""
    entries = []
    end = outer.offset + outer.size
    try:
        with open(outer.path, "rb") as file:
            file.seek(outer.offset)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    if member.offset_data + member.size > end:
                        raise tarfile.ReadError("a file reaches over the end")
                    if member.isreg() and not member.issparse():
                        place = (outer.path, member.offset_data, member.size)
                        entries.append(Entry((readable(Path(member.name).name),), *place))
                    elif not member.isdir():
                        ignored["links and special files"] += 1
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{outer.name} in {outer.path} is damaged: {error}") from None
    return sorted(entries)


def _validation_records(
    root: Path,
    work: Path,
    labels: dict[str, int],
    told: ImagenetLabels | None,
    ignored: Counter[str],
) -> list[Record]:
    tree = _validation_tree(root, work)
    records = []
    for entry in tree.entries:
        wordnet_id = entry.parts[-2] if len(entry.parts) > 1 else ""
        number = validation_number(entry.name)
        if wordnet_id not in labels and number is not None:
            if told is None or not told.validation:
                raise DataError(
                    f"the labels of {entry.name} are in {DEVKIT}.tar.gz (or in {SOLUTION} of "
                    f"Kaggle), which {root} lacks; lay it there"
                )
            if number not in told.validation:
                raise DataError(f"there is no label for {entry.name}")
            wordnet_id = told.validation[number]
        if wordnet_id in labels:
            records.append(entry.record(entry.name, labels[wordnet_id]))
        else:
            ignored["validation files of no class of the training set"] += 1
    _count_left_out(tree, ignored)
    return sorted(records, key=lambda record: record.key)


def _validation_tree(root: Path, work: Path) -> Tree:
    names = (f"{VALIDATION}.tar", VALIDATION, "val", "validation")
    found = next((root / name for name in names if (root / name).exists()), None)
    return read_tree(found, work) if found else Tree()
