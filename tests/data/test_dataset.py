"""A prepared set gives any image by its index, from files or from memory."""

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from alexnet_jax.config import DataConfig
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.data.prepared import load_statistics
from alexnet_jax.display import Display
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.preparation.prepare import prepare


@pytest.fixture(scope="module", params=["raw", "jpeg"])
def folder(request, tmp_path_factory):
    """A set of 3 classes with 8 grey pictures each, 16x16; a picture is one value."""
    root = tmp_path_factory.mktemp("source")
    for label in range(3):
        (root / f"class{label}").mkdir()
        for index in range(8):
            picture = Image.new("L", (16, 16), 10 * (8 * label + index))
            picture.save(root / f"class{label}" / f"{8 * label + index:02d}.png")
    data = DataConfig("set", "folder", str(root), 16, request.param, validation_fraction=0.25)
    return prepare(data, tmp_path_factory.mktemp("data"), display=Display.on_stderr(quiet=True))


def values(split):
    """What each image should be, from its key."""
    return np.array([10 * int(key[-6:-4]) for key in split.keys])


@pytest.mark.parametrize("cache_bytes", [0, 10**6])
def test_images_come_in_the_order_asked_for(folder, cache_bytes):
    split = open_dataset(folder, cache_bytes).split("train")
    assert len(split) == split.num_examples == 18
    for indices in ([3], [17, 0, 5, 5, 5, 1], np.arange(18), []):
        images = split.images(indices)
        assert images.dtype == np.uint8
        assert images.shape == (len(indices), 16, 16, 3)
        wanted = values(split)[np.asarray(indices, int)]
        assert np.abs(images.mean((1, 2, 3)) - wanted).max(initial=0) <= 1
    assert split.labels.dtype == np.int32
    np.testing.assert_array_equal(split.labels, [int(key[5]) for key in split.keys])


def test_images_can_be_changed_without_changing_the_set(folder):
    split = open_dataset(folder).split("train")
    first = split.images([0])
    kept = first.copy()
    first[:] = 7
    np.testing.assert_array_equal(split.images([0]), kept)


@pytest.mark.parametrize("index", [-1, 18, 10**9])
def test_an_index_out_of_range_is_an_error(folder, index):
    with pytest.raises(IndexError, match="18 examples"):
        open_dataset(folder).split("train").images([0, index])


def test_threads_and_pickled_copies_read_the_same(folder):
    split = open_dataset(folder).split("train")
    copy = pickle.loads(pickle.dumps(split))
    wanted = open_dataset(folder, 0).split("train").images(range(18))
    with ThreadPoolExecutor(4) as pool:
        for one in (split, copy):
            for images in pool.map(one.images, [range(18)] * 8):
                np.testing.assert_array_equal(images, wanted)
    assert len(pickle.dumps(split)) < 2000  # the memory cache stays here
    assert not copy.cached


def test_a_split_is_opened_once(folder):
    dataset = open_dataset(folder)
    assert dataset.split("validation") is dataset.split("validation")
    with pytest.raises(InputError, match="no split 'valdation'.*train, validation.*Did you mean"):
        dataset.split("valdation")


def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_a_missing_or_shortened_file_is_named(folder, tmp_path):
    copy = copied(folder, tmp_path)
    shard = next(copy.glob("*-train.array_record-*"))
    data = shard.read_bytes()
    shard.write_bytes(data[:-1])
    with pytest.raises(
        DataError, match=f"{shard.name} is missing or does not have {len(data)} bytes"
    ):
        open_dataset(copy)
    shard.unlink()
    with pytest.raises(DataError, match="is missing"):
        open_dataset(copy)


def test_a_damaged_file_is_an_error_not_a_wrong_image(folder, tmp_path):
    copy = copied(folder, tmp_path)
    shard = next(copy.glob("*-train.array_record-*"))
    data = bytearray(shard.read_bytes())
    for place in range(40, len(data), 97):
        data[place] ^= 0xFF
    shard.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read"):
        open_dataset(copy).split("train").images(range(18))


@pytest.mark.parametrize("name", ["prepared.json", "statistics.npz", "examples.npz"])
def test_damaged_metadata_is_an_error(folder, tmp_path, name):
    copy = copied(folder, tmp_path)
    (copy / name).write_bytes(b"{damaged")
    with pytest.raises(DataError, match=f"{name} is .*damaged"):
        load_statistics(copy)
        open_dataset(copy).split("train").labels  # noqa: B018 - a property that reads


def test_no_set_there(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="holds no prepared data set"):
            open_dataset(path)
