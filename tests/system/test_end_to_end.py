"""The default command as a stranger types it, killed and resumed; what a run is good for."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import chex
import numpy as np
import pytest
from PIL import Image

import alexnet_jax
from alexnet_jax.main import main

ROOT = Path(__file__).resolve().parents[2]
SHORT = ["--epochs", "1", "--evaluate-every-epochs", "0.4", "--log-every-steps", "1"]


def command(workdir, data_dir, *words):
    return [
        *(sys.executable, "-m", "alexnet_jax.main", "--workdir", str(workdir)),
        *("--data-dir", str(data_dir), *SHORT, *words),
    ]


def train(*arguments):
    return subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=240, check=True
    ).stdout


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache folder of these tests' own, for the programs that the commands compile."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if "_CACHE_" in name]:
            patch.delenv(name)
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def run(tmp_path_factory, data_dir):
    """A finished run of one epoch, and what it printed."""
    workdir = tmp_path_factory.mktemp("runs") / "digits run"
    return workdir, train(workdir, data_dir)


def test_the_default_command_prepares_trains_tests_and_says_what_is_next(run):
    workdir, text = run
    assert "232,490 parameters" in text
    assert "test error" in text and "five crops, 359 images" in text
    assert f"alexnet_jax.main predict --workdir '{workdir}'" in text
    for name in ("config.json", "run.json", "metrics.jsonl", "metrics.csv", "report.html"):
        assert (workdir / name).stat().st_size > 0
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    tests = [row for row in rows if "test_views" in row]
    assert [(row["test_views"], row["views_averaged"]) for row in tests] == [(1, 1), (10, 5)]
    for page in ("report.html", "model_card.md"):
        text = (workdir / page).read_text()
        assert "five crops" in text and "ten views" not in text
    report = (workdir / "report.html").read_text()
    assert "What training sees" in report and 'alt="Crops: epoch 6"' in report
    assert "This run ended sooner: later epochs are those of a longer one." in report
    assert 'alt="The test: five crops: bottom right"' in report


@pytest.mark.parametrize("change", [{"data_path": "gone"}, {"data_fingerprint": "another"}])
def test_a_report_without_its_data_set_says_so(run, tmp_path, change):
    shutil.copytree(run[0], tmp_path / "run")
    info = tmp_path / "run" / "run.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | change))
    assert main(["report", "--workdir", str(tmp_path / "run")]) == 0
    report = (tmp_path / "run" / "report.html").read_text()
    assert "The data set is not where this run found it" in report and "epoch 6" not in report


def test_again_there_is_nothing_to_do(run, data_dir):
    workdir, _ = run
    digest = json.loads((workdir / "run.json").read_text())["params_sha256"]
    assert "nothing to do" in train(workdir, data_dir)
    assert json.loads((workdir / "run.json").read_text())["params_sha256"] == digest


@pytest.mark.slow
def test_the_next_start_finds_its_programs_compiled(run, cache, data_dir, tmp_path):
    def programs():
        return {path.name for path in cache.glob("alexnet_jax/compiled/*/*-cache")}

    compiled = programs()
    assert any(name.startswith("jit_train_step") for name in compiled)
    train(tmp_path / "run", data_dir)
    assert programs() == compiled
    infos = [json.loads((folder / "run.json").read_text()) for folder in (run[0], tmp_path / "run")]
    assert infos[0]["params_sha256"] == infos[1]["params_sha256"]
    assert infos[1]["seconds_to_first_step"] > 0


@pytest.mark.slow
def test_kill_nine_and_the_same_command_end_in_the_same_parameters(run, data_dir, tmp_path):
    unbroken, _ = run
    every = ["--checkpoint-every-steps", "7"]
    with subprocess.Popen(
        command(tmp_path / "run", data_dir, *every), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch"):  # the first validation; a checkpoint is being written
                process.kill()
    assert process.returncode == -signal.SIGKILL
    assert "resumed" in train(tmp_path / "run", data_dir, *every)
    first, second = (json.loads((p / "run.json").read_text()) for p in (unbroken, tmp_path / "run"))
    assert first["params_sha256"] == second["params_sha256"]

    def rows(folder):
        found = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        return [{k: v for k, v in row.items() if k != "images_per_second"} for row in found]

    assert rows(unbroken) == rows(tmp_path / "run")


def test_verbs_on_a_finished_run(run, tmp_path, capsys):
    workdir, _ = run
    photo = tmp_path / "seven.png"
    Image.fromarray(np.full((40, 30, 3), 200, np.uint8)).save(photo)
    assert main(["evaluate", "--workdir", str(workdir), "--checkpoint", "last"]) == 0
    assert "359 images, five crops (10 views asked" in capsys.readouterr().out
    assert main(["predict", "--workdir", str(workdir), "--format", "json", str(photo)]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert str(photo) in json.dumps(answer)
    features = tmp_path / "features.npz"
    words = ["features", "--workdir", str(workdir), str(photo), "--output", str(features)]
    assert main([*words, "--layer", "fc7"]) == 0
    with np.load(features, allow_pickle=False) as arrays:
        assert any(arrays[name].shape == (1, 256) for name in arrays.files)
    exported = tmp_path / "model.safetensors"
    words = ["export", "--workdir", str(workdir), "--format", "safetensors"]
    assert main([*words, "--output", str(exported)]) == 0
    assert exported.stat().st_size > 4 * 232_490


def test_python_interface(run):
    workdir, _ = run
    classifier = alexnet_jax.load(workdir)
    image = np.full((1, 32, 32, 3), 128, np.uint8)
    (predictions,) = classifier.predict(image, top_k=3)
    assert len(predictions) == 3 and predictions[0].label in "0123456789"
    chex.assert_shape(classifier.features(image, layer="pool5"), (1, 1, 1, 64))
    model = alexnet_jax.AlexNet(alexnet_jax.NETWORKS["digits"])
    assert model.network is alexnet_jax.NETWORKS["digits"]
