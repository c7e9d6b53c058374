"""Folders that may be classes, folders that only wrap others, and folders that are refused."""

import csv
import functools
import io
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.errors import DataError
from alexnet_jax.preparation.file_trees.tree import Entry, Parts, Tree
from alexnet_jax.preparation.photo_folders.split_names import is_filler, plain_split, split_name

CLASS_NAMES = "class_names.csv"
_NO_PHOTO_ENDINGS = set(
    "avi cfg csv db doc docx h5 htm html info ini ipynb js json jsonl lock log lst m mat md mov "
    "mp4 names npy npz parquet pdf pkl pt pth py rst sh sqlite tsv txt xls xlsx xml yaml yml "
    "7z bz2 gz rar tar tbz tbz2 tgz txz xz zip zst".split()
)
WRAPPERS = set("archive content files jpegimages main originals raw root source store".split())
_ANNOTATIONS = set(
    "annotation annotations imagesets labels list lists mask masks segmentationclass "
    "segmentationobject segmentations trimaps xml xmls".split()
)
_MAX_CSV_BYTES = 16 * 1024**2


class PhotoCounts(NamedTuple):
    """The photos directly in a folder, and those in each of its subfolders."""

    direct: int
    below: Counter[str]

    @property
    def photos(self) -> int:
        return self.direct + self.below.total()

    @property
    def holds_folders(self) -> bool:
        return self.below.total() > self.direct


@dataclass
class PhotoFolder:
    """A folder on the way down to the class folders; its subfolders are called top folders."""

    root: Path
    inside: Parts  # path below `root`, the source
    tree: Tree
    tops: dict[str, PhotoCounts] = field(init=False)  # also those without photos

    def __post_init__(self):
        self.tops = _counts(self.tree)

    @property
    def with_photos(self) -> list[str]:
        return [name for name, top in self.tops.items() if top.photos]

    @functools.cached_property
    def class_names(self) -> dict[str, str]:
        table = next((e for e in self.tree.entries if e.parts == (CLASS_NAMES,)), None)
        text = table.read(_MAX_CSV_BYTES).decode("utf-8-sig", "replace") if table else ""
        rows = csv.reader(io.StringIO(text))
        return {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}

    @property
    def names_classes(self) -> bool:
        return not self.class_names.keys().isdisjoint(self.tops)

    def __str__(self) -> str:
        return str(self.root.joinpath(*self.inside))

    def photos(self) -> list[Entry]:
        return [entry for entry in self.tree.entries if may_be_photo(entry.name)]

    def loose_photos(self) -> list[Entry]:
        return [entry for entry in self.photos() if len(entry.parts) == 1]

    def below(self, top: str) -> "PhotoFolder":
        inside = (e for e in self.tree.entries if e.parts[0] == top and e.parts[1:])
        entries = [e._replace(parts=e.parts[1:]) for e in inside]
        folders = {p[1:] for p in self.tree.folders if p[0] == top and p[1:]}
        links = self.tree.broken_links.items()
        broken = {p[1:]: target for p, target in links if p[0] == top and p[1:]}
        return PhotoFolder(
            self.root, (*self.inside, top), Tree(entries, folders, Counter(), broken)
        )

    def remedy(self, top: str) -> str:
        """Returns what to type to take a top folder as the source."""
        path = self.root.joinpath(*self.inside, top)
        if not path.is_dir():
            inner = "/".join((*self.inside, top))
            return f"unpack {self.root} and name the folder {inner} in it"
        words = ["python", "-m", "alexnet_jax.main", "prepare", "--source", "folder", str(path)]
        return f"type: {shlex.join(words)} (in train: --data.source {shlex.quote(str(path))})"


def may_be_photo(name: str) -> bool:
    """By the name's ending; the content decides later."""
    return name.rpartition(".")[2].lower() not in _NO_PHOTO_ENDINGS or "." not in name


def _counts(tree: Tree) -> dict[str, PhotoCounts]:
    direct: Counter[str] = Counter()
    below: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for parts, *_ in tree.entries:
        if len(parts) > 1 and may_be_photo(parts[-1]):
            if len(parts) == 2:
                direct[parts[0]] += 1
            else:
                below[parts[0]][parts[1]] += 1
    names = sorted(parts[0] for parts in tree.folders if len(parts) == 1)
    return {name: PhotoCounts(direct[name], below[name]) for name in names}


