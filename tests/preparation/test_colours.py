"""How photos are stored, upright and in shown colours, and that a network is shown them so."""

import io
import json
from typing import Any

import numpy as np
import pytest
from appearances import CASES, SIZE
from PIL import Image

import alexnet_jax
from alexnet_jax.config import Config, DataConfig
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.display import Display
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.network.layers import Dense, Flatten, Network
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.preparation.prepare import ensure_prepared, prepare
from alexnet_jax.preparation.set_options import resolve_options
from alexnet_jax.workflow import train

cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def choice(case, value="stored") -> dict[str, Any]:
    return {case.field: value}


def config_of(root, kind: Any = "folder", **changes):
    changes = {"stored_size": SIZE, "store": "raw", "validation_fraction": 0.0} | changes
    return DataConfig("", kind, str(root), **changes)


def prepared(root, data_dir, kind="folder", **changes):
    return open_dataset(
        prepare(config_of(root, kind, **changes), data_dir, display=Display(quiet=True))
    )


def assert_viewed(dataset, case):
    split = dataset.split("train")
    images = split.images(range(len(split)))
    np.testing.assert_array_equal(images, np.broadcast_to(case.viewed, images.shape))
    assert getattr(dataset.appearance, case.field) == case.as_viewed


@cases
def test_photos_of_a_folder_are_stored_as_a_viewer_shows_them(tmp_path, case):
    assert_viewed(prepared(case.folder(tmp_path / "photos"), tmp_path / "data"), case)


@cases
@pytest.mark.parametrize("kind", ["imagenet2012", "folder"])
def test_imagenet_and_who_asks_for_it_get_photos_as_they_are_stored(tmp_path, case, kind):
    write, changes = case.imagenet, {}
    if kind == "folder":
        write, changes = case.folder, choice(case)
    dataset = prepared(write(tmp_path / "photos"), tmp_path / "data", kind, **changes)
    split = dataset.split("train")
    for image, key in zip(split.images(range(len(split))), split.keys, strict=True):
        number = int(key.partition("/")[2].removesuffix(".png"))
        np.testing.assert_array_equal(image, case.stored[number])
    assert getattr(dataset.appearance, case.field) == "stored"


@cases
def test_imagenet_can_be_stored_as_a_viewer_shows_it(tmp_path, case):
    chosen, root = choice(case, case.as_viewed), case.imagenet(tmp_path / "photos")
    assert_viewed(prepared(root, tmp_path / "data", "imagenet2012", **chosen), case)


@cases
def test_a_set_is_taken_as_it_is_unless_another_appearance_is_asked_for(tmp_path, capsys, case):
    photos = case.folder(tmp_path / "photos")
    folder = prepared(photos, tmp_path / "data").path
    content = json.loads((folder / "prepared.json").read_text())
    del content["options"][case.field]  # as before there was the choice: photos as stored
    (folder / "prepared.json").write_text(json.dumps(content))
    data = config_of(photos)
    assert ensure_prepared(data, tmp_path / "data") == folder, "the name that it got then"
    assert f"with {case.field} 'stored', and its networks" in capsys.readouterr().err
    assert getattr(open_dataset(folder).appearance, case.field) == "stored"
    chosen = choice(case, case.as_viewed)
    asked = DataConfig(folder.name, stored_size=SIZE, source_kind="folder", **chosen)
    with pytest.raises(DataError, match=f"{case.field} 'stored', asked for '{case.as_viewed}'"):
        ensure_prepared(asked, tmp_path / "data")


@cases
def test_names_of_sets_are_those_from_before_there_was_the_choice(case):
    assert resolve_options(DataConfig("", "folder", "/photos")).name == "photos-cfb2a9b0"
    other = DataConfig("", "folder", "/photos", **choice(case))
    assert resolve_options(other).name != "photos-cfb2a9b0"


@cases
def test_sets_without_image_files_have_no_such_choice(case):
    with pytest.raises(InputError, match=f"{case.field} 'stored' has no effect: digits holds no"):
        resolve_options(DataConfig(**choice(case)))


@pytest.mark.slow
@cases
@pytest.mark.parametrize("kind", ["folder", "imagenet2012"])
def test_a_run_predicts_as_it_was_trained(tmp_path, monkeypatch, case, kind):
    layers = (Flatten(), Dense("fc1", 2, weight_std=0.01))
    monkeypatch.setitem(NETWORKS, "tiny", Network("tiny", layers, SIZE, source="this test"))
    photos = (case.folder if kind == "folder" else case.imagenet)(tmp_path / "photos")
    data = config_of(photos, kind, validation_split="train")
    config = Config(network="tiny", batch_size=8, epochs=1, final_views=1, data=data)
    train(config, tmp_path / "run", data_dir=tmp_path / "data", say=lambda _: None)
    usual = case.as_viewed if kind == "folder" else "stored"
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info[case.field] == usual

    files = [tmp_path / f"{number}.png" for number in case.files]
    for file, content in zip(files, case.files.values(), strict=True):
        file.write_bytes(content)
    pixels = {
        case.as_viewed: np.stack([case.viewed] * len(files)),
        "stored": np.stack(list(case.stored.values())),
    }
    classifier = alexnet_jax.load(tmp_path / "run")
    wanted = classifier.probabilities(pixels[usual])
    np.testing.assert_array_equal(classifier.probabilities(files), wanted)
    # The user's own choice goes before it, for files and opened images alike.
    for value, array in pixels.items():
        classifier = alexnet_jax.load(tmp_path / "run", **choice(case, value))
        wanted = classifier.probabilities(array)
        np.testing.assert_array_equal(classifier.probabilities(files), wanted)
        opened = classifier.probabilities([Image.open(file) for file in files])
        np.testing.assert_array_equal(opened, wanted)
    del info[case.field]  # as before there was the choice
    (tmp_path / "run" / "run.json").write_text(json.dumps(info))
    assert getattr(alexnet_jax.load(tmp_path / "run").appearance, case.field) == "stored"


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
