"""The script that measures a GPU or TPU, in small on whatever device is here."""

import json
import os
import subprocess
import sys
import time

import compiling
import jax
import pytest

from experiments.benchmarks import accelerator, accelerator_jobs, accelerator_profile, jobs, peaks


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
    (profile,) = ours["profiles"]
    assert profile["parts"]["conv1, gradients"] > 0
    assert [one["store"] for one in ours["feeding"]] == ["jpeg", "raw"]
    assert all(one["fed_images_per_second"] > 0 for one in ours["feeding"])
    assert result["input_pipeline_images_per_second"] > 0
    rows = result["PyTorch"].get("rows", [])
    assert rows or "not installed" in result["PyTorch"]["left_out"]
    assert all(row.get("images_per_second", 0) > 0 for row in rows)
    assert ("digits", 4, "float32") in accelerator.by_case(result)
    assert ("left_out" in result["card"]) == (peaks.card(ours["device"]) is None)


def _job(batches=(4,), expected=0.0, seconds=1e6):
    cases = [
        case | {"expected_seconds": expected} for case in accelerator.cases(["digits"], batches)
    ]
    return {"quick": True, "cases": cases, "deadline": time.time() + seconds, "sets": {}}


def _rows(job, rate):
    return [piece["row"] for piece in accelerator_jobs.rows(job, rate)]


def test_what_there_is_no_time_for_is_said():
    rows = _rows(_job(expected=60.0, seconds=30.0), lambda case: pytest.fail("measured"))
    assert {row["left_out"] for row in rows} == {"out of time"}


def test_what_does_not_fit_is_said_and_the_rest_goes_on():
    def rate(case):
        if case["dtype"] == "float32":
            raise MemoryError("out of memory")
        return {"images_per_second": 2.0}

    rows = _rows(_job((8, 4)), rate)
    assert [("left_out" in row) for row in rows] == [row["dtype"] == "float32" for row in rows]
    merged = accelerator._merged([row | {"images_per_second": 1.0} for row in rows[:4]], rows)
    assert len(merged) == 8 and sum("left_out" in row for row in merged) == 4
    assert {row["images_per_second"] for row in merged if "left_out" not in row} == {2.0}


def test_the_step_of_the_first_network_comes_first_and_earlier_times_are_used():
    wanted = accelerator.cases(["paper", "digits"], [1024, 128])
    assert [(case["network"], case["batch"]) for case in wanted[:3]] == [
        *(("paper", 1024), ("paper", 128)),
        ("digits", 1024),
    ]
    assert [case["closer"] for case in wanted[:3]] == [True, True, False]
    known = {("digits", "train", 1024, "bfloat16"): 3.0}
    planned = accelerator.plan(accelerator.RIVAL, wanted, known)
    assert planned[2]["expected_seconds"] == 3.0
    assert accelerator.fitting(planned, planned[0]["expected_seconds"] + 3.5) == 2


def test_a_process_that_takes_too_long_is_ended_and_what_it_said_counts(monkeypatch):
    real = subprocess.Popen
    script = "print('hello'); print('{\"a\": 1}', flush=True); import time; time.sleep(60)"

    def started(command, **options):
        return real([sys.executable, "-c", script], **options)

    monkeypatch.setattr(jobs.subprocess, "Popen", started)
    pieces = jobs.stream("any", {}, time.time() + 1.0)
    assert next(pieces) == {"a": 1}
    with pytest.raises(jobs.JobError, match="time was up"):
        next(pieces)


