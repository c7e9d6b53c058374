"""The table of runtimes: what is right, what CI fails by, and how files are run."""

import re
from pathlib import Path

import numpy as np
import pytest

from experiments.runtimes import environments, precision, run

ENTRIES = [*run.entries(), *precision.entries()]


@pytest.mark.parametrize("entry", ENTRIES, ids=range(len(ENTRIES)))
def test_an_entry_is_pinned_and_has_its_adapter(entry):
    assert (run.HERE / "adapters" / f"with_{entry['adapter']}.py").is_file()
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", text) for text in entry.get("requirements", ()))
    assert all(re.fullmatch(r"[\w-]+@[\d.]+", text) for text in entry.get("node", ()))
    assert re.fullmatch(r"\d[\w.]+", run.version_of(entry))


def test_no_two_entries_measure_the_same():
    keys = [run._key(run.about(entry, *file)) for entry, file in run.files_of(run.entries(), None)]
    assert len(set(keys)) == len(keys)


def test_the_error_is_that_of_the_worst_logit_of_any_batch_size():
    ours = np.array([[1.0, -4.0], [2.0, 0.0]])
    assert run.error_of(np.stack([ours, ours]), ours) == 0
    assert run.error_of(np.stack([ours, ours + [[0, 0], [0, 1]]]), ours) == 0.25
    for bad in (ours[:, :1], ours * np.nan):
        assert run.error_of(bad[None], ours) == np.inf


@pytest.mark.parametrize(
    ("found", "says", "code"),
    [
        ({"networks": {"a": {"error": 1e-6}}}, "right: ", 0),
        ({"networks": {"a": {"error": 1e-3}}}, "WRONG: ", 1),
        ({"networks": {"a": {"refusal": "no"}}}, "WRONG: ", 1),
        ({"missing": "no npm here"}, "NOT TESTED: ", 0),
    ],
)
def test_ci_fails_by_wrong_results_and_says_what_it_could_not_test(
    found, says, code, monkeypatch, capsys
):
    monkeypatch.setattr(run, "measure", lambda entry, *rest: run.about(entry, "", "") | found)
    assert run.check(Path(), Path()) == code
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 3 and all(line.startswith(says) for line in lines)


def test_a_file_that_is_refused_does_not_stop_the_next(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    infos = [onnx.helper.make_tensor_value_info(name, 1, ["n", 2]) for name in ("x", "logits")]
    node = onnx.helper.make_node("Neg", ["x"], ["logits"])
    graph = onnx.helper.make_graph([node], "g", infos[:1], infos[1:])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "good")
    (tmp_path / "bad").write_text("no model")
    images = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.save(tmp_path / "images.npy", images)
    entry, place = {"adapter": "onnxruntime"}, environments.Environment(tmp_path)
    jobs = [
        environments.Job(tmp_path / name, tmp_path / "images.npy", (3, 2))
        for name in ("bad", "good")
    ]
    bad, good = environments.run_jobs(entry, place, jobs)
    assert bad.logits is None and "Invalid" in bad.refusal and str(tmp_path) not in bad.refusal
    assert good.logits is not None and np.array_equal(good.logits, np.stack([-images, -images]))
    [absent] = environments.run_jobs({"adapter": "none"}, place, jobs[1:])
    assert absent.refusal.startswith("ModuleNotFoundError")
    [late] = environments.run_jobs(entry, place, jobs[1:], seconds=0.01)
    assert late.logits is None and late.refusal.startswith("not done within")
