"""Names for the outputs of imported weights."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

from alexnet_jax.data.prepared import read_prepared
from alexnet_jax.errors import AlexNetError, InputError
from alexnet_jax.preparation.sources.source import unique_names

_LARGEST_BYTES = 16 * 1024**2
_MOST_NAMES = 30_000
_WORDNET_LINE = re.compile(r"(n\d{8})\s+(.+)")
_TFDS_IDS = Path("datasets", "imagenet2012", "labels.txt")


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Returns class names in the order of the outputs.

    Args:
      path: a folder that `prepare` has made; a JSON file with a list, or with an object of
        numbers to names (or to pairs of WordNet id and name); or a text file of one name a line,
        such as Caffe's `synset_words.txt`, of whose lines the first name is taken, as `prepare`
        does for ImageNet. Of two equal names each gets its id, or its number.

    Raises:
      InputError: it cannot be read, or a name is empty.
    """
    path = Path(path)
    if path.is_dir():
        return _prepared_names(path)
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise InputError(f"{path} is too large for a list of class names")
        text = path.read_text("utf-8")
        names = _from_json(json.loads(text)) if text.lstrip()[:1] in "[{" else _from_lines(text)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as a list of class names: {reason}") from None
    if not names or not all(names):
        raise InputError(f"{path} has empty class names; write one name a line")
    return tuple(names)


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


def _from_lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.rstrip().splitlines()]
    matches = [match for line in lines if (match := _WORDNET_LINE.fullmatch(line))]
    if len(matches) < len(lines):
        return _distinct(lines, [str(i) for i in range(len(lines))])
    return _distinct([match[2].split(",")[0].strip() for match in matches], [m[1] for m in matches])


def _from_json(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = [value[str(i)] for i in range(len(value))]
    if all(isinstance(item, list) and len(item) == 2 for item in value):
        return _distinct([str(name) for _, name in value], [str(id_) for id_, _ in value])
    return _distinct([str(item) for item in value], [str(i) for i in range(len(value))])


def _distinct(names: list[str], ids: list[str]) -> list[str]:
    if len(names) > _MOST_NAMES:
        raise ValueError(f"{len(names):,} names are too many")
    return list(unique_names(names, ids)) if all(names) else []
