"""Class names in lines of text: plain, numbered, with WordNet ids, or as a table."""

import csv
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

WORDNET_ID = re.compile(r"n[0-9]{8}")
NAME_KEYS = ("name", "class_name", "label_name", "label", "class", "category", "species", "words")
_MAX_NAME = 500
_HEADER_WORDS = {
    "", "id", "index", "idx", "number", "no", "key", "value", "target", "wnid", "synset", "words",
    "name", "names", "class", "classes", "label", "labels", "category", "species", "breed",
    "classid", "classname", "labelid", "labelname", "signname", "wordnetid", "title",
}  # fmt: skip
_COUNT_WORDS = {"count", "counts", "images", "photos", "samples", "support", "n"}
_NUMBER_FIRST = re.compile(
    r"\(?([0-9]{1,6})(?:\s*[-=]>\s*|\s*[:;=|)\t]\s*|\s*[.,]\s+|\s*[.,](?![0-9])|\s+-\s+|\s+)(\S.*)"
)
_NUMBER_LAST = re.compile(r"(.*?\S)(?:\s*[-=]>\s*|\s*[:;=|,\t]\s*|\s+)([0-9]{1,6})")
_WITH_ID = re.compile(
    r"(?:([0-9]{1,6})[\s,;:.)|]+)?(n[0-9]{8})(?:[\s,;:|]+(.*))?"
    r"|(.*?[^\s,;:|])[\s,;:|]+(n[0-9]{8})"
)


class NameList(NamedTuple):
    """Class names in the order of the file, with what says another order."""

    names: list[str]
    ids: list[str] | None = None  # WordNet ids, if all have one
    numbers: list[int] | None = None  # from 0, if all have one
    is_devkit: bool = False  # `numbers` are of ILSVRC's development kit, not of outputs
    messages: tuple[str, ...] = ()


def are_ids(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(v, str) and WORDNET_ID.fullmatch(v) for v in values)


def first_name(names: str) -> str:
    return names.split(",")[0].strip()


def complete_numbers(values: Sequence[Any]) -> list[int] | None:
    """Returns numbers from 0 if `values` are 0 to n - 1 or 1 to n in any order."""
    numbers = []
    for value in values:
        if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,6}\s*", value):
            numbers.append(int(value))
        elif type(value) is int:
            numbers.append(value)
        else:
            return None
    first = min(numbers, default=-1)
    is_complete = first in (0, 1) and sorted(numbers) == list(range(first, first + len(numbers)))
    return [number - first for number in numbers] if is_complete else None


def parse_lines(text: str) -> NameList:
    lines = [line.strip() for line in re.split(r"\r\n|\r|\n", text.rstrip())]
    if len(lines) > 1 and re.fullmatch(r"(names|classes|labels)\s*:", lines[0]):
        lines = lines[1:]  # YAML
    if any(re.match(r"(names|nc)\s*:(\s|$)", line) for line in lines):
        raise ValueError("a YAML text with more than the names")
    if lines and re.match("#+ ", lines[0]):
        raise ValueError(f"its first line, '{lines[0][:60]}', is a comment or a title")
    if lines and all(re.match(r"- \S", line) for line in lines):
        lines = [line[2:].strip() for line in lines]
    return parse_items(lines)


def parse_items(lines: list[str]) -> NameList:
    longest = max(map(len, lines), default=0)
    if longest > _MAX_NAME:
        raise ValueError(f"a name of {longest:,} characters")
    found = _parse_ids(lines) or _parse_table(lines) or _parse_numbered(lines)
    if found:
        return found
    cells = re.split(r"[,;\t|]", lines[0]) if lines else []
    if len(cells) > 1 and all(_plain_word(cell) in _HEADER_WORDS | _COUNT_WORDS for cell in cells):
        rest = _parse_ids(lines[1:]) or _parse_numbered(lines[1:])
        if rest is None:
            raise ValueError(f"below '{lines[0][:60]}' there are neither integers nor ids")
        return rest
    if any(re.match(r"[]{}[]|item\s*\{", line) or line.endswith("{") for line in lines):
        raise ValueError("the text of a program or a message")
    messages = ()
    if len(lines) > 2 and _plain_word(lines[0]) in _HEADER_WORDS - {"", "id", "no", "key", "value"}:
        messages = (f"its first line, '{lines[0]}', was taken for the header of a column",)
        lines = lines[1:]
    elif all(re.match(r"[0-9]+[\s,;:.)]+\S", line) for line in lines):
        messages = ("its lines begin with numbers that do not count them; they stay in the names",)
    return NameList(lines, messages=messages)


