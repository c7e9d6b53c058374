"""Stored images are read through TFDS and compared with their checksums, in old sets too."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from alexnet_jax.config import DataConfig
from alexnet_jax.data import records
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.data.prepared import EXAMPLES
from alexnet_jax.display import Display
from alexnet_jax.errors import DataError
from alexnet_jax.preparation.examples import example
from alexnet_jax.preparation.prepare import prepare

SIZE = 160


@pytest.fixture(scope="module", params=["raw", "jpeg"])
def folder(request, tmp_path_factory):
    """A set of 18 random pictures to train on and 6 to validate, longer than Riegeli's blocks."""
    root = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(1)
    for index in range(24):
        (root / f"class{index % 2}").mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"class{index % 2}" / f"{index:02d}.png")
    data = DataConfig("set", "folder", str(root), SIZE, request.param, validation_fraction=0.25)
    return prepare(data, tmp_path_factory.mktemp("data"), display=Display.on_stderr(quiet=True))


def as_old_code_wrote_it(folder, copy, layout):
    """A copy of the set in a layout of older programs.

    With "places": [n, 3] of offset in the shard, length and CRC-32; with "nothing": not even that.
    """
    shutil.copytree(folder, copy)
    with np.load(copy / EXAMPLES) as arrays:
        kept = {name: arrays[name] for name in arrays if not name.endswith("_checksums")}
        for split in ("train", "validation"):
            checksums = arrays[f"{split}_checksums"].astype(np.int64)
            if layout == "places":
                unused = np.full_like(checksums, 24)
                kept[f"{split}_places"] = np.stack([unused, unused, checksums], axis=1)
    np.savez(copy / EXAMPLES, **kept)
    return copy


@pytest.mark.parametrize("layout", ["places", "nothing"])
def test_old_sets_are_read(folder, tmp_path, layout):
    new = open_dataset(folder, 0)
    old = open_dataset(as_old_code_wrote_it(folder, tmp_path / "old", layout), 0)
    assert old.fingerprint == new.fingerprint
    for name in ("train", "validation"):
        everything = range(len(new.split(name)))
        found, expected = old.split(name).images(everything), new.split(name).images(everything)
        np.testing.assert_array_equal(found, expected)


def test_images_are_found_in_messages_without_parsing():
    for length in (0, 1, 100, 127, 128, 16_370, 16_384, 70_000):
        image = bytes(range(1, 256)) * 300
        for key in ("a.jpg", "\n\x05image\x12"):
            message = example(image[:length], 7, key)
            assert bytes(records._found(message)) == image[:length]
            start = message.index(records._NAME) + records._head_bytes(length)
            assert message[start : start + length] == image[:length]
    for torn in (b"", records._NAME, records._NAME + b"\xff" * 9, message[:12]):
        assert len(records._found(torn)) <= len(torn)  # the checksum tells


def test_an_image_whose_name_stands_elsewhere_too_is_parsed(folder, monkeypatch):
    split = open_dataset(folder, 0).split("train")
    wanted = split.stored_bytes(3)
    monkeypatch.setattr(records, "_NAME", b"key")
    assert open_dataset(folder, 0).split("train").stored_bytes(3) == wanted


@pytest.mark.parametrize("cache_bytes", [0, 10**8])
@pytest.mark.parametrize("size", [160, 128, 99, 55])
def test_crops_are_cut_from_the_images(folder, cache_bytes, size):
    split = open_dataset(folder, cache_bytes).split("train")
    rng = np.random.default_rng(size)
    indices = rng.integers(0, len(split), 20)
    offsets = rng.integers(0, SIZE - size + 1, (20, 2))
    flips = np.arange(20) % 2 == 1
    out = np.zeros((20, size, size, 3), np.uint8)
    split.crops(indices, offsets, flips, out)
    for image, (top, left), flip, got in zip(
        split.images(indices), offsets, flips, out, strict=True
    ):
        crop = image[top : top + size, left : left + size]
        np.testing.assert_array_equal(got, crop[:, ::-1] if flip else crop)


def damage(copy, index):
    """Changes one byte of a stored training image, as a failing disk may."""
    image = open_dataset(copy, 0).split("train").stored_bytes(index)
    shard = next(copy.glob("*-train.array_record-*"))
    data = bytearray(shard.read_bytes())
    data[data.index(image[-200:-100])] ^= 255
    shard.write_bytes(data)


@pytest.mark.parametrize("layout", ["new", "places"])
def test_a_damaged_image_is_an_error_and_others_are_read(folder, tmp_path, layout):
    copy = tmp_path / "copy"
    if layout == "new":
        shutil.copytree(folder, copy)
    else:
        as_old_code_wrote_it(folder, copy, layout)
    damage(copy, 3)
    split = open_dataset(copy, 0).split("train")
    out = np.zeros((1, 8, 8, 3), np.uint8)
    zeros = np.zeros((1, 2), int), np.zeros(1, bool)
    split.crops([2], *zeros, out)
    for read in (lambda: split.crops([3], *zeros, out), lambda: split.images([3])):
        with pytest.raises(DataError, match="Split.copy, train.*prepare the set again") as error:
            read()
        assert str(copy) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(IndexError, match="18 examples"):
        split.crops([18], *zeros, out)


def test_an_image_that_is_not_the_written_one_is_noticed(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    with np.load(copy / EXAMPLES) as arrays:
        kept = dict(arrays)
    kept["train_checksums"][5] ^= 1
    np.savez(copy / EXAMPLES, **kept)
    split = open_dataset(copy, 0).split("train")
    split.images([4, 6])
    with pytest.raises(DataError, match="example 5 differs from what was written"):
        split.images([4, 5])


@pytest.mark.skipif(os.name != "posix", reason="no such limit elsewhere")
def test_many_shards_may_be_open_at_once():
    code = """
import resource
from alexnet_jax.data.records import _allow_open_files
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
_allow_open_files(5)
assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 64
_allow_open_files(50)
assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 114
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
