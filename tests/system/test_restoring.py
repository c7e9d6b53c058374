"""The recipes that restore a run with Orbax alone, in a process that cannot import this library."""

import dataclasses
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import numpy as np
import PIL.Image
import pytest
from tiny import config, dataset, tiny_network, train  # noqa: F401

import alexnet_jax
from alexnet_jax.runs.checkpoint import Checkpoints
from alexnet_jax.runs.run_weights import load_weights

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "experiments" / "restoring" / "README.md"
GUIDE = ROOT / "alexnet_jax" / "guide" / "python.md"


def python_of(page):
    text = page.read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def recipe(page):
    [block] = [block for block in python_of(page) if "ocp.load(" in block]
    return block


def run_alone(folder, *parts):
    """Runs code in `folder` on one device, without this library and without a single warning."""
    alone = "import sys; sys.modules['alexnet_jax'] = sys.modules['flax'] = None\n"
    env = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", alone + "".join(parts)],
        **{"cwd": folder, "env": env | {"JAX_PLATFORMS": "cpu"}, "timeout": 240},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def assert_same(saved, params):
    """Bit for bit."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    assert len(saved) == len(leaves) > 2
    for path, leaf in leaves:
        found = saved[jax.tree_util.keystr(path)]
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, leaf)


SAVE = """
leaves = jax.tree_util.tree_leaves_with_path(params)
np.savez("params.npz", **{jax.tree_util.keystr(path): leaf for path, leaf in leaves})
"""


@pytest.fixture(scope="module")
def place(config, dataset, tmp_path_factory):  # noqa: F811
    """A folder with a run, in runs/, that four devices have trained together."""
    folder = tmp_path_factory.mktemp("place")
    config = dataclasses.replace(config, batch_size=12, replicas=4)
    outcome = train(config, folder / "runs", dataset)
    momentum = jax.tree.leaves(outcome.state.opt_state)
    assert len(jax.devices()) == 4 and any(np.any(leaf) for leaf in momentum)
    return folder


def test_five_lines_restore_the_parameters_of_many_devices_on_one(place):
    run_alone(place, recipe(GUIDE), SAVE)
    # Not the momentum, which has the same shapes and is what Orbax gives when no item is named.
    assert_same(np.load(place / "params.npz"), load_weights(place / "runs", "last").params)
    assert recipe(GUIDE).count(" = ") == 5


def test_the_page_finds_the_best_step_and_the_digests(place):
    best = next(block for block in python_of(PAGE) if "best = " in block)
    digests = next(block for block in python_of(PAGE) if "hashlib" in block)
    flip = "params['conv1']['kernel'].view(np.uint8)[0] ^= 1\n"
    again = f"try:\n{textwrap.indent(digests, '  ')}except AssertionError:\n  print('told')\n"
    (place / "runs/checkpoints/99.orbax-checkpoint-tmp").mkdir()  # a save that was broken off
    code = recipe(PAGE), best, digests, SAVE, "print(last.name, best.name)\n", flip, again
    found = run_alone(place, *code).split()
    checkpoints = Checkpoints(place / "runs", read_only=True)
    steps = [str(checkpoints.step_of(name)) for name in ("last", "best")]
    checkpoints.close()
    assert steps[0] != steps[1] and found == [*steps, "told"]
    assert_same(np.load(place / "params.npz"), load_weights(place / "runs", "last").params)


@pytest.mark.slow
def test_the_page_computes_our_logits_by_plain_jax(tmp_path, monkeypatch):
    """Of the default preset, as two towers and two replicas have trained it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALEXNET_DATA_DIR", str(tmp_path / "data"))
    digits = alexnet_jax.PRESETS["digits"]
    short = dataclasses.replace(digits, epochs=2, final_views=1, towers=2, replicas=2)
    alexnet_jax.train(short, "runs", say=lambda text: None)
    found = python_of(PAGE)
    alone = [block for block in found if "alexnet_jax" not in block]
    assert len(alone) == 5 and len(found) == 7
    run_alone(tmp_path, *alone, "np.savez('found.npz', images=images, logits=logits)")
    saved = np.load("found.npz")

    classifier = alexnet_jax.load("runs", "last")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(saved["images"], classifier.preprocess(pixels))
    ours = classifier.features(pixels, "fc8")
    assert ours.std() > 0.1
    np.testing.assert_allclose(saved["logits"], ours, rtol=1e-4, atol=1e-4)

    PIL.Image.fromarray(pixels[0]).save("photo.jpg")
    names = {"jax": jax, "images": saved["images"]}
    exec(compile("".join(block for block in found if block not in alone), PAGE, "exec"), names)
    np.testing.assert_allclose(names["logits"], ours, rtol=1e-4, atol=1e-4)
    assert names["gradient"].shape == saved["images"].shape and names["gradient"][0].any()
