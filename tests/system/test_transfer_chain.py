"""The chain of four runs behind the paper's 16.6 %, by the commands that the presets state.

145 on ILSVRC-2012 (from archives in the layout of the original ones), its layers in 146 on Fall
2009, those in 146 on Fall 2011, and those in 146 on ILSVRC-2012 again: with the presets' own
layers, rates and schedules, on a few small images, and with networks that are narrow but have the
layers' real names and order.
"""

import contextlib
import dataclasses
import io
import json
import shlex

import compiling
import numpy as np
import pytest
from archives import write_imagenet2012
from PIL import Image

from alexnet_jax.display import Display
from alexnet_jax.main import main
from alexnet_jax.network.layers import Lrn, Network, ResponseNorm, with_features, without
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.preparation.prepare import ensure_prepared
from alexnet_jax.preset_notes import NOTES
from alexnet_jax.presets import PRESETS
from alexnet_jax.runs.run_weights import load_weights

CHAIN = ("imagenet-original", "fall-2009", "fall-2011-pretrain", "imagenet-finetune")
SIZE, STORED = 52, 60
NARROW = {
    "conv1": 8, "conv2": 8, "conv3": 8, "conv4": 8, "conv5": 8, "conv6": 8, "fc6": 16, "fc7": 16,
    "bottleneck": 8,
}  # fmt: skip
SMALL = shlex.split(
    f"--data-dir data --data.stored-size {STORED} --image-size {SIZE} --batch-size 4 --epochs 0.5 "
    "--final-views 1 --replicas 1 --evaluate-every-epochs 9 --data.store raw"
)
CONVS = ["conv1", "conv2", "conv3", "conv4", "conv5"]


def noise(rng):
    """Returns a picture of noise, as the bytes of a PNG."""
    buffer = io.BytesIO()
    image = rng.integers(0, 256, (STORED, STORED, 3)).astype(np.uint8)
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_images(folder, classes, seed, count=8):
    """Writes one folder per class, in the form that these two sets have."""
    rng = np.random.default_rng(seed)
    for label in range(classes):
        place = folder / f"n{seed}{label:04}"
        place.mkdir(parents=True)
        for i in range(count):
            (place / f"{place.name}_{i}.png").write_bytes(noise(rng))


def make_narrow(patch):
    """Gives networks of the chain few features, and no norms, which take long to compile."""
    for name in ("original", "six-conv", "six-conv-2011"):
        network = NETWORKS[name]
        known = {k: v for k, v in NARROW.items() if k in str(network.layers)}
        layers = without(with_features(network.layers, known), Lrn, ResponseNorm)
        patch.setitem(NETWORKS, name, Network(name, layers, SIZE, network.source))


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """The folder in which the four commands were typed, and what they printed."""
    home = tmp_path_factory.mktemp("chain")
    rng = np.random.default_rng(0)
    write_imagenet2012(home / "ILSVRC2012", lambda _: noise(rng), train=8)
    for seed, (name, classes) in enumerate({"FALL2009": 4, "FALL2011": 5}.items(), 1):
        write_images(home / name, classes, seed)
    printed = {}
    with pytest.MonkeyPatch.context() as patch, compiling.few_optimizations():
        patch.chdir(home)
        patch.setenv("JAX_COMPILATION_CACHE_DIR", "")
        make_narrow(patch)
        prepare = "prepare --source imagenet2012 ILSVRC2012 --name imagenet2012 --data-dir data"
        assert main([*prepare.split(), "--stored-size", str(STORED), "--store", "raw"]) == 0
        for seed, preset in enumerate(CHAIN):
            words = shlex.split(NOTES[preset].command)
            assert words[:4] == ["python", "-m", "alexnet_jax.main", "train"]
            with contextlib.redirect_stdout(io.StringIO()) as out:
                assert main([*words[3:], *SMALL, "--seed", str(seed)]) == 0
            printed[preset] = out.getvalue()
        yield home, printed


def params_of(home, preset):
    return load_weights(home / "runs" / preset, "last").params


