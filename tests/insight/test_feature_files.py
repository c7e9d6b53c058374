"""Activations of many images, written as they come."""

import json

import numpy as np
import pytest
from PIL import Image

from alexnet_jax.errors import InputError
from alexnet_jax.insight import feature_files
from alexnet_jax.insight.classifier import load
from alexnet_jax.insight.feature_files import stream_features
from alexnet_jax.insight.inference import write_features


@pytest.fixture
def classifier(run):
    return load(run[0])


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Eleven photos, of which the fifth is damaged; three are a chunk."""
    monkeypatch.setattr(feature_files, "CHUNK", 3)
    random, paths = np.random.default_rng(0), []
    (tmp_path / "photos").mkdir()
    for number in range(11):
        paths.append(tmp_path / "photos" / f"{number:02}.png")
        Image.fromarray(random.integers(0, 256, (10, 10, 3), np.uint8)).save(paths[-1])
    paths[4].write_bytes(b"no image")
    return paths


def names_of(paths):
    return [path.name for path in paths]


LAYERS = ("fc1", "fc1:linear", "fc2")


def test_rows_are_those_of_features_and_those_of_unreadable_images_nan(
    classifier, photos, tmp_path
):
    seen = []
    bad = stream_features(
        classifier, photos, names_of(photos), tmp_path / "out", LAYERS,
        show=lambda good, bad: seen.append((good, bad)),
    )  # fmt: skip
    assert [(one.index, one.name) for one in bad] == [(4, "04.png")]
    assert seen == [(3, 0), (5, 1), (8, 1), (10, 1)]
    good = [path for path in photos if path.name != "04.png"]
    expected = classifier.features(good, LAYERS)
    for layer in LAYERS:
        rows = np.load(feature_files.layer_file(tmp_path / "out", layer), mmap_mode="r")
        assert rows.dtype == np.float32 and len(rows) == 11 and np.isnan(rows[4]).all()
        np.testing.assert_allclose(np.delete(rows, 4, 0), expected[layer], rtol=1e-4, atol=1e-4)
    assert (expected["fc1:linear"] < 0).any() and (expected["fc1"] >= 0).all()
    assert json.loads((tmp_path / "out" / "names.json").read_text()) == names_of(photos)
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"features.json", "names.json", "fc1.npy", "fc1.linear.npy", "fc2.npy"}


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_what_was_stopped_goes_on_and_nothing_is_computed_twice(
    classifier, photos, tmp_path, stop, monkeypatch
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    stream_features(classifier, photos, names_of(photos), whole, LAYERS)
    chunks = []

    def show(good, bad):
        chunks.append(good + bad)
        if len(chunks) == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream_features(classifier, photos, names_of(photos), broken, LAYERS, show=show)
    part = broken / "fc1.npy.part"
    with part.open("ab") as file:
        file.write(b"torn row")  # written, but not yet counted
    bad = stream_features(classifier, photos, names_of(photos), broken, LAYERS, show=show)
    assert chunks == [3, 6, 9, 11] and [one.index for one in bad] == [4]
    for path in whole.iterdir():
        assert (broken / path.name).read_bytes() == path.read_bytes(), path.name
    before = {path: path.stat().st_mtime_ns for path in broken.iterdir()}
    again = stream_features(classifier, photos, names_of(photos), broken, LAYERS)
    assert [one.index for one in again] == [4]
    assert before == {path: path.stat().st_mtime_ns for path in broken.iterdir()}


def test_other_features_and_other_folders_are_left_alone(classifier, photos, tmp_path):
    names = names_of(photos)
    stream_features(classifier, photos, names, tmp_path / "out", ["fc1"])
    for images, named, layers in (
        (photos, names, ["fc2"]),
        (photos, [*names[:-1], "other"], ["fc1"]),
        (photos[:-1], names[:-1], ["fc1"]),
    ):
        with pytest.raises(InputError, match="holds features of other"):
            stream_features(classifier, images, named, tmp_path / "out", layers)
    with pytest.raises(InputError, match="is not empty and holds no features"):
        stream_features(classifier, photos, names, tmp_path / "photos", ["fc1"])
    (tmp_path / "out" / "features.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        stream_features(classifier, photos, names, tmp_path / "out", ["fc1"])
    with pytest.raises(InputError, match="no layer 'fc9'"):
        stream_features(classifier, photos, names, tmp_path / "new", ["fc9"])
    assert not (tmp_path / "new").exists()


def test_a_disk_without_room_is_found_before_anything_is_computed(
    classifier, photos, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        feature_files.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100})
    )
    with pytest.raises(InputError, match="GB free; take fewer layers"):
        stream_features(classifier, photos, names_of(photos), tmp_path / "out", ["fc1"])


def test_the_command_writes_several_layers_into_a_folder(run, photos, tmp_path):
    found = write_features(
        run[0], [str(tmp_path / "photos")], tmp_path / "out", layer="fc1:linear, fc2"
    )
    assert "wrote fc1:linear, fc2 of 11 images" in found.text and len(found.unreadable) == 1
    assert np.load(tmp_path / "out" / "fc2.npy").shape == (11, 3)
    one = write_features(
        run[0], [str(tmp_path / "photos")], tmp_path / "one", layer="fc1", before_relu=True,
        stream=True,
    )  # fmt: skip
    assert "wrote fc1:linear of 11" in one.text
    first = (tmp_path / name / "fc1.linear.npy" for name in ("out", "one"))
    assert len({path.read_bytes() for path in first}) == 1
    with pytest.raises(InputError, match="need the name of a folder"):
        write_features(run[0], [str(photos[0])], tmp_path / "a.npz", layer="fc1,fc2")
