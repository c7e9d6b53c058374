"""What all exports do about the user's files and missing packages."""

import json
import sys

import numpy as np
import pytest

from alexnet_jax.errors import AlexNetError, CheckpointError, InputError
from alexnet_jax.weights import WRITERS
from alexnet_jax.weights.exporting import export
from alexnet_jax.weights.writers import logits_check
from alexnet_jax.weights.writers.output_files import named_when_done

ENDINGS = {
    "safetensors": "a.safetensors",
    "torchvision": "a.pth",
    "stablehlo": "a.stablehlo",
    "onnx": "a.onnx",
    "savedmodel": "a",
    "tflite": "a.tflite",
}
NEEDS = {"stablehlo": "flatbuffers", "onnx": "onnx", "savedmodel": "tensorflow"}


@pytest.fixture(scope="module")
def weights(narrow_weights):
    return narrow_weights("one-weird-trick", size=63, mean="imagenet", scale="imagenet")


@pytest.mark.parametrize("what", ["file", "sidecar"])
@pytest.mark.parametrize("form", sorted(ENDINGS))
def test_what_is_there_stays(weights, tmp_path, form, what):
    sidecar = "a.config.json" if form == "safetensors" else f"{ENDINGS[form]}.json"
    path = tmp_path / (ENDINGS[form] if what == "file" else sidecar)
    path.write_text("precious")
    with pytest.raises(InputError, match=f"{path.name} exists already; remove it or choose"):
        export(weights, tmp_path / ENDINGS[form], form)
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "precious"


@pytest.mark.parametrize("form", sorted(ENDINGS.keys() - {"savedmodel"}))
def test_another_ending_is_refused(weights, tmp_path, form):
    with pytest.raises(InputError, match=r"a\.npz should end in \."):
        export(weights, tmp_path / "a.npz", form)


@pytest.mark.parametrize(
    ("format", "options", "message"),
    [
        ("safetensors", {"form": "network"}, "--form: safetensors holds arrays, not a program"),
        ("torchvision", {"form": "network", "batch": 2}, "--form and --batch: torchvision holds"),
        ("onnx", {"batch": 0}, "--batch 0 is no number of images; give 1 or more"),
        ("onnx", {"form": "hole"}, "--form hole is neither of whole and network"),
        ("onxx", {}, "unknown format 'onxx'. Did you mean 'onnx'?"),
    ],
)
def test_options_that_do_not_fit_give_one_line(weights, tmp_path, format, options, message):
    with pytest.raises(InputError) as caught:
        export(weights, tmp_path / ENDINGS.get(format, "a"), format, **options)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_the_folder_gives_one_line(weights, tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(InputError, match="cannot write .*a.pth: .*file is a file") as caught:
        export(weights, tmp_path / "file" / "a.pth", "torchvision")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "precious"


def test_a_missing_folder_is_made(weights, tmp_path):
    done = export(weights, tmp_path / "b" / "c" / "a.pth", "torchvision")
    assert done.path.is_file()
    facts = json.loads((done.path.parent / "a.pth.json").read_text("utf-8"))
    assert facts["format"] == "torchvision" and facts["network"] == "one-weird-trick"


@pytest.mark.parametrize("form", sorted(NEEDS))
def test_a_missing_package_is_named_with_the_command(weights, tmp_path, monkeypatch, form):
    monkeypatch.setitem(sys.modules, NEEDS[form], None)
    module = f"alexnet_jax.weights.writers.{WRITERS[form].module}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(InputError, match=f"pip install {NEEDS[form]}, or .*{WRITERS[form].extra}"):
        export(weights, tmp_path / ENDINGS[form], form)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["safetensors", "torchvision", "stablehlo"])
def test_parameters_that_are_not_finite_are_not_exported(weights, tmp_path, form):
    if form == "stablehlo":
        pytest.importorskip("flatbuffers", reason="flatbuffers is not installed")
    bias = weights.params["fc8"]["bias"]
    broken = weights.params | {"fc8": {**weights.params["fc8"], "bias": bias * np.float32(np.nan)}}
    with pytest.raises(CheckpointError, match="fc8.bias has values that are not finite"):
        export(weights._replace(params=broken), tmp_path / ENDINGS[form], form)
    assert not list(tmp_path.iterdir())


def test_files_get_their_names_together_or_not_at_all(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    with pytest.raises(KeyboardInterrupt), named_when_done(a, b) as (first, second):
        first.mkdir()
        (first / "part").write_text("half")
        second.write_text("half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="cannot write"), named_when_done(a, b) as (first, _):
        first.write_text("whole")  # and the second was never written
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda logits: logits + 1e-3 * np.abs(logits).max(), "other logits than the run in me"),
        (lambda logits: logits[:, :-1], r"returns logits \[1, 6\] for 1 images"),
        (lambda logits: logits * np.nan, "differ by nan"),
    ],
    ids=["value", "shape", "nan"],
)
def test_the_check_finds_differences(wrong, message, weights, monkeypatch):
    ours = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32)
    monkeypatch.setattr(logits_check, "our_logits", lambda *_: ours)

    def compare(change):
        written = logits_check.Written({}, lambda x: change(ours[: len(x)]), "it", "me")
        return logits_check.compare_logits(weights, written, (1, 3))

    with pytest.raises(CheckpointError, match=message):
        compare(wrong)
    assert "by 0.0e+00 at most" in compare(lambda logits: logits)


def test_another_librarys_complaint_becomes_one_line():
    with pytest.raises(AlexNetError, match="them refuses it: first; nothing was kept"):
        with logits_check.errors_of("them", "it"):
            raise RuntimeError("first\nsecond")
