"""What `doctor` finds: each damage by its name, with a remedy; and it repairs nothing."""

import dataclasses
import hashlib
import os
import shutil
import zipfile
from types import SimpleNamespace

import pytest
from tiny import config, dataset, tiny_network  # noqa: F401

from alexnet_jax import workflow
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.data.prepared import EXAMPLES, PREPARED, STATISTICS
from alexnet_jax.doctor import findings
from alexnet_jax.main import main
from alexnet_jax.preparation.sources import imagenet2012

DAMAGES = ("missing", "empty", "cut", "flipped")
RUN_FILES = ("run.json", "config.json", "inputs.npz", "final.npz", "metrics.jsonl")
CHECKPOINT_FILES = ("meta/metadata", "params/d/*", "opt_state/d/*")


@pytest.fixture(scope="module")
def whole(config, dataset, tmp_path_factory):  # noqa: F811
    """A folder with a prepared set in `data`, and a finished run."""
    root = tmp_path_factory.mktemp("whole")
    shutil.copytree(dataset.path, root / "data" / dataset.path.name)
    data = dataclasses.replace(config.data, name=dataset.path.name, stored_size=10)
    mine = dataclasses.replace(config, data=data, final_views=1, preset="tiny")
    workflow.train(mine, root / "run", data_dir=root / "data", say=lambda _: None)
    return root


@pytest.fixture
def place(whole, tmp_path):
    """A copy of it that a test may damage."""
    shutil.copytree(whole, tmp_path / "place")
    return tmp_path / "place"


def doctor(place, capsys, code):
    """Returns the lines on what is bad, and all; the folder is as it was before."""
    capsys.readouterr()
    before = contents(place)
    words = ["doctor", "--data-dir", str(place / "data"), "--workdir", str(place / "run")]
    found = main(words)
    text = capsys.readouterr().out
    assert found == code, text
    assert contents(place) == before
    bad = [line for line in text.splitlines() if line.startswith("bad")]
    assert text.rstrip().endswith(f"{len(bad)} to repair" if code else "all is well")
    return bad, text


def contents(place):
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


def inside(path):
    """A place in the file where there is something that counts."""
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            largest = max(archive.infolist(), key=lambda member: member.compress_size)
        return largest.header_offset + 60 + len(largest.filename) + largest.compress_size // 2
    if "array_record" in path.name:
        image = open_dataset(path.parent, cache_bytes=0).split("train").stored_bytes(20)
        return path.read_bytes().index(bytes(image)) + 100
    return path.stat().st_size // 2


