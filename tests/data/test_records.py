"""Images are found in their shards and read from there, every byte of them checked."""

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from alexnet_jax.config import DataConfig
from alexnet_jax.data import records
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.data.prepared import EXAMPLES
from alexnet_jax.errors import DataError
from alexnet_jax.preparation.prepare import prepare


def written(path, images, options=records.WRITER_OPTIONS):
    """A shard of `images` between other bytes, and their places."""
    writer = ArrayRecordWriter(str(path), options)
    for number, image in enumerate(images):
        writer.write(b"before%d" % number + image + b"after" * (number % 7))
    writer.close()
    return records.find_places(path, [records.remember("key", image) for image in images])


def random_images(sizes, values=256):
    rng = np.random.default_rng(0)
    return [rng.integers(0, values, size, np.uint8).tobytes() for size in sizes]


@pytest.mark.parametrize("values", [256, 2, 1])
def test_images_are_found_wherever_blocks_cut_them(tmp_path, values):
    # Many sizes, so that block headers fall anywhere; few values, so that prefixes repeat.
    images = random_images([*range(100, 4000, 37), 65536, 65512, 196608, 1, 200_000, 3072], values)
    places = written(tmp_path / "shard", images)
    assert (places[:, 0] >= 24).all()
    mapped = records.MappedImages(tmp_path, [("shard", len(images))], places)
    for index, image in enumerate(images):
        assert bytes(mapped[index]) == image


def test_several_shards_are_one_sequence(tmp_path):
    images = random_images(range(200, 230))
    places = np.concatenate(
        [written(tmp_path / "a", images[:10]), written(tmp_path / "b", images[10:])]
    )
    mapped = records.MappedImages(tmp_path, [("a", 10), ("b", 20)], places)
    assert [bytes(mapped[i]) for i in (0, 9, 10, 29)] == [images[i] for i in (0, 9, 10, 29)]


def test_one_changed_byte_is_noticed(tmp_path):
    images = random_images([5000, 150_000, 5000])
    places = written(tmp_path / "shard", images)
    data = bytearray((tmp_path / "shard").read_bytes())
    data[int(places[1, 0]) + 100_000] ^= 1
    (tmp_path / "shard").write_bytes(data)
    mapped = records.MappedImages(tmp_path, [("shard", 3)], places)
    assert bytes(mapped[0]) == images[0] and bytes(mapped[2]) == images[2]
    with pytest.raises(ValueError, match="example 1 differs"):
        mapped[1]


def test_what_lies_otherwise_is_not_found(tmp_path):
    places = written(tmp_path / "shard", random_images([9000] * 4, 2), "group_size:1,zstd:3")
    assert (places[:, 0] == -1).all()
    assert places[:, 1].tolist() == [9000] * 4


def test_an_empty_shard_has_no_places(tmp_path):
    assert records.find_places(tmp_path / "absent", []).shape == (0, 3)


@pytest.fixture(scope="module", params=["raw", "jpeg"])
def folder(request, tmp_path_factory):
    """A set of random pictures, raw ones of which lie across blocks."""
    from PIL import Image

    root = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(1)
    for index in range(24):
        (root / f"class{index % 2}").mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (160, 160, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"class{index % 2}" / f"{index:02d}.png")
    data = DataConfig("set", "folder", str(root), 160, request.param, validation_fraction=0.25)
    return prepare(data, tmp_path_factory.mktemp("data"), progress=False)


def without_places(folder, tmp_path):
    """A copy of the set as it was before places were noted."""
    import shutil

    copy = shutil.copytree(folder, tmp_path / "copy")
    with np.load(copy / EXAMPLES) as arrays:
        kept = {name: arrays[name] for name in arrays if not name.endswith("_places")}
    np.savez(copy / EXAMPLES, **kept)
    return copy


def test_a_set_is_read_from_its_mapping_and_older_ones_through_tfds(folder, tmp_path):
    for name in ("train", "validation"):
        new = open_dataset(folder, 0).split(name)
        old = open_dataset(without_places(folder, tmp_path / name), 0).split(name)
        everything = np.arange(len(new))
        np.testing.assert_array_equal(new.images(everything), old.images(everything))
        assert isinstance(new._images(), records.MappedImages)
        assert isinstance(old._images(), records.ParsedImages)


@pytest.mark.parametrize("cache_bytes", [0, 10**8])
@pytest.mark.parametrize("size", [160, 128, 99, 55])
def test_crops_are_cut_from_the_images(folder, cache_bytes, size):
    split = open_dataset(folder, cache_bytes).split("train")
    rng = np.random.default_rng(size)
    indices = rng.integers(0, len(split), 20)
    offsets = rng.integers(0, 160 - size + 1, (20, 2))
    flips = np.arange(20) % 2 == 1
    out = np.zeros((20, size, size, 3), np.uint8)
    split.crops(indices, offsets, flips, out)
    for image, (top, left), flip, got in zip(
        split.images(indices), offsets, flips, out, strict=True
    ):
        crop = image[top : top + size, left : left + size]
        np.testing.assert_array_equal(got, crop[:, ::-1] if flip else crop)


def test_crops_of_a_damaged_or_missing_image_are_errors(folder, tmp_path):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "copy")
    split = open_dataset(copy, 0).split("train")
    out = np.zeros((1, 8, 8, 3), np.uint8)
    zeros = np.zeros((1, 2), int), np.zeros(1, bool)
    with pytest.raises(IndexError, match="18 examples"):
        split.crops([18], *zeros, out)
    shard = next(copy.glob("*-train.array_record-*"))
    data = bytearray(shard.read_bytes())
    data[int(split._column("places")[3, 0]) + 500] ^= 255
    shard.write_bytes(data)
    split.crops([2], *zeros, out)
    with pytest.raises(DataError, match="example 3 differs.*prepare the set again"):
        split.crops([3], *zeros, out)
