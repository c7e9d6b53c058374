"""In which colours photos are stored, and that a network is shown photos as it was trained."""

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

import alexnet_jax
from alexnet_jax.config import Colours, Config, DataConfig
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.network.layers import Dense, Flatten, Network
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.preparation import options
from alexnet_jax.preparation.prepare import ensure_prepared, prepare
from alexnet_jax.workflow import train

SIZE = 16
HALF = SIZE // 2


def drawing(hidden):
    """A grey stripe on nothing, as PNG; `hidden` is the colour that nothing has in the file."""
    pixels = np.full((SIZE, SIZE, 4), (*hidden, 0), np.uint8)
    pixels[:, HALF:] = (90, 90, 90, 255)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def seen(left):
    """What is seen of the drawing where nothing has the colour `left`."""
    pixels = np.full((SIZE, SIZE, 3), left, np.uint8)
    pixels[:, HALF:] = 90
    return pixels


def drawings(root, names=("a", "b")):
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(4):
            (root / name / f"{i}.png").write_bytes(drawing((60 * i, 10, 200)))
    return root


def imagenet(root):
    drawings(root / "train", ("n00000001", "n00000002"))
    return root


def prepared(root, data_dir, kind: Any = "folder", **changes):
    changes = {"stored_size": SIZE, "store": "raw", "validation_fraction": 0.0} | changes
    return prepare(DataConfig("", kind, str(root), **changes), data_dir, progress=False)


def test_what_is_transparent_in_a_folder_is_stored_white(tmp_path):
    folder = prepared(drawings(tmp_path / "photos"), tmp_path / "data")
    images = open_dataset(folder).split("train").images(range(8))
    np.testing.assert_array_equal(images, np.broadcast_to(seen((255, 255, 255)), images.shape))
    assert open_dataset(folder).appearance.colours == "shown"


@pytest.mark.parametrize(
    ("make", "kind", "changes"),
    [(imagenet, "imagenet2012", {}), (drawings, "folder", {"colours": "stored"})],
)
def test_imagenet_and_who_asks_for_it_get_the_numbers_of_the_file(tmp_path, make, kind, changes):
    folder = prepared(make(tmp_path / "photos"), tmp_path / "data", kind, **changes)
    split = open_dataset(folder).split("train")
    for image, key in zip(split.images(range(8)), split.keys, strict=True):
        shade = 60 * int(key.partition("/")[2].removesuffix(".png"))
        np.testing.assert_array_equal(image, seen((shade, 10, 200)))
    assert open_dataset(folder).appearance.colours == "stored"


def test_a_set_is_taken_as_it_is_unless_other_colours_are_asked_for(tmp_path, capsys):
    photos = drawings(tmp_path / "photos")
    folder = prepared(photos, tmp_path / "data")
    content = json.loads((folder / "prepared.json").read_text())
    del content["options"]["colours"]  # as before there was the choice: photos as stored
    (folder / "prepared.json").write_text(json.dumps(content))
    data = DataConfig("", "folder", str(photos), SIZE, "raw", validation_fraction=0.0)
    assert ensure_prepared(data, tmp_path / "data") == folder, "the name that it got then"
    assert "prepared with colours 'stored', and its networks" in capsys.readouterr().err
    assert open_dataset(folder).appearance == ("upright", "stored")
    asked = DataConfig(folder.name, stored_size=SIZE, source_kind="folder", colours="shown")
    with pytest.raises(DataError, match="prepared with colours 'stored', asked for 'shown'"):
        ensure_prepared(asked, tmp_path / "data")


def test_names_of_sets_are_those_from_before_there_was_the_choice():
    name = options.resolve_options(DataConfig("", "folder", "/photos")).name
    assert name == "photos-cfb2a9b0"
    other = options.resolve_options(DataConfig("", "folder", "/photos", colours="stored")).name
    assert other != name


def test_sets_without_image_files_have_no_such_choice():
    with pytest.raises(InputError, match="colours 'shown' has no effect: digits holds no"):
        options.resolve_options(DataConfig(colours="shown"))


@pytest.mark.parametrize(
    ("make", "kind", "colours"),
    [(drawings, "folder", "shown"), (imagenet, "imagenet2012", "stored")],
)
def test_a_run_predicts_as_it_was_trained(tmp_path, monkeypatch, make, kind, colours):
    layers = (Flatten(), Dense("fc1", 2, weight_std=0.01))
    monkeypatch.setitem(NETWORKS, "tiny", Network("tiny", layers, SIZE, source="this test"))
    photos = make(tmp_path / "photos")
    data = DataConfig("", kind, str(photos), SIZE, "raw", validation_split="train")
    data = DataConfig(**{**vars(data), "validation_fraction": 0.0})
    config = Config(network="tiny", batch_size=8, epochs=1, final_views=1, data=data)
    train(config, tmp_path / "run", data_dir=tmp_path / "data", say=lambda _: None)
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["colours"] == colours

    files = [tmp_path / "0.png", tmp_path / "1.png"]
    for shade, file in zip((0, 60), files, strict=True):
        file.write_bytes(drawing((shade, 10, 200)))
    as_seen = [seen((255, 255, 255))] * 2
    as_stored = [seen((0, 10, 200)), seen((60, 10, 200))]
    classifier = alexnet_jax.load(tmp_path / "run")
    wanted = classifier.probabilities(np.stack(as_seen if colours == "shown" else as_stored))
    np.testing.assert_array_equal(classifier.probabilities(files), wanted)
    # The user's own word goes before it, for files and opened images alike.
    choices: tuple[tuple[Colours, Any], ...] = (("shown", as_seen), ("stored", as_stored))
    for choice, pixels in choices:
        classifier = alexnet_jax.load(tmp_path / "run", colours=choice)
        wanted = classifier.probabilities(np.stack(pixels))
        np.testing.assert_array_equal(classifier.probabilities(files), wanted)
        opened = classifier.probabilities([Image.open(file) for file in files])
        np.testing.assert_array_equal(opened, wanted)
    del info["colours"]  # as before there was the choice
    (tmp_path / "run" / "run.json").write_text(json.dumps(info))
    assert alexnet_jax.load(tmp_path / "run").appearance.colours == "stored"


def test_jpegs_that_lack_their_end_marker_are_counted(tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    whole = buffer.getvalue()
    for name in "ab":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i, data in enumerate([whole[:-2]] * 11 + [whole] * 11 + [whole[:-9]]):
            (tmp_path / "photos" / name / f"{i:02d}.jpg").write_bytes(data)
    data = DataConfig("", "folder", str(tmp_path / "photos"), SIZE, "raw", validation_fraction=0)
    folder = prepare(data, tmp_path / "data")
    printed = capsys.readouterr().err
    assert "22 JPEGs lack their end marker; all pixels are there" in printed
    assert "2 bad images left out" in printed
    content = json.loads((folder / "prepared.json").read_text())
    assert (content["without_end_marker"], content["bad_images"]) == (22, 2)
    images = open_dataset(folder).split("train").images(range(44))
    np.testing.assert_array_equal(images, np.broadcast_to(images[0], images.shape))
