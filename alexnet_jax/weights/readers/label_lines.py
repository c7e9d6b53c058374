"""Class names in lines of text: plain, numbered, with WordNet ids, or as a table."""

import csv
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

WORDNET_ID = re.compile(r"n[0-9]{8}")
NAME_KEYS = ("name", "class_name", "label_name", "label", "class", "category", "species", "words")
_LONGEST_NAME = 500
_HEADS = {
    "", "id", "index", "idx", "number", "no", "key", "value", "target", "wnid", "synset", "words",
    "name", "names", "class", "classes", "label", "labels", "category", "species", "breed",
    "classid", "classname", "labelid", "labelname", "signname", "wordnetid", "title",
}  # fmt: skip
_COUNTS = {"count", "counts", "images", "photos", "samples", "support", "n"}
_FRONT = re.compile(
    r"\(?([0-9]{1,6})(?:\s*[-=]>\s*|\s*[:;=|)\t]\s*|\s*[.,]\s+|\s*[.,](?![0-9])|\s+-\s+|\s+)(\S.*)"
)
_BACK = re.compile(r"(.*?\S)(?:\s*[-=]>\s*|\s*[:;=|,\t]\s*|\s+)([0-9]{1,6})")
_WITH_ID = re.compile(
    r"(?:([0-9]{1,6})[\s,;:.)|]+)?(n[0-9]{8})(?:[\s,;:|]+(.*))?"
    r"|(.*?[^\s,;:|])[\s,;:|]+(n[0-9]{8})"
)


class Entries(NamedTuple):
    """Class names with what says their order.

    Attributes:
      names: as they stand in the file, from the first to the last.
      ids: WordNet ids of each, where all have one.
      numbers: of each, from 0, where all have one.
      devkit: the numbers are those of the challenge's development kit, not of outputs.
      remarks: what else the user should know.
    """

    names: list[str]
    ids: list[str] | None = None
    numbers: list[int] | None = None
    devkit: bool = False
    remarks: tuple[str, ...] = ()


def are_ids(values: Sequence[Any]) -> bool:
    """Returns whether all are WordNet ids."""
    return bool(values) and all(isinstance(v, str) and WORDNET_ID.fullmatch(v) for v in values)


def first_name(names: str) -> str:
    """Returns the first of a synset's names."""
    return names.split(",")[0].strip()


def whole(values: Sequence[Any]) -> list[int] | None:
    """Returns the numbers from 0, if they are 0 to n - 1 or 1 to n in any order; else None."""
    numbers = []
    for value in values:
        if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,6}\s*", value):
            numbers.append(int(value))
        elif type(value) is int:
            numbers.append(value)
        else:
            return None
    first = min(numbers, default=-1)
    complete = first in (0, 1) and sorted(numbers) == list(range(first, first + len(numbers)))
    return [number - first for number in numbers] if complete else None


def from_lines(text: str) -> Entries:
    """Returns the class names of a text of lines; see `from_items` for errors."""
    lines = [line.strip() for line in re.split(r"\r\n|\r|\n", text.rstrip())]
    if len(lines) > 1 and re.fullmatch(r"(names|classes|labels)\s*:", lines[0]):
        lines = lines[1:]  # YAML
    if any(re.match(r"(names|nc)\s*:(\s|$)", line) for line in lines):
        raise ValueError("a YAML text with more than the names")
    if lines and re.match("#+ ", lines[0]):
        raise ValueError(f"its first line, '{lines[0][:60]}', is a comment or a title")
    if lines and all(re.match(r"- \S", line) for line in lines):
        lines = [line[2:].strip() for line in lines]
    return from_items(lines)


def from_items(lines: list[str]) -> Entries:
    """Returns class names, one an item, numbered or not.

    Raises:
      ValueError: some have ids and some have not, a table has no numbers, or they are no names.
    """
    longest = max(map(len, lines), default=0)
    if longest > _LONGEST_NAME:
        raise ValueError(f"a name of {longest:,} characters")
    entries = _with_ids(lines) or _from_table(lines) or _numbered(lines)
    if entries:
        return entries
    cells = re.split(r"[,;\t|]", lines[0]) if lines else []
    if len(cells) > 1 and all(_plain_word(cell) in _HEADS | _COUNTS for cell in cells):
        rest = _with_ids(lines[1:]) or _numbered(lines[1:])
        if rest is None:
            raise ValueError(f"below '{lines[0][:60]}' there are neither whole numbers nor ids")
        return rest
    if any(re.match(r"[]{}[]|item\s*\{", line) or line.endswith("{") for line in lines):
        raise ValueError("the text of a program or a message")
    remarks = ()
    if len(lines) > 2 and _plain_word(lines[0]) in _HEADS - {"", "id", "no", "key", "value"}:
        remarks = (f"its first line, '{lines[0]}', was taken for the head of a column",)
        lines = lines[1:]
    elif all(re.match(r"[0-9]+[\s,;:.)]+\S", line) for line in lines):
        remarks = ("its lines begin with numbers, which do not number them and were left in place",)
    return Entries(lines, remarks=remarks)


