"""A classifier on paths, Pillow images and arrays; features by layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from alexnet_jax.config import AugmentConfig, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.errors import InputError
from alexnet_jax.insight.classifier import Classifier, Prediction, capture_name
from alexnet_jax.network.layers import (
    Activation,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Lrn,
    MaxPool,
    Network,
)
from alexnet_jax.network.model import AlexNet

STORED, SIZE = 12, 10
NAMES = ("ant", "bee", "cat", "dog", "eel", "fox")
NETWORK = Network(
    "tiny",
    (
        *(Conv("conv1", 4, window=3, weight_std=0.1), Lrn(), Activation(), MaxPool(), Flatten()),
        *(Dense("fc2", 8, weight_std=0.05), Activation(), Dropout()),
        Dense("fc3", len(NAMES), weight_std=0.3),
    ),
    image_size=SIZE,
    source="this test",
)
MEAN = np.random.default_rng(3).uniform(90, 140, (SIZE, SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def params():
    blank = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    shapes = jax.eval_shape(AlexNet(NETWORK).init, jax.random.key(0), blank)["params"]
    rng = np.random.default_rng(0)
    scales = {"conv1": 0.1, "fc2": 0.05, "fc3": 0.3}
    return {
        layer: {
            name: rng.normal(0, scales[layer], leaf.shape).astype(np.float32)
            for name, leaf in leaves.items()
        }
        for layer, leaves in shapes.items()
    }


@pytest.fixture(scope="module")
def classifier(params):
    return make_classifier(params)


def make_classifier(params, batch_size=4, mirror=True):
    return Classifier(
        NETWORK,
        params,
        Inputs(MEAN, np.ones(3, np.float32), np.zeros((3, 3), np.float32)),
        NAMES,
        image_size=SIZE,
        stored_size=STORED,
        preprocess_config=PreprocessConfig(mean="image"),
        augment=AugmentConfig(mirror=mirror),
        batch_size=batch_size,
    )


def pictures(count, size=STORED, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def reference(params, stored):
    crops = stored[:, 1:11, 1:11].astype(np.float32) - MEAN
    logits = AlexNet(NETWORK).apply({"params": params}, jnp.asarray(crops))
    return np.asarray(jax.nn.softmax(jnp.asarray(logits)))


@pytest.fixture
def files(tmp_path):
    """Five lossless files of stored size, and their pixels."""
    pixels = pictures(5)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    return [tmp_path / f"{index}.png" for index in range(5)], pixels


def test_probabilities_are_those_of_the_module_on_the_centre(classifier, params):
    stored = pictures(6)  # two batches, the last one padded
    found = classifier.probabilities(stored)
    assert found.dtype == np.float32 and found.shape == (6, len(NAMES))
    np.testing.assert_allclose(found, reference(params, stored), atol=1e-6)


def test_paths_pillow_images_and_arrays_agree(classifier, files):
    paths, pixels = files
    expected = classifier.probabilities(pixels)
    opened = [Image.open(path) for path in paths]
    mixed = [str(paths[0]), paths[1], opened[2], pixels[3], paths[4].read_bytes()]
    for images in (paths, [str(path) for path in paths], opened, list(pixels), mixed):
        np.testing.assert_array_equal(classifier.probabilities(images), expected)
    one = classifier.probabilities(str(paths[0]))
    assert one.shape == (1, len(NAMES))
    np.testing.assert_allclose(one, expected[:1], atol=1e-6)
    np.testing.assert_allclose(classifier.probabilities(opened[1]), expected[1:2], atol=1e-6)


def test_larger_images_are_fitted_like_the_training_images(classifier, params):
    flat = np.full((1, 48, 72, 3), 200, np.uint8)
    expected = reference(params, np.full((1, STORED, STORED, 3), 200, np.uint8))
    np.testing.assert_allclose(classifier.probabilities(flat), expected, atol=1e-6)


def test_phone_photos_are_turned_upright(classifier, tmp_path):
    upright = Image.fromarray(pictures(1)[0])
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn 90 degrees clockwise to show"
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "phone.png", exif=exif)
    upright.save(tmp_path / "plain.png")
    phone, plain = classifier.probabilities([tmp_path / "phone.png", tmp_path / "plain.png"])
    np.testing.assert_array_equal(phone, plain)
    sideways = classifier.probabilities(upright.transpose(Image.Transpose.ROTATE_90))
    assert not np.allclose(sideways[0], plain)
    # An opened Pillow image keeps its EXIF, and is turned as well.
    np.testing.assert_array_equal(
        classifier.probabilities(Image.open(tmp_path / "phone.png"))[0],
        classifier.probabilities(Image.open(tmp_path / "plain.png"))[0],
    )


def test_predictions_are_sorted_named_and_complete(classifier):
    stored = pictures(3)
    found = classifier.predict(stored, top_k=3)
    probabilities = classifier.probabilities(stored)
    assert [len(answers) for answers in found] == [3, 3, 3]
    for answers, row in zip(found, probabilities, strict=True):
        assert answers[0] == Prediction(NAMES[row.argmax()], int(row.argmax()), float(row.max()))
        values = [answer.probability for answer in answers]
        assert values == sorted(row.tolist(), reverse=True)[:3]
    assert len(classifier.predict(stored, top_k=99)[0]) == len(NAMES)
    with pytest.raises(InputError, match="top_k should be at least 1"):
        classifier.predict(stored, top_k=0)


def test_ten_views_do_not_depend_on_the_batch(params):
    stored = pictures(5)
    small = make_classifier(params, batch_size=2).probabilities(stored, views=10)
    large = make_classifier(params, batch_size=64).probabilities(stored, views=10)
    np.testing.assert_allclose(small, large, atol=1e-6)


def test_features_of_a_layer_come_after_its_nonlinearity(classifier, params):
    stored = pictures(6)
    crops = jnp.asarray(stored[:, 1:11, 1:11].astype(np.float32) - MEAN)
    linear = AlexNet(NETWORK).apply({"params": params}, crops, capture="fc2")
    linear = np.asarray(jnp.asarray(linear))
    found = classifier.features(stored, "fc2")
    assert found.dtype == np.float32 and (linear < 0).any()
    np.testing.assert_allclose(found, np.maximum(linear, 0), atol=1e-3)
    np.testing.assert_allclose(
        classifier.features(stored, "fc2", before_relu=True), linear, atol=1e-3
    )


def test_features_keep_the_shape_of_the_layer(classifier):
    stored = pictures(5)
    assert classifier.features(stored, "conv1").shape == (5, 8, 8, 4)
    assert classifier.features(stored, "pool1").shape == (5, 4, 4, 4)
    assert classifier.features(stored, "fc3").shape == (5, len(NAMES))
    assert classifier.features(stored[:0], "pool1").shape == (0, 4, 4, 4)
    assert classifier.probabilities(stored[:0]).shape == (0, len(NAMES))


def test_only_a_nonlinearity_that_follows_directly_belongs_to_a_layer():
    assert capture_name(NETWORK, "fc2") == "relu2"
    assert capture_name(NETWORK, "fc2", before_relu=True) == "fc2"
    assert capture_name(NETWORK, "conv1") == "conv1"  # its LRN comes first
    assert capture_name(NETWORK, "norm1") == "norm1"
    with pytest.raises(InputError, match="no layer 'fc22'. Did you mean 'fc2'.*conv1, norm1"):
        capture_name(NETWORK, "fc22")


def test_an_unreadable_file_stops_or_is_listed(classifier, files, tmp_path):
    paths, pixels = files
    (tmp_path / "torn.png").write_bytes(paths[0].read_bytes()[:60])
    (tmp_path / "text.jpg").write_text("not an image")
    bad = [tmp_path / name for name in ("torn.png", "text.jpg", "gone.png")]
    images = [paths[0], bad[0], paths[1], *bad[1:], *paths[2:]]
    with pytest.raises(InputError, match="torn.png cannot be read"):
        classifier.predict(images)
    unreadable = []
    found = classifier.probabilities(images, unreadable=unreadable)
    np.testing.assert_allclose(found, classifier.probabilities(pixels), atol=1e-6)
    assert [bad.index for bad in unreadable] == [1, 3, 4]
    assert all(bad.reason for bad in unreadable)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 12, 12, 3), np.float32), "should be uint8 in 0..255, not float32"),
        (np.zeros((12, 12, 3), np.uint8), r"array\[None\]"),
        (np.zeros((2, 12, 12, 1), np.uint8), r"\[height, width, 3\], not \[12, 12, 1\]"),
        ([3], "should be paths, bytes, Pillow images or uint8 arrays, not int"),
    ],
)
def test_images_of_the_wrong_kind_say_what_would_do(classifier, images, message):
    with pytest.raises(InputError, match=message):
        classifier.probabilities(images)
