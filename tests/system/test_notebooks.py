"""The notebooks: pairs say the same, and both scripts run from top to bottom."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import compiling
import numpy as np
import pytest
from PIL import Image

from experiments.notebooks.run import FOLDER, NAMES

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "OWNER/alexnet_jax"


def run(name, folder, **variables):
    """Runs a notebook's script in a folder of its own; returns what it printed."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "ALEXNET_DATA_DIR": str(folder / "data"),
        "JAX_PLATFORMS": "cpu",
        **compiling.SOONER,
        **variables,
    }
    environment.pop("JAX_NUM_CPU_DEVICES", None)
    result = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def found(pattern, text):
    """Returns the groups of every place where the pattern is found, of which there are some."""
    groups = re.findall(pattern, text)
    assert groups, f"{pattern} is not in:\n{text}"
    return groups


# --- the pairs ---


def read_pair(name):
    """Returns the notebooks of a script and of its .ipynb."""
    import jupytext

    return [jupytext.read(FOLDER / f"{name}.{ending}") for ending in ("py", "ipynb")]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_the_cells_of_its_script(name):
    script, notebook = (
        [(cell.cell_type, cell.source) for cell in made.cells] for made in read_pair(name)
    )
    assert notebook == script, f"jupytext --to ipynb --update experiments/notebooks/{name}.py"
    assert f"/{ADDRESS}/blob/main/experiments/notebooks/{name}.ipynb)" in notebook[0][1]


def test_all_notebooks_install_the_library_in_the_same_way():
    cells = {read_pair(name)[0].cells[1].source for name in NAMES}
    assert len(cells) == 1 and ADDRESS in cells.pop()


@pytest.mark.parametrize("place", ["clone", "beside", "nowhere", "published"])
def test_the_first_cell_takes_the_clone_or_the_address_or_says_that_there_is_none(
    place, tmp_path, monkeypatch
):
    install = read_pair("alexnet")[0].cells[1].source
    if place == "published":
        install = install.replace(ADDRESS, "some/body")
    if place == "beside":
        (tmp_path / "source").mkdir()
    called = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda words, check: called.append(words))
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.chdir(FOLDER if place == "clone" else tmp_path)
    cell = compile(install, "cell", "exec")
    if place == "nowhere":
        with pytest.raises(RuntimeError, match="no address .* open it in a clone"):
            exec(cell, {})
        assert not called
        return
    exec(cell, {})
    source = ROOT if place == "clone" else tmp_path / "source"
    assert sys.path == [str(source)]
    if place == "published":
        clone = ["git", "clone", "-q", "--depth", "1", "https://github.com/some/body", source]
        assert called.pop(0) == clone
    ((*_, requirements, wheels),) = called
    assert requirements == source / "requirements.txt" and wheels.startswith("jax")


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_valid_and_shows_little(name):
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    kinds = [cell["cell_type"] for cell in notebook["cells"]]
    assert kinds[0] == "markdown" and kinds.count("code") >= 7
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["execution_count"] is None
            for output in cell["outputs"]:
                assert output["output_type"] in ("stream", "display_data")
                assert not re.search(r"/(tmp|home|root)/", json.dumps(output.get("text", "")))
            ast.parse("".join(cell["source"]))
    assert (FOLDER / f"{name}.ipynb").stat().st_size < 300_000


# --- what they show ---


@pytest.mark.slow
def test_the_first_notebook_trains_looks_and_restores(tmp_path):
    text = run("alexnet", tmp_path, ALEXNET_NOTEBOOK_EPOCHS="3")
    workdir = tmp_path / "runs" / "digits"
    assert "cpu: " in text and "digits: 3 epochs in batches of 64" in text
    rows = found(r"\n +(\d+\.\d) +(\d\.\d{4}) +(\d\.\d{4}) +(\d+\.\d\d) %", text)
    assert float(rows[-1][0]) == pytest.approx(3, abs=0.05)
    # What `load` restores has the errors that the run itself recorded.
    final = [
        row
        for row in map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
        if "test_views" in row
    ]
    errors = [float(error) for error in found(r"of 359 wrong, (\d+\.\d\d) %", text)]
    assert errors == [round(100 * row["final/top1_error"], 2) for row in final]
    assert max(errors) < 60  # of ten classes, after three epochs
    assert "fc7: (1438, 256)" in text
    assert float(found(r"(\d+) % of the neighbours", text)[0]) > 30  # 10 by chance
    for name in ("filters", "predictions", "neighbours"):
        pixels = np.asarray(Image.open(workdir / f"{name}.png"))
        assert pixels.shape[2] == 3 and min(pixels.shape[:2]) > 90 and pixels.std() > 20, name


