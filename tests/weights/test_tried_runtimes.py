"""The runtimes in which exports were tried: the package's table, and what people read of it."""

import json

import pytest

from alexnet_jax.insight.model_card import model_card
from alexnet_jax.weights.exporting import read_by
from alexnet_jax.weights.tried_runtimes import jax_readers, tried_runtimes
from experiments import tried_runtimes as program


def test_the_table_is_that_of_the_record():
    if not program.RECORD.exists():
        pytest.skip("experiments/runtimes has no record")
    rows = program.rows_of(json.loads(program.RECORD.read_text("utf-8")))
    table = json.loads(program.TABLE.read_text("utf-8"))
    assert table["rows"] == rows, "type: python -m experiments.tried_runtimes"


def test_a_network_is_right_if_it_is_in_every_version():
    kind = {"runtime": "R", "kind": "onnx", "form": "whole", "tolerance": 1e-4}
    good, bad, refused = {"error": 1e-6}, {"error": 0.1}, {"refusal": "no"}
    tried = [
        kind | {"version": "1", "option": "", "batch": "free", "networks": {"a": good, "b": bad}},
        kind | {"version": "2", "option": "", "batch": "free", "networks": {"a": good, "b": good}},
        kind | {"version": "2", "option": "f32", "batch": "1", "networks": {"a": refused}},
        kind | {"version": "3", "option": "", "batch": "free", "networks": {}},
    ]
    first, second = program.rows_of({"rows": tried})
    assert (first["versions"], first["right"], first["networks"]) == (["1", "2"], 1, 2)
    assert (second["runtime"], second["batch"], second["right"]) == ("R f32", "fixed", 0)


def test_the_card_and_the_sidecar_name_the_runtimes_of_that_kind(narrow_weights):
    readers = read_by("onnx")
    rows = tried_runtimes("onnx", "whole", None)
    assert rows and [row.runtime for row in rows] == [
        row["runtime"] for row in readers["runtimes_tried"]
    ]
    run = narrow_weights("digits").run
    text = model_card(run, {}, readers)
    assert "\n## Runtimes\n" in text and "| onnxruntime |" in text
    assert "Runtimes" not in model_card(run, {})
    assert "No other runtime was tried" in model_card(run, {}, {"runtimes_tried": []})


def test_which_jax_reads_a_file_depends_on_its_writer_and_its_batch():
    assert "0.10.2 for any batch are read by JAX 0.9.0, 0.10.0" in jax_readers(None, "0.10.2")
    newer = jax_readers(None, "0.12.3")
    assert "are read by JAX 0.11.2 and 0.12.0.1; 0.9.0, 0.10.0 and 0.10.2 refuse them" in newer
    assert "of one batch size are read by JAX 0.9.0, 0.10.0" in jax_readers(4, "0.12.3")
    assert jax_readers(4, "0.9.0") == jax_readers(4, "0.10.2")
    assert read_by("stablehlo", batch=4)["jax_versions"] == jax_readers(4)
