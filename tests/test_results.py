"""What README.md claims is what the result files say."""

import json
import re
import statistics
import tomllib
from pathlib import Path

import pytest

from alexnet_jax.config import Config
from alexnet_jax.presets import NOTES
from experiments import collect, pictures, table
from experiments.minimal_filtering import run
from experiments.platforms import run as platforms

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("path", table.PAGES, ids=lambda path: path.parent.name)
def test_the_results_tables_are_generated_from_the_records(path):
    text = path.read_text("utf-8")
    assert table.PAGES[path](text) == text


@pytest.mark.parametrize("name", [name for name, *_ in table.ROWS if (table.ROOT / name).exists()])
def test_the_notes_of_presets_tell_what_the_records_hold(name):
    title = next(title for row, title, _ in table.ROWS if row == name)
    note, _, of_one_tower = NOTES[title.split("`")[1]].expected_score.partition("one tower")
    note = of_one_tower if "one tower" in title else note
    result = json.loads((table.ROOT / name).read_text())
    finals = {row["test_views"]: 100 * row["final/top1_error"] for row in result["final"]}
    told = [float(number) for number in re.findall(r"(?<![\d.])\d+\.\d(?!\d)", note)]
    minutes = result["run"]["wall_seconds"] / 60
    if "one tower" not in title:
        time = NOTES[title.split("`")[1]].expected_time
        assert re.search(rf"(?<![\d.,]){minutes:,.0f} min", time)
    for views, error in finals.items():
        assert float(f"{error:.1f}") in told, (views, note)


def test_the_notes_of_presets_tell_the_means_of_seeds():
    seeds = json.loads((table.ROOT / "seeds/results/seeds.json").read_text())["runs"]
    sets = json.loads((table.ROOT / "ensembles/results/ensembles.json").read_text())["sets"]
    views = sets["imagenette"]["views"]
    means = {
        "digits": [[run[key] for run in seeds] for key in ("error", "error_ten_views")],
        "imagenette": [
            next(row["errors"] for row in views[count] if row["networks"] == 1)
            for count in ("1", "10")
        ],
    }
    for preset, (centre, ten) in means.items():
        told = f"{statistics.mean(centre):.1f} and {statistics.mean(ten):.1f} %"
        assert NOTES[preset].expected_score.endswith(f" seeds: {told}")


CURVES = sorted(ROOT.glob("experiments/*/results/curves.svg"))


@pytest.mark.parametrize("path", CURVES, ids=lambda path: path.parts[-3])
def test_the_curves_are_drawn_from_the_records(path):
    assert pictures.is_of(path, collect.collected(path.parent))


def test_seeds_are_told_when_there_are_several(tmp_path, monkeypatch):
    path = tmp_path / "experiments" / "seeds" / "results" / "seeds.json"
    path.parent.mkdir(parents=True)
    monkeypatch.setattr(table, "SEEDS", path)
    monkeypatch.setattr(table, "ROOT", tmp_path / "experiments")
    assert table._seeds() == ""
    for errors, text in (([1.0], ""), ([1.0, 2.0], "1.5 ± 0.7 % (centre)")):
        runs = [{"error": error, "error_ten_views": 3.0} for error in errors]
        path.write_text(json.dumps({"runs": runs}))
        assert text in table._seeds() and bool(table._seeds()) == bool(text)
    assert table.table(folder="digits/") == "Not run yet."


def test_records_hold_versions_hardware_and_no_places():
    records = [path for path in ROOT.glob("experiments/*/results/*.json")]
    assert records
    for path in records:
        text = path.read_text()
        result = json.loads(text)
        whole = result.get("run") or result.get("environment")
        places = [whole or result]
        if not whole and "sets" in result:
            places = [entry["environment"] for entry in result["sets"].values()]
        for place in places:
            assert place["versions"]["jax"] and place["processor"], path
        assert not [word for word in text.split('"') if word.startswith(("/", "~"))], path


def test_the_comparison_of_the_forms_of_convolutions():
    errors = {"minimal": [1.0, 2.0, 3.0], "direct": [1.5, 1.5, 3.0]}
    runs = {form: [{"error": error} for error in values] for form, values in errors.items()}
    found = run.comparison(runs)
    assert found["difference"] == 0 and found["mean"] == {"minimal": 2, "direct": 2}
    low, high = found["interval_95"]
    assert low == -high == pytest.approx(-4.302653 * 0.5 / 3**0.5)


def test_the_page_of_minimal_filtering_is_generated_from_its_record():
    text = run.README.read_text("utf-8")
    assert run.updated(text) == text and "95 % interval" in text


def test_a_run_that_has_not_ended_is_no_evidence(tmp_path):
    (tmp_path / "config.json").write_text(Config().to_json())
    info, step = tmp_path / "run.json", {"step": 1, "epoch": 1.0}
    row = step | {"train/loss": 1.0, "train/top1_error": 0.5, "train/learning_rate": 0.1}
    tested = step | {"test_views": 1, "final/top1_error": 0.5}
    for status, rows in (("running", [row, tested]), ("finished", [row])):
        info.write_text(json.dumps({"status": status}))
        lines = [json.dumps(one | {"images_per_second": 9.0}) for one in rows]
        (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
        with pytest.raises(SystemExit, match="to its end"):
            collect.collect(tmp_path, "one")
    info.write_text(json.dumps({"status": "finished"}))
    (tmp_path / "metrics.jsonl").write_text("\n".join(json.dumps(one) for one in (row, tested)))
    with pytest.raises(SystemExit, match="train for some steps"):
        collect.collect(tmp_path, "one")


def test_the_page_of_platforms_is_generated_from_its_record_which_is_what_is_promised():
    text = platforms.README.read_text("utf-8")
    assert platforms.updated(text) == text
    project = tomllib.loads((platforms.REQUIREMENTS.parent / "pyproject.toml").read_text("utf-8"))
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["project"]["classifiers"]))
    assert tuple(named) == platforms.PYTHONS
    for row, found in json.loads(platforms.OUTPUT.read_text("utf-8"))["resolved"].items():
        for python in platforms.PYTHONS:
            assert ("jax" in found[python]) == ("Windows" not in row), (row, python)