@pytest.mark.slow
def test_the_notebook_on_augmentation_shows_every_kind_of_change(tmp_path):
    text = run("augmentation", tmp_path)
    assert "256x256 pixels" in text and "at one of 1,089 places. Half are mirrored." in text
    spreads = [float(spread) for spread in found(r"\n +(\d+\.\d) +[+-]\d\.\d\d +[+-]", text)]
    assert len(spreads) == 3 and spreads == sorted(spreads) and spreads[0] > 5  # a colour photo
    assert found(r"\n(\S+) +\d+ of +\d+ pixels: (.+)", text) == [
        ("imagenet", "ten views"),
        ("digits", "five crops"),
        ("cifar10-18pct", "one view"),
    ]
    for name in ("crops", "colours", "forms", "resized", "views"):
        pixels = np.asarray(Image.open(tmp_path / "runs" / "augmentation" / f"{name}.png"))
        assert pixels.shape[1] > 600 and pixels.std() > 40, name


@pytest.mark.slow
def test_the_second_notebook_finds_one_network_on_two_devices(tmp_path):
    text = run("two_towers", tmp_path)
    assert "Mesh('data': 1, 'tower': 2" in text
    assert "conv2: whole (5, 5, 8, 32)" in text
    assert found(r"holds \(5, 5, 8, 16\), outputs (\d+) to (\d+)", text) == [
        ("0", "15"),
        ("16", "31"),
    ]
    gathers = found(r"\n(gather\d) .*<- both towers", text)
    assert gathers == ["gather2", "gather5", "gather6", "gather7"]
    differences = found(r"largest difference: (\d\.\de-\d\d|0\.0e\+00)", text)
    assert len(differences) == 4 and max(map(float, differences[:3])) < 1e-5
    assert float(differences[3]) < 1e-12  # after training, in float64
    assert found(r"\n(all-gather|reduce-scatter): (\d)", text) == [
        ("all-gather", "4"),
        ("reduce-scatter", "3"),
    ]
    for other in ("all-reduce", "all-to-all", "collective-permute"):
        assert f"\n{other}: 0" in text
    assert "together 121,344 bytes" in text
    (one,), (two,) = (found(rf"\n{who} +: ([\d. ]+)", text) for who in ("one device", "two towers"))
    losses, others = (np.array(line.split(), float) for line in (one, two))
    assert len(losses) == 5 and losses.min() < losses[0]  # with dropout, on a small batch
    np.testing.assert_array_equal(others, losses)  # as printed: five decimals
    assert "'one-weird-trick' has no groups" in text and "across the border" in text


@pytest.mark.slow
def test_the_third_notebook_compares_layers(tmp_path):
    text = run("layers", tmp_path, ALEXNET_NOTEBOOK_EPOCHS="3")
    assert "digits: 100 pictures of 10 kinds" in text
    assert found(r"\nconv1 +(\d+) +(\d+) +(\d+) +(\d+)", text) == [("12", "7", "2", "3")]
    apart = dict(found(r"\n([\w:]+) +-?\d\.\d{3} +-?\d\.\d{3} +(-?\d\.\d{3})", text))
    assert float(apart["fc7"]) > float(apart["conv1"]) > 0.05
    pixels = np.asarray(Image.open(tmp_path / "runs" / "digits" / "similarity.png"))
    assert pixels.shape[1] > 700 and pixels.std() > 40


@pytest.mark.slow
def test_the_fourth_notebook_trains_on_photos_with_and_without_a_trunk(tmp_path):
    text = run("own_photos", tmp_path, ALEXNET_NOTEBOOK_EPOCHS="4")
    assert "80 train, 71 test; 2 classes: digit 8 40, digit 9 40" in text
    assert "conv1 to fc7 from the trunk" in text
    last = dict(found(r"\n([\w-]+) +last +(\d+\.\d) %", text))
    assert set(last) == {"on-trunk", "alone"} and max(map(float, last.values())) < 50
    assert len(found(r"digit \d/\d+\.png: digit \d \d+\.\d %", text)) == 3
