"""Class names for the outputs of imported weights."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.data.prepared import read_prepared
from alexnet_jax.errors import AlexNetError, InputError
from alexnet_jax.preparation.sources.listing import unique_names
from alexnet_jax.weights.readers.file_kinds import check_file_kind
from alexnet_jax.weights.readers.label_lines import NameList, are_ids
from alexnet_jax.weights.readers.label_text import EXPECTED, parse_names
from alexnet_jax.weights.readers.source_file import open_source

_MAX_BYTES = 16 * 1024**2
_MAX_NAMES = 30_000
_MAX_SHOWN = 80
_TFDS_IDS = Path("datasets", "imagenet2012", "labels.txt")
_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


class ClassNames(NamedTuple):
    """Class names in the order of the outputs, and one line each on how they were put in order."""

    names: tuple[str, ...]
    messages: tuple[str, ...]


def read_labels(path: str | Path, class_order: str = "names") -> ClassNames:
    """Reads a prepared data set's folder or a file, in the order of the outputs.

    WordNet ids decide, since torchvision and Caffe have their order; else numbers; else the file's
    order. Networks of 2012 use the numbers of `map_clsloc.txt`. Only the first name after a WordNet
    id is used; equal names get ids or numbers added.

    Raises:
      InputError: it cannot be read, a name is empty, or its order is not that of the outputs.
    """
    path = Path(path)
    if path.is_dir():
        try:
            prepared = read_prepared(path)
        except AlexNetError as error:
            raise InputError(str(error)) from None
        if prepared is None:
            raise InputError(f"{path} is no prepared data set; name one, or a file of class names")
        return ClassNames(tuple(prepared["class_names"]), ())
    try:
        names = parse_names(_read_text(path))
        if len(names.names) > _MAX_NAMES:
            raise ValueError(f"{len(names.names):,} names are too many")
        if names.ids and len(set(names.ids)) < len(names.ids):
            raise ValueError("a WordNet id occurs twice")
    except (ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200] or "it is nested too deeply"
        raise InputError(
            f"{path} cannot be read as a list of class names: {reason}; {EXPECTED}"
        ) from None
    if not names.names or not all(names.names):
        raise InputError(f"{path} has empty class names; write one name a line")
    return _sorted_by_output(names, class_order, path.name)


def default_names(classes: int, class_order: str) -> tuple[str, ...]:
    """TFDS's sorted WordNet ids, or numbers."""
    spec = importlib.util.find_spec("tensorflow_datasets")
    if class_order == "wordnet" and spec is not None and spec.origin is not None:
        ids = Path(spec.origin).parent / _TFDS_IDS
        names = ids.read_text("utf-8").split() if ids.is_file() else []
        if len(names) == classes:
            return tuple(names)
    return tuple(f"class {i}" for i in range(classes))


def _read_text(path: Path) -> str:
    file = open_source(path)
    check_file_kind(file, "text", "json", "prototxt")
    if len(file.data) > _MAX_BYTES:
        raise InputError(f"{path} is too large for a list of class names")
    raw = bytes(file.data)
    encoding = next((e for mark, e in _BYTE_ORDER_MARKS if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"byte {error.start:,} is not {encoding.upper()} text (save it as UTF-8)"
        ) from None
    if re.search("[\0-\x08\x0e-\x1f\x7f]", text):
        raise ValueError("it has control characters (UTF-16?; save it as UTF-8)")
    return text


def _sorted_by_output(found: NameList, class_order: str, file_name: str) -> ClassNames:
    names, ids, numbers = found.names, found.ids, found.numbers
    key: Callable[[int], str | int] = numbers.__getitem__ if numbers else int
    how = "by the numbers in it" if numbers else "in the order of the file, which says no other"
    places = sorted(range(len(names)), key=key)
    if ids and class_order == "ilsvrc":
        if [ids[place] for place in places] == sorted(ids):
            raise InputError(
                f"{file_name} has its WordNet ids in sorted order, but the outputs of this network "
                "are in the order of ILSVRC2012's own numbers; name map_clsloc.txt, or names in "
                "that order"
            )
        how = "by the numbers in it, as ILSVRC2012's" if numbers else how
    elif ids and (class_order == "wordnet" or not numbers or found.is_devkit):
        places = sorted(places, key=ids.__getitem__)
        how = "in the order of their WordNet ids, as the outputs of torchvision and Caffe are"
        if not are_ids(ids):
            how = "in the order of the keys in it, sorted as text"
    marks = ids or [str(number) for number in numbers or range(len(names))]
    names = unique_names([names[place] for place in places], [marks[place] for place in places])
    first, last = names[0][:_MAX_SHOWN], names[-1][:_MAX_SHOWN]
    messages = (
        f"taken {how}: output 0 is '{first}', output {len(names) - 1} '{last}'",
        *found.messages,
    )
    return ClassNames(names, tuple(f"labels of {file_name}: {message}" for message in messages))
