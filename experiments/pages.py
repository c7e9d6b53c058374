"""Renders the generated parts of the pages from the records.

    python -m experiments.pages                 # all pages
    python -m experiments.pages soak cifar10    # those of some folders
    python -m experiments.pages --check         # only compares; exits with 1 if one is old

A generated part of a Markdown file stands between `<!-- NAME: python -m experiments.pages -->` and
`<!-- end of NAME -->`. Its text stands in `page.md.jinja` beside the file, between `<!-- NAME -->`
and `<!-- end of NAME -->`; files outside experiments/ share `experiments/page.md.jinja`. The page
of a claim is `sweep/claim.md.jinja` as a whole.
"""

import argparse
import functools
import importlib
import json
import re
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from alexnet_jax.network.layers import summarize
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.presets import PRESETS
from experiments.paired import difference_text, spread

ROOT = Path(__file__).parent
TEMPLATE = "page.md.jinja"
_UNINTERESTING = ("torch", "optax", "orbax-checkpoint", "tensorflow-datasets", "grain", "pillow")
_PART = re.compile(
    r"(?P<begin><!-- (?P<name>[^:>]+): python -m experiments[\w.]* -->\n).*?"
    r"(?P<end><!-- end of (?P=name) -->)",
    re.DOTALL,
)
_TEMPLATE_PART = re.compile(r"<!-- ([^:>]+) -->\n(.*?)\n<!-- end of \1 -->", re.DOTALL)


def record(folder: str, name: str = "") -> dict[str, Any]:
    """Returns the record `experiments/FOLDER/results/NAME.json`; NAME is FOLDER unless given."""
    return json.loads((ROOT / folder / "results" / f"{name or folder}.json").read_text("utf-8"))


def parameters(network: str) -> int:
    return sum(row.params for row in summarize(NETWORKS[network]))


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def made_with(record: dict[str, Any], leave_out: Sequence[str] = ("torch",)) -> str:
    """Returns processor, cores, versions and day of a record, without the packages left out."""
    place = record["environment"]
    versions = ", ".join(
        f"{name} {value}" for name, value in place["versions"].items() if name not in leave_out
    )
    cores = "one core" if place["cpu_cores"] == 1 else f"{place['cpu_cores']} cores"
    commit = place["commit"].replace("+", " with changes")
    when = place["date"][:10] if "date" in place else f"commit {commit}"
    return "; ".join((place["processor"], cores, versions, when))


def each_made_with(sets: Mapping[str, dict[str, Any]]) -> str:
    """Returns `made_with` of several records by name ("NAME" or "NAME, words"), equal ones once."""
    names_by_place: dict[str, list[str]] = {}
    for name, entry in sets.items():
        code, comma, rest = name.partition(",")
        place = made_with(entry, _UNINTERESTING)
        names_by_place.setdefault(place, []).append(f"`{code}`{comma}{rest}")
    return "\n\n".join(f"{', '.join(names)}: {place}." for place, names in names_by_place.items())


def render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {
        "record": record,
        "module": lambda name: importlib.import_module(f"experiments.{name}"),
        "package": lambda name: importlib.import_module(f"alexnet_jax.{name}"),
        "parameters": parameters,
        "table": table,
        "made_with": made_with,
        "each_made_with": each_made_with,
        "PRESETS": PRESETS,
    }
    environment.filters |= {
        "form": format,
        "mean": statistics.mean,
        "percent": lambda share, digits=1: f"{100 * share:.{digits}f} %",
        "links": lambda text, base: re.sub(r"\]\((?!\w+:)", f"]({base}", text),
        "spread": spread,
        "difference": difference_text,
    }
    return environment


def with_parts(path: Path, text: str) -> str:
    """Returns the text of a Markdown file with its generated parts rendered anew."""
    in_experiments = path.is_relative_to(ROOT)
    template = (path.parent if in_experiments else ROOT) / TEMPLATE
    if not template.exists() or not _PART.search(text):
        return text
    up = "../" * len(path.relative_to(ROOT.parent).parts[:-1])
    base = "../" * len(path.relative_to(ROOT).parts[:-1]) if in_experiments else f"{up}experiments/"
    rendered = render(template.relative_to(ROOT).as_posix(), base=base)
    parts = dict(_TEMPLATE_PART.findall(rendered))

    def part(found: re.Match[str]) -> str:
        if found["name"] not in parts:
            raise ValueError(f"{template.relative_to(ROOT)} has no part named {found['name']!r}")
        return f"{found['begin']}{parts[found['name']]}\n{found['end']}"

    return _PART.sub(part, text)


def pages(folders: Sequence[str] = ()) -> dict[Path, Callable[[], str]]:
    """Returns what renders each page, by its path; with `folders`: those, and the pages outside."""
    from experiments.sweep import page as sweep
    from experiments.sweep.claims import CLAIMS

    found: dict[Path, Callable[[], str]] = {}
    repository = ROOT.parent
    outside = [*repository.glob("*.md"), *(repository / "alexnet_jax").rglob("*.md")]
    for path in sorted((*outside, *ROOT.rglob("README.md"))):
        if folders and path.parent.name not in folders and path not in outside:
            continue
        if path.parent.name in CLAIMS:
            found[path] = functools.partial(sweep.page, path.parent.name)
        elif _PART.search(path.read_text("utf-8")):
            found[path] = functools.partial(with_parts, path, path.read_text("utf-8"))
    return found


def write(*folders: str) -> None:
    """Writes the pages of these folders, and those outside of experiments/, anew."""
    for path, text in pages(folders).items():
        path.write_text(text(), "utf-8")


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", help="below experiments/ (default: all)")
    parser.add_argument("--check", action="store_true", help="only compare")
    arguments = parser.parse_args(words)
    if not arguments.check:
        return write(*arguments.folders)
    rendered = {path: text() for path, text in pages(arguments.folders).items()}
    old = [path for path, text in rendered.items() if text != path.read_text("utf-8")]
    if old:
        names = ", ".join(path.relative_to(ROOT.parent).as_posix() for path in old)
        sys.exit(f"out of date: {names}; run python -m experiments.pages")


if __name__ == "__main__":
    main()
