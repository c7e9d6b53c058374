"""Tables of labels (.csv, .tsv, .txt) next to the photos of a source, or above them."""

import contextlib
import functools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from alexnet_jax.errors import DataError
from alexnet_jax.locations import readable
from alexnet_jax.preparation.file_trees.tree import Entry
from alexnet_jax.preparation.photo_folders.class_folders import CLASS_NAMES, PhotoFolder
from alexnet_jax.preparation.photo_folders.label_table import (
    LabelTable,
    PhotoNames,
    TableLabels,
    find_labels,
    read_table,
)
from alexnet_jax.preparation.photo_folders.split_names import split_name

_ENDINGS = (".csv", ".tsv", ".txt")
_MAX_BYTES = 256 * 1024**2
_MAX_TABLES_ABOVE = 20
_NOT_LABELS = ("submission", "submit")  # a competition's example of an answer
_EITHER = {"evaluation": ("validation", "test")}


@dataclass(eq=False)
class _TableFile:
    """A file that may be a table of labels; `split` is that of the folder around it."""

    entry: Entry
    split: str = ""

    @functools.cached_property
    def table(self) -> LabelTable | None:
        if self.entry.size > _MAX_BYTES:
            return None
        return read_table(self.entry.name, self.entry.read(_MAX_BYTES))


class LabelTables:
    """The tables `beside` and in the folders of the splits; each is read when it is needed."""

    def __init__(self, beside: Iterable[tuple[Entry, str]], folders: Mapping[str, PhotoFolder]):
        found = [_TableFile(entry) for entry, _ in beside if _is_table(entry.name)]
        for split, folder in folders.items():
            entries = folder.tree.entries
            found += [_TableFile(entry, split) for entry in entries if _is_table(entry.name)]
        self._files = {file.entry.place: file for file in found}
        self._used: dict[tuple[str, int], TableLabels] = {}
        self._training_stems: set[str] = set()

    def labels(
        self,
        split: str,
        photos: list[Entry],
        known: Collection[str] | None = None,
        above: Path | None = None,
    ) -> tuple[dict[int, str], dict[int, str]]:
        """Returns classes and splits of photos by index, as far as tables give them.

        A table named after a split, or in its folder, belongs to it. Tables of other splits count
        only if no others give labels, those `above` the source only after these. Tables of no split
        do not mean a photo of another split that has the name of a training photo.
        """
        files = list(self._files.values())
        found = self._labels_in(split, photos, [f for f in files if f.split in ("", split)], known)
        if not found[0]:
            found = self._labels_in(split, photos, files, known)
        if not found[0] and above is not None:
            files = [_TableFile(entry) for entry in tables_above(above)]
            found = self._labels_in(split, photos, files, known)
        if split == "train":
            self._training_stems = {_stem(photos[index]) for index in found[0]}
        return found

    def _labels_in(
        self,
        split: str,
        photos: list[Entry],
        files: list[_TableFile],
        known: Collection[str] | None,
    ) -> tuple[dict[int, str], dict[int, str]]:
        classes: dict[int, str] = {}
        splits: dict[int, str] = {}
        for file in files:
            named = split_name(PurePosixPath(file.entry.name).stem)
            if named and split not in (named.split, *_EITHER.get(named.split, ())):
                continue
            if file.table is None:
                continue
            certain = bool(named) or file.split == split
            meant = [certain or _stem(photo) not in self._training_stems for photo in photos]
            paths = (p.parts if m else () for p, m in zip(photos, meant, strict=True))
            found = find_labels(file.table, PhotoNames(paths), sum(meant), known)
            if not found:
                continue
            for index, value in found.classes.items():
                if classes.setdefault(index, value) != value:
                    raise DataError(
                        f"{file.entry.name} says '{value}' of {photos[index].name}, and another "
                        f"table '{classes[index]}'; keep one of them"
                    )
            splits |= found.splits
            used = self._used.get(file.entry.place, found)
            unknown = used.unknown & found.unknown
            self._used[file.entry.place] = used._replace(unknown=unknown)
        return classes, splits

    def used(self, entry: Entry) -> bool:
        return entry.place in self._used

    def summary(self) -> list[str]:
        lines = []
        for labels in self._used.values():
            line, unknown = labels.summary, sorted(labels.unknown)
            if unknown:
                example = f"{unknown[0]}{', …' if len(unknown) > 1 else ''}"
                line += f"; {len(unknown):,} rows without a photo ({example})"
            lines.append(line)
        return lines

    def unused(self) -> str:
        names = [file.entry.name for file in self._files.values() if not self.used(file.entry)]
        return f"{', '.join(names)} names no photos, or no classes of them" if names else ""


def _is_table(name: str, endings: tuple[str, ...] = _ENDINGS) -> bool:
    lower = name.lower()
    is_labels = name != CLASS_NAMES and not any(word in lower for word in _NOT_LABELS)
    return lower.endswith(endings) and is_labels


def tables_above(source: Path) -> list[Entry]:
    with contextlib.suppress(OSError):
        if source.is_dir():
            paths = sorted(source.absolute().parent.iterdir())
            tables = [p for p in paths if _is_table(p.name, _ENDINGS[:2]) and p.is_file()]
            return [
                Entry((f"../{readable(p.name)}",), str(p), 0, p.stat().st_size)
                for p in tables[:_MAX_TABLES_ABOVE]
            ]
    return []


def _stem(entry: Entry) -> str:
    return entry.name.rpartition(".")[0]
