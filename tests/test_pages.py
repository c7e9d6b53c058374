"""The page that explains the paper, and the table of what is said of it."""

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
from experiments.mission import page as mission
from experiments.paper import page as paper
from experiments.sweep.__main__ import with_source
from experiments.sweep.runner import chosen

ROOT = Path(__file__).resolve().parents[1]
ROWS = [row for rows in mission.sections().values() for row in rows]


def test_the_tables_of_the_paper_are_generated_from_the_records():
    text = paper.README.read_text("utf-8")
    assert paper.updated(text) == text
    shown = {folder for folders in paper.CLAIMS.values() for folder in folders}
    assert {f"../{folder}/README.md" for folder in shown} <= set(re.findall(r"\((.*?)\)", text))


def test_what_the_paper_s_page_shows_in_python_is_so(capfd):
    text = paper.README.read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    examples = parser.get_doctest("\n".join(blocks), {}, "page", str(paper.README), 0)
    assert len(examples.examples) > 12
    runner.run(examples)
    assert not runner.failures, capfd.readouterr().out


def test_the_table_of_the_mission_is_generated_from_rows_and_records():
    text = mission.README.read_text("utf-8")
    assert mission.updated(text) == text
    assert text.count("| open |") == sum(row.status == "open" for row in ROWS)
    cells = [re.findall(r"(?<!\\)\|", line) for line in text.splitlines() if line[:2] == "| "]
    assert {len(found) for found in cells} == {4, 6}, "a pipe in a cell"


def test_rows_keep_what_their_statuses_promise():
    for row in ROWS:
        pages = [path for path in row.see if path.endswith("README.md")]
        tests = [path for path in row.see if path.startswith("tests/")]
        assert set(row.see) == {*pages, *tests} and all((ROOT / path).is_file() for path in row.see)
        assert bool(row.do) == (row.status != "open"), row
        kept = {
            "run": pages,
            "tested": tests,
            "ready": pages + tests and "needs" in row.note,
            "differs": row.see and row.note + row.figure,
            "open": not row.figure,
        }
        assert kept[row.status], row
        assert not re.search(r"\d\.\d|\d %", row.note), f"a figure that is typed: {row}"


class _Loaded:
    """What `load` returns, which takes calls that a classifier would take."""

    def __getattr__(self, name):
        return functools.partial(inspect.signature(getattr(Classifier, name)).bind, self)


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
            with_source(chosen(words[0], False), words[words.index("--data") + 1 : -2])
            assert words[-2:] == ["--output", "runs/again"]
    else:
        monkeypatch.setattr(alexnet_jax, "load", lambda workdir: _Loaded())
        assert eval(line, {"alexnet_jax": alexnet_jax, "jax": jax, "images": None}) is not None
