"""A prepared set is the same however it was made, and TFDS reads it without TensorFlow."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest
from interruptions import interrupted
from PIL import Image

from alexnet_jax.config import DataConfig
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.data.decode import decode_rgb
from alexnet_jax.data.prepared import load_statistics, read_prepared
from alexnet_jax.data.square import fit_square
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.preparation import planning, storage
from alexnet_jax.preparation import prepare as preparation
from alexnet_jax.preparation.prepare import ensure_prepared, prepare
from alexnet_jax.preparation.set_options import default_options

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


def write_images(root, classes=("cat", "dog"), count=8, size=(24, 20), kind="jpg"):
    """Writes `count` small pictures into each class folder of `root`; returns root."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            draw = np.random.default_rng([label, index])
            coarse = draw.integers(0, 256, (3, 3, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
            image.save(root / name / f"{index:03d}.{kind}")
    return root


def folder_config(root, **changes):
    options = {"stored_size": 16, "store": "raw", "name": "tiny"} | changes
    return DataConfig(source_kind="folder", source=str(root), **options)


def many_shards(monkeypatch):
    """Cuts sets into shards of two images, so that few images show what many would."""
    real = planning.plan_shards

    def plan(data, source, bad_images: Literal["error", "skip"] = "skip"):
        shards = []
        for shard in real(data, source, bad_images):
            parts = [shard.images[i : i + 2] for i in range(0, len(shard.images), 2)]
            for i, part in enumerate(parts):
                file = storage.shard_file(data.name, shard.split, i, len(parts))
                shards.append(shard._replace(file=file, images=part))
        return shards

    monkeypatch.setattr(preparation, "plan_shards", plan)


def command_of(tmp_path, data, data_dir, workers=0, before=""):
    """Returns a command that runs `before` and prepares `data`, for a process of its own."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, json; from alexnet_jax.config import DataConfig\n"
        "from alexnet_jax.preparation.prepare import prepare\n"
        f"if __name__ == '__main__':\n    {before or 'pass'}\n"
        f"    prepare(DataConfig(**json.loads(sys.argv[1])), sys.argv[2], workers={workers})\n"
    )
    return [sys.executable, script, json.dumps(dataclasses.asdict(data)), str(data_dir)]


def fingerprint(folder):
    return open_dataset(folder).fingerprint


def test_digits_need_nothing(tmp_path):
    folder = ensure_prepared(DataConfig(stored_size=16), tmp_path)
    dataset = open_dataset(folder)
    assert folder.name == "digits-16"
    assert dataset.splits == {"train": 1438, "test": 359}
    assert dataset.class_names == tuple("0123456789")
    train, test = dataset.split("train"), dataset.split("test")
    assert not set(train.keys) & set(test.keys)
    assert len({*train.keys, *test.keys}) == 1797
    for split, least, most in ((train, 139, 146), (test, 35, 37)):
        counts = np.bincount(split.labels)
        assert (counts.min(), counts.max()) == (least, most)
    images = train.images(range(100))
    assert images.shape == (100, 16, 16, 3)
    assert images.max() == 255
    assert (np.diff(train.labels) != 0).mean() > 0.5  # shuffled
    assert ensure_prepared(DataConfig(stored_size=16), tmp_path) == folder


@pytest.mark.parametrize("store", ["raw", "jpeg"])
def test_stored_images_and_statistics_are_those_of_the_sources(tmp_path, store):
    root = write_images(tmp_path / "photos", count=10)
    folder = prepare(folder_config(root, store=store), tmp_path / "data")
    dataset = open_dataset(folder)
    assert dataset.splits == {"train": 18, "validation": 2}
    train = dataset.split("train")
    images = train.images(range(18))
    for image, key, label in zip(images, train.keys, train.labels, strict=True):
        source = fit_square(decode_rgb((root / key).read_bytes()), 16)
        assert np.abs(image.astype(int) - source).max() <= (0 if store == "raw" else 40)
        assert dataset.class_names[label] == key.split("/")[0]
    statistics = load_statistics(folder)
    pixels = images.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(statistics.mean_image, images.mean(0), rtol=1e-6)
    np.testing.assert_allclose(statistics.channel_mean, pixels.mean(0), rtol=1e-6)
    np.testing.assert_allclose(statistics.channel_std, pixels.std(0), rtol=1e-5)
    covariance = np.cov(pixels.T, bias=True)
    vectors, deviations = statistics.colour_vectors, statistics.colour_std
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(vectors * deviations**2 @ vectors.T, covariance, rtol=1e-3)
    assert list(deviations) == sorted(deviations)
    assert all(array.dtype == np.float32 for array in statistics)


@pytest.mark.parametrize("store", ["raw", "jpeg"])
def test_tfds_reads_the_set_without_tensorflow(tmp_path, store):
    root = write_images(tmp_path / "photos")
    folder = prepare(folder_config(root, store=store), tmp_path / "data")
    split = open_dataset(folder).split("train")
    code = f"""
import sys
import numpy as np, tensorflow_datasets as tfds
builder = tfds.builder_from_directory({str(folder)!r})
source = builder.as_data_source("train")
assert len(source) == builder.info.splits["train"].num_examples == {len(split)}
assert builder.info.features["label"].names == ["cat", "dog"]
np.savez({str(tmp_path / "read.npz")!r}, images=np.stack([e["image"] for e in source]),
         labels=[e["label"] for e in source], keys=[e["key"] for e in source])
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    with np.load(tmp_path / "read.npz") as read:
        np.testing.assert_array_equal(read["images"], split.images(range(len(split))))
        np.testing.assert_array_equal(read["labels"], split.labels)
        assert [key.decode() for key in read["keys"]] == split.keys


def test_the_number_of_workers_changes_nothing(tmp_path, monkeypatch):
    root = write_images(tmp_path / "photos")
    many_shards(monkeypatch)
    one = prepare(folder_config(root), tmp_path / "one", workers=0)
    two = prepare(folder_config(root), tmp_path / "two", workers=2)
    assert fingerprint(one) == fingerprint(two)
    for a, b in zip(load_statistics(one), load_statistics(two), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("after", [1, 5])
def test_an_interrupted_preparation_continues(tmp_path, monkeypatch, after, capsys):
    root = write_images(tmp_path / "photos")
    many_shards(monkeypatch)
    unbroken = prepare(folder_config(root), tmp_path / "unbroken")
    with interrupted(monkeypatch, lambda _, done: len(done) == after) as written:
        prepare(folder_config(root), tmp_path / "data")
    folder = tmp_path / "data" / "tiny"
    with pytest.raises(DataError, match="interrupted"):
        open_dataset(folder)
    kept = {file: (folder / file).stat().st_mtime_ns for file in written}
    prepare(folder_config(root), tmp_path / "data")
    assert {file: (folder / file).stat().st_mtime_ns for file in written} == kept
    assert fingerprint(folder) == fingerprint(unbroken)
    assert not (folder / "work").exists()
    assert f"{after} of" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_while_workers_write_then_continued(tmp_path):
    root = write_images(tmp_path / "photos", count=300, size=(40, 30))
    data = folder_config(root, stored_size=32, validation_fraction=0.5)
    command = command_of(tmp_path, data, tmp_path / "data", workers=2)
    process = subprocess.Popen(command, env=ENVIRONMENT)
    work = tmp_path / "data" / "tiny" / "work"
    begin = time.monotonic()
    while not list(work.glob("*.array_record-*")):  # a worker has begun a shard
        assert time.monotonic() - begin < 120
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (work.parent / "prepared.json").exists()
    continued = prepare(data, tmp_path / "data", workers=0)
    unbroken = prepare(data, tmp_path / "unbroken", workers=0)
    assert fingerprint(continued) == fingerprint(unbroken)


def test_a_changed_source_starts_afresh(tmp_path, monkeypatch):
    root = write_images(tmp_path / "photos")
    many_shards(monkeypatch)
    (root / "cat" / "bad.jpg").write_bytes(b"not an image")
    with pytest.raises(DataError, match="bad.jpg: not a JPEG"):
        prepare(folder_config(root), tmp_path / "data", bad_images="error")
    (root / "cat" / "bad.jpg").unlink()
    continued = prepare(folder_config(root), tmp_path / "data", bad_images="error")
    assert fingerprint(continued) == fingerprint(prepare(folder_config(root), tmp_path / "other"))
    prepared = read_prepared(continued)
    assert prepared
    listed = {shard[0] for split in prepared["splits"].values() for shard in split["shards"]}
    assert {path.name for path in continued.glob("*.array_record-*")} == listed


def test_bad_images_are_skipped_and_listed(tmp_path):
    root = write_images(tmp_path / "photos", count=20)
    before = root / "dog" / "bad.jpg"
    before.write_bytes((root / "dog" / "000.jpg").read_bytes()[:200])
    folder = prepare(folder_config(root), tmp_path / "data")
    rows = [json.loads(line) for line in (folder / "bad_images.jsonl").read_text().splitlines()]
    assert [row["key"] for row in rows] == ["dog/bad.jpg"]
    assert "truncated" in rows[0]["reason"].lower()
    assert sum(open_dataset(folder).splits.values()) == 40
    prepared = read_prepared(folder)
    assert prepared and prepared["bad_images"] == 1
    assert before.stat().st_size == 200  # sources are never changed


def test_too_many_bad_images_stop_the_preparation(tmp_path):
    root = write_images(tmp_path / "photos", count=20)
    for index in range(6):
        (root / "cat" / f"bad{index}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="6 bad images .*bad[0-9].jpg: empty file.*more than 10%"):
        prepare(folder_config(root), tmp_path / "data")
    assert len((tmp_path / "data/tiny/bad_images.jsonl").read_text().splitlines()) == 6


def test_twenty_bad_images_in_a_row_stop_at_once(tmp_path):
    root = write_images(tmp_path / "photos", count=3)
    for name in ("cat", "dog"):
        for index in range(200):
            (root / name / f"bad{index}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="20 in a row"):
        prepare(folder_config(root), tmp_path / "data")
    assert len((tmp_path / "data/tiny/bad_images.jsonl").read_text().splitlines()) < 400


def test_a_class_without_a_readable_image_is_an_error(tmp_path):
    root = write_images(tmp_path / "photos", classes=("cat", "dog", "fox"), count=20)
    for path in (root / "fox").iterdir():
        path.unlink()
    (root / "fox" / "0.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="'fox' has no readable training image"):
        prepare(folder_config(root), tmp_path / "data")


def test_an_existing_set_is_never_overwritten(tmp_path):
    root = write_images(tmp_path / "photos")
    folder = prepare(folder_config(root), tmp_path / "data")
    mark = fingerprint(folder)
    assert prepare(folder_config(root), tmp_path / "data") == folder  # the same: nothing to do
    with pytest.raises(DataError, match="stored_size 16, asked for 8"):
        prepare(folder_config(root, stored_size=8), tmp_path / "data")
    other = write_images(tmp_path / "others")
    with pytest.raises(DataError, match="source '.*photos', asked for '.*others'"):
        prepare(folder_config(other), tmp_path / "data")
    assert fingerprint(folder) == mark
    (tmp_path / "data" / "mine").mkdir()
    (tmp_path / "data" / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="no data set of alexnet_jax"):
        prepare(folder_config(root, name="mine"), tmp_path / "data")
    assert os.listdir(tmp_path / "data" / "mine") == ["thesis.txt"]


def test_a_missing_set_names_the_command_that_prepares_it(tmp_path):
    with pytest.raises(DataError) as caught:
        ensure_prepared(default_options("imagenet2012"), tmp_path / "data")
    text = str(caught.value)
    assert "ILSVRC2012_img_train.tar" in text
    assert (
        "python -m alexnet_jax.main prepare --source imagenet2012 PATH --name imagenet2012" in text
    )
    assert not (tmp_path / "data").exists()
    with pytest.raises(DataError, match="--data.source PHOTOS; or type .*prepare --source folder"):
        ensure_prepared(DataConfig(source_kind="folder"), tmp_path)


def test_a_source_is_prepared_at_first_use_under_a_derived_name(tmp_path):
    root = write_images(tmp_path / "My Photos")
    data = folder_config(root, name="")
    folder = ensure_prepared(data, tmp_path / "data")
    assert folder.name.startswith("my-photos-")
    assert ensure_prepared(data, tmp_path / "data") == folder
    larger = ensure_prepared(dataclasses.replace(data, stored_size=8), tmp_path / "data")
    assert larger != folder
    # Without a source, a set is taken by its name.
    found = ensure_prepared(DataConfig(folder.name, "folder", stored_size=16), tmp_path / "data")
    assert found == folder


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"source_kind": "folders"}, "unknown kind of source 'folders'.*Did you mean 'folder'"),
        ({"stored_size": 0}, "stored_size is 0"),
        ({"jpeg_quality": 101}, "jpeg_quality is 101"),
        ({"validation_fraction": 1.0}, "validation_fraction is 1.0"),
        ({"name": "../elsewhere"}, "data.name is '../elsewhere'"),
        ({"source": "nowhere"}, "nowhere does not exist; name a folder"),
    ],
)
def test_impossible_options_are_one_clear_line(tmp_path, changes, text):
    data = dataclasses.replace(folder_config(tmp_path), **changes)
    with pytest.raises(InputError, match=text):
        prepare(data, tmp_path / "data")
    assert not (tmp_path / "data" / "tiny").exists()


def test_a_data_folder_that_can_not_be_written(tmp_path):
    root = write_images(tmp_path / "photos")
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DataError, match="file is a file or is inside a file; choose another --data-dir"
    ):
        prepare(folder_config(root), tmp_path / "file")
    with pytest.raises(DataError, match="file/below is a file or is inside"):
        prepare(folder_config(root), tmp_path / "file" / "below")


def test_a_full_disk_is_one_clear_line_and_keeps_finished_parts(tmp_path):
    root = write_images(tmp_path / "photos", count=40, size=(100, 100))
    data = folder_config(root, stored_size=96)
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))"
    )
    command = command_of(tmp_path, data, tmp_path / "data", before=limit)
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "DataError: cannot write in" in done.stderr
    assert not (tmp_path / "data" / "tiny" / "prepared.json").exists()
    folder = prepare(data, tmp_path / "data", workers=0)
    assert sum(open_dataset(folder).splits.values()) == 80


