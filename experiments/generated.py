"""The generated parts of a README: what stands between a marker and its end, and tables for it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_NOT_TOLD = ("torch", "optax", "orbax-checkpoint", "tensorflow-datasets", "grain", "pillow")


def rewrite(pages: Mapping[Path, Callable[[str], str]], words: Sequence[str] = ()) -> None:
    """Writes pages anew; with `--check` among `words` it exits with 1 if one is out of date.

    Args:
      pages: what makes the text of today from the text as it is, by path.
      words: of the command line.
    """
    texts = {path: path.read_text("utf-8") for path in pages}
    found = {path: make(texts[path]) for path, make in pages.items()}
    if "--check" in words:
        sys.exit(found != texts)
    for path, text in found.items():
        path.write_text(text, "utf-8")


def made_with(record: dict[str, Any], file: str, leave_out: Sequence[str] = ()) -> str:
    """Returns a line on the processor, versions and day of a record, with a link to it.

    Args:
      record: with an `environment` of `benchmarks.environment`.
      file: name of the record below `results/`.
      leave_out: packages whose version does not matter.
    """
    return f"{_place(record, leave_out)}; [json](results/{file})"


def _place(record: dict[str, Any], leave_out: Sequence[str]) -> str:
    place = record["environment"]
    versions = ", ".join(
        f"{name} {value}" for name, value in place["versions"].items() if name not in leave_out
    )
    cores = "one core" if place["cpu_cores"] == 1 else f"{place['cpu_cores']} cores"
    commit = place["commit"].replace("+", " with changes")
    when = place["date"][:10] if "date" in place else f"commit {commit}"
    return "; ".join((place["processor"], cores, versions, when))


def each_made_with(sets: Mapping[str, dict[str, Any]]) -> str:
    """Returns such lines for sets of a record, one for those that were made alike.

    Args:
      sets: by name ("NAME" or "NAME, more words"), each with an `environment`, which is that of
        `benchmarks.environment` or of a run.
    """
    alike: dict[str, list[str]] = {}
    for name, entry in sets.items():
        code, comma, rest = name.partition(",")
        alike.setdefault(_place(entry, _NOT_TOLD), []).append(f"`{code}`{comma}{rest}")
    return "\n\n".join(f"{', '.join(names)}: {place}." for place, names in alike.items())


def with_parts(text: str, parts: Mapping[str, str], command: str) -> str:
    """Returns `text` with its generated parts made anew.

    A part stands between `<!-- name: python -m command -->` and `<!-- end of name -->`.

    Args:
      text: a README.
      parts: Markdown by name.
      command: module that makes the parts, e.g. `experiments.parity.page`.

    Raises:
      ValueError: the text has no place for a part.
    """
    for name, part in parts.items():
        begin, end = f"<!-- {name}: python -m {command} -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        if end not in rest:
            raise ValueError(f"the README has no place for '{name}'")
        text = f"{before}{begin}\n{part}\n{end}{rest.partition(end)[2]}"
    return text


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
