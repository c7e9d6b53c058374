"""Classes in the names of files: cat.0.jpg, dog-1.png, Abyssinian_12.jpg, n01440764_10026.JPEG."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

_NUMBER = re.compile(r"[ ._(-]+\d{1,12}\)?$")
_LETTERS = re.compile(r"[^\W\d_]+")
_OF_CAMERAS = set(
    "burst capture clip copy download dsc dscf dscn eos file fig figure frame gopr gopro hpim "
    "ilsvrc im image images img imgp jpeg kin mvi no p page photo photos pic pict picture pxl sam "
    "sample scan screen screenshot sdc snap snapchat unnamed untitled vid video wa whatsapp "
    "wp".split()
)
_MOST_ODD = 0.05  # of the photos, whose names say nothing


def classes_in_names(names: Sequence[str]) -> list[str]:
    """Returns the class that each file's name says, empty where it says none.

    A name is a word, a separator and a number. The words are classes where nearly all names are of
    that form and at least two words have two files or more; what cameras call their photos is no
    class. Words that differ only in case are one.

    Args:
      names: of the files.

    Returns:
      As many classes; an empty list: names tell no classes here.
    """
    words = [_word(name) for name in names]
    counts = Counter(word.casefold() for word in words if word)
    frequent = [word for word, count in counts.items() if count > 1]
    odd = len(names) - sum(counts[word] for word in frequent)
    if len(frequent) < 2 or odd > _MOST_ODD * len(names):
        return []
    spelled: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for word in words:
        spelled[word.casefold()][word] += 1
    usual = {word: found.most_common(1)[0][0] for word, found in spelled.items()}
    return [usual[word.casefold()] if word.casefold() in frequent else "" for word in words]


def _word(name: str) -> str:
    """Returns what a name has before its number; empty: it is not of that form."""
    stem = name.rpartition(".")[0]
    number = _NUMBER.search(stem)
    word = stem[: number.start()].strip() if number else ""
    letters = _LETTERS.search(word)
    if not letters or letters[0].casefold() in _OF_CAMERAS:
        return ""
    return word
