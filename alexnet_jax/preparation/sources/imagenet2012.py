"""ILSVRC-2012 as image-net.org gives it, in tars with a devkit; or as Kaggle packs it.

Expected in one folder, each packed or unpacked:

    ILSVRC2012_img_train.tar           or train/<WordNet id>/*.JPEG (or the 1,000 inner tars there)
    ILSVRC2012_img_val.tar             or val/*.JPEG, or val/<WordNet id>/*.JPEG
    ILSVRC2012_devkit_t12.tar.gz       or ILSVRC2012_devkit_t12/
                                       or LOC_val_solution.csv and LOC_synset_mapping.txt

or, from Kaggle, ILSVRC/Data/CLS-LOC/{train,val,test} with the last two files above it. Without
labels, names are WordNet ids, and a validation set is read only from class folders.
"""

import csv
import io
import re
import tarfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.appearance import AS_STORED
from alexnet_jax.config import DataConfig
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.locations import readable
from alexnet_jax.preparation.file_trees.local_folder import walk_folder
from alexnet_jax.preparation.file_trees.reading import read_tree
from alexnet_jax.preparation.file_trees.tree import Entry, Tree
from alexnet_jax.preparation.source_images import SourceImage
from alexnet_jax.preparation.sources.listing import Listing, SourceKind, unique_names

DEVKIT = "ILSVRC2012_devkit_t12"
SOLUTION, MAPPING = "LOC_val_solution.csv", "LOC_synset_mapping.txt"
KAGGLE = ("ILSVRC", "Data", "CLS-LOC")
"""The folders in which Kaggle's archive has train, val and test; its two files are above them."""
_NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})(\.JPEG)?", re.IGNORECASE)
_MAX_LABEL_BYTES = 64 * 1024**2
TRAIN, VALIDATION = "ILSVRC2012_img_train", "ILSVRC2012_img_val"
ARCHIVES = {
    f"{TRAIN}.tar": (147_897_477_120, "1d675b47d978889d74fa0da5fadfb00e"),
    f"{VALIDATION}.tar": (6_744_924_160, "29b22e2961454d5413ddabcf34fc5622"),
    f"{DEVKIT}.tar.gz": (None, "fa75699e90414af021442c21a62c3abf"),
}
"""Bytes (None: not known here) and published MD5 sums of the archives of image-net.org."""
_WORDNET_ID = re.compile(r"n\d{8}")


class _Labels(NamedTuple):
    """What the files next to the images say."""

    names: dict[str, str]  # by WordNet id; in the order of the ILSVRC2012_IDs if `ordered`
    validation: dict[int, str]  # WordNet id of each validation image, by its number
    ordered: bool
    understood: tuple[str, ...] = ()


def _list_images(data: DataConfig, work: Path) -> Listing:
    if not data.source or not Path(data.source).is_dir():
        raise InputError(
            f"data.source is '{data.source}'; give the folder that holds {TRAIN}.tar, "
            f"{VALIDATION}.tar and {DEVKIT}.tar.gz, or {'/'.join(KAGGLE)} of Kaggle"
        )
    root = _folder_of_images(Path(data.source))
    left_out: Counter[str] = Counter()
    known = _read_labels(root, work)
    train = _training_entries(root, work, left_out)
    ids = _ordered_ids(data, root, sorted(train), known)
    names = [known.names.get(wordnet_id, wordnet_id) if known else wordnet_id for wordnet_id in ids]
    labels = {wordnet_id: label for label, wordnet_id in enumerate(ids)}
    splits = {
        "train": [
            entry.image(f"{wordnet_id}/{entry.name}", labels[wordnet_id])
            for wordnet_id in ids
            for entry in train[wordnet_id]
        ]
    }
    validation = _validation_images(root, work, labels, known, left_out)
    if validation:
        splits["validation"] = validation
    if (root / "test").is_dir():
        left_out["photos of test that have no label"] += len(walk_folder(root / "test").entries)
    place = [f"the images are those in {root}"] if root != Path(data.source) else []
    understood = (*place, *(known.understood if known else ()))
    return Listing(unique_names(names, ids), tuple(ids), splits, dict(+left_out), understood)


def _ordered_ids(data: DataConfig, root: Path, ids: list[str], known: _Labels | None) -> list[str]:
    if known and known.names:
        unknown = sorted(set(ids) - set(known.names))
        if unknown:
            where = "the devkit" if known.ordered else MAPPING
            raise DataError(f"class {unknown[0]} of {root} is not in {where}")
    if data.class_order != "ilsvrc":
        return ids
    if known is None or not known.ordered:
        raise InputError(f"data.class_order 'ilsvrc' needs {DEVKIT}.tar.gz in {root}")
    return [wordnet_id for wordnet_id in known.names if wordnet_id in ids]


def _folder_of_images(given: Path) -> Path:
    """Kaggle's archive has the images three folders down."""
    places = [given, *(given.joinpath(*KAGGLE[first:]) for first in (2, 1, 0))]
    return next((place for place in places if _training_path(place)), given)


def _training_path(root: Path) -> Path | None:
    return next((root / n for n in (f"{TRAIN}.tar", TRAIN, "train") if (root / n).exists()), None)


def _training_entries(root: Path, work: Path, left_out: Counter[str]) -> dict[str, list[Entry]]:
    path = _training_path(root)
    if path is None:
        raise DataError(
            f"{root} has neither {TRAIN}.tar nor a folder 'train', here or in {'/'.join(KAGGLE)}"
        )
    tree = read_tree(path, work)
    _count_left_out(tree, left_out)
    classes: dict[str, list[Entry]] = {}
    for entry in tree.entries:
        stem, dot, ending = entry.name.rpartition(".")
        if dot and ending == "tar" and _WORDNET_ID.fullmatch(stem):
            classes[stem] = _inner_entries(entry, left_out)
        elif len(entry.parts) > 1 and _WORDNET_ID.fullmatch(entry.parts[-2]):
            classes.setdefault(entry.parts[-2], []).append(entry)
        else:
            left_out["training files outside the classes' folders"] += 1
    if not classes:
        raise DataError(f"the training images of {root} have no WordNet ids (n01440764 …)")
    return classes


