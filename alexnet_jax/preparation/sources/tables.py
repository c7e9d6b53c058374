"""The tables that lie with the photos of a source, and what they say of its splits."""

import contextlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from alexnet_jax.errors import DataError
from alexnet_jax.locations import readable
from alexnet_jax.preparation.sources.layouts import CLASS_NAMES, Folder
from alexnet_jax.preparation.sources.split_names import split_name
from alexnet_jax.preparation.sources.table import Photos, Table, labels_in, read_table
from alexnet_jax.preparation.sources.tree import Entry

_ENDINGS = (".csv", ".tsv", ".txt")
_MAX_BYTES = 256 * 1024**2
_MOST_ABOVE = 20
_NOT_LABELS = ("submission", "submit")  # a competition's example of an answer


class Tables:
    """Tables beside the photos or above; read when photos have to be labelled."""

    def __init__(self, beside: Iterable[tuple[Entry, str]], folders: Mapping[str, Folder]):
        """Collects them.

        Args:
          beside: files on the way down to the splits.
          folders: the splits by name.
        """
        self._entries = [entry for entry, _ in beside if _is_table(entry.name)]
        self._inside: dict[tuple[str, int], str] = {}
        for split, folder in folders.items():
            tables = [e for e in folder.tree.entries if _is_table(e.name)]
            self._inside |= {entry.place: split for entry in tables}
            self._entries += tables
        self._entries = list({entry.place: entry for entry in self._entries}.values())
        self._tables: dict[tuple[str, int], Table | None] = {}
        self._used: dict[tuple[str, int], tuple[str, frozenset[str]]] = {}
        self._trained: set[str] = set()

    def labels(
        self,
        split: str,
        photos: list[Entry],
        known: Collection[str] | None = None,
        above: Path | None = None,
    ) -> tuple[dict[int, str], dict[int, str]]:
        """Returns class and split of photos by their place in the list, as far as tables tell.

        A table that is named after a split, or lies in it, is of that one; those that lie in others
        count where no more tell. A photo of another split that is called as one of the training is
        not meant by a table of no split.

        Args:
          split: of the photos.
          photos: without class folders.
          known: the only classes there may be; a column with others is of something else.
          above: the source, where tables of the folder that it lies in count if no others tell.

        Raises:
          DataError: tables contradict each other or themselves.
        """
        own = [e for e in self._entries if self._inside.get(e.place, split) == split]
        found = self._labels(split, photos, own, known)
        if not found[0]:
            found = self._labels(split, photos, self._entries, known)
        if not found[0] and above is not None:
            found = self._labels(split, photos, tables_above(above), known)
        if split == "train":
            self._trained = {_stem(photos[index]) for index in found[0]}
        return found

    def _labels(
        self, split: str, photos: list[Entry], entries: list[Entry], known: Collection[str] | None
    ) -> tuple[dict[int, str], dict[int, str]]:
        classes: dict[int, str] = {}
        splits: dict[int, str] = {}
        for entry in entries:
            said = split_name(PurePosixPath(entry.name).stem)
            if said and split not in (said.split, *_EITHER.get(said.split, ())):
                continue
            table = self._read(entry)
            if table is None:
                continue
            sure = said or self._inside.get(entry.place) == split
            able = [None if not sure and _stem(p) in self._trained else p for p in photos]
            called = Photos(p.parts if p else () for p in able)
            count = sum(p is not None for p in able)
            found = labels_in(table, called, count, known)
            if not found:
                continue
            for index, value in found.classes.items():
                if classes.setdefault(index, value) != value:
                    raise DataError(
                        f"{entry.name} says '{value}' of {photos[index].name}, and another table "
                        f"'{classes[index]}'; keep one of them"
                    )
            splits |= found.splits
            told, unknown = self._used.get(entry.place, (found.told, found.unknown))
            self._used[entry.place] = told, unknown & found.unknown
        return classes, splits

    def _read(self, entry: Entry) -> Table | None:
        if entry.place not in self._tables:
            table = entry.size <= _MAX_BYTES and read_table(entry.name, entry.read(_MAX_BYTES))
            self._tables[entry.place] = table or None
        return self._tables[entry.place]

    def used(self, entry: Entry) -> bool:
        """Returns whether labels came from this file."""
        return entry.place in self._used

    def told(self) -> list[str]:
        """Returns a line on each table that labels came from."""
        lines = []
        for told, unknown in self._used.values():
            some = f" ({sorted(unknown)[0]}{', …' if len(unknown) > 1 else ''})" if unknown else ""
            rows = f"; {len(unknown):,} rows without a photo{some}" if unknown else ""
            lines.append(told + rows)
        return lines

    def looked_at(self) -> str:
        """Returns which tables said nothing that helps; empty: there were none."""
        names = [entry.name for entry in self._entries if not self.used(entry)]
        return f"{', '.join(names)} names no photos, or no classes of them" if names else ""


_EITHER = {"evaluation": ("validation", "test")}


def _is_table(name: str, endings: tuple[str, ...] = _ENDINGS) -> bool:
    lower = name.lower()
    return (
        lower.endswith(endings) and name != CLASS_NAMES and not any(w in lower for w in _NOT_LABELS)
    )


def tables_above(source: Path) -> list[Entry]:
    """Returns the tables in the folder that the source lies in, as far as one may look there."""
    with contextlib.suppress(OSError):
        if source.is_dir():
            paths = sorted(source.absolute().parent.iterdir())
            tables = [p for p in paths if _is_table(p.name, _ENDINGS[:2]) and p.is_file()]
            return [
                Entry((f"../{readable(p.name)}",), str(p), 0, p.stat().st_size)
                for p in tables[:_MOST_ABOVE]
            ]
    return []


def _stem(entry: Entry) -> str:
    return entry.name.rpartition(".")[0]
