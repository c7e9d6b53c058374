"""The files of a folder or an archive as one tree; links inside an archive are followed."""

import bisect
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from alexnet_jax.data.system_files import system_file, system_folder
from alexnet_jax.errors import DataError
from alexnet_jax.locations import readable
from alexnet_jax.preparation.file_trees.member_bytes import read_member
from alexnet_jax.preparation.source_images import SourceImage

MAX_ENTRIES = 30_000_000
_MAX_LINKS_IN_A_ROW = 40  # as Linux has it
Parts = tuple[str, ...]


class Entry(NamedTuple):
    """A regular file of a tree; `offset`, `size`, `packed` as in `SourceImage`."""

    parts: Parts  # path in the tree; bytes that are not UTF-8 are escaped
    path: str  # the file, or the archive that holds it
    offset: int
    size: int
    packed: int = 0
    link_target: str = ""  # file behind the link that led here; empty: none did

    @property
    def name(self) -> str:
        return self.parts[-1]

    @property
    def place(self) -> tuple[str, int]:
        """Equal for two entries that are the same file."""
        return self.link_target or self.path, self.offset

    @property
    def linked(self) -> bool:
        return bool(self.link_target)

    def image(self, key: str, label: int) -> SourceImage:
        return SourceImage(key, label, self.path, self.offset, self.size, packed=self.packed)

    def read(self, max_bytes: int) -> bytes:
        """Raises `DataError` if the file is damaged."""
        try:
            return read_member(self.path, self.offset, self.size, self.packed, max_bytes)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise DataError(f"cannot read {'/'.join(self.parts)} in {self.path}: {why}") from None


@dataclass
class Tree:
    """Regular files in sorted order, all folders, what was left out, and broken links' targets."""

    entries: list[Entry] = field(default_factory=list)
    folders: set[Parts] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)
    broken_links: dict[Parts, str] = field(default_factory=dict)


class ArchiveMember(NamedTuple):
    """One member of an archive by its header; `target` is that of a link."""

    name: str
    kind: Literal["file", "folder", "link", "hard link", "special"]
    offset: int = 0
    size: int = 0
    packed: int = 0
    target: str = ""


def archive_tree(members: Iterable[ArchiveMember], path: str, shown: str) -> Tree:
    """Returns the files of an archive; a link to another member is that member once more.

    As in unpacking, the last member of a name counts. What leads outside is left out and counted.
    """
    tree = Tree()
    files: dict[Parts, Entry] = {}
    links: dict[Parts, ArchiveMember] = {}
    folders: set[Parts] = set()
    for member in members:
        parts = _resolved((), member.name)
        if parts is None or ".." in member.name.split("/"):
            tree.left_out["absolute or upward paths"] += 1
        elif not parts:
            continue
        elif member.kind == "folder":
            folders.add(parts)
        elif member.kind == "special":
            tree.left_out["special files"] += 1
        else:
            tree.left_out["files of a name that comes again later"] += parts in files
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
        _follow_links(files, links, folders, tree, shown)
    _leave_out_system_files(tree, files, folders)
    tree.left_out = +tree.left_out
    return tree


def _resolved(base: Parts, name: str) -> Parts | None:
    """None: outside the archive."""
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


def _follow_links(
    files: dict[Parts, Entry],
    links: dict[Parts, ArchiveMember],
    folders: set[Parts],
    tree: Tree,
    shown: str,
) -> None:
    order = sorted(files)
    max_files = 10 * len(files) + 1000
    found: dict[Parts, Entry] = {}
    for link, member in links.items():
        target = _target(link, links)
        symbolic = member.kind == "link"
        if target in files:
            entry = files[target]
            found[link] = entry._replace(parts=link, link_target=entry.path if symbolic else "")
        elif target in folders and symbolic and link[: len(target)] != target:
            folders.add(link)
            for parts in order[bisect.bisect_left(order, target) :]:
                if parts[: len(target)] != target:
                    break
                inside = link + parts[len(target) :]
                folders |= {inside[:depth] for depth in range(1, len(inside))}
                entry = files[parts]
                found[inside] = entry._replace(parts=inside, link_target=entry.path)
        else:
            tree.broken_links[tuple(map(readable, link))] = member.target
        if len(found) > max_files:  # folders that hold links to folders that hold links …
            raise DataError(f"the links in {shown} stand for over ten times its files")
    for parts, entry in found.items():
        files.setdefault(parts, entry)


def _target(link: Parts, links: dict[Parts, ArchiveMember]) -> Parts | None:
    """None: outside the archive, or in a circle."""
    place: Parts | None = link
    for _ in range(_MAX_LINKS_IN_A_ROW):
        if place is None or place not in links:
            return place
        member = links[place]
        place = _resolved(place[:-1] if member.kind == "link" else (), member.target)
    return None


def _leave_out_system_files(tree: Tree, files: dict[Parts, Entry], folders: set[Parts]) -> None:
    left_out: dict[Parts, str] = {}
    for parts in sorted(files):
        if _in_system_folder(parts[:-1], left_out):
            continue
        if reason := system_file(parts[-1]):
            left_out[parts] = reason
        else:
            tree.entries.append(files[parts]._replace(parts=tuple(map(readable, parts))))
    for parts in folders:
        if not _in_system_folder(parts, left_out):
            tree.folders.add(tuple(map(readable, parts)))
    tree.left_out.update(left_out.values())


def _in_system_folder(folders: Parts, left_out: dict[Parts, str]) -> bool:
    for depth, name in enumerate(folders, 1):
        if reason := system_folder(name):
            left_out[folders[:depth]] = reason
            return True
    return False
