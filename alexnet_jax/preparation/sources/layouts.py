"""Where in a tree of files the splits and class folders are, and what only wraps them."""

import csv
import functools
import io
import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.errors import DataError
from alexnet_jax.preparation.sources.split_names import is_filler, split_name
from alexnet_jax.preparation.sources.tree import Entry, Parts, Tree

CLASS_NAMES = "class_names.csv"
_NO_PHOTOS = set(
    "avi cfg csv db doc docx h5 htm html info ini ipynb js json jsonl lock log lst m mat md mov "
    "mp4 names npy npz parquet pdf pkl pt pth py rst sh sqlite tsv txt xls xlsx xml yaml yml "
    "7z bz2 gz rar tar tbz tbz2 tgz txz xz zip zst".split()
)
WRAPPERS = set("archive content files jpegimages main originals raw root source store".split())
_NOTES = set(
    "annotation annotations imagesets labels list lists mask masks segmentationclass "
    "segmentationobject segmentations trimaps xml xmls".split()
)
_MAX_CSV_BYTES = 16 * 1024**2


class Top(NamedTuple):
    """A top folder: photos that lie in it directly, and those in each of its subfolders."""

    direct: int
    below: Counter[str]

    @property
    def photos(self) -> int:
        """All photos in it."""
        return self.direct + self.below.total()

    @property
    def holds_folders(self) -> bool:
        """Whether its photos lie in subfolders, but for a few."""
        return self.below.total() > self.direct


@dataclass
class Folder:
    """A folder of the source on the way down to the class folders.

    Attributes:
      root: of the source.
      inside: where in it.
      tree: what is below.
    """

    root: Path
    inside: Parts
    tree: Tree
    tops: dict[str, Top] = field(init=False)

    def __post_init__(self):
        self.tops = tops_of(self.tree)

    @property
    def holders(self) -> list[str]:
        """Names of the top folders that hold photos."""
        return [name for name, top in self.tops.items() if top.photos]

    @functools.cached_property
    def class_names(self) -> dict[str, str]:
        """Names by folder, as the rows of `class_names.csv` say; empty: there is none."""
        table = next((e for e in self.tree.entries if e.parts == (CLASS_NAMES,)), None)
        text = table.read(_MAX_CSV_BYTES).decode("utf-8-sig", "replace") if table else ""
        rows = csv.reader(io.StringIO(text))
        return {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}

    @property
    def names_classes(self) -> bool:
        """Whether `class_names.csv` says that the top folders are the classes."""
        return not self.class_names.keys().isdisjoint(self.tops)

    def __str__(self) -> str:
        return str(self.root.joinpath(*self.inside))

    def below(self, top: str) -> "Folder":
        """Returns a top folder."""
        inside = (e for e in self.tree.entries if e.parts[0] == top and e.parts[1:])
        entries = [e._replace(parts=e.parts[1:]) for e in inside]
        folders = {p[1:] for p in self.tree.folders if p[0] == top and p[1:]}
        broken = {p[1:]: to for p, to in self.tree.broken.items() if p[0] == top and p[1:]}
        return Folder(self.root, (*self.inside, top), Tree(entries, folders, Counter(), broken))

    def hint(self, top: str) -> str:
        """Returns what to type to take a top folder as the source."""
        place = self.root.joinpath(*self.inside, top)
        if not place.is_dir():
            inner = "/".join((*self.inside, top))
            return f"unpack {self.root} and name the folder {inner} in it"
        words = ["python", "-m", "alexnet_jax.main", "prepare", "--source", "folder", str(place)]
        return f"type: {shlex.join(words)} (in train: --data.source {shlex.quote(str(place))})"


def may_be_photo(name: str) -> bool:
    """Returns whether a name is not that of something else; the content decides later."""
    return name.rpartition(".")[2].lower() not in _NO_PHOTOS or "." not in name


def tops_of(tree: Tree) -> dict[str, Top]:
    """Returns the top folders by name, those without photos, too."""
    direct: Counter[str] = Counter()
    below: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for parts, *_ in tree.entries:
        if len(parts) > 1 and may_be_photo(parts[-1]):
            if len(parts) == 2:
                direct[parts[0]] += 1
            else:
                below[parts[0]][parts[1]] += 1
    names = sorted(parts[0] for parts in tree.folders if len(parts) == 1)
    return {name: Top(direct[name], below[name]) for name in names}


def loose_photos(tree: Tree) -> list[Entry]:
    """Returns the photos that lie in no folder."""
    return [e for e in tree.entries if len(e.parts) == 1 and may_be_photo(e.parts[0])]


def listed(names: Iterable[str], most: int = 12) -> str:
    """Returns names as a message shows them: the first, and how many there are in all."""
    names = list(names)
    more = f", … ({len(names):,} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def find_wrapper(folder: Folder) -> str:
    """Returns the one top folder that only wraps what the source is; empty: there is none.

    It is the only one with photos; or one that is called `images` or the like and holds folders
    where the others are called so, too, or hold annotations.

    Raises:
      DataError: a folder that is called so holds class folders, and others hold photos.
    """
    tops, holders = folder.tops, folder.holders
    if folder.names_classes or not holders:
        return ""
    loose = len(loose_photos(folder.tree))
    if len(holders) == 1:
        return holders[0] if tops[holders[0]].photos > loose and _alone(folder) else ""
    wrapping = [name for name in holders if _only_wraps(name)]
    if len(wrapping) == 1 and all(n.lower() in _NOTES for n in holders if n not in wrapping):
        return wrapping[0]
    full = [n for n in wrapping if not tops[n].direct and len(tops[n].below) > 1]
    if len(full) != 1 or any(tops[n].holds_folders for n in holders if n not in full):
        return ""
    if len(wrapping) == len(holders):
        return full[0]
    others = [name for name in holders if name not in full]
    raise DataError(
        f"{folder} holds {listed(others)} and '{full[0]}', in which there are the folders "
        f"{listed(tops[full[0]].below)}; are those the classes? Then {folder.hint(full[0])}; "
        f"{_class_names_remedy(full[0])}"
    )


