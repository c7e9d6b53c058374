"""Whether a prepared set holds what its source holds now, by contents and not by options.

While all files of a source have the sizes and times that they had, nothing is read. Where one has
not, the images are listed anew, and those whose file was touched are compared by contents: a copy,
a `touch` or an archive packed anew changes nothing.
"""

import contextlib
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from alexnet_jax.config import DataConfig
from alexnet_jax.errors import DataError, printable
from alexnet_jax.locations import readable
from alexnet_jax.preparation.origin import (
    UNREADABLE,
    Images,
    is_compared,
    load,
    load_digest,
    save,
    touched,
)
from alexnet_jax.preparation.progress import ProgressLine
from alexnet_jax.preparation.source_files import NotThereError, list_files
from alexnet_jax.preparation.sources import list_images
from alexnet_jax.preparation.sources.source import Record, Source, content_digest


class Comparison(NamedTuple):
    """What became of the source of a prepared set.

    Attributes:
      state: `current`, `changed`, `gone` (the source is not there), or `unknown` (the set does not
        tell what it was made of).
      text: what has changed, or why it is not there.
      source: listed anew, where it has changed.
    """

    state: Literal["current", "changed", "gone", "unknown"]
    text: str = ""
    source: Source | None = None

    def told(self, data: DataConfig, folder: Path) -> str:
        """Returns a line for the user, as a terminal can show it; empty: there is nothing to say.

        Args:
          data: the set as it was asked for.
          folder: of the set.
        """
        return printable(self._told(readable(data.source), folder))

    def _told(self, source: str, folder: Path) -> str:
        match self.state:
            case "changed":
                return f"{source} has changed since {folder.name} was prepared: {self.text}"
            case "gone":
                return (
                    f"{source} is not there ({self.text}): {folder.name} is used as it was prepared"
                )
            case "unknown":
                return (
                    f"{folder.name} is used as it is: it was prepared by an older version of this "
                    f"program, and nothing tells whether {source} has changed since; to make sure, "
                    f"remove {folder}, or choose another --data.name (of prepare: --name)"
                )
        return ""


def compare(
    folder: Path,
    prepared: dict[str, Any],
    data: DataConfig,
    work: Path | None = None,
    progress: bool = True,
) -> Comparison:
    """Compares the source of a prepared set with what the set was made of.

    Args:
      folder: of the set.
      prepared: its `prepared.json`.
      data: the set as it is asked for, with its source.
      work: folder for what must be unpacked on the way; None: it is not kept.
      progress: print lines for the user when much has to be read.

    Raises:
      InputError, DataError: the source cannot be listed, or nothing can be prepared from it.
    """
    if not is_compared(data):
        return Comparison("current")
    try:
        now = list_files(Path(data.source))
        assert now is not None
        digest = load_digest(folder)
        if digest is None:
            return Comparison("unknown")
        if digest == now.digest:
            return Comparison("current")
        then, images = load(folder)
    except NotThereError as error:
        return Comparison("gone", str(error))
    except (OSError, KeyError, ValueError):
        return Comparison("unknown")
    class_ids = prepared["class_ids"]
    if images.labels.max(initial=0) >= len(class_ids):  # of another set
        return Comparison("unknown")
    found = _Differences(images, class_ids)
    with _scratch(folder, work) as place:
        source = list_images(data, place)
        found.look(source, touched(Path(data.source), then, now), data.name, progress)
    classes = _classes(prepared, source)
    if found or classes:
        return Comparison("changed", ", ".join([*found.lines(), *classes]), source)
    with contextlib.suppress(OSError):  # a set that others keep is as good, only slower to check
        save(folder, now, images)
    return Comparison("current")


def quick_state(folder: Path, source_kind: str, source: str, seconds: float) -> str:
    """Returns in words what the files of a source tell of a set; empty: nothing, or not so soon.

    Args:
      folder: of the prepared set.
      source_kind: as the set was prepared.
      source: so, too.
      seconds: after which to give up.
    """
    if not is_compared(DataConfig(source_kind=source_kind, source=source)):  # pyright: ignore
        return ""
    digest, name = load_digest(folder), readable(source)
    if digest is None:
        return f"nothing tells whether {name} has changed since; an older version prepared it"
    try:
        now = list_files(Path(source), seconds)
    except NotThereError as error:
        return f"its source {name} is not there ({error})"
    except DataError as error:
        return str(error)
    if now is None or not digest:
        return ""
    alike = now.digest == digest
    return f"{name} is " + ("as it was" if alike else "changed; `prepare` or `train` compares it")


@contextlib.contextmanager
def _scratch(folder: Path, work: Path | None) -> Iterator[Path]:
    """Yields a folder for what must be unpacked: beside the set, where there is room for it."""
    if work is not None:
        yield work
        return
    beside = folder.parent if os.access(folder.parent, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix=".compare-", dir=beside) as place:
        yield Path(place)


def _classes(prepared: dict[str, Any], source: Source) -> list[str]:
    old, new = dict.fromkeys(prepared["class_ids"]), dict.fromkeys(source.class_ids)
    lines = [f"new class {name}" for name in new if name not in old]
    lines += [f"class {name} removed" for name in old if name not in new]
    if len(lines) > 6:
        lines = [*lines[:5], f"{len(lines) - 5} classes more"]
    other = tuple(prepared["class_names"]) != source.class_names
    return lines or ["other names of classes"] * (other or list(old) != list(new))


@dataclass
class _Differences:
    """Counts how images differ from those that a set was made of."""

    images: Images
    class_ids: Sequence[str]
    added: int = 0
    removed: int = 0
    changed: int = 0
    moved: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.moved)

    def lines(self) -> list[str]:
        """Returns the counts in words."""
        counts = {"added": self.added, "removed": self.removed, "changed": self.changed}
        lines = [f"{count:,} {what}" for what, count in counts.items() if count]
        # With other images another share is set aside for validation, which is no news.
        return lines or ([f"{self.moved:,} in another split"] if self.moved else [])

    def look(
        self, source: Source, is_touched: Callable[[Record], bool], name: str, progress: bool
    ) -> None:
        """Counts.

        Args:
          source: as it is listed now.
          is_touched: from `touched`.
          name: of the set.
          progress: show how far it is when many images must be read.
        """
        left = defaultdict(list)  # the same name may stand in several splits
        for place, key in enumerate(self.images.keys):
            left[key].append(place)
        doubtful: list[tuple[Record, int]] = []
        for split, records in source.splits.items():
            for record in records:
                place = self._taken(left[record.key], split)
                if place is None:
                    self.added += 1
                    continue
                self.moved += self.images.splits[place] != split
                then = self.class_ids[self.images.labels[place]]
                size = self.images.sizes[place]
                if then != source.class_ids[record.label] or size != record.size:
                    self.changed += 1
                elif is_touched(record) or self.images.contents[place] == UNREADABLE:
                    doubtful.append((record, place))
        self.removed = sum(map(len, left.values()))
        self._read(doubtful, name, progress)

    def _taken(self, places: list[int], split: str) -> int | None:
        """Takes an image of a name out of those left, one of the same split if there is any."""
        same = (i for i, place in enumerate(places) if self.images.splits[place] == split)
        return places.pop(next(same, 0)) if places else None

    def _read(self, doubtful: list[tuple[Record, int]], name: str, progress: bool) -> None:
        line = ProgressLine(f"compare with {name}", len(doubtful), progress)
        try:
            for done, (record, place) in enumerate(doubtful):
                self.changed += content_digest(record) != self.images.contents[place]
                line.show(done + 1, 0)
        finally:
            line.close()
