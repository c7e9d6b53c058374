"""Pages and pictures are those of the records; the pages' commands and examples are understood."""

import doctest
import functools
import inspect
import re
import shlex
from pathlib import Path

import jax
import pytest
import typed

import alexnet_jax
from alexnet_jax.insight.classifier import Classifier
from alexnet_jax.insight.lpips import Lpips
from alexnet_jax.network.networks import NETWORKS
from experiments import costs, pages, pictures, results
from experiments.mission import page as mission
from experiments.retrieval import run as retrieval
from experiments.sweep.__main__ import with_source
from experiments.sweep.claims import CLAIMS

ROOT = Path(__file__).resolve().parents[1]
NAMES = sorted(NETWORKS)
"""Of the package as it is imported: tests add others."""
PAGES = pages.pages()
ROWS = [row for rows in mission.sections().values() for row in rows]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_is_rendered_from_the_records(path):
    assert PAGES[path]() == path.read_text("utf-8"), "run python -m experiments.pages"


def test_every_template_has_a_page_and_every_record_of_a_claim():
    for template in pages.ROOT.glob(f"*/{pages.TEMPLATE}"):
        assert template.with_name("README.md") in PAGES
    for name in CLAIMS:
        has_record = (pages.ROOT / name / "results" / f"{name}.json").exists()
        assert has_record == (pages.ROOT / name / "README.md" in PAGES), name


def test_a_part_is_found_by_its_marker_in_any_file_and_its_links_lead_to_the_experiments():
    text = "# Guide\n<!-- walk: python -m experiments.pages -->\n<!-- end of walk -->\n"
    rendered = pages.with_parts(ROOT / "alexnet_jax" / "guide" / "page.md", text)
    assert rendered.startswith("# Guide\n<!-- walk: ") and " 2 CPU cores" in rendered
    assert pages.with_parts(ROOT / "README.md", rendered) == rendered
    results_part = text.replace("walk", "results")
    rendered = pages.with_parts(ROOT / "alexnet_jax" / "guide" / "page.md", results_part)
    assert "[json](../../experiments/digits/results/digits.json)" in rendered
    with pytest.raises(ValueError, match="page.md.jinja has no part named 'wlak'"):
        pages.with_parts(ROOT / "README.md", text.replace("walk", "wlak"))


def test_check_names_the_pages_that_are_out_of_date(monkeypatch, tmp_path):
    path = tmp_path / "README.md"
    path.write_text("old")
    monkeypatch.setattr(pages, "ROOT", tmp_path / "experiments")
    monkeypatch.setattr(pages, "pages", lambda folders: {path: lambda: "new"})
    with pytest.raises(SystemExit, match=r"out of date: README\.md"):
        pages.main(["--check"])
    assert path.read_text() == "old"
    pages.main([])
    pages.main(["--check"])
    assert path.read_text() == "new"


def sources():
    """What each picture is drawn from, by its path."""
    yield from (
        (path, functools.partial(results.curves, path.parent))
        for path in pages.ROOT.glob("*/results/curves.svg")
    )
    keys = {"ensembles": "sets", "specialise": "runs", "after_drop": "runs"}
    keys |= {name: "runs" for name in CLAIMS if pages.ROOT / name / "README.md" in PAGES}
    for name, key in keys.items():
        path = pages.ROOT / name / "results" / f"{name}.svg"
        yield path, lambda name=name, key=key: pages.record(name)[key]
    path = pages.ROOT / "specialise" / "results" / "figure3.png"
    yield path, lambda: pages.record("specialise", "figure3")


SOURCES = dict(sources())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-3::2]))
def test_a_picture_is_drawn_from_its_record(path):
    assert pictures.is_of(path, SOURCES[path]())


def test_the_other_pictures_are_drawn_from_the_records():
    assert costs.is_drawn(costs.PICTURE)
    digits = pages.record("retrieval")["sets"]["digits"]
    assert retrieval.is_drawn(retrieval.OUTPUT.with_name("digits.png"), digits)


def test_every_network_is_listed_and_compared_with_pytorch():
    text = (pages.ROOT / "parity" / "README.md").read_text("utf-8")
    part = text.partition("<!-- list:")[2].partition("<!-- end of list")[0]
    listed = re.findall(r"`([\w-]+)`(?=[^|]*\|[^|]*\|[^|]*\|$)", part, re.MULTILINE)
    assert sorted(listed) == NAMES
    compared = {row["network"] for row in pages.record("parity")["networks"]}
    assert sorted(compared) == NAMES


def test_what_the_paper_s_page_shows_in_python_is_so(capfd):
    path = pages.ROOT / "paper" / "README.md"
    text = path.read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    examples = parser.get_doctest("\n".join(blocks), {}, "page", str(path), 0)
    assert len(examples.examples) > 12
    runner.run(examples)
    assert not runner.failures, capfd.readouterr().out


def test_a_row_of_the_mission_has_what_its_status_promises():
    for row in ROWS:
        assert "|" not in row.said.replace(r"\|", "") + row.note, "a pipe in a cell"
        see = [path for path in row.see if path.endswith("README.md")]
        tests = [path for path in row.see if path.startswith("tests/")]
        assert set(row.see) == {*see, *tests} and all((ROOT / path).is_file() for path in row.see)
        assert bool(row.do) == (row.status != "open"), row
        kept = {
            "run": see,
            "tested": tests,
            "ready": see + tests and "needs" in row.note,
            "differs": row.see and row.note + row.figure,
            "open": not row.figure,
        }
        assert kept[row.status], row
        assert not re.search(r"\d\.\d|\d %", row.note), f"a figure that is typed: {row}"


class _Loaded:
    """What `load` or `lpips` returns, which takes calls that an object of the class would take."""

    def __init__(self, kind):
        self._kind = kind

    def __getattr__(self, name):
        return functools.partial(inspect.signature(getattr(self._kind, name)).bind, self)


@pytest.mark.parametrize("line", sorted({row.do for row in ROWS if row.do}))
def test_the_command_of_a_row_is_understood(line, monkeypatch):
    if line.startswith("alexnet "):
        typed.parse_verb(shlex.split(line)[1:])
    elif line.startswith("python -m pytest "):
        assert all((ROOT / path).exists() for path in shlex.split(line)[3:])
    elif line.startswith("python -m "):
        _, _, module, *words = shlex.split(line)
        assert module.startswith("experiments.")
        assert typed.parse_program(module, words) or not words
        if module == "experiments.sweep":  # places of the claim's sets; beside its finished record
            with_source(CLAIMS[words[0]], words[words.index("--data") + 1 : -2])
            assert words[-2:] == ["--output", "runs/again"]
    else:
        monkeypatch.setattr(alexnet_jax, "load", lambda workdir: _Loaded(Classifier))
        monkeypatch.setattr(alexnet_jax, "lpips", lambda trunk, heads: _Loaded(Lpips))
        assert eval(line, {"alexnet_jax": alexnet_jax, "jax": jax, "images": None}) is not None