def test_what_a_process_leaves_behind_is_told(monkeypatch):
    def stream(module, job, deadline):
        yield {"device": "TPU v4", "platform": "tpu"}
        yield {"row": {name: job["cases"][0][name] for name in accelerator.CASE}}
        yield {"fed": {"store": "jpeg"}}
        raise jobs.JobError("its process ended with code 9")

    monkeypatch.setattr(jobs, "stream", stream)
    found = accelerator.measure(accelerator.OURS, _job(), time.time() + 100)
    assert found["device"] == "TPU v4" and found["feeding"] == [{"store": "jpeg"}]
    assert ["left_out" in row for row in found["rows"]] == [False, True, True, True]
    assert found["rows"][1]["left_out"] == "its process ended with code 9"
    old = {accelerator.OURS: found | {"equality": 1}, accelerator.RIVAL: {}, "a": 2}
    new = {accelerator.OURS: {"device": "TPU v4"}, accelerator.RIVAL: {}, "a": None}
    assert accelerator.merged(old, new)[accelerator.OURS]["equality"] == 1
    assert accelerator.merged(old, new)["a"] == 2
    new[accelerator.OURS]["device"] = "TPU v5p"
    assert accelerator.merged(old, new) == new


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="there is an accelerator")
def test_without_an_accelerator_it_says_so_and_writes_nothing(monkeypatch, capsys, tmp_path):
    pieces = iter([{"device": "cpu", "platform": "cpu"}])
    monkeypatch.setattr(jobs, "stream", lambda *arguments: pieces)
    monkeypatch.setattr(accelerator.pipeline, "synthetic_sets", lambda folder, count: {})
    output = tmp_path / "a.json"
    monkeypatch.setattr(sys, "argv", ["accelerator", "--output", str(output)])
    with pytest.raises(SystemExit, match="1"):
        accelerator.main()
    assert "no accelerator is found" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("NVIDIA H200", 989.0),
        ("NVIDIA H100 80GB HBM3", 989.0),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA A100-SXM4-40GB", 312.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("TPU v5 lite", 197.0),
        ("TPU v5", 459.0),
        ("TPU v6 lite", 918.0),
    ],
)
def test_peaks_of_known_cards(device, peak):
    assert peaks.share(device, "bfloat16", 1e3) == pytest.approx(1 / peak)


def test_without_a_known_peak_there_is_no_share():
    assert peaks.card("NVIDIA L40S") is peaks.card("TPU v7") is None
    assert peaks.share("NVIDIA L40S", "float32", 1e3) is None
    assert peaks.share("Tesla T4", "bfloat16", 1e3) is None  # has no such units
    assert peaks.share("Tesla T4", "float32", 810.0) == pytest.approx(0.1)


def test_a_profile_sums_the_streams_of_a_device_by_layer_and_direction():
    program = """
      %fusion.1 = f32[4] fusion(%a), metadata={op_name="jit(f)/transpose(jvp(AlexNet))/conv1/mul"}
      ROOT %dot.2 = f32[4] dot(%b), metadata={op_name="jit(f)/jvp(AlexNet)/fc6/dot_general"}
      %add.3 = f32[4] add(%b), metadata={op_name="jit(f)/add"}
    """

    def named(what, pid, name, **more):
        return {"ph": "M", "name": f"{what}_name", "pid": pid, "args": {"name": name}, **more}

    def event(name, tid, seconds, pid=1, **arguments):
        duration = seconds * 1e6 * accelerator_profile.STEPS
        place = {"pid": pid, "tid": tid, "dur": duration}
        return {"ph": "X", "name": name, "args": arguments, **place}

    events = [
        *(named("process", 1, "/device:GPU:0"), named("process", 2, "/host:CPU")),
        *(named("thread", 1, "Stream #13(Compute)", tid=7), named("thread", 1, "XLA Ops", tid=8)),
        *(event("kernel", 7, 1, hlo_op="fusion.1"), event("gemm", 7, 2, hlo_op="dot.2")),
        *(event("MemcpyH2D", 7, 4), event("kernel", 7, 8, hlo_op="add.3")),
        *(event("dot.2", 8, 16), event("dot.2", 7, 32, pid=2)),
    ]
    found = accelerator_profile.summary(program, events)
    assert found["parts"] == {
        "input, loss, update": 8,
        "copies and operations without a path": 4,
        "fc6, forward": 2,
        "conv1, gradients": 1,
    }
    assert found["busy_seconds"] == 15
    assert found["longest"][0] == {"part": "input, loss, update", "name": "kernel", "seconds": 8}
    on_a_cpu = accelerator_profile.summary(program, [event("dot.2", 7, 32, pid=2)])
    assert on_a_cpu["parts"] == {"fc6, forward": 32}
