"""One table of labels: it names photos in one column and their classes in another."""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from alexnet_jax.errors import DataError
from alexnet_jax.preparation.photo_folders.split_names import split_name

_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 50  # to find out how the columns are separated
_PHOTO_COLUMNS = set(
    "id ids image images imageid imagename imagefile imagefilename imagepath imageurl img imgid "
    "imgname imgpath file files filename filenames filepath filepaths idcode name path paths photo "
    "picture".split()
)
_CLASS_COLUMNS = set(
    "breed category categories categoryname class classes classid classlabel classname diagnosis "
    "dx gt groundtruth label labels labelname level species tag target targets type variety "
    "y".split()
)
_SPLIT_COLUMNS = set("dataset partition set split splits subset usage".split())
_MAX_SPLIT_VALUES = 8


class LabelTable(NamedTuple):
    """A table as in its file; the first of `rows` may hold the names of the columns."""

    name: str
    rows: list[list[str]]


class TableLabels(NamedTuple):
    """Classes and splits by the photo's index, and names that are of no photo here."""

    classes: dict[int, str]
    splits: dict[int, str]
    unknown: frozenset[str]
    summary: str


def read_table(name: str, data: bytes) -> LabelTable | None:
    """Reads columns between `,`, `;`, tab or `|`, in UTF-8, UTF-16 with its mark, or Latin-1."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    head = "\n".join(text.splitlines()[:_SAMPLE_ROWS])
    try:
        widths = {d: min((len(row) for row in _rows(head, d)), default=0) for d in _DELIMITERS}
        delimiter = max(_DELIMITERS, key=lambda d: widths[d])
        rows = [[cell.strip() for cell in row] for row in _rows(text, delimiter)]
    except csv.Error:
        return None
    return LabelTable(name, rows) if widths[delimiter] > 1 else None


def _rows(text: str, delimiter: str) -> list[list[str]]:
    return [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(row)]


class PhotoNames:
    """Finds photos by path or name, with or without the ending."""

    def __init__(self, paths: Iterable[Sequence[str]]):
        self._found: dict[str, int | None] = {}
        for index, parts in enumerate(paths):
            for first in range(len(parts)):
                path = "/".join(parts[first:])
                bare, dot, ending = path.rpartition(".")
                for key in {path, bare if dot and "/" not in ending else path}:
                    # None: two photos have this name, and only their folders differ
                    self._found[key] = None if key in self._found else index

    def find(self, cell: str) -> int | None:
        """None: no photo, or more than one."""
        path = cell.replace("\\", "/").strip("/")
        while path:
            if path in self._found:
                return self._found[path]
            path = path.partition("/")[2]
        return None


def find_labels(
    table: LabelTable, photos: PhotoNames, count: int, known: Collection[str] | None = None
) -> TableLabels | None:
    """Returns the labels of `count` photos; None: the table names hardly any, or no classes.

    `known` are the only possible classes. Raises `DataError` for a photo with two classes, or if
    several columns may be the classes.
    """
    width = len(table.rows[0])
    rows = [(row + [""] * (width - len(row)))[:width] for row in table.rows]
    column, indices = _photo_column(rows, photos)
    if 2 * len(set(indices) - {None}) < max(4, min(count, len(rows) - 1)):
        return None
    if indices[0] is None:
        head, rows, indices = rows[0], rows[1:], indices[1:]
    else:
        head = [str(index + 1) for index in range(width)]
    others = [c for c in range(width) if c != column and any(row[c] for row in rows)]
    split_column = next((c for c in others if _gives_splits(head[c], rows, c)), None)
    if split_column is not None:
        others.remove(split_column)
    values, columns = _class_values(table.name, head, rows, others, known)
    classes: dict[int, str] = {}
    splits: dict[int, str] = {}
    for row, index, value in zip(rows, indices, values, strict=False):
        if index is None or not value:
            continue
        if classes.setdefault(index, value) != value:
            raise DataError(
                f"{table.name} names {row[column]} twice, as '{classes[index]}' and as '{value}'; "
                "a photo has one class here"
            )
        split = split_name(row[split_column]) if split_column is not None else None
        if split:
            splits[index] = "test" if split.split == "evaluation" else split.split
    summary = (
        f"classes are taken from {table.name}: column '{head[column]}' names the photo, {columns}"
    )
    if split_column is not None:
        summary += f", column '{head[split_column]}' its split"
    unknown = {row[column] for row, index in zip(rows, indices, strict=True) if index is None}
    return TableLabels(classes, splits, frozenset(unknown), summary) if classes else None


def _photo_column(rows: list[list[str]], photos: PhotoNames) -> tuple[int, list[int | None]]:
    """Numbers of classes may also name photos (1.jpg); then the column's name decides."""
    columns = list(zip(*rows, strict=True))
    indices = [[photos.find(cell) for cell in column] for column in columns]
    hits = [len(set(found) - {None}) for found in indices]
    able = [c for c, count in enumerate(hits) if 2 * count >= max(hits)]
    called = [c for c in able if _plain(rows[0][c]) in _PHOTO_COLUMNS]
    best = max(called or able, key=lambda c: hits[c])
    return best, indices[best]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _gives_splits(name: str, rows: list[list[str]], column: int) -> bool:
    values = {row[column] for row in rows}
    few = len(values) <= _MAX_SPLIT_VALUES
    return _plain(name) in _SPLIT_COLUMNS and few and all(map(split_name, values))


def _class_values(
    name: str,
    head: list[str],
    rows: list[list[str]],
    columns: list[int],
    known: Collection[str] | None,
) -> tuple[list[str], str]:
    """Returns each row's class, and which columns give it; an empty list: none can."""
    classes = _one_hot(head, rows, columns)
    if classes and (known is None or set(classes) <= set(known)):
        return classes, f"{len(columns)} columns with one 1 are its class"
    counts = {c: Counter(row[c] for row in rows if row[c]) for c in columns}
    if known is None:
        able = [c for c in columns if 1 < len(counts[c]) <= max(2, len(rows) // 2)]
    else:
        able = [c for c in columns if counts[c].keys() <= set(known)]
    column = _class_column([c for c in able if _plain(head[c]) in _CLASS_COLUMNS], rows)
    if column is None and len(able) == 1:
        column = able[0]
    if column is None and (known is not None or not able):
        return [], ""
    if column is None:
        raise DataError(
            f"{name} names the photos, but not in which of the columns "
            f"{', '.join(head[c] for c in able)} their classes are; keep only that column, or call "
            "it 'label' and no other"
        )
    return [row[column] for row in rows], f"column '{head[column]}' its class"


def _class_column(columns: list[int], rows: list[list[str]]) -> int | None:
    """Of several columns that say the same, one with words."""
    if not columns:
        return None
    kinds = [len({row[c] for row in rows}) for c in columns]
    together = len({tuple(row[c] for c in columns) for row in rows})
    if any(kind != together for kind in kinds):
        return None
    words = [c for c in columns if not all(row[c].replace(".", "").isdigit() for row in rows)]
    return (words or columns)[0]


def _one_hot(head: list[str], rows: list[list[str]], columns: list[int]) -> list[str] | None:
    """Returns the classes if each has a column of its own, with 1 in the rows of its photos."""
    if len(columns) < 2:
        return None
    classes = []
    for row in rows:
        ones = [c for c in columns if row[c] in ("1", "1.0")]
        if len(ones) != 1 or any(row[c] not in ("0", "0.0") for c in columns if c not in ones):
            return None
        classes.append(head[ones[0]])
    return classes
