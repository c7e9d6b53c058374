"""Which way up photos are stored, and that a network is shown photos as it was trained."""

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

import alexnet_jax
from alexnet_jax.config import AS_VIEWED, Config, DataConfig
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.data.decode import decode_rgb
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.network.layers import Dense, Flatten, Network
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.preparation import options
from alexnet_jax.preparation.prepare import ensure_prepared, prepare
from alexnet_jax.workflow import train

SIZE = 16
ORIENTATIONS = range(1, 9)
# As EXIF 2.32 (tag 274) has it: where the stored rows and columns lie in the upright picture.
STORED = {
    1: lambda picture: picture,
    2: lambda picture: picture[:, ::-1],
    3: lambda picture: picture[::-1, ::-1],
    4: lambda picture: picture[::-1],
    5: lambda picture: picture.transpose(1, 0, 2),
    6: lambda picture: picture.transpose(1, 0, 2)[::-1],
    7: lambda picture: picture[::-1, ::-1].transpose(1, 0, 2),
    8: lambda picture: picture.transpose(1, 0, 2)[:, ::-1],
}


def picture():
    """A picture without any symmetry, uint8 [SIZE, SIZE, 3]."""
    down, across = np.mgrid[:SIZE, :SIZE] * 255 // SIZE
    return np.stack([down, across, (down + 2 * across) % 256], 2).astype(np.uint8)


