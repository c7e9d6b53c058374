"""Class names in text: JSON, Python literals, and lines."""

import ast
import json
import re
import warnings
from collections.abc import Sequence
from typing import Any

from alexnet_jax.weights.readers.label_lines import (
    NAME_KEYS,
    NameList,
    are_ids,
    complete_numbers,
    first_name,
    parse_items,
    parse_lines,
)

EXPECTED = (
    "expected one name a line, perhaps numbered (0 to n - 1, or 1 to n) or with WordNet ids; a "
    "table of numbers and names; or JSON or Python: a list, numbers to names, or names to numbers"
)
_MAX_LITERAL = 1 << 20
_MAX_DEPTH = 5
_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|[][{}(),:]|-?[0-9]{1,9}(?![\w.])|(?:None|True|False)\b"""
    r"""|[uU]?(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")"""
)
_CONTAINER_KEYS = (
    "id2label", "label2id", "class_to_idx", "idx_to_class", "class_names", "classes", "names",
    "label_names", "labels", "categories", "vocab",
)  # fmt: skip
_NUMBER_KEYS = ("index", "idx", "id", "class_id", "label_id", "number")


def parse_names(text: str) -> NameList:
    """Raises `ValueError` or `RecursionError` for unknown forms."""
    text = re.sub(r"^\s*[A-Za-z_]\w*\s*=\s*(?=[\[{(])", "", text.strip("\ufeff"))
    counted = re.match(r"\s*\(#([0-9]{1,9})\)\s*(?=\[)", text)  # how fastai shows its lists
    body = text[counted.end() :] if counted else text
    if body.lstrip()[:1] not in ("[", "{", "("):
        return parse_lines(text)
    try:
        value = json.loads(body, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        try:
            value = _parse_literal(body)
        except (ValueError, SyntaxError) as second:
            if body.lstrip()[0] == "(":
                return parse_lines(text)
            raise ValueError(f"no JSON ({error}), and no Python ({second})") from None
    names = _from_value(value)
    if counted and int(counted[1]) != len(names.names):
        raise ValueError(f"{counted[1]} names are announced, {len(names.names)} are there")
    return names


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def _parse_literal(text: str) -> Any:
    if len(text) > _MAX_LITERAL:
        raise ValueError("a Python text that is too long")
    at = depth = colons = 0
    previous = ""
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError("more than names and numbers")
        depth += (token[0] in "[{(") - (token[0] in "]})") if len(token[0]) == 1 else 0
        colons += token[0] == ":" and depth == 1
        if depth > _MAX_DEPTH:
            raise ValueError("lists within lists")
        if not token[0].isspace() and token[0][0] != "#":
            if previous[-1:] in ("'", '"') and token[0][-1] in "'\"":
                raise ValueError("two names without a comma between them")
            previous = token[0]
        at = token.end()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about strange escapes
        value = ast.literal_eval(text.strip())
    if isinstance(value, dict) and len(value) != colons:
        raise ValueError("a key occurs twice")
    return value


def _from_value(value: Any, depth: int = 0) -> NameList:
    if isinstance(value, dict):
        for key in _CONTAINER_KEYS:
            if isinstance(value.get(key), dict | list) and depth < 3:
                names = _from_value(value[key], depth + 1)
                if key == "id2label" and value.get("label2id"):
                    _check_agreement(names, value["label2id"])
                return names
        return _from_pairs(list(value.items()))
    if not isinstance(value, list | tuple):
        raise ValueError("no list and no dictionary")
    if value and all(isinstance(item, str) for item in value):
        return parse_items(list(value))
    if value and all(isinstance(item, list | tuple) and len(item) == 2 for item in value):
        return _from_pairs([tuple(item) for item in value])
    if value and all(isinstance(item, dict) for item in value):
        return _from_records(list(value))
    if not all(type(item) is int or isinstance(item, str) for item in value):
        raise ValueError("a list of other things than names")
    return NameList([str(item) for item in value])


def _check_agreement(names: NameList, label2id: Any) -> None:
    if not isinstance(label2id, dict):
        return
    one, two = (
        sorted(zip(found.numbers or [], found.names, strict=False))
        for found in (names, _from_value(label2id, 3))
    )
    if one != two:
        raise ValueError("id2label and label2id contradict each other")


def _from_pairs(pairs: Sequence[tuple[Any, Any]]) -> NameList:
    keys, values = [a for a, _ in pairs], [b for _, b in pairs]
    numbers, behind = complete_numbers(keys), complete_numbers(values)
    if numbers and behind and numbers != behind:
        raise ValueError("numbers to numbers: which are the names?")
    if behind or not numbers and are_ids(values) and not are_ids(keys):
        keys, values, numbers = values, keys, behind
    if numbers and not behind and all(isinstance(b, list | tuple) and len(b) == 2 for b in values):
        return _from_pairs([tuple(b) for b in values])._replace(numbers=numbers)
    if numbers:
        names = _texts(values)
        return NameList(names, names if are_ids(values) else None, numbers)
    if are_ids(keys):
        return NameList([first_name(name) for name in _texts(values)], [str(a) for a in keys])
    if all(isinstance(part, str) and not part.isdecimal() for pair in pairs for part in pair):
        if len(set(keys)) == len(keys) and not any(" " in a for a in keys):
            return NameList(_texts(values), [str(a) for a in keys])
    raise ValueError("its numbers are not 0 to n - 1 or 1 to n, each once")


def _from_records(records: list[dict[Any, Any]]) -> NameList:
    number = next((k for k in _NUMBER_KEYS if all(k in r for r in records)), None)
    name = next((k for k in NAME_KEYS if all(k in r for r in records)), None)
    if name is None:
        raise ValueError("objects without a name")
    if number is None:
        return parse_items(_texts([record[name] for record in records]))
    return _from_pairs([(record[number], record[name]) for record in records])


def _texts(values: Sequence[Any]) -> list[str]:
    if not all(isinstance(value, str) or type(value) is int for value in values):
        raise ValueError("names that are not text")
    return [str(value).strip() for value in values]
