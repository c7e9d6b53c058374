"""The script that measures a GPU or TPU, in small on whatever device is here."""

import json
import os
import subprocess
import sys

import compiling
import pytest

from experiments.benchmarks import accelerator


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_quick_form_measures_every_case_and_equality(tmp_path):
    output = tmp_path / "accelerator.json"
    command = [sys.executable, "-m", accelerator.__name__, "--quick", "--output", str(output)]
    environment = os.environ | compiling.SOONER
    subprocess.run(command, timeout=550, check=True, env=environment)
    result = json.loads(output.read_text("utf-8"))
    ours = result["this library"]
    assert len(ours["rows"]) == 4
    assert all(row["images_per_second"] > 0 and row["share_of_peak"] > 0 for row in ours["rows"])
    assert ours["equality"]["float64_parameters_after_ten_steps"] < 1e-9
    assert ours["equality"]["losses"][0] != ours["equality"]["losses"][1]
    assert ours["equality"]["logits"]["float32, highest precision"] < 1e-4
    assert result["input_pipeline_images_per_second"] > 0
    rows = result["PyTorch"].get("rows", [])
    assert rows or "not installed" in result["PyTorch"]["left_out"]
    assert all(row.get("images_per_second", 0) > 0 for row in rows)
    assert ("digits", 4, "float32") in accelerator.by_case(result)


def test_what_there_is_no_time_for_is_said(capsys):
    job = {"quick": True, "seconds": -1.0, "networks": ["digits"], "batches": [4]}
    rows = accelerator._measure(lambda case: pytest.fail("measured all the same"), job, 0.0)
    assert {row["left_out"] for row in rows} == {"out of time"}


def test_what_does_not_fit_is_said_and_the_rest_goes_on(capsys):
    def build(case):
        if case["dtype"] == "float32":
            raise MemoryError("out of memory")
        return lambda iterations: None

    job = {"quick": True, "seconds": 1.0, "networks": ["digits"], "batches": [4, 8]}
    rows = accelerator._measure(build, job, 1e12)
    assert [("left_out" in row) for row in rows] == [row["dtype"] == "float32" for row in rows]
    assert [row["batch"] for row in rows] == [4] * 4 + [8] * 4
    measured = [row | {"images_per_second": 1.0} for row in rows if "left_out" not in row]
    merged = accelerator._merged(measured, rows)
    assert len(merged) == 8 and sum("left_out" in row for row in merged) == 4
