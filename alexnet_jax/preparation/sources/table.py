"""A table of labels: a CSV that names photos in one column and their classes in another."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from alexnet_jax.errors import DataError
from alexnet_jax.preparation.sources.split_names import split_name

_DELIMITERS = ",;\t|"
_LOOKED_AT = 50  # rows, to find out how the columns are separated
_NAMES = set(
    "id ids image images imageid imagename imagefile imagefilename imagepath imageurl img imgid "
    "imgname imgpath file files filename filenames filepath filepaths idcode name path paths photo "
    "picture".split()
)
_LABELS = set(
    "breed category categories categoryname class classes classid classlabel classname diagnosis "
    "dx gt groundtruth label labels labelname level species tag target targets type variety "
    "y".split()
)
_SPLITS = set("dataset partition set split splits subset usage".split())


class Table(NamedTuple):
    """A table as it stands in a file; `rows` may begin with the names of the columns."""

    name: str
    rows: list[list[str]]


class Labels(NamedTuple):
    """What a table says of photos.

    Attributes:
      classes: by the photo's place in the list.
      splits: likewise, where a column tells them.
      unknown: names in the table that are of no photo here.
      told: which columns were taken for what.
    """

    classes: dict[int, str]
    splits: dict[int, str]
    unknown: frozenset[str]
    told: str


def read_table(name: str, data: bytes) -> Table | None:
    """Reads a table whose columns are separated by commas, semicolons, tabs or bars.

    Args:
      name: as messages call it.
      data: the file; UTF-8 or, with its mark, UTF-16; else Latin-1.

    Returns:
      None: it has no two columns.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    head = "\n".join(text.splitlines()[:_LOOKED_AT])
    try:
        widths = {d: min((len(row) for row in _rows(head, d)), default=0) for d in _DELIMITERS}
        delimiter = max(_DELIMITERS, key=lambda d: widths[d])
        rows = [[c.strip() for c in r] for r in _rows(text, delimiter)]
    except csv.Error:
        return None
    return Table(name, rows) if widths[delimiter] > 1 else None


def _rows(text: str, delimiter: str) -> list[list[str]]:
    return [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(row)]


class Photos:
    """Photos by all that a table may call them: path, name, either without the ending."""

    def __init__(self, paths: Iterable[Sequence[str]]):
        """Args: paths: the parts of each photo's path in the source."""
        self._found: dict[str, int | None] = {}
        for index, parts in enumerate(paths):
            for first in range(len(parts)):
                path = "/".join(parts[first:])
                for key in {path, str(PurePosixPath(path).with_suffix(""))}:
                    # None: two photos are called so, and only their folders tell them apart
                    self._found[key] = None if key in self._found else index

    def find(self, cell: str) -> int | None:
        """Returns the place of the photo that a cell names; None: there is none, or not one."""
        path = cell.replace("\\", "/").strip("/")
        while path:
            if path in self._found:
                return self._found[path]
            path = path.partition("/")[2]
        return None


def labels_in(table: Table, photos: Photos, count: int) -> Labels | None:
    """Returns what a table says of `count` photos; None: it names hardly any of them.

    Raises:
      DataError: it names them, but not in one way, or its classes cannot be told.
    """
    width = max(map(len, table.rows))
    rows = [row + [""] * (width - len(row)) for row in table.rows]
    places = [[photos.find(row[column]) for row in rows] for column in range(width)]
    hits = [len({place for place in column if place is not None}) for column in places]
    able = [c for c in range(width) if 2 * hits[c] >= max(hits)]
    called = [c for c in able if _plain(rows[0][c]) in _NAMES]
    named = max(called or able, key=lambda c: hits[c])
    if hits[named] < 2 or 2 * hits[named] < min(count, len(rows) - 1):
        return None
    head = rows[0] if places[named][0] is None else [f"{c + 1}" for c in range(width)]
    first = 1 if head is rows[0] else 0
    body, where = rows[first:], places[named][first:]
    others = [c for c in range(width) if c != named and any(row[c] for row in body)]
    split_column = next((c for c in others if _tells_splits(head[c], body, c)), None)
    others = [c for c in others if c != split_column]
    values, told = _class_values(table.name, head, body, others)
    if values is None:
        return None
    classes: dict[int, str] = {}
    splits: dict[int, str] = {}
    for row, place, value in zip(body, where, values, strict=True):
        if place is None or not value:
            continue
        if classes.setdefault(place, value) != value:
            raise DataError(
                f"{table.name} names {row[named]} twice, as '{classes[place]}' and as '{value}'; "
                "a photo has one class here"
            )
        said = split_name(row[split_column]) if split_column is not None else None
        if said:
            splits[place] = "test" if said.split == "evaluation" else said.split
    also = f", column '{head[split_column]}' its split" if split_column is not None else ""
    told = (
        f"classes are taken from {table.name}: column '{head[named]}' names the photo, {told}{also}"
    )
    unknown = {row[named] for row, place in zip(body, where, strict=True) if place is None}
    return Labels(classes, splits, frozenset(unknown), told)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _tells_splits(name: str, body: list[list[str]], column: int) -> bool:
    values = {row[column] for row in body}
    return _plain(name) in _SPLITS and len(values) < 9 and all(map(split_name, values))


def _class_values(
    name: str, head: list[str], body: list[list[str]], others: list[int]
) -> tuple[list[str] | None, str]:
    """Returns the class in each row, and which columns say it; None: no column can."""
    classes = _one_hot(head, body, others)
    if classes is not None:
        return classes, f"{len(others)} columns with one 1 are its class"
    counts = {c: Counter(row[c] for row in body if row[c]) for c in others}
    able = [c for c in others if 1 < len(counts[c]) <= max(2, len(body) // 2)]
    column = _chosen([c for c in able if _plain(head[c]) in _LABELS], body)
    if column is None and len(able) == 1:
        column = able[0]
    if column is None:
        if not able:
            return None, ""
        raise DataError(
            f"{name} names the photos, but not in which of the columns "
            f"{', '.join(head[c] for c in able)} their classes are; keep that one beside the "
            "names, or call it 'label' and no other"
        )
    return [row[column] for row in body], f"column '{head[column]}' its class"


def _chosen(columns: list[int], body: list[list[str]]) -> int | None:
    """Returns the column of the classes; of several that say the same, one with words."""
    if not columns:
        return None
    kinds = [len({row[c] for row in body}) for c in columns]
    together = len({tuple(row[c] for c in columns) for row in body})
    if any(kind != together for kind in kinds):
        return None
    words = [c for c in columns if not all(row[c].replace(".", "").isdigit() for row in body)]
    return (words or columns)[0]


def _one_hot(head: list[str], body: list[list[str]], others: list[int]) -> list[str] | None:
    """Returns the classes where each has a column of its own, with 1 in the rows that are of it."""
    if len(others) < 2:
        return None
    classes = []
    for row in body:
        ones = [c for c in others if row[c] in ("1", "1.0")]
        if len(ones) != 1 or any(row[c] not in ("0", "0.0") for c in others if c not in ones):
            return None
        classes.append(head[ones[0]])
    return classes
