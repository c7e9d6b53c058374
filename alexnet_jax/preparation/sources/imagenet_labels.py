"""ILSVRC-2012's class names and validation labels, from the devkit or Kaggle's two files."""

import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.errors import DataError
from alexnet_jax.preparation.file_trees.reading import read_tree
from alexnet_jax.preparation.file_trees.tree import Tree

DEVKIT = "ILSVRC2012_devkit_t12"
SOLUTION, MAPPING = "LOC_val_solution.csv", "LOC_synset_mapping.txt"
KAGGLE = ("ILSVRC", "Data", "CLS-LOC")
"""The folders in which Kaggle's archive has train, val and test; its two files are above them."""
_NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})(\.JPEG)?", re.IGNORECASE)
_MAX_BYTES = 64 * 1024**2


class ImagenetLabels(NamedTuple):
    """What the files next to the images say.

    Attributes:
      names: readable, by WordNet id; in the order of the ILSVRC2012_IDs where `ordered`.
      validation: WordNet id of each validation image, by its number.
    """

    names: dict[str, str]
    validation: dict[int, str]
    ordered: bool
    understood: tuple[str, ...] = ()


def validation_number(name: str) -> int | None:
    """Returns the number in the name of a validation image; None for another name."""
    number = _NUMBER.fullmatch(name)
    return int(number[1]) if number else None


def read_labels(root: Path, work: Path) -> ImagenetLabels | None:
    """Reads the development kit or Kaggle's files in the images' folder; None: neither is there."""
    names = (f"{DEVKIT}.tar.gz", f"{DEVKIT}.tar", DEVKIT)
    kit = next((root / name for name in names if (root / name).exists()), None)
    return _read_devkit(root, read_tree(kit, work)) if kit else _read_kaggle(root)


def _read_devkit(root: Path, tree: Tree) -> ImagenetLabels:
    files = {entry.name: entry for entry in tree.entries}
    try:
        from scipy.io import loadmat

        meta = io.BytesIO(files["meta.mat"].read(_MAX_BYTES))
        table = loadmat(meta, squeeze_me=True)["synsets"]
        leaves = sorted(
            (int(row["ILSVRC2012_ID"]), str(row["WNID"]), str(row["words"]))
            for row in table
            if int(row["num_children"]) == 0
        )
        if [number for number, _, _ in leaves] != list(range(1, len(leaves) + 1)):
            raise ValueError("the ILSVRC2012_IDs of the leaves are not 1, 2, 3 …")
        text = files["ILSVRC2012_validation_ground_truth.txt"].read(_MAX_BYTES).decode("ascii")
        validation = [int(line) for line in text.split()]
        if not all(1 <= number <= len(leaves) for number in validation):
            raise ValueError("a validation label is out of range")
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise DataError(f"the devkit in {root} cannot be read: {error!r}") from None
    names = {wordnet_id: _first_word(words) for _, wordnet_id, words in leaves}
    ids = list(names)
    return ImagenetLabels(names, {i: ids[n - 1] for i, n in enumerate(validation, 1)}, True)


def _read_kaggle(root: Path) -> ImagenetLabels | None:
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
            number = validation_number(row[0].strip()) if len(row) > 1 else None
            if number is not None and row[1].strip():
                validation[number] = row[1].split()[0]
        if not validation:
            raise DataError(f"{solution} has no rows of ILSVRC2012_val_…,n01440764 …")
        understood.append(f"labels of the validation images from {SOLUTION}")
    return ImagenetLabels(names, validation, False, tuple(understood))


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _first_word(words: str) -> str:
    return words.split(",")[0].strip()
