"""Records hold what makes them evidence, and the notes of presets say the same numbers."""

import json
import re
import statistics
import tomllib
from pathlib import Path

import pytest

from alexnet_jax.config import Config
from alexnet_jax.preset_notes import NOTES
from experiments import collect, pages, results
from experiments.minimal_filtering import run
from experiments.platforms import run as platforms

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("row", results.ROWS, ids=lambda row: row.name)
def test_the_notes_of_presets_have_the_numbers_of_the_records(row):
    preset, found = row.title.split("`")[1], pages.record(row.folder, row.name)
    note, _, of_one_tower = NOTES[preset].expected_score.partition("one tower")
    note = of_one_tower if "one tower" in row.title else note
    numbers = [float(number) for number in re.findall(r"(?<![\d.])\d+\.\d(?!\d)", note)]
    if "one tower" not in row.title:
        minutes = f"{results.minutes(found):,.0f} min"
        assert re.search(rf"(?<![\d.,]){minutes}", NOTES[preset].expected_time)
    for views, error in results.test_errors(found).items():
        assert float(f"{error:.1f}") in numbers, (views, note)


def test_the_notes_of_presets_have_the_means_of_seeds():
    seeds, single = pages.record("seeds")["runs"], results.single_errors("imagenette")
    means = {
        "digits": [[run[key] for run in seeds] for key in ("error", "error_ten_views")],
        "imagenette": [single["1"], single["10"]],
    }
    for preset, (centre, ten) in means.items():
        text = f"{statistics.mean(centre):.1f} and {statistics.mean(ten):.1f} %"
        assert NOTES[preset].expected_score.endswith(f" seeds: {text}")


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


def test_the_record_of_platforms_is_what_the_project_promises():
    project = tomllib.loads((platforms.REQUIREMENTS.parent / "pyproject.toml").read_text("utf-8"))
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["project"]["classifiers"]))
    assert tuple(named) == platforms.PYTHONS
    for row, found in pages.record("platforms")["resolved"].items():
        for python in platforms.PYTHONS:
            assert ("jax" in found[python]) == ("Windows" not in row), (row, python)


def test_gradients_of_images_are_within_their_limit_of_the_plain_form():
    for entry in pages.record("gradients", "differences")["networks"].values():
        assert entry["training_is_unchanged"]
        for found in entry["differences"].values():
            assert max(found["library"]) < 1e-4
            assert len(found["library"]) == len(found["training"]) >= 20
