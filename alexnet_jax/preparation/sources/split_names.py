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
_FILLERS = re.compile(
    r"\d+|the|my|of|data|(?:data)?sets?|splits?|folders?|dir|images?|imgs?|photos?|pictures?|pics?|"
    r"jpe?gs?|png|samples?"
)
_BORDERS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])|(?<=\d)(?=[^\W\d_])|(?<=[^\W\d_])(?=\d)")


class SplitName(NamedTuple):
    """What a name says: the split, and the words that have nothing to do with it."""

    split: str
    rest: tuple[str, ...]


@functools.lru_cache(maxsize=4096)
def split_name(name: str) -> SplitName | None:
    """Reads a folder's name; None: there is no word of one split in it, or words of two.

    `evaluation` is for the layout to decide: some call so what is for validation, some the test.
    """
    words = [word.lower() for word in _BORDERS.split(name) if word]
    splits = [
        split for word in words for pattern, split in _WORDS.items() if re.fullmatch(pattern, word)
    ]
    if len(splits) != 1:
        return None
    known = "|".join(_WORDS)
    rest = tuple(w for w in words if not re.fullmatch(known, w) and not _FILLERS.fullmatch(w))
    return SplitName(splits[0], rest)


def is_filler(name: str) -> bool:
    """Returns whether a name says no more than that images are inside."""
    words = [word.lower() for word in _BORDERS.split(name) if word]
    return all(_FILLERS.fullmatch(word) for word in words)
