"""Which split a folder's name means: `training_set`, `Testing`, `seg_train`, `val`."""

import functools
import re
from typing import NamedTuple

_ADDED = r"(?:s|set|sets|data|images|imgs|photos)?"
_WORDS = {
    rf"train(?:ing)?{_ADDED}|trn": "train",
    rf"val(?:id(?:ation)?)?{_ADDED}|dev{_ADDED}": "validation",
    rf"test(?:ing)?{_ADDED}": "test",
    rf"eval(?:uation)?{_ADDED}": "evaluation",
}
_ANY_SPLIT = re.compile("|".join(_WORDS))
_FILLERS = re.compile(
    r"\d+|the|my|of|data|(?:data)?sets?|splits?|folders?|dir|images?|imgs?|photos?|pictures?|pics?|"
    r"jpe?gs?|png|samples?"
)
_BORDERS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])|(?<=\d)(?=[^\W\d_])|(?<=[^\W\d_])(?=\d)")


class SplitName(NamedTuple):
    """The split that a name means, and the other words in it that are no fillers."""

    split: str
    other_words: tuple[str, ...]


@functools.lru_cache(maxsize=4096)
def split_name(name: str) -> SplitName | None:
    """None: no word of a split, or words of two. `evaluation` may be validation or test."""
    words = _words(name)
    splits = [split for word in words for form, split in _WORDS.items() if re.fullmatch(form, word)]
    if len(splits) != 1:
        return None
    others = (w for w in words if not _ANY_SPLIT.fullmatch(w) and not _FILLERS.fullmatch(w))
    return SplitName(splits[0], tuple(others))


def plain_split(name: str) -> str:
    found = split_name(name)
    return found.split if found and not found.other_words else ""


def is_filler(name: str) -> bool:
    return all(_FILLERS.fullmatch(word) for word in _words(name))


def _words(name: str) -> list[str]:
    return [word.lower() for word in _BORDERS.split(name) if word]
