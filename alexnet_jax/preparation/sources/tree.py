"""The files below a folder or in an archive as one tree; and where an archive's links lead."""

import bisect
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from alexnet_jax.data.system_files import system_file, system_folder
from alexnet_jax.errors import DataError
from alexnet_jax.locations import readable
from alexnet_jax.preparation.sources.places import read_place
from alexnet_jax.preparation.sources.source import Record

MAX_ENTRIES = 30_000_000
_MAX_LINKS_IN_A_ROW = 40  # as Linux has it
Parts = tuple[str, ...]


class Entry(NamedTuple):
    """A regular file: its path inside the tree, and the file and bytes that hold it.

    What is no UTF-8 in a name stands escaped in `parts`, as names go into JSON, tables and pages;
    `path` is the system's own. `packed` is as in `Record`. Where a symbolic link led here, `real`
    is the file behind it.
    """

    parts: Parts
    path: str
    offset: int
    size: int
    packed: int = 0
    real: str = ""

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.parts[-1]

    @property
    def place(self) -> tuple[str, int]:
        """What two entries share that are the same file."""
        return self.real or self.path, self.offset

    @property
    def linked(self) -> bool:
        """Whether a symbolic link led here."""
        return bool(self.real)

    def record(self, key: str, label: int) -> Record:
        """Returns the file as an image of a source."""
        return Record(key, label, self.path, self.offset, self.size, packed=self.packed)

    def read(self, most: int) -> bytes:
        """Returns the file, or its first `most` bytes.

        Raises:
          DataError: it cannot be read, or is damaged.
        """
        try:
            return read_place(self.path, self.offset, self.size, self.packed, most)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise DataError(f"cannot read {'/'.join(self.parts)} in {self.path}: {why}") from None


@dataclass
class Tree:
    """Regular files of a folder or archive in sorted order, folders, and what was left out.

    `broken` are the links that lead nowhere, with their targets.
    """

    entries: list[Entry] = field(default_factory=list)
    folders: set[Parts] = field(default_factory=set)
    ignored: Counter[str] = field(default_factory=Counter)
    broken: dict[Parts, str] = field(default_factory=dict)


class Member(NamedTuple):
    """What an archive's headers say of one member; `target` is that of a link."""

    name: str
    kind: Literal["file", "folder", "link", "hard link", "special"]
    offset: int = 0
    size: int = 0
    packed: int = 0
    target: str = ""


def tree_of(members: Iterable[Member], path: str, shown: str) -> Tree:
    """Returns the files of an archive; a link to another member is that member once more.

    Names that are absolute or lead upward are left out, as are links that lead outside the archive
    or nowhere; both are counted. As in unpacking, the last member of a name counts.

    Args:
      members: of the archive, in its order.
      path: of the archive.
      shown: how messages call it.

    Raises:
      DataError: it has too many members.
    """
    tree = Tree()
    files: dict[Parts, Entry] = {}
    links: dict[Parts, Member] = {}
    folders: set[Parts] = set()
    for member in members:
        parts = _inside((), member.name)
        if parts is None or ".." in member.name.split("/"):
            tree.ignored["absolute or upward paths"] += 1
        elif not parts:
            continue
        elif member.kind == "folder":
            folders.add(parts)
        elif member.kind == "special":
            tree.ignored["special files"] += 1
        else:
            tree.ignored["files of a name that comes again later"] += parts in files
            files.pop(parts, None)
            links.pop(parts, None)
            if member.kind == "file":
                files[parts] = Entry(parts, path, member.offset, member.size, member.packed)
            else:
                links[parts] = member
        if len(files) + len(links) > MAX_ENTRIES:
            raise DataError(f"{shown} has more than {MAX_ENTRIES:,} files")
    folders |= {parts[:depth] for parts in (*files, *links) for depth in range(1, len(parts))}
    if links:
        _follow(files, links, folders, tree, shown)
    _keep(tree, files, folders)
    tree.ignored = +tree.ignored
    return tree


def _inside(base: Parts, name: str) -> Parts | None:
    """Returns where `name` leads from the folder `base` of an archive; None: outside."""
    if name.startswith("/"):
        return None
    place = list(base)
    for part in name.split("/"):
        if part == "..":
            if not place:
                return None
            place.pop()
        elif part not in ("", "."):
            place.append(part)
    return tuple(place)


def _follow(
    files: dict[Parts, Entry],
    links: dict[Parts, Member],
    folders: set[Parts],
    tree: Tree,
    shown: str,
) -> None:
    """Adds to `files` and `folders` what the links lead to, each to where members really lie."""
    order = sorted(files)
    most = 10 * len(files) + 1000
    found: dict[Parts, Entry] = {}
    for link, member in links.items():
        target = _target(link, links)
        soft = member.kind == "link"
        if target in files:
            found[link] = (
                _linked(files[target], link) if soft else files[target]._replace(parts=link)
            )
        elif target in folders and soft and link[: len(target)] != target:
            folders.add(link)
            for parts in order[bisect.bisect_left(order, target) :]:
                if parts[: len(target)] != target:
                    break
                inside = link + parts[len(target) :]
                folders |= {inside[:depth] for depth in range(1, len(inside))}
                found[inside] = _linked(files[parts], inside)
        else:
            tree.broken[tuple(map(readable, link))] = member.target
        if len(found) > most:  # folders that hold links to folders that hold links …
            raise DataError(f"the links in {shown} stand for over ten times its files")
    for parts, entry in found.items():
        files.setdefault(parts, entry)


def _linked(entry: Entry, parts: Parts) -> Entry:
    return entry._replace(parts=parts, real=entry.path)


def _target(link: Parts, links: dict[Parts, Member]) -> Parts | None:
    """Returns where a link, or a row of links, ends; None: outside the archive or in a circle."""
    place: Parts | None = link
    for _ in range(_MAX_LINKS_IN_A_ROW):
        if place is None or place not in links:
            return place
        member = links[place]
        place = _inside(place[:-1] if member.kind == "link" else (), member.target)
    return None


def _keep(tree: Tree, files: dict[Parts, Entry], folders: set[Parts]) -> None:
    """Fills `tree` with the files and folders that no system laid there, and counts those."""
    left: dict[Parts, str] = {}
    for parts in sorted(files):
        outside = _left_out(parts[:-1], left)
        reason = "" if outside else system_file(parts[-1])
        if reason:
            left[parts] = reason
        elif not outside:
            tree.entries.append(files[parts]._replace(parts=tuple(map(readable, parts))))
    for parts in folders:
        if not _left_out(parts, left):
            tree.folders.add(tuple(map(readable, parts)))
    tree.ignored.update(left.values())


def _left_out(folders: Parts, left: dict[Parts, str]) -> bool:
    """Returns whether a file below these folders is left out; notes the first that is to blame."""
    for depth, name in enumerate(folders, 1):
        reason = system_folder(name)
        if reason:
            left[folders[:depth]] = reason
            return True
    return False
