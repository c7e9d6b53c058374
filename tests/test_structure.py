"""What the page about the layout of the code counts and compares."""

import pytest

from experiments import pages
from experiments.benchmarks.records import read, write
from experiments.structure import run, seeds


def write_sweeps(folder, record):
    """Writes the two records of the sweep that a comparison was made from; returns their places."""
    for when in ("before", "after"):
        runs = [
            {"variant": "digits", "seed": pair["seed"], "wall_seconds": 1.0, **pair[when]}
            for pair in record["runs"]
        ]
        sweep = {"claim": "seeds", "runs": runs, "environment": record["environment"]}
        write(folder / when / "seeds" / "results" / "seeds.json", sweep)
    return [str(folder / when) for when in ("before", "after")]


def test_the_record_of_seeds_is_made_from_two_sweeps(tmp_path):
    record = pages.record("structure", "seeds")
    output = tmp_path / "seeds.json"
    seeds.main([*write_sweeps(tmp_path, record), "--output", str(output)])
    assert output.read_bytes() == seeds.OUTPUT.read_bytes()


@pytest.mark.parametrize("lacking", ["a seed", "a record"])
def test_what_lacks_a_seed_or_a_record_is_not_compared(lacking, tmp_path, capsys):
    record = pages.record("structure", "seeds")
    before, after = write_sweeps(tmp_path, record)
    path = tmp_path / "after" / "seeds" / "results" / "seeds.json"
    if lacking == "a seed":
        found = read(path)
        assert found
        write(path, found | {"runs": found["runs"][1:]})
    else:
        path.unlink()
    with pytest.raises(SystemExit, match="2"):
        seeds.main([before, after, "--output", str(tmp_path / "seeds.json")])
    assert ("run the others" if lacking == "a seed" else "there is no") in capsys.readouterr().err
    assert not (tmp_path / "seeds.json").exists()


def test_lines_are_code_docstrings_comments_or_blank():
    text = '"""A module.\n\nMore.\n"""\n\n# why\ndef f():\n    """Says."""\n    return 1  # so\n'
    assert run.count_lines(text) == run.Lines(all=9, code=2, docstrings=5, comments=1)
    long = "def f():\n" + '    """One line."""\n' + "    x = 1\n" * run.MAX_FUNCTION_LINES
    assert list(run.long_functions(long)) == [("f", run.MAX_FUNCTION_LINES + 1)]
    assert not list(run.long_functions(long.removesuffix("    x = 1\n")))


def test_a_test_that_went_has_its_reason_or_is_listed_without_one(tmp_path, monkeypatch):
    reasons = tmp_path / "reasons.toml"
    reasons.write_text('[[reasons]]\nwhy = "Merged"\ntests = ["test_b", "test_a", "test_kept"]\n')
    monkeypatch.setattr(run, "REASONS", reasons)
    found = {"tests": {"gone": ["test_a", "test_b", "test_c"]}}
    assert run.tests_that_went(found) == [
        ("Merged", ["test_b", "test_a"]),
        ("No reason is noted", ["test_c"]),
    ]
    found["tests"]["gone"].remove("test_c")
    assert len(run.tests_that_went(found)) == 1