def likeness(a, b):
    """The cosine of the angle between two kernels."""
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("child", "parent", "copied", "fresh"),
    [
        ("fall-2009", "imagenet-original", CONVS, ["fc6", "fc7"]),
        ("fall-2011-pretrain", "fall-2009", [*CONVS, "conv6"], ["fc6", "fc7"]),
        ("imagenet-finetune", "fall-2011-pretrain", [*CONVS, "conv6", "fc6", "fc7"], []),
    ],
)
def test_each_run_takes_its_layers_from_the_one_before(chain, child, parent, copied, fresh):
    home, printed = chain
    step = json.loads((home / "runs" / parent / "run.json").read_text())["step"]
    assert f"copied {', '.join(copied)} from step {step} of " in printed[child]
    ours, theirs = params_of(home, child), params_of(home, parent)
    for layer in copied:
        assert likeness(ours[layer]["kernel"], theirs[layer]["kernel"]) > 0.9, layer
    for layer in fresh:
        assert abs(likeness(ours[layer]["kernel"], theirs[layer]["kernel"])) < 0.5, layer


@pytest.mark.slow
def test_the_bottleneck_is_dropped_and_the_classifiers_are_fresh(chain):
    home, _ = chain
    outputs = [params_of(home, preset)["fc8"]["kernel"].shape for preset in CHAIN]
    assert outputs == [(16, 3), (16, 4), (8, 5), (16, 3)]
    assert "bottleneck" in params_of(home, "fall-2011-pretrain")
    assert "bottleneck" not in params_of(home, "imagenet-finetune")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "data", "parent", "message"),
    [
        ("fall-2011-pretrain", "FALL2011", "imagenet-original", "has no layer 'conv6'"),
        ("imagenet-finetune", "", "", "name its folder with --transfer.run"),
    ],
)
def test_a_link_that_does_not_fit_is_refused(chain, capsys, preset, data, parent, message):
    home, _ = chain
    more = [*(["--data.source", data] if data else []), *SMALL]
    more += ["--transfer.run", f"runs/{parent}"] if parent else []
    assert main(["train", "--preset", preset, "--workdir", "runs/wrong", *more]) == 1
    assert message in capsys.readouterr().err
    assert not (home / "runs" / "wrong" / "config.json").exists()


@pytest.mark.slow
def test_fall_2009_trains_on_half_of_its_images_and_tests_on_the_other(tmp_path, monkeypatch):
    """Paper §6: "half of the images for training, half for testing"."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    make_narrow(monkeypatch)
    assert halves_of_fall_2009(tmp_path) == {"train": [5, 5, 5], "validation": [5, 5, 5]}
    words = shlex.split(NOTES["fall-2009"].command)[3:]
    words = words[: words.index("--transfer.run")] + ["--transfer.layers"]  # no run to take from
    with compiling.few_optimizations():
        assert main([*words, *SMALL]) == 0
    sets = [path.name for path in (tmp_path / "data").iterdir() if path.is_dir()]
    assert sets == ["fall2009"], "it is the set that was prepared"
    run = tmp_path / "runs" / "fall-2009"
    info = json.loads((run / "run.json").read_text())
    assert (info["train_images"], info["validation_images"], info["status"]) == (15, 15, "finished")
    assert len(info["class_names"]) == 3


def test_prepare_halves_fall_2009_as_its_preset_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert halves_of_fall_2009(tmp_path) == {"train": [5, 5, 5], "validation": [5, 5, 5]}
    before = (tmp_path / "data" / "fall2009" / "prepared.json").read_bytes()
    preset = PRESETS["fall-2009"].data
    assert preset.validation_fraction == 0.5 and preset.validation_split == "validation"
    small = {"source": "FALL2009", "stored_size": STORED, "store": "raw"}
    folder = ensure_prepared(
        dataclasses.replace(preset, **small),
        tmp_path / "data",
        display=Display(quiet=True),
    )
    assert folder == tmp_path / "data" / "fall2009"
    assert (folder / "prepared.json").read_bytes() == before, "the halves are the same"


def halves_of_fall_2009(home):
    """Prepares as a person would; returns the images of each class by split."""
    write_images(home / "FALL2009", 3, seed=1, count=10)
    prepare = "prepare --source folder FALL2009 --name fall2009 --validation-fraction 0.5"
    stored = f"--orientation stored --colours stored --stored-size {STORED} --store raw"
    assert main([*prepare.split(), *stored.split(), "--data-dir", "data"]) == 0
    prepared = json.loads((home / "data" / "fall2009" / "prepared.json").read_text())
    return {name: split["per_class"] for name, split in prepared["splits"].items()}