def damage_file(path, damage):
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        place = inside(path)
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
    else:
        path.write_bytes(b"" if damage == "empty" else data[: len(data) // 2])


def test_what_is_whole_is_well(place, capsys):
    _, text = doctor(place, capsys, 0)
    assert "train 44, test 10 images, 2 classes" in text
    assert "jax 0." in text and "tensorflow" in text and "GiB free" in text
    assert "preset tiny, network tiny, status finished" in text
    assert text.count("digests match") >= 2 and "(best)" in text


def test_nothing_there_is_no_damage(tmp_path, capsys):
    _, text = doctor(tmp_path, capsys, 0)
    assert "none in" in text and "holds no run yet" in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", RUN_FILES)
def test_every_file_of_a_run(place, name, damage, capsys):
    if damage == "flipped" and name in ("run.json", "config.json", "metrics.jsonl"):
        pytest.skip("some other character of a text may be as good")
    if damage == "missing" and name == "final.npz":
        pytest.skip("an interrupted run has none")
    damage_file(place / "run" / name, damage)
    bad, _ = doctor(place, capsys, 1)
    assert len(bad) == 1 and name in bad[0], bad
    assert "training command" in bad[0], "the remedy"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", CHECKPOINT_FILES)
@pytest.mark.parametrize("which", [0, -1])
def test_every_checkpoint(place, name, damage, which, capsys):
    steps = sorted((place / "run" / "checkpoints").iterdir(), key=lambda step: int(step.name))
    path = max(steps[which].glob(name), key=lambda path: path.stat().st_size)
    damage_file(path, damage)
    bad, _ = doctor(place, capsys, 1)
    assert len(bad) == 1 and f"step {steps[which].name}" in bad[0], bad
    assert "sets it aside" in bad[0], "the remedy"


@pytest.mark.parametrize("damage", ["empty", "cut"])
def test_the_metrics_of_a_checkpoint(place, damage, capsys):
    path = next((place / "run" / "checkpoints").glob("*/metrics/metrics"))
    damage_file(path, damage)
    bad, _ = doctor(place, capsys, 1)
    assert len(bad) == 1 and "metrics of checkpoint" in bad[0], bad
    assert "cannot be chosen as the best" in bad[0]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [PREPARED, STATISTICS, EXAMPLES, "*.array_record-*"])
def test_every_file_of_a_data_set(place, name, damage, capsys):
    (folder,) = (place / "data").iterdir()
    path = max(folder.glob(name), key=lambda path: path.stat().st_size)
    if damage == "flipped" and name == PREPARED:
        pytest.skip("some other character of a text may be as good")
    damage_file(path, damage)
    if name == PREPARED and damage == "missing":
        _, text = doctor(place, capsys, 0)
        assert "is not complete; repeat its `prepare`" in text
        return
    bad, _ = doctor(place, capsys, 1)
    assert len(bad) == 1 and "data set" in bad[0], bad
    assert "prepare" in bad[0], "the remedy"


def test_names_cannot_steer_the_terminal(place, capsys):
    (folder,) = (place / "data").iterdir()
    folder.rename(folder.with_name("\x1b[31mred"))
    _, text = doctor(place, capsys, 0)
    assert "\x1b" not in text and "\\x1b[31mred" in text


def test_checkpoints_that_were_set_aside_are_named(place, capsys):
    (place / "run" / "damaged_checkpoints").mkdir()
    _, text = doctor(place, capsys, 0)
    assert "damaged_checkpoints holds damaged ones; it may be removed" in text


def test_the_archives_of_imagenet_have_their_published_sums(tmp_path, monkeypatch):
    content = b"the real one"
    archives = {
        "a.tar": (len(content), hashlib.md5(content).hexdigest()),
        "b.tar": (len(content) + 1, hashlib.md5(content).hexdigest()),
        "c.tar.gz": (None, hashlib.md5(b"another").hexdigest()),
        "d.tar": (None, ""),
    }
    monkeypatch.setattr("alexnet_jax.preparation.sources.imagenet2012.ARCHIVES", archives)
    for name in ("a.tar", "b.tar", "c.tar.gz"):
        (tmp_path / name).write_bytes(content)
    found = [f for f in findings(None, tmp_path, tmp_path) if f.subject == "imagenet"]
    assert [f.state for f in found] == ["ok", "bad", "bad", "note"]
    assert "has 12 bytes, expected are 13; fetch it again" in found[1].text
    assert f"published is {archives['c.tar.gz'][1]}" in found[2].text
    assert "d.tar is not in" in found[3].text


def test_the_published_sums_are_those_of_every_archive():
    for bytes_of, md5 in imagenet2012.ARCHIVES.values():
        assert len(bytes.fromhex(md5)) == 16 and (bytes_of is None or bytes_of % 512 == 0)
    assert list(imagenet2012.ARCHIVES) == [
        "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz",
    ]  # fmt: skip


def cards(monkeypatch, folder, plugins=(), asked=""):
    """What doctor says of an NVIDIA card in `folder`, on the CPU devices of these tests."""
    monkeypatch.setattr("alexnet_jax.machine.NVIDIA_DRIVER", folder)
    monkeypatch.setenv("JAX_PLATFORMS", asked)
    installed = [SimpleNamespace(metadata={"Name": name}) for name in plugins]
    monkeypatch.setattr("alexnet_jax.machine.metadata.distributions", lambda: installed)
    found = [f for f in findings(None, folder) if f.subject == "devices"]
    assert found[0].state == "ok" and found[0].text.startswith("cpu: ")
    return found[1:]


def test_an_nvidia_card_that_jax_does_not_use_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cards(monkeypatch, tmp_path) == []
    place = tmp_path / "gpus" / "0000:01:00.0"
    place.mkdir(parents=True)
    (place / "information").write_text("Model: \t\t NVIDIA H200\nIRQ:   \t 41\n")
    (found,) = cards(monkeypatch, tmp_path)
    assert found.state == "bad" and found.text.startswith("NVIDIA H200 is here")
    assert 'pip install "jax[cuda13]"' in found.text
    (found,) = cards(monkeypatch, tmp_path, ["jax-cuda13-plugin", "jax-cuda13-pjrt"])
    assert found.state == "bad" and "jax-cuda13-plugin is installed" in found.text
    (found,) = cards(monkeypatch, tmp_path, asked="cpu")
    assert found.state == "note" and "JAX_PLATFORMS is 'cpu'" in found.text


def test_where_the_driver_has_no_files_its_own_program_is_asked(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-1-2)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (found,) = cards(monkeypatch, tmp_path)
    assert found.text.startswith("NVIDIA GeForce RTX 4090 is here")
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    assert cards(monkeypatch, tmp_path) == []