def _plain_word(text: str) -> str:
    return re.sub(r"[\s_\"'-]", "", text).lower()


def _with_ids(lines: list[str]) -> Entries | None:
    """Returns lines of which each has a WordNet id, perhaps with a number; None if none has.

    `n01440764 tench, Tinca tinca`, `n02119789 1 kit_fox`, `0 n01440764 tench`, `tench n01440764`.
    """
    found = [_WITH_ID.fullmatch(line) for line in lines]
    matches = [match for match in found if match]
    if len(matches) < max(1, len(lines)):
        missing = found.index(None) if None in found else 0
        if missing and len(matches) > len(lines) / 2:
            raise ValueError(f"line {missing + 1} has no WordNet id, as others have")
        return None
    ids = [match[2] or match[5] for match in matches]
    names = [(match[3] or match[4] or "").strip().strip('"') for match in matches]
    front = [match[1] for match in matches]
    behind = [re.fullmatch(r"([0-9]{1,6})(?:[\s,;:|]+(.+))?", name) for name in names]
    numbers = whole(front) if all(front) else None
    parts = [part for part in behind if part]
    if not any(front) and len(parts) == len(lines):
        numbers = whole([part[1] for part in parts])
        if numbers or all(part[2] and " " not in part[2] for part in parts):
            names = [(part[2] or "").strip().strip('"') for part in parts]
    names = [first_name(name) or id_ for name, id_ in zip(names, ids, strict=True)]
    devkit = numbers is not None and bool(parts) and all(part[2] for part in parts)
    return Entries(names, ids, numbers, devkit)


def _numbered(lines: list[str]) -> Entries | None:
    """Returns lines that a whole numbering stands in front of, or behind; else None.

    What is left must differ: `1 euro`, `2 euro` are names.
    """
    for form, number, name in ((_FRONT, 1, 2), (_BACK, 2, 1)):
        matches = [match for line in lines if (match := form.fullmatch(line))]
        if len(lines) < 2 or len(matches) < len(lines):
            continue
        numbers = whole([match[number] for match in matches])
        names = [_unquoted(match[name]) for match in matches]
        if numbers and _differ(names):
            return Entries(names, numbers=numbers)
    return None


def _differ(names: list[str]) -> bool:
    return len(set(names)) > len(names) / 2


def _unquoted(text: str) -> str:
    text = text.strip().rstrip(",").strip()
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1].strip() if quoted else text


def _from_table(lines: list[str]) -> Entries | None:
    """Returns a table with a column of whole numbers or WordNet ids, with or without a head."""
    for delimiter in "\t;,|":
        try:
            rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
        except csv.Error:
            continue
        if len(rows) < 2 or len(rows[0]) < 2 or len({len(row) for row in rows}) > 1:
            continue
        for head, body in ((None, rows), (rows[0], rows[1:])):
            columns = [[cell.strip() for cell in column] for column in zip(*body, strict=True)]
            numbered = next((i for i, c in enumerate(columns) if whole(c)), None)
            identified = next((i for i, c in enumerate(columns) if are_ids(c)), None)
            if numbered is None and identified is None or len(body) < 2:
                continue
            others = [i for i in range(len(columns)) if i not in (numbered, identified)]
            words = [_plain_word(cell) for cell in head] if head else []
            wanted = [_plain_word(key) for key in NAME_KEYS]
            named = [words.index(w) for w in wanted if w in words and words.index(w) in others]
            if not (named or others):
                others = [identified] if identified is not None else []
            if not (named or others):
                continue
            names = columns[(named or others)[0]]
            decimals = delimiter == "," and all(re.match("[0-9]", name) for name in names)
            if head is None and identified is None and (decimals or not _differ(names)):
                continue  # 1,5 l
            ids = columns[identified] if identified is not None else None
            if ids:
                names = [first_name(name) for name in names]
            return Entries(names, ids, whole(columns[numbered]) if numbered is not None else None)
    return None
