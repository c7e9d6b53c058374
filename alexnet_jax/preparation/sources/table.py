"""A table of labels: a CSV that names photos in one column and their classes in another."""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
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
                bare, dot, ending = path.rpartition(".")
                for key in {path, bare if dot and "/" not in ending else path}:
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


def labels_in(
    table: Table, photos: Photos, count: int, known: Collection[str] | None = None
) -> Labels | None:
    """Returns what a table says of photos; None: it names hardly any of them, or no classes.

    Args:
      table: of which it is not known yet what its columns are.
      photos: that may be meant.
      count: number of them.
      known: the only classes there may be; None: any.

    Raises:
      DataError: it gives a photo two classes, or several columns may be the classes.
    """
    width = len(table.rows[0])
    rows = [(row + [""] * (width - len(row)))[:width] for row in table.rows]
    column, places = _name_column(rows, photos)
    if 2 * len(set(places) - {None}) < max(4, min(count, len(rows) - 1)):
        return None
    if places[0] is None:
        head, rows, places = rows[0], rows[1:], places[1:]
    else:
        head = [str(index + 1) for index in range(width)]
    others = [c for c in range(width) if c != column and any(row[c] for row in rows)]
    split_column = next((c for c in others if _tells_splits(head[c], rows, c)), None)
    if split_column is not None:
        others.remove(split_column)
    values, told = _class_values(table.name, head, rows, others, known)
    classes: dict[int, str] = {}
    splits: dict[int, str] = {}
    for row, place, value in zip(rows, places, values, strict=False):
        if place is None or not value:
            continue
        if classes.setdefault(place, value) != value:
            raise DataError(
                f"{table.name} names {row[column]} twice, as '{classes[place]}' and as '{value}'; "
                "a photo has one class here"
            )
        said = split_name(row[split_column]) if split_column is not None else None
        if said:
            splits[place] = "test" if said.split == "evaluation" else said.split
    told = f"classes are taken from {table.name}: column '{head[column]}' names the photo, {told}"
    told += f", column '{head[split_column]}' its split" if split_column is not None else ""
    unknown = {row[column] for row, place in zip(rows, places, strict=True) if place is None}
    return Labels(classes, splits, frozenset(unknown), told) if classes else None


def _name_column(rows: list[list[str]], photos: Photos) -> tuple[int, list[int | None]]:
    """Returns the column that names the photos best, and which photo each of its cells names.

    Numbers of classes may be names of photos, too (1.jpg); the column's own name decides then.
    """
    columns = list(zip(*rows, strict=True))
    places = [[photos.find(cell) for cell in column] for column in columns]
    hits = [len(set(found) - {None}) for found in places]
    able = [c for c, count in enumerate(hits) if 2 * count >= max(hits)]
    called = [c for c in able if _plain(rows[0][c]) in _NAMES]
    best = max(called or able, key=lambda c: hits[c])
    return best, places[best]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _tells_splits(name: str, rows: list[list[str]], column: int) -> bool:
    values = {row[column] for row in rows}
    return _plain(name) in _SPLITS and len(values) < 9 and all(map(split_name, values))


def _class_values(
    name: str,
    head: list[str],
    rows: list[list[str]],
    others: list[int],
    known: Collection[str] | None,
) -> tuple[list[str], str]:
    """Returns the class in each row, and which columns say it; an empty list: no column can."""
    classes = _one_hot(head, rows, others)
    if classes and (known is None or set(classes) <= set(known)):
        return classes, f"{len(others)} columns with one 1 are its class"
    counts = {c: Counter(row[c] for row in rows if row[c]) for c in others}
    if known is None:
        able = [c for c in others if 1 < len(counts[c]) <= max(2, len(rows) // 2)]
    else:
        able = [c for c in others if counts[c].keys() <= set(known)]
    column = _chosen([c for c in able if _plain(head[c]) in _LABELS], rows)
    if column is None and len(able) == 1:
        column = able[0]
    if column is None and (known is not None or not able):
        return [], ""
    if column is None:
        raise DataError(
            f"{name} names the photos, but not in which of the columns "
            f"{', '.join(head[c] for c in able)} their classes are; keep that one beside the "
            "names, or call it 'label' and no other"
        )
    return [row[column] for row in rows], f"column '{head[column]}' its class"


def _chosen(columns: list[int], rows: list[list[str]]) -> int | None:
    """Returns the column of the classes; of several that say the same, one with words."""
    if not columns:
        return None
    kinds = [len({row[c] for row in rows}) for c in columns]
    together = len({tuple(row[c] for c in columns) for row in rows})
    if any(kind != together for kind in kinds):
        return None
    words = [c for c in columns if not all(row[c].replace(".", "").isdigit() for row in rows)]
    return (words or columns)[0]


def _one_hot(head: list[str], rows: list[list[str]], others: list[int]) -> list[str] | None:
    """Returns the classes where each has a column of its own, with 1 in the rows that are of it."""
    if len(others) < 2:
        return None
    classes = []
    for row in rows:
        ones = [c for c in others if row[c] in ("1", "1.0")]
        if len(ones) != 1 or any(row[c] not in ("0", "0.0") for c in others if c not in ones):
            return None
        classes.append(head[ones[0]])
    return classes