def listed(names: Iterable[str], shown: int = 12) -> str:
    names = list(names)
    more = f", … ({len(names):,} in all)" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def find_wrapper(folder: PhotoFolder) -> str:
    """Returns the one top folder that only wraps the source; empty: there is none.

    It is the only one with photos; or it is called `images` or the like and holds folders, and the
    others are called so too or hold annotations. If others hold photos, such a name is an error.
    """
    tops, names = folder.tops, folder.with_photos
    if folder.names_classes or not names:
        return ""
    if len(names) == 1:
        most = tops[names[0]].photos > len(folder.loose_photos())
        return names[0] if most and _is_only_wrapper(folder, names[0]) else ""
    wrapping = [name for name in names if _is_wrapper_name(name)]
    if len(wrapping) == 1 and all(n.lower() in _ANNOTATIONS for n in names if n not in wrapping):
        return wrapping[0]
    full = [n for n in wrapping if not tops[n].direct and len(tops[n].below) > 1]
    if len(full) != 1 or any(tops[n].holds_folders for n in names if n not in full):
        return ""
    if len(wrapping) == len(names):
        return full[0]
    others = [name for name in names if name not in full]
    raise DataError(
        f"{folder} holds {listed(others)} and '{full[0]}', which has the folders "
        f"{listed(tops[full[0]].below)}; if those are the classes, {folder.remedy(full[0])}; "
        f"{_class_names_remedy(full[0])}"
    )


def _is_only_wrapper(folder: PhotoFolder, only: str) -> bool:
    others = folder.tops.keys() - {only}
    filled = {entry.parts[0] for entry in folder.tree.entries if len(entry.parts) > 1}
    alone = not others or (folder.tops[only].holds_folders and others <= filled)
    return alone or _is_wrapper_name(only)


def refuse_groups(folder: PhotoFolder) -> None:
    """Refuses top folders that look like splits, groups or second copies, not like classes."""
    if not folder.names_classes:
        _refuse_alike(folder)
        _refuse_nested(folder)


def _refuse_alike(folder: PhotoFolder) -> None:
    tops = folder.tops
    grouped = [
        name
        for name in folder.with_photos
        if 10 * tops[name].direct < tops[name].photos and len(tops[name].below) > 1
    ]
    if len(grouped) < 2:
        return
    largest = max(grouped, key=lambda name: tops[name].photos)
    known = {name.casefold() for name in tops[largest].below}
    alike = [name for name in grouped if _share_names(known, tops[name].below)]
    photos = sum(tops[name].photos for name in alike)
    if len(alike) < 2 or 2 * photos < sum(top.photos for top in tops.values()):
        return
    raise DataError(
        f"the folders {listed(alike)} of {folder} hold the same folders "
        f"({listed(tops[largest].below, 6)}) and no photos of their own: they look like splits or "
        f"groups, not like classes. For one of them, {folder.remedy(largest)}; for splits, call "
        f"them train, val and test; {_class_names_remedy(largest)}"
    )


def _share_names(known: set[str], names: Iterable[str]) -> bool:
    folded = {name.casefold() for name in names}
    common = len(folded & known)
    return common > 1 and 2 * common >= min(len(folded), len(known))


def _refuse_nested(folder: PhotoFolder) -> None:
    names = folder.with_photos
    for name in names:
        top = folder.tops[name]
        splits = set(map(plain_split, top.below)) - {""}
        if "train" in splits and len(splits) > 1 and len(names) > 1 and not top.direct:
            raise DataError(
                f"the folder '{name}' of {folder} holds splits ({listed(top.below, 6)}), and next "
                f"to it are {listed((n for n in names if n != name), 5)}; to take it alone, "
                f"{folder.remedy(name)}"
            )
        others = {other.casefold() for other in names if other != name}
        common = [inner for inner in top.below if inner.casefold() in others]
        if common and 10 * top.direct < top.photos and 2 * len(common) >= len(top.below):
            raise DataError(
                f"the folder '{name}' of {folder} holds folders with the names of those next to it "
                f"({listed(common, 6)}), and hardly a photo of its own: it looks like a second "
                f"copy, not like a class; move it away, or to take it alone, {folder.remedy(name)};"
                f" {_class_names_remedy(name)}"
            )


def holds_splits_in_classes(folder: PhotoFolder) -> bool:
    names = folder.with_photos
    if len(names) < 2 or folder.names_classes or any(map(split_name, names)):
        return False
    if any(len(entry.parts) > 3 for entry in folder.photos()):
        return False
    for name in names:
        splits = set(map(plain_split, folder.tops[name].below))
        if folder.tops[name].direct or "" in splits or "train" not in splits:
            return False
    return True


def swap_layers(folder: PhotoFolder) -> PhotoFolder:
    """Returns the folder with its second layer of folders above the first."""
    tree = folder.tree
    entries = [
        e._replace(parts=e.parts[1::-1] + e.parts[2:]) if len(e.parts) > 2 else e
        for e in tree.entries
    ]
    folders = {parts[1::-1] + parts[2:] for parts in tree.folders if len(parts) > 1}
    folders |= {parts[:1] for parts in folders}
    return PhotoFolder(folder.root, folder.inside, Tree(entries, folders))


def _is_wrapper_name(name: str) -> bool:
    return any(c.isalpha() for c in name) and (is_filler(name) or name.lower() in WRAPPERS)


def _class_names_remedy(name: str) -> str:
    return (
        f"if they are the classes, list them in a file {CLASS_NAMES} next to them (rows of "
        f"{name},NAME)"
    )