def _plain_word(text: str) -> str:
    return re.sub(r"[\s_\"'-]", "", text).lower()


def _parse_ids(lines: list[str]) -> NameList | None:
    """Reads `n01440764 tench, Tinca tinca`, `n02119789 1 kit_fox`, `0 n01440764 tench`."""
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
    after = [re.fullmatch(r"([0-9]{1,6})(?:[\s,;:|]+(.+))?", name) for name in names]
    numbers = complete_numbers(front) if all(front) else None
    parts = [part for part in after if part]
    if not any(front) and len(parts) == len(lines):
        numbers = complete_numbers([part[1] for part in parts])
        if numbers or all(part[2] and " " not in part[2] for part in parts):
            names = [(part[2] or "").strip().strip('"') for part in parts]
    names = [first_name(name) or id_ for name, id_ in zip(names, ids, strict=True)]
    is_devkit = numbers is not None and bool(parts) and all(part[2] for part in parts)
    return NameList(names, ids, numbers, is_devkit)


def _parse_numbered(lines: list[str]) -> NameList | None:
    """The rest of the lines must differ: `1 euro` is a name."""
    for pattern, number, name in ((_NUMBER_FIRST, 1, 2), (_NUMBER_LAST, 2, 1)):
        matches = [match for line in lines if (match := pattern.fullmatch(line))]
        if len(lines) < 2 or len(matches) < len(lines):
            continue
        numbers = complete_numbers([match[number] for match in matches])
        names = [_unquoted(match[name]) for match in matches]
        if numbers and _differ(names):
            return NameList(names, numbers=numbers)
    return None


def _differ(names: list[str]) -> bool:
    return len(set(names)) > len(names) / 2


def _unquoted(text: str) -> str:
    text = text.strip().rstrip(",").strip()
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1].strip() if quoted else text


def _parse_table(lines: list[str]) -> NameList | None:
    for delimiter in "\t;,|":
        try:
            rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
        except csv.Error:
            continue
        if len(rows) > 1 and len(rows[0]) > 1 and len({len(row) for row in rows}) == 1:
            is_comma = delimiter == ","
            found = _parse_rows(None, rows, is_comma) or _parse_rows(rows[0], rows[1:], is_comma)
            if found:
                return found
    return None


def _parse_rows(header: list[str] | None, rows: list[list[str]], is_comma: bool) -> NameList | None:
    columns = [[cell.strip() for cell in column] for column in zip(*rows, strict=True)]
    numbered = next((i for i, column in enumerate(columns) if complete_numbers(column)), None)
    identified = next((i for i, column in enumerate(columns) if are_ids(column)), None)
    if numbered is None and identified is None or len(rows) < 2:
        return None
    words = [_plain_word(cell) for cell in header or ()]
    others = [i for i in range(len(columns)) if i not in (numbered, identified)]
    titles = [words.index(key) for key in map(_plain_word, NAME_KEYS) if key in words]
    candidates = [i for i in titles if i in others] or others
    if not candidates and identified is not None:
        candidates = [identified]
    if not candidates:
        return None
    names = columns[candidates[0]]
    if header is None and identified is None:
        are_decimals = is_comma and all(re.match("[0-9]", name) for name in names)  # 1,5 l
        if are_decimals or not _differ(names):
            return None
    ids = columns[identified] if identified is not None else None
    if ids:
        names = [first_name(name) for name in names]
    numbers = complete_numbers(columns[numbered]) if numbered is not None else None
    return NameList(names, ids, numbers)
