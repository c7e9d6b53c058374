"""StableHLO: one artifact for any batch size and three platforms, that needs none of our code."""

import dataclasses
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import quick

from alexnet_jax.errors import CheckpointError
from alexnet_jax.network.layers import ResponseNorm, with_changes

pytest.importorskip("flatbuffers", reason="flatbuffers is not installed (the extra `export`)")

from jax import export as jax_export  # noqa: E402

from alexnet_jax.weights.exporting import export  # noqa: E402
from alexnet_jax.weights.writers import stablehlo  # noqa: E402


@pytest.mark.parametrize(
    ("name", "mean", "scale"),
    quick.rows(
        [("original", "image-aligned", "none"), ("cifar-18pct", "none", "channel")],
        [
            ("original", "image-aligned", "none"),
            ("one-tower", "image", "none"),
            ("one-tower-adaptive", "channel", "channel"),
            ("cifar-18pct", "none", "channel"),
        ],
    ),
)
def test_the_file_computes_our_logits(narrow_weights, expected_logits, tmp_path, name, mean, scale):
    weights = narrow_weights(name, mean=mean, scale=scale)
    done = export(weights, tmp_path / "a.stablehlo", "stablehlo")
    program = jax_export.deserialize(bytearray(done.path.read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")
    size = weights.run.stored_size
    images = np.random.default_rng(5).integers(0, 256, (2, size, size, 3), np.uint8)
    outputs = program.call(images)
    expected = expected_logits(weights, images)
    np.testing.assert_allclose(outputs["logits"], expected, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_allclose(np.sum(outputs["probabilities"], axis=1), 1, rtol=1e-5)
    assert "logits differ from ours by" in done.summary()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.stablehlo", "a.stablehlo.json"]


@pytest.mark.parametrize(("form", "batch"), [("whole", 2), ("network", None)])
def test_forms_and_batches(
    narrow_weights, expected_logits, prepare_by_sidecar, tmp_path, form, batch
):
    weights = narrow_weights("cifar-80sec", mean="image", scale="channel")
    done = export(weights, tmp_path / "a.stablehlo", "stablehlo", form=form, batch=batch)
    facts = json.loads(done.sidecar.read_text("utf-8"))
    program = jax_export.deserialize(bytearray(done.path.read_bytes()))
    (given,) = program.in_avals
    assert list(map(str, given.shape)) == list(map(str, facts["inputs"][0]["shape"]))
    assert str(given.dtype) == facts["inputs"][0]["dtype"]
    assert "read by JAX" in facts["jax_versions"]
    assert ("?x" in program.mlir_module()) == (batch is None)
    size = weights.run.stored_size
    images = np.random.default_rng(5).integers(0, 256, (2, size, size, 3), np.uint8)
    outputs = program.call(images if form == "whole" else prepare_by_sidecar(facts, images))
    expected = expected_logits(weights, images)
    np.testing.assert_allclose(outputs["logits"], expected, atol=2e-5 * np.abs(expected).max())
    assert ("probabilities" in outputs) == (form == "whole")


@pytest.mark.slow
def test_a_program_without_this_package_runs_it(narrow_weights, tmp_path):
    weights = narrow_weights("cifar-80sec")
    done = export(weights, tmp_path / "a.stablehlo", "stablehlo")
    facts = json.loads(done.sidecar.read_text("utf-8"))
    (images,) = facts["inputs"]
    code = (
        "import sys; sys.modules['alexnet_jax'] = sys.modules['flax'] = None\n"
        "import numpy as np\n"
        "from jax import export\n"
        f"program = export.deserialize(bytearray(open({str(done.path)!r}, 'rb').read()))\n"
        f"images = np.zeros([5, *{images['shape'][1:]}], {images['dtype']!r})\n"
        "print(program.call(images)['probabilities'].shape)"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert run.stdout.strip() == "(5, 7)", run.stderr


def test_a_program_that_computes_something_else_is_not_kept(narrow_weights, tmp_path, monkeypatch):
    lower = stablehlo.lower

    def wrong(weights, spec):
        layers = with_changes(weights.run.network.layers, ResponseNorm, alpha=1e-4)
        changed = dataclasses.replace(weights.run.network, layers=layers)
        return lower(weights._replace(run=weights.run._replace(network=changed)), spec)

    monkeypatch.setattr(stablehlo, "lower", wrong)
    with pytest.raises(CheckpointError, match="gives other logits than the run"):
        export(narrow_weights("cifar-18pct"), tmp_path / "a.stablehlo", "stablehlo")
    assert not list(tmp_path.iterdir())


def test_the_check_fills_no_cache_of_compiled_programs(narrow_weights, tmp_path, monkeypatch):
    name, during = "jax_persistent_cache_min_compile_time_secs", []

    class Program:
        platforms, calling_convention_version = (), 1

        def call(self, images):
            during.append(getattr(jax.config, name))
            raise RuntimeError("seen")

    monkeypatch.setattr(stablehlo.jax_export, "deserialize", lambda data: Program())
    before = getattr(jax.config, name)
    with pytest.raises(CheckpointError, match="seen"):
        export(narrow_weights("cifar-80sec"), tmp_path / "a.stablehlo", "stablehlo")
    assert during == [float("inf")] and getattr(jax.config, name) == before
