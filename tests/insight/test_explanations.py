"""Maps of what speaks for a label, each against a computation of its own."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from alexnet_jax.config import AugmentConfig, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.errors import InputError
from alexnet_jax.insight.classifier import Classifier
from alexnet_jax.insight.explanations import last_spatial_layer, make_explain_step, methods_of
from alexnet_jax.network.layers import Activation, Conv, Dense, Flatten, MaxPool, Network, summarize
from alexnet_jax.network.networks import NETWORKS

SIZE, STORED = 14, 17
NAMES = ("ant", "bee", "cat")
NETWORK = Network(
    "tiny",
    (
        *(Conv("conv1", 4, 3, stride=2, padding=1, weight_std=0.1), Activation(), MaxPool(2, 1)),
        *(Conv("conv2", 6, 3, groups=2, padding=1, weight_std=0.3, bias=0.1), Activation()),
        *(MaxPool(), Flatten(), Dense("fc3", len(NAMES), weight_std=0.3)),
    ),
    SIZE,
    "this test",
)
MEAN, SCALE = np.array([120, 110, 100], np.float32), np.array([60, 50, 70], np.float32)


def shapes_of(network):
    found = {}
    for row in summarize(network):
        if row.params:
            kernel, bias = row.layer.parameter_shapes(row.input_shape) or ((), ())
            found[row.name] = {"kernel": kernel, "bias": bias}
    return found


def random_params(network):
    rng = np.random.default_rng(1)
    return {
        name: {leaf: rng.normal(0, 0.2, shape).astype(np.float32) for leaf, shape in both.items()}
        for name, both in shapes_of(network).items()
    }


def make(network=NETWORK, params=None, mean: Any = "channel", **options):
    return Classifier(
        network,
        random_params(network) if params is None else params,
        Inputs(MEAN, SCALE, np.zeros((3, 3), np.float32)),
        NAMES,
        image_size=SIZE,
        stored_size=STORED,
        preprocess_config=PreprocessConfig(mean, "channel"),
        augment=AugmentConfig(),
        batch_size=4,
        **options,
    )


@pytest.fixture(autouse=True)
def _soon(few_optimizations):
    pass


@pytest.fixture(scope="module")
def classifier():
    return make()


@pytest.fixture(scope="module")
def stored():
    return np.random.default_rng(0).integers(0, 256, (3, STORED, STORED, 3), np.uint8)


def test_saliency_is_the_largest_gradient_of_the_logit_by_pixel(classifier, stored):
    found = classifier.explain(stored, "saliency", "cat")
    images = classifier.preprocess(stored)
    gradient = np.asarray(jax.grad(lambda x: classifier.apply(x)[:, 2].sum())(images)) / SCALE
    np.testing.assert_allclose(found.maps, np.abs(gradient).max(axis=-1), rtol=1e-4, atol=1e-7)
    assert found.maps.dtype == np.float32 and found.maps.max() > 1e-4


def logits_after_conv2(params, maps):
    pooled = lax.reduce_window(maps, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")
    return pooled.reshape(len(maps), -1) @ params["fc3"]["kernel"] + params["fc3"]["bias"][None]


def test_grad_cam_is_what_the_paper_defines_at_the_centres_of_the_units(classifier, stored):
    found = classifier.explain(stored, "grad-cam", 0)
    maps = classifier.features(stored, "conv2")  # [n, 6, 6, 6]
    logits = logits_after_conv2(classifier.params, jnp.asarray(maps))
    np.testing.assert_allclose(logits, classifier.features(stored, "fc3"), rtol=1e-4, atol=1e-5)
    gradient = jax.grad(lambda x: logits_after_conv2(classifier.params, x)[:, 0].sum())(maps)
    # Unit i of conv2 is centred on pixel 1 + 2 i: conv1 and the pool between see -1..3 for unit 0.
    centres = 1 + 2 * np.arange(maps.shape[1])
    pixels = np.arange(SIZE)
    for row in range(len(stored)):
        weights = np.asarray(gradient)[row].mean(axis=(0, 1))
        small = np.maximum((maps[row] * weights).sum(axis=-1), 0)
        wide = np.stack([np.interp(pixels, centres, line) for line in small])
        expected = np.stack([np.interp(pixels, centres, line) for line in wide.T]).T
        np.testing.assert_allclose(found.maps[row], expected, rtol=1e-3, atol=1e-6)
    assert found.maps.min() >= 0 and found.maps.max() > 1e-3


@pytest.mark.parametrize(("window", "stride"), [(None, None), (5, 4)])
def test_occlusion_is_the_mean_fall_under_the_squares_of_each_pixel(
    classifier, stored, window, stride
):
    found = classifier.explain(stored[:2], "occlusion", "bee", window=window, stride=stride)
    side, step = (2, 1) if window is None else (window, stride)
    starts = sorted({*range(0, SIZE - side, step), SIZE - side})
    for row, image in enumerate(classifier.preprocess(stored[:2])):
        copies = []
        for top in starts:
            for left in starts:
                copies.append(image.copy())
                copies[-1][top : top + side, left : left + side] = 0
        odds = np.asarray(jax.nn.softmax(classifier.apply(np.stack([image, *copies]))))[:, 1]
        total, count = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE))
        for place, left_over in enumerate(odds[1:]):
            top, left = starts[place // len(starts)], starts[place % len(starts)]
            total[top : top + side, left : left + side] += odds[0] - left_over
            count[top : top + side, left : left + side] += 1
        np.testing.assert_allclose(found.maps[row], total / count, rtol=1e-3, atol=2e-6)
        assert np.abs(found.maps[row]).max() > 1e-4


def test_the_square_is_middle_grey_where_no_mean_is_subtracted(stored):
    classifier = make(mean="none")
    found = classifier.explain(stored[:1], "occlusion", 0, window=SIZE)
    grey = np.full((1, SIZE, SIZE, 3), 127.5, np.float32) / SCALE
    images = np.concatenate([classifier.preprocess(stored[:1]), grey])
    odds = np.asarray(jax.nn.softmax(classifier.apply(images)))[:, 0]
    np.testing.assert_allclose(found.maps, np.full((1, SIZE, SIZE), odds[0] - odds[1]), rtol=1e-3)


@pytest.mark.slow
def test_only_the_square_of_the_picture_matters_where_only_it_can():
    """The one filter sees red minus green and blue: nothing on white, nor on grey."""
    params = jax.tree.map(np.zeros_like, random_params(NETWORK))
    params["conv1"]["kernel"][1, 1, :, 0] = 60, -25, -35  # centre; scales undone
    params["conv2"]["kernel"][1, 1, 0, 0] = 0.01
    params["fc3"]["kernel"][:, 1] = 0.1
    pictures = np.full((1, STORED, STORED, 3), 255, np.uint8)
    top, left, side = 5, 7, 4  # in the centre view, whose corner is (1, 1)
    pictures[:, 1 + top : 1 + top + side, 1 + left : 1 + left + side] = 255, 0, 0
    equal = Inputs(np.full(3, 255, np.float32), SCALE, np.zeros((3, 3), np.float32))
    classifier = make(params=params)
    classifier._inputs = jax.device_put(equal)
    inside = np.zeros((SIZE, SIZE), bool)
    inside[top : top + side, left : left + side] = True
    near = np.zeros_like(inside)  # within a square of it, and between units that see it
    near[top - 3 : top + side + 3, left - 3 : left + side + 3] = True
    found = {m: classifier.explain(pictures, m) for m in ("saliency", "grad-cam")}
    found["occlusion"] = classifier.explain(pictures, "occlusion", window=side)
    assert {m: x.answers[0].label for m, x in found.items()} == dict.fromkeys(found, "bee")
    assert found["saliency"].maps[0][inside].max() > 0
    assert not found["saliency"].maps[0][~inside].any()
    for method in ("grad-cam", "occlusion"):
        values = found[method].maps[0]
        assert near.ravel()[values.argmax()] and values[inside].max() > 0, method
        assert not np.abs(values[~near]).max() > 1e-6, method


def test_answers_pictures_and_labels(classifier, stored):
    found = classifier.explain(stored)
    np.testing.assert_array_equal(found.pictures, stored[:, 1:15, 1:15])
    assert [x.label for x in found.answers] == [a[0].label for a in classifier.predict(stored, 1)]
    odds = classifier.probabilities(stored)
    for method in methods_of(NETWORK):
        named = classifier.explain(stored, method, "cat")
        assert [x.index for x in named.answers] == [2, 2, 2]
        np.testing.assert_allclose([x.probability for x in named.answers], odds[:, 2], rtol=1e-5)
        np.testing.assert_array_equal(named.maps, classifier.explain(stored, method, 2).maps)
    assert classifier.explain(stored[:0]).maps.shape == (0, SIZE, SIZE)
    bad = []
    some = classifier.explain([b"torn", stored[1]], "occlusion", unreadable=bad)
    np.testing.assert_allclose(
        some.maps, classifier.explain(stored[1:2], "occlusion").maps, atol=1e-6
    )
    assert [x.index for x in bad] == [0]


def test_other_images_and_labels_compile_nothing(classifier, stored):
    for method in methods_of(NETWORK):
        classifier.explain(stored, method)
        step: Any = classifier._explain_step(method, None, None)
        compiled = step._cache_size()
        for label in ("ant", 2):
            classifier.explain(stored[::-1], method, label)
        assert step._cache_size() == compiled == 1, method


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"method": "gradcam"}, "one of saliency, grad-cam, occlusion, not 'gradcam'.*'grad-cam'"),
        ({"label": "bet"}, "no class 'bet'. Did you mean 'bee'"),
        ({"label": 3}, "label should be 0 to 2, not 3"),
        ({"label": -1}, "label should be 0 to 2, not -1"),
        ({"window": 3}, "for occlusion, and saliency has none"),
        ({"method": "occlusion", "window": 15}, r"window should be 1 to 14 pixels .*, not 15"),
        ({"method": "occlusion", "stride": 3}, r"stride should be 1 to 2 pixels .*, not 3"),
    ],
)
def test_what_cannot_be_meant_says_what_can(classifier, stored, words, message):
    with pytest.raises(InputError, match=message):
        classifier.explain(stored, **words)


def test_what_has_nothing_to_explain_says_so(stored):
    with pytest.raises(InputError, match="fc3 have random values.*--transfer.run"):
        make(untrained=("fc3",)).explain(stored)
    dense = dataclasses.replace(NETWORK, layers=(Flatten(), Dense("fc1", 3)))
    assert methods_of(dense) == ("saliency", "occlusion")
    with pytest.raises(InputError, match="no convolution.*take saliency or occlusion"):
        make(dense).explain(stored, "grad-cam")


def test_every_network_has_a_layer_with_places():
    layers = {name: last_spatial_layer(network) for name, network in NETWORKS.items()}
    assert layers["paper"] == ("relu5", True) and layers["digits"] == ("relu5", True)
    assert layers["original"] == ("conv5", False), "its ReLU comes after pooling"
    assert layers["cifar-13pct"] == ("relu4", True) and layers["figure1-tanh"] == ("tanh4", True)
    for name, (layer, _) in layers.items():
        rows = {row.name: row for row in summarize(NETWORKS[name])}
        assert rows[layer].output_shape[0] > 1, name


def test_maps_of_a_224_pixel_network_have_the_size_of_its_input():
    network, size = NETWORKS["original"], 224
    params = {
        name: {leaf: jax.ShapeDtypeStruct(shape, np.float32) for leaf, shape in both.items()}
        for name, both in shapes_of(network).items()
    }
    inputs = Inputs(MEAN, SCALE, np.zeros((3, 3), np.float32))
    stored = jax.ShapeDtypeStruct((2, 256, 256, 3), np.uint8)
    step = make_explain_step(network, PreprocessConfig("channel"), size, jnp.float32, "grad-cam")
    found = jax.eval_shape(step, params, inputs, stored, np.int32(1))
    assert found.maps.shape == (2, size, size) and found.maps.dtype == jnp.float32
    assert found.labels.dtype == jnp.int32
