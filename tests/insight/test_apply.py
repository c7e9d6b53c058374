"""Logits of preprocessed arrays: what `apply` is applied to, for every mean and scale."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import TINY, tiny_network  # noqa: F401

from alexnet_jax.config import AugmentConfig, PreprocessConfig
from alexnet_jax.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Inputs
from alexnet_jax.errors import InputError
from alexnet_jax.insight.classifier import Classifier
from alexnet_jax.network.model import AlexNet, init_params

SIZE, STORED = TINY.image_size, 11  # the centre is rounded down: 1 pixel before, 2 behind
RNG = np.random.default_rng(3)
MEANS = {
    "image": RNG.uniform(60, 190, (SIZE, SIZE, 3)),
    "image-aligned": RNG.uniform(60, 190, (STORED, STORED, 3)),
    "channel": [125.0, 117.0, 99.0],
    "imagenet": IMAGENET_MEAN,
    "none": [3.0, 4.0, 5.0],  # which is not subtracted
}
SCALES = {"channel": [60.0, 50.0, 70.0], "imagenet": IMAGENET_STD, "none": [2.0, 3.0, 4.0]}


def make(mean: Any = "image", scale: Any = "none", dtype=jnp.float32):
    arrays = MEANS[mean], SCALES[scale], np.zeros((3, 3))
    return Classifier(
        TINY,
        init_params(TINY, SIZE, 0),
        Inputs(*(np.asarray(array, np.float32) for array in arrays)),
        ("dark", "red"),
        image_size=SIZE,
        stored_size=STORED,
        preprocess_config=PreprocessConfig(mean=mean, scale=scale),
        augment=AugmentConfig(),
        dtype=dtype,
        batch_size=4,
    )


@pytest.fixture(autouse=True)
def _soon(few_optimizations):
    pass


@pytest.fixture(scope="module")
def classifier():
    return make()


@pytest.fixture(scope="module")
def stored():
    return np.random.default_rng(0).integers(0, 256, (5, STORED, STORED, 3), np.uint8)


@pytest.mark.parametrize(
    ("mean", "scale"),
    [
        ("image", "none"),
        ("image", "channel"),
        ("image-aligned", "none"),
        ("channel", "channel"),
        ("imagenet", "imagenet"),
        ("none", "none"),
    ],
)
def test_mean_and_scale_are_those_of_predict(mean, scale, stored):
    classifier = make(mean, scale)
    pixels = stored[:, 1:9, 1:9].astype(np.float32)
    images = (pixels - classifier.mean) / classifier.scale
    assert images.dtype == classifier.mean.dtype == classifier.scale.dtype == np.float32
    assert classifier.mean.shape in ((SIZE, SIZE, 3), (3,)) and classifier.scale.shape == (3,)
    np.testing.assert_array_equal(classifier.preprocess(stored), images)
    logits = classifier.features(stored, "fc2")  # by way of `predict`
    assert logits.std() > 1e-2
    np.testing.assert_allclose(classifier.apply(images), logits, rtol=1e-5, atol=1e-5)


def test_layers_are_named_as_in_features_and_bfloat16_is_computed_as_in_the_run(stored):
    classifier = make("channel", "channel", jnp.bfloat16)
    images = classifier.preprocess(stored)
    for layer in ("conv1", "conv1:linear", "pool1", "fc2"):
        found = classifier.apply(images, layer)
        assert found.dtype == jnp.float32
        expected = classifier.features(stored, layer)
        np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.02 * np.abs(expected).max())
    assert np.abs(make("channel", "channel").apply(images) - classifier.apply(images)).max() > 0


def test_it_may_be_jitted_mapped_and_differentiated(classifier, stored):
    images = classifier.preprocess(stored)
    logits = classifier.apply(images)
    assert isinstance(logits, jax.Array) and logits.dtype == jnp.float32
    np.testing.assert_allclose(jax.nn.softmax(logits), classifier.probabilities(stored), atol=1e-6)
    np.testing.assert_allclose(jax.jit(classifier.apply)(images), logits, rtol=1e-5, atol=1e-5)
    one_by_one = jax.vmap(lambda image: classifier.apply(image[None])[0])(images)
    np.testing.assert_allclose(one_by_one, logits, rtol=1e-5, atol=1e-5)
    handed_over = jax.jit(AlexNet(classifier.network).apply)({"params": classifier.params}, images)
    np.testing.assert_allclose(handed_over, logits, rtol=1e-5, atol=1e-5)

    gradient = jax.grad(lambda x: classifier.apply(x)[0, 1])(images)
    assert not gradient[1:].any()  # the logit of the first image
    direction = np.zeros_like(images)
    direction[0] = np.random.default_rng(1).normal(size=direction[0].shape)
    step = 0.01 * direction  # small beside the gaps between pixels, in which the net is linear
    ahead, behind = (classifier.apply(images + sign * step)[0, 1] for sign in (1, -1))
    np.testing.assert_allclose((ahead - behind) / 0.02, jnp.vdot(gradient, direction), rtol=0.01)


def test_none_and_files_are_taken(classifier, stored, tmp_path):
    assert classifier.preprocess(stored[:0]).shape == (0, SIZE, SIZE, 3)
    assert classifier.apply(classifier.preprocess(stored[:0])).shape == (0, 2)
    (tmp_path / "torn.png").write_bytes(b"no image")
    unreadable = []
    found = classifier.preprocess([stored[0], tmp_path / "torn.png", stored[1]], unreadable)
    np.testing.assert_array_equal(found, classifier.preprocess(stored[:2]))
    assert [bad.index for bad in unreadable] == [1]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, STORED, STORED, 3), np.uint8), "preprocessed floats, not uint8: .*preproc"),
        (np.zeros((2, SIZE, SIZE, 3), np.int32), "preprocessed floats, not int32"),
        (["photo.jpg"], "one array of floats, not list: give photos to `preprocess`"),
        ([[1.0], [1.0, 2.0]], "one array of floats, not list"),
        (None, "one array of floats, not NoneType"),
        (np.zeros((SIZE, SIZE, 3), np.float32), r"\[n, 8, 8, 3\], not \[8, 8, 3\].*\[None\]"),
        (np.zeros((2, STORED, STORED, 3), np.float32), r"\[n, 8, 8, 3\], not \[2, 11, 11, 3\]"),
    ],
)
def test_what_is_not_preprocessed_says_what_would_do(classifier, images, message):
    with pytest.raises(InputError, match=message):
        classifier.apply(images)
    with pytest.raises(InputError, match="no layer 'fc3'. Did you mean 'fc2'"):
        classifier.apply(np.zeros((1, SIZE, SIZE, 3), np.float32), "fc3")