def test_a_set_too_large_for_the_disk_is_refused_at_once(tmp_path, monkeypatch):
    root = write_images(tmp_path / "photos")
    monkeypatch.setattr(planning.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match="needs about .* GB"):
        prepare(folder_config(root), tmp_path / "data")


def test_two_processes_do_not_prepare_one_set_at_once(tmp_path):
    import filelock

    root = write_images(tmp_path / "photos")
    command = command_of(tmp_path, folder_config(root), tmp_path)
    with filelock.FileLock(tmp_path / ".tiny.lock"):
        process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        assert "another process is preparing tiny" in process.stderr.readline()
        assert not (tmp_path / "tiny").exists()
    assert process.wait(timeout=120) == 0
    process.stderr.close()
    assert open_dataset(tmp_path / "tiny").splits


def test_a_tar_gives_the_same_set_as_its_folder(tmp_path):
    root = write_images(tmp_path / "photos")
    plain = prepare(folder_config(root), tmp_path / "plain")
    modes: tuple[tuple[str, Literal["w", "w:gz"]], ...] = (("tar", "w"), ("tar.gz", "w:gz"))
    for ending, mode in modes:
        archive = tmp_path / f"photos.{ending}"
        with tarfile.open(archive, mode) as tar:
            tar.add(root, "photos")
        packed = prepare(folder_config(archive), tmp_path / ending)
        assert fingerprint(packed) == fingerprint(plain)
