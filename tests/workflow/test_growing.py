"""An experiment on photos that become more: runs go on as they began, new ones see all of them."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from alexnet_jax import workflow
from alexnet_jax.presets import PRESETS
from alexnet_jax.runs.record import RunRecord, write_record
from alexnet_jax.workflow import run as workflow_run


class _Stop(Exception):
    """Training would begin now."""


def add(root, name, first, count):
    (root / name).mkdir(parents=True, exist_ok=True)
    for index in range(first, first + count):
        pixels = np.random.default_rng([len(name), index]).integers(0, 256, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(root / name / f"{index}.png")


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Returns what begins a run, and what it would be trained on: name and classes of a set."""

    def open_run(config, workdir, dataset, record, *_):
        if record is None:
            info = {"class_names": list(dataset.class_names), "stored_size": dataset.stored_size}
            info["data_fingerprint"] = dataset.fingerprint
            write_record(workdir, RunRecord(config, info))
        found.append((dataset.path.name, len(dataset.class_names), config.data.stored_size))
        raise _Stop

    def call(workdir, source=str(tmp_path / "photos")):
        config = PRESETS["folder"]
        data = dataclasses.replace(config.data, name="set", source=source)
        lines = []
        with pytest.raises(_Stop):
            workflow.train(
                dataclasses.replace(config, data=data), tmp_path / workdir, tmp_path / "data",
                say=lines.append,
            )  # fmt: skip
        return found[-1], "\n".join(lines)

    found = []
    monkeypatch.setattr(workflow_run, "open_run", open_run)
    return call


def test_runs_go_on_as_they_began_and_new_ones_see_all(tmp_path, begin):
    photos = tmp_path / "photos"
    for name in ("disc", "stripe"):
        add(photos, name, 0, 12)
    first, text = begin("a")
    assert first == ("set", 2, 72) and "22 train" in text
    for name in ("disc", "stripe", "square"):
        add(photos, name, 100, 20)
    again, text = begin("a")
    assert again == first
    assert "60 added, new class square; this run continues with set," in text
    second, text = begin("b")
    assert second == ("set.2", 3, 72), "stored as before"
    assert "3 classes: disc 29, square 18, stripe 29" in text, "the recipe sees what will be there"
    assert "60 added, new class square\n" in text
    again, text = begin("a")
    assert again == first and "set.2 holds newer contents" in text
    assert begin("c", source="")[0] == second
    assert begin("a", source="")[0] == first
    photos.rename(tmp_path / "unplugged")
    again, text = begin("d")
    assert again == second and text.count("is not there") == 1
