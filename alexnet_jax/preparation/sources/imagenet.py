"""ILSVRC-2012 as image-net.org gives it: tars of training and validation images, and the devkit.

Expected in one folder, each packed or unpacked:

    ILSVRC2012_img_train.tar           or train/<WordNet id>/*.JPEG (or the 1,000 inner tars there)
    ILSVRC2012_img_val.tar             or val/*.JPEG, or val/<WordNet id>/*.JPEG
    ILSVRC2012_devkit_t12.tar.gz       or ILSVRC2012_devkit_t12/

Nothing is unpacked: an inner tar of a class lies uncompressed in the training tar. Without the
devkit, classes are named by their WordNet ids, and only a validation set in class folders is known.
"""

import io
import re
import tarfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.config import DataConfig
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.locations import readable
from alexnet_jax.preparation.sources.archives import Entry, Tree, read_tree
from alexnet_jax.preparation.sources.source import Record, Source, unique_names

TRAIN, VALIDATION = "ILSVRC2012_img_train", "ILSVRC2012_img_val"
DEVKIT = "ILSVRC2012_devkit_t12"
ARCHIVES = {
    f"{TRAIN}.tar": (147_897_477_120, "1d675b47d978889d74fa0da5fadfb00e"),
    f"{VALIDATION}.tar": (6_744_924_160, "29b22e2961454d5413ddabcf34fc5622"),
    f"{DEVKIT}.tar.gz": (None, "fa75699e90414af021442c21a62c3abf"),
}
"""Bytes (None: not known here) and published MD5 sums of the archives of image-net.org."""
_WORDNET_ID = re.compile(r"n\d{8}")
_NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG", re.IGNORECASE)
_MAX_DEVKIT_BYTES = 64 * 1024**2


class Devkit(NamedTuple):
    """What the development kit says.

    Attributes:
      wordnet_ids: by ILSVRC2012_ID - 1, the 2012 order of classes; leaves of the tree only.
      names: readable, in the same order.
      validation: ILSVRC2012_ID of each validation image, in the order of their numbers.
    """

    wordnet_ids: list[str]
    names: list[str]
    validation: list[int]


def list_images(data: DataConfig, work: Path) -> Source:
    """Lists training and validation images of the folder `data.source`.

    Raises:
      InputError: no such folder, or an order of classes that needs the missing devkit.
      DataError: no training images, or archives that disagree with the devkit.
    """
    if not data.source or not Path(data.source).is_dir():
        raise InputError(
            f"data.source is '{data.source}'; give the folder that holds {TRAIN}.tar, "
            f"{VALIDATION}.tar and {DEVKIT}.tar.gz"
        )
    root = Path(data.source)
    ignored: Counter[str] = Counter()
    devkit = _read_devkit(root, work)
    train = _training_entries(root, work, ignored)
    ids = sorted(train)
    if data.class_order == "ilsvrc":
        if devkit is None:
            raise InputError(f"data.class_order 'ilsvrc' needs {DEVKIT}.tar.gz in {root}")
        ids = [wordnet_id for wordnet_id in devkit.wordnet_ids if wordnet_id in train]
    names = ids
    if devkit:
        unknown = sorted(set(train) - set(devkit.wordnet_ids))
        if unknown:
            raise DataError(f"class {unknown[0]} of {root} is not in the devkit")
        readable = dict(zip(devkit.wordnet_ids, devkit.names, strict=True))
        names = [readable[wordnet_id] for wordnet_id in ids]
    labels = {wordnet_id: label for label, wordnet_id in enumerate(ids)}
    splits = {
        "train": [
            _record(f"{wordnet_id}/{entry.name}", labels[wordnet_id], entry)
            for wordnet_id in ids
            for entry in train[wordnet_id]
        ]
    }
    validation = _validation_records(root, work, labels, devkit, ignored)
    if validation:
        splits["validation"] = validation
    return Source(unique_names(list(names), ids), tuple(ids), splits, dict(+ignored))


def _record(key: str, label: int, entry: Entry) -> Record:
    return Record(key, label, entry.path, entry.offset, entry.size)


def _training_entries(root: Path, work: Path, ignored: Counter[str]) -> dict[str, list[Entry]]:
    """Returns the training images by WordNet id; counts what else there is in `ignored`."""
    tree = _tree(root, work, f"{TRAIN}.tar", TRAIN, "train")
    if tree is None:
        raise DataError(f"{root} has neither {TRAIN}.tar nor a folder 'train'")
    ignored.update(tree.ignored)
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
    devkit: Devkit | None,
    ignored: Counter[str],
) -> list[Record]:
    tree = _tree(root, work, f"{VALIDATION}.tar", VALIDATION, "val", "validation")
    records = []
    for entry in tree.entries if tree else []:
        wordnet_id = entry.parts[-2] if len(entry.parts) > 1 else ""
        number = _NUMBER.fullmatch(entry.name)
        if wordnet_id not in labels and number:
            if devkit is None:
                raise DataError(
                    f"the labels of {entry.name} are in {DEVKIT}.tar.gz, which {root} lacks"
                )
            if int(number[1]) > len(devkit.validation):
                raise DataError(f"the devkit has no label for {entry.name}")
            wordnet_id = devkit.wordnet_ids[devkit.validation[int(number[1]) - 1] - 1]
        if wordnet_id in labels:
            records.append(_record(entry.name, labels[wordnet_id], entry))
        else:
            ignored["validation files of no class of the training set"] += 1
    ignored.update(tree.ignored if tree else {})
    return sorted(records, key=lambda record: record.key)


def _tree(root: Path, work: Path, *names: str) -> Tree | None:
    found = next((root / name for name in names if (root / name).exists()), None)
    return read_tree(found, work) if found else None


def _read_devkit(root: Path, work: Path) -> Devkit | None:
    tree = _tree(root, work, f"{DEVKIT}.tar.gz", f"{DEVKIT}.tar", DEVKIT)
    if tree is None:
        return None
    files = {entry.name: entry for entry in tree.entries}
    try:
        from scipy.io import loadmat

        table = loadmat(io.BytesIO(_read(files["meta.mat"])), squeeze_me=True)["synsets"]
        leaves = sorted(
            (int(row["ILSVRC2012_ID"]), str(row["WNID"]), str(row["words"]))
            for row in table
            if int(row["num_children"]) == 0
        )
        if [number for number, _, _ in leaves] != list(range(1, len(leaves) + 1)):
            raise ValueError("the ILSVRC2012_IDs of the leaves are not 1, 2, 3 …")
        text = _read(files["ILSVRC2012_validation_ground_truth.txt"]).decode("ascii")
        validation = [int(line) for line in text.split()]
        if not all(1 <= number <= len(leaves) for number in validation):
            raise ValueError("a validation label is out of range")
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise DataError(f"the devkit in {root} can not be read: {error!r}") from None
    names = [words.split(",")[0].strip() for _, _, words in leaves]
    return Devkit([wordnet_id for _, wordnet_id, _ in leaves], names, validation)


def _read(entry: Entry) -> bytes:
    with open(entry.path, "rb") as file:
        file.seek(entry.offset)
        return file.read(min(entry.size, _MAX_DEVKIT_BYTES))