def photo(orientation, kind="PNG", **settings):
    """The bytes of the picture as a camera would store it that was held so."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](picture())))
    stored.save(buffer, kind, exif=exif, **settings)
    return buffer.getvalue()


def phone_photos(root):
    """Class folders `a` and `b`, in each the picture eight times, held in the eight ways."""
    for name in "ab":
        (root / name).mkdir(parents=True)
        for orientation in ORIENTATIONS:
            (root / name / f"{orientation}.png").write_bytes(photo(orientation))
    return root


def imagenet(root):
    """The same in the folders of an unpacked ILSVRC-2012."""
    phone_photos(root / "train")
    for old, new in (("a", "n00000001"), ("b", "n00000002")):
        (root / "train" / old).rename(root / "train" / new)
    return root


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(("kind", "settings"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_decoding_turns_a_photo_as_its_exif_says_or_leaves_it(kind, settings, orientation):
    data = photo(orientation, kind, **settings)
    np.testing.assert_array_equal(decode_rgb(data, AS_VIEWED), picture())
    np.testing.assert_array_equal(decode_rgb(data), STORED[orientation](picture()))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_photos_of_other_kinds_are_upright_too(orientation):
    tiff = decode_rgb(photo(orientation, "TIFF"), AS_VIEWED)
    np.testing.assert_array_equal(tiff, picture())
    jpeg = np.asarray(decode_rgb(photo(orientation, "JPEG", quality=98), AS_VIEWED), int)
    errors = [np.abs(stored(jpeg) - picture()).mean() for stored in STORED.values()]
    assert np.argmin(errors) == 0, "nearer to the picture than to any turn of it"


def test_an_orientation_that_is_none_changes_nothing():
    for orientation in (0, 9, 65535):
        exif = Image.Exif()
        exif[0x0112] = orientation
        buffer = io.BytesIO()
        Image.fromarray(picture()).save(buffer, "PNG", exif=exif)
        np.testing.assert_array_equal(decode_rgb(buffer.getvalue(), AS_VIEWED), picture())
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    np.testing.assert_array_equal(decode_rgb(buffer.getvalue(), AS_VIEWED), picture())


def prepared(root, data_dir, kind: Any = "folder", **changes):
    changes = {"stored_size": SIZE, "store": "raw", "validation_fraction": 0.0} | changes
    return prepare(DataConfig("", kind, str(root), **changes), data_dir, progress=False)


def test_photos_of_a_folder_are_stored_upright(tmp_path):
    folder = prepared(phone_photos(tmp_path / "photos"), tmp_path / "data")
    images = open_dataset(folder).split("train").images(range(16))
    np.testing.assert_array_equal(images, np.broadcast_to(picture(), images.shape))
    assert open_dataset(folder).appearance.orientation == "upright"


@pytest.mark.parametrize(
    ("make", "kind", "changes"),
    [(imagenet, "imagenet2012", {}), (phone_photos, "folder", {"orientation": "stored"})],
)
def test_imagenet_and_who_asks_for_it_get_photos_as_they_are_stored(tmp_path, make, kind, changes):
    folder = prepared(make(tmp_path / "photos"), tmp_path / "data", kind, **changes)
    split = open_dataset(folder).split("train")
    for image, key in zip(split.images(range(16)), split.keys, strict=True):
        orientation = int(key.partition("/")[2].removesuffix(".png"))
        np.testing.assert_array_equal(image, STORED[orientation](picture()))
    assert open_dataset(folder).appearance.orientation == "stored"


def test_imagenet_can_be_stored_upright(tmp_path):
    folder = prepared(
        imagenet(tmp_path / "photos"), tmp_path / "data", "imagenet2012", orientation="upright"
    )
    images = open_dataset(folder).split("train").images(range(16))
    np.testing.assert_array_equal(images, np.broadcast_to(picture(), images.shape))


def test_a_set_is_taken_as_it_is_unless_another_orientation_is_asked_for(tmp_path, capsys):
    photos = phone_photos(tmp_path / "photos")
    folder = prepared(photos, tmp_path / "data")
    content = json.loads((folder / "prepared.json").read_text())
    del content["options"]["orientation"]  # as before there was the choice: photos as stored
    (folder / "prepared.json").write_text(json.dumps(content))
    data = DataConfig("", "folder", str(photos), SIZE, "raw", validation_fraction=0.0)
    assert ensure_prepared(data, tmp_path / "data") == folder, "the name that it got then"
    assert "prepared with orientation 'stored', and its networks" in capsys.readouterr().err
    assert open_dataset(folder).appearance.orientation == "stored"
    asked = DataConfig(folder.name, stored_size=SIZE, source_kind="folder", orientation="upright")
    with pytest.raises(DataError, match="prepared with orientation 'stored', asked for 'upright'"):
        ensure_prepared(asked, tmp_path / "data")


def test_sets_without_image_files_have_no_orientation(tmp_path):
    with pytest.raises(InputError, match="orientation 'stored' has no effect: digits holds no"):
        options.resolve_options(DataConfig(orientation="stored"))


@pytest.mark.parametrize(
    ("make", "kind", "orientation"),
    [(phone_photos, "folder", "upright"), (imagenet, "imagenet2012", "stored")],
)
def test_a_run_predicts_as_it_was_trained(tmp_path, monkeypatch, make, kind, orientation):
    layers = (Flatten(), Dense("fc1", 2, weight_std=0.01))
    monkeypatch.setitem(NETWORKS, "tiny", Network("tiny", layers, SIZE, source="this test"))
    photos = make(tmp_path / "photos")
    data = DataConfig("", kind, str(photos), SIZE, "raw", validation_split="train")
    data = DataConfig(**{**vars(data), "validation_fraction": 0.0})
    config = Config(network="tiny", batch_size=8, epochs=1, final_views=1, data=data)
    train(config, tmp_path / "run", data_dir=tmp_path / "data", say=lambda _: None)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["orientation"] == orientation

    files = [tmp_path / f"{number}.png" for number in ORIENTATIONS]
    for number, file in zip(ORIENTATIONS, files, strict=True):
        file.write_bytes(photo(number))
    shown = alexnet_jax.load(tmp_path / "run").probabilities(files)
    # What the network saw in training, by its own data set.
    split = open_dataset(next((tmp_path / "data").glob("*/prepared.json")).parent).split("train")
    trained = {int(key.partition("/")[2][0]): i for i, key in enumerate(split.keys)}
    pixels = split.images([trained[number] for number in ORIENTATIONS])
    classifier = alexnet_jax.load(tmp_path / "run")
    np.testing.assert_array_equal(shown, classifier.probabilities(pixels))
    # The user's own word goes before it, for files and opened images alike.
    for choice in ("upright", "stored"):
        classifier = alexnet_jax.load(tmp_path / "run", orientation=choice)
        rows = classifier.probabilities(files)
        assert (rows == rows[0]).all() == (choice == "upright")
        opened = classifier.probabilities([Image.open(file) for file in files])
        np.testing.assert_array_equal(opened, rows)