def _alone(folder: Folder) -> bool:
    """Returns whether the only folder with photos is no class, whose sisters are just empty."""
    only = folder.holders[0]
    others = folder.tops.keys() - {only}
    filled = {entry.parts[0] for entry in folder.tree.entries if len(entry.parts) > 1}
    return _only_wraps(only) or (
        not others or (folder.tops[only].holds_folders and others <= filled)
    )


def refuse_groups(folder: Folder) -> None:
    """Refuses folders that hold other folders as no classes do.

    Raises:
      DataError: most of the photos are in folders that hold the same folders; or one folder holds
        the splits, or what its sisters are called.
    """
    _refuse_alike(folder)
    _refuse_nested(folder)


def _refuse_alike(folder: Folder) -> None:
    """Refuses folders that hold the same folders and hardly a photo beside."""
    tops = folder.tops
    grouped = [
        n for n in folder.holders if 10 * tops[n].direct < tops[n].photos and len(tops[n].below) > 1
    ]
    if folder.names_classes or len(grouped) < 2:
        return
    largest = max(grouped, key=lambda name: tops[name].photos)
    known = {name.casefold() for name in tops[largest].below}
    alike = [name for name in grouped if _alike(known, tops[name].below)]
    photos = sum(tops[name].photos for name in alike)
    if len(alike) < 2 or 2 * photos < sum(top.photos for top in tops.values()):
        return
    inner = tops[largest].below
    raise DataError(
        f"the folders {listed(alike)} of {folder} hold the same folders ({listed(inner, 6)}) and "
        "no photos of their own: they look like splits or groups, not like classes. For one of "
        f"them, {folder.hint(largest)}; for splits, call them train, val and test; "
        f"{_class_names_remedy(largest)}"
    )


def _refuse_nested(folder: Folder) -> None:
    """Refuses a folder that holds the splits, or the classes once more, and is no class itself."""
    for name in () if folder.names_classes else folder.holders:
        top = folder.tops[name]
        said = {said.split for said in map(split_name, top.below) if said and not said.rest}
        if "train" in said and len(said) > 1 and len(folder.holders) > 1 and not top.direct:
            raise DataError(
                f"the folder '{name}' of {folder} holds splits ({listed(top.below, 6)}), beside "
                f"{listed((n for n in folder.holders if n != name), 5)}; to take it alone, "
                f"{folder.hint(name)}"
            )
        others = {other.casefold() for other in folder.holders if other != name}
        common = [inner for inner in top.below if inner.casefold() in others]
        if common and 10 * top.direct < top.photos and 2 * len(common) >= len(top.below):
            raise DataError(
                f"the folder '{name}' of {folder} holds folders that are called as those beside it "
                f"({listed(common, 6)}), and hardly a photo of its own: it looks like a second "
                f"copy, not like a class; move it away, or to take it alone, {folder.hint(name)}; "
                f"{_class_names_remedy(name)}"
            )


def holds_splits_in_classes(folder: Folder) -> bool:
    """Returns whether the top folders are classes, in each of which the splits lie."""
    tops = [folder.tops[name] for name in folder.holders]
    if len(tops) < 2 or folder.names_classes or any(map(split_name, folder.holders)):
        return False
    named = [[split_name(name) for name in top.below] for top in tops if not top.direct]
    return (
        len(named) == len(tops)
        and all(
            all(said and not said.rest for said in inner)
            and any(said and said.split == "train" for said in inner)
            for inner in named
        )
        and all(len(e.parts) < 4 for e in folder.tree.entries if may_be_photo(e.name))
    )


def turned(folder: Folder) -> Folder:
    """Returns the folder with its second layer of folders above the first."""
    tree = folder.tree
    entries = [
        e._replace(parts=e.parts[1::-1] + e.parts[2:]) if len(e.parts) > 2 else e
        for e in tree.entries
    ]
    folders = {parts[1::-1] + parts[2:] for parts in tree.folders if len(parts) > 1}
    folders |= {parts[:1] for parts in folders}
    return Folder(folder.root, folder.inside, Tree(entries, folders))


def _alike(known: Collection[str], inner: Iterable[str]) -> bool:
    names = {name.casefold() for name in inner}
    common = len(names & set(known))
    return common > 1 and 2 * common >= min(len(names), len(known))


def _only_wraps(name: str) -> bool:
    return any(c.isalpha() for c in name) and (is_filler(name) or name.lower() in WRAPPERS)


def _class_names_remedy(name: str) -> str:
    return (
        f"if they are the classes, say so in a file {CLASS_NAMES} beside them (rows of {name},NAME)"
    )