def _count_left_out(tree: Tree, left_out: Counter[str]) -> None:
    left_out.update(tree.left_out)
    left_out["links that lead outside an archive or nowhere"] += len(tree.broken_links)


def _inner_entries(outer: Entry, left_out: Counter[str]) -> list[Entry]:
    """The tar of one class may itself be a member of the training tar."""
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
                        name = readable(Path(member.name).name)
                        entries.append(Entry((name,), outer.path, member.offset_data, member.size))
                    elif not member.isdir():
                        left_out["links and special files"] += 1
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{outer.name} in {outer.path} is damaged: {error}") from None
    return sorted(entries)


def _validation_images(
    root: Path,
    work: Path,
    labels: dict[str, int],
    known: _Labels | None,
    left_out: Counter[str],
) -> list[SourceImage]:
    names = (f"{VALIDATION}.tar", VALIDATION, "val", "validation")
    path = next((root / name for name in names if (root / name).exists()), None)
    tree = read_tree(path, work) if path else Tree()
    images = []
    for entry in tree.entries:
        wordnet_id = entry.parts[-2] if len(entry.parts) > 1 else ""
        number = _validation_number(entry.name)
        if wordnet_id not in labels and number is not None:
            if known is None or not known.validation:
                raise DataError(
                    f"the labels of {entry.name} are in {DEVKIT}.tar.gz (or in {SOLUTION} of "
                    f"Kaggle), which {root} lacks; put it there"
                )
            if number not in known.validation:
                raise DataError(f"there is no label for {entry.name}")
            wordnet_id = known.validation[number]
        if wordnet_id in labels:
            images.append(entry.image(entry.name, labels[wordnet_id]))
        else:
            left_out["validation files of no class of the training set"] += 1
    _count_left_out(tree, left_out)
    return sorted(images, key=lambda image: image.key)


def _validation_number(name: str) -> int | None:
    number = _NUMBER.fullmatch(name)
    return int(number[1]) if number else None


def _read_labels(root: Path, work: Path) -> _Labels | None:
    names = (f"{DEVKIT}.tar.gz", f"{DEVKIT}.tar", DEVKIT)
    kit = next((root / name for name in names if (root / name).exists()), None)
    return _read_devkit(root, read_tree(kit, work)) if kit else _read_kaggle(root)


def _read_devkit(root: Path, tree: Tree) -> _Labels:
    files = {entry.name: entry for entry in tree.entries}
    try:
        from scipy.io import loadmat

        meta = io.BytesIO(files["meta.mat"].read(_MAX_LABEL_BYTES))
        table = loadmat(meta, squeeze_me=True)["synsets"]
        leaves = sorted(
            (int(row["ILSVRC2012_ID"]), str(row["WNID"]), str(row["words"]))
            for row in table
            if int(row["num_children"]) == 0
        )
        if [number for number, _, _ in leaves] != list(range(1, len(leaves) + 1)):
            raise ValueError("the ILSVRC2012_IDs of the leaves are not 1, 2, 3 …")
        text = (
            files["ILSVRC2012_validation_ground_truth.txt"].read(_MAX_LABEL_BYTES).decode("ascii")
        )
        validation = [int(line) for line in text.split()]
        if not all(1 <= number <= len(leaves) for number in validation):
            raise ValueError("a validation label is out of range")
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise DataError(f"the devkit in {root} cannot be read: {error!r}") from None
    names = {wordnet_id: _first_word(words) for _, wordnet_id, words in leaves}
    ids = list(names)
    return _Labels(names, {i: ids[n - 1] for i, n in enumerate(validation, 1)}, True)


def _read_kaggle(root: Path) -> _Labels | None:
    """Reads the files next to the images, or above them as Kaggle's archive has them."""
    folders = [root]
    for name in reversed(KAGGLE):
        if folders[-1].name == name:
            folders.append(folders[-1].parent)
    solution = next((f / SOLUTION for f in folders if (f / SOLUTION).is_file()), None)
    mapping = next((f / MAPPING for f in folders if (f / MAPPING).is_file()), None)
    if not solution and not mapping:
        return None
    names, validation, understood = {}, {}, []
    if mapping:
        lines = [line.split(maxsplit=1) for line in _text(mapping).splitlines() if line.strip()]
        names = {line[0]: _first_word(line[-1]) for line in lines}
        understood.append(f"names of the classes from {MAPPING}")
    if solution:
        for row in csv.reader(io.StringIO(_text(solution))):
            number = _validation_number(row[0].strip()) if len(row) > 1 else None
            if number is not None and row[1].strip():
                validation[number] = row[1].split()[0]
        if not validation:
            raise DataError(f"{solution} has no rows of ILSVRC2012_val_…,n01440764 …")
        understood.append(f"labels of the validation images from {SOLUTION}")
    return _Labels(names, validation, False, tuple(understood))


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_LABEL_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _first_word(words: str) -> str:
    return words.split(",")[0].strip()


SOURCE = SourceKind(
    _list_images,
    how_to_get=(
        "ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz from "
        "image-net.org"
    ),
    options=("class_order",),
    appearance=AS_STORED,  # Deviation: 2012 read all photos as they are stored; this only here.
    set_name=lambda _, storage: f"imagenet2012{storage}",
)
