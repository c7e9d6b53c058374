"""Names for the outputs of imported weights."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.data.prepared import read_prepared
from alexnet_jax.errors import AlexNetError, InputError
from alexnet_jax.preparation.sources.listing import unique_names
from alexnet_jax.weights.readers.kinds import check_kind
from alexnet_jax.weights.readers.label_forms import EXPECTED, parse
from alexnet_jax.weights.readers.label_lines import Entries, are_ids
from alexnet_jax.weights.readers.source_file import open_source

_LARGEST_BYTES = 16 * 1024**2
_MOST_NAMES = 30_000
_MOST_SHOWN = 80
_TFDS_IDS = Path("datasets", "imagenet2012", "labels.txt")
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
"""Byte order marks."""


class Labels(NamedTuple):
    """Class names for the outputs.

    Attributes:
      names: in the order of the outputs.
      told: by what they were put in order, one line each.
    """

    names: tuple[str, ...]
    told: tuple[str, ...]


def read_labels(path: str | Path, class_order: str = "names") -> Labels:
    """Reads class names, and puts them in the order of the outputs.

    WordNet ids decide where they stand in the file, as the outputs of torchvision and Caffe are in
    their order; else numbers; else the order of the file. Networks of 2012 number ImageNet's
    classes by ILSVRC2012's ids, which are the numbers of `map_clsloc.txt`.

    Args:
      path: a folder that `prepare` has made, or a file in any form of `label_forms`. Of a line with
        a WordNet id, such as those of Caffe's `synset_words.txt`, the first name is taken, as
        `prepare` does for ImageNet. Of two equal names each gets its id, or its number.
      class_order: of the outputs, see `Reading`.

    Raises:
      InputError: it cannot be read, is of another kind, a name is empty, or its order is plainly
        not that of the outputs.
    """
    path = Path(path)
    if path.is_dir():
        return Labels(_prepared_names(path), ())
    file = open_source(path)
    check_kind(file, "text", "json", "prototxt")
    if len(file.data) > _LARGEST_BYTES:
        raise InputError(f"{path} is too large for a list of class names")
    raw = bytes(file.data)
    encoding = next((encoding for mark, encoding in _MARKS if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} cannot be read as a list of class names: it is no {encoding.upper()} text "
            f"(byte {error.start:,}); save it as UTF-8"
        ) from None
    try:
        if re.search("[\0-\x08\x0e-\x1f\x7f]", text):
            raise ValueError("it has control characters (UTF-16?); save it as UTF-8")
        entries = parse(text)
        if len(entries.names) > _MOST_NAMES:
            raise ValueError(f"{len(entries.names):,} names are too many")
        if entries.ids and len(set(entries.ids)) < len(entries.ids):
            raise ValueError("a WordNet id occurs twice")
    except (ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200] or "it is nested too deeply"
        raise InputError(
            f"{path} cannot be read as a list of class names: {reason}; {EXPECTED}"
        ) from None
    if not entries.names or not all(entries.names):
        raise InputError(f"{path} has empty class names; write one name a line")
    return _in_order(entries, class_order, path.name)


def _in_order(entries: Entries, class_order: str, file: str) -> Labels:
    names, ids, numbers = entries.names, entries.ids, entries.numbers
    key: Callable[[int], str | int] = numbers.__getitem__ if numbers else int
    how = "by the numbers in it" if numbers else "in the order of the file, which says no other"
    places = sorted(range(len(names)), key=key)
    if ids and class_order == "ilsvrc":
        if [ids[place] for place in places] == sorted(ids):
            raise InputError(
                f"{file} has its WordNet ids in sorted order, but the outputs of this network are "
                "in the order of ILSVRC2012's own numbers; name map_clsloc.txt, or names in that "
                "order"
            )
        how = "by the numbers in it, as ILSVRC2012's" if numbers else how
    elif ids and (class_order == "wordnet" or not numbers or entries.devkit):
        places = sorted(places, key=ids.__getitem__)
        how = "in the order of their WordNet ids, as the outputs of torchvision and Caffe are"
        if not are_ids(ids):
            how = "in the order of the keys in it, sorted as text"
    marks = ids or [str(i) for i in range(len(names))]
    if not ids:
        marks = [str(n) for n in numbers] if numbers else marks
    names = unique_names([names[place] for place in places], [marks[place] for place in places])
    first, last = names[0][:_MOST_SHOWN], names[-1][:_MOST_SHOWN]
    told = f"labels of {file}: taken {how}: output 0 is '{first}', output {len(names) - 1} '{last}'"
    return Labels(names, (told, *(f"labels of {file}: {remark}" for remark in entries.remarks)))


def default_names(classes: int, class_order: str) -> tuple[str, ...]:
    """Returns names for outputs that came without: ImageNet's WordNet ids, or numbers.

    The ids are those in TFDS, sorted: the order of Caffe and torchvision.
    """
    spec = importlib.util.find_spec("tensorflow_datasets")
    if class_order == "wordnet" and spec is not None and spec.origin is not None:
        ids = Path(spec.origin).parent / _TFDS_IDS
        names = ids.read_text("utf-8").split() if ids.is_file() else []
        if len(names) == classes:
            return tuple(names)
    return tuple(f"class {i}" for i in range(classes))


def _prepared_names(folder: Path) -> tuple[str, ...]:
    try:
        prepared = read_prepared(folder)
    except AlexNetError as error:
        raise InputError(str(error)) from None
    if prepared is None:
        raise InputError(f"{folder} is no prepared data set; name one, or a file of class names")
    return tuple(prepared["class_names"])
