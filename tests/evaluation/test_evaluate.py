"""Whole-split tests with a small network: exact counting, views, ensembles."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.config import AugmentConfig, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.evaluation import evaluate as evaluate_module
from alexnet_jax.evaluation import metrics
from alexnet_jax.evaluation.ensemble import Member, ensemble
from alexnet_jax.evaluation.evaluate import (
    evaluate,
    evaluation_of,
    make_predict_step,
    make_view_step,
)
from alexnet_jax.evaluation.views import choose_views, cut_views
from alexnet_jax.network.layers import Activation, Dense, Flatten, Network
from alexnet_jax.network.model import AlexNet

STORED, SIZE, CLASSES = 10, 8, 7
NETWORK = Network(
    "tiny",
    (
        Flatten(),
        Dense("fc1", 16, weight_std=0.01),
        Activation(),
        Dense("fc2", CLASSES, weight_std=0.2),
    ),
    image_size=SIZE,
    source="this test",
)
MEAN = PreprocessConfig(mean="image")


class Split:
    """A split that is an array."""

    def __init__(self, count, size=STORED):
        rng = np.random.default_rng(count)
        self.num_examples: int = count
        self.labels: np.ndarray = rng.integers(0, CLASSES, count, np.int32)
        self.pixels = rng.integers(0, 256, (count, size, size, 3), np.uint8)

    def images(self, indices):
        """Returns the images at `indices`."""
        return self.pixels[np.asarray(indices)]


@pytest.fixture(scope="module")
def params():
    """Fresh parameters of the small network."""
    images = jnp.zeros((1, SIZE, SIZE, 3), jnp.float32)
    return AlexNet(NETWORK).init(jax.random.key(0), images)["params"]


def inputs_with(mean):
    """Inputs with this mean and no scale."""
    return Inputs(
        np.asarray(mean, np.float32), np.ones(3, np.float32), np.zeros((3, 3), np.float32)
    )


CENTRE_MEAN = inputs_with(np.random.default_rng(5).uniform(90, 140, (SIZE, SIZE, 3)))


def kept(evaluation):
    """The probabilities, which must be there."""
    assert evaluation.probabilities is not None
    return evaluation.probabilities


def reference(params, crops, mean):
    """Softmax of the plain module on float crops."""
    logits = AlexNet(NETWORK).apply({"params": params}, crops.astype(jnp.float32) - mean)
    return np.asarray(jax.nn.softmax(jnp.asarray(logits)))


@pytest.mark.parametrize(("count", "batch_size"), [(23, 5), (23, 23), (23, 64), (1, 4), (20, 10)])
def test_every_image_counts_once_whatever_the_batch(params, count, batch_size):
    split = Split(count)
    step = make_predict_step(NETWORK, MEAN, SIZE)
    found = evaluate(step, params, CENTRE_MEAN, split, batch_size)
    crops = jnp.asarray(split.pixels[:, 1:9, 1:9])
    expected = reference(params, crops, CENTRE_MEAN.mean[None])
    assert found.count == count
    np.testing.assert_array_equal(found.labels, split.labels)
    np.testing.assert_allclose(kept(found), expected, atol=1e-6)
    right = expected.argmax(axis=1) == split.labels
    assert found.top1_error == pytest.approx(1 - right.mean(), abs=1e-6)
    losses = -np.log(expected[np.arange(count), split.labels])
    assert found.loss == pytest.approx(losses.mean(), rel=1e-5)


def ten_views(images, size):
    return cut_views(images, size, choose_views(images.shape[1], size, 10))


def test_ten_views_average_the_probabilities(params):
    split = Split(9)
    step = make_predict_step(NETWORK, MEAN, SIZE, views=10)
    found = evaluate(step, params, CENTRE_MEAN, split, batch_size=40)
    views = ten_views(jnp.asarray(split.pixels), SIZE)
    # 2012: the centre window of the mean, whatever the view.
    each = [reference(params, view, CENTRE_MEAN.mean[None]) for view in views]
    np.testing.assert_allclose(kept(found), np.mean(each, axis=0), atol=1e-6)


def test_an_aligned_mean_moves_and_mirrors_with_the_view(params):
    split = Split(3)
    stored_mean = np.random.default_rng(6).uniform(90, 140, (STORED, STORED, 3)).astype(np.float32)
    step = make_predict_step(NETWORK, PreprocessConfig(mean="image-aligned"), SIZE, views=10)
    found = step(params, inputs_with(stored_mean), split.pixels)
    views = ten_views(jnp.asarray(split.pixels).astype(jnp.float32) - stored_mean[None], SIZE)
    each = [reference(params, view, jnp.zeros((1, 1, 1, 3), jnp.float32)) for view in views]
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-6)


def test_ten_views_of_a_constant_image_are_the_centre(params):
    images = np.full((2, STORED, STORED, 3), 77, np.uint8)
    inputs = inputs_with(np.full((SIZE, SIZE, 3), 60))
    one = make_predict_step(NETWORK, MEAN, SIZE, views=1)(params, inputs, images)
    ten = make_predict_step(NETWORK, MEAN, SIZE, views=10)(params, inputs, images)
    np.testing.assert_allclose(one, ten, atol=1e-6)


def test_stored_images_of_the_image_size_give_the_same_average_from_two_views(params):
    images = Split(4, size=SIZE).pixels
    found = make_predict_step(NETWORK, MEAN, SIZE, views=10)(params, CENTRE_MEAN, images)
    views = ten_views(jnp.asarray(images), SIZE)
    each = [reference(params, view, CENTRE_MEAN.mean[None]) for view in views]
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-6)


def test_without_mirroring_only_five_views_are_taken(params):
    images = Split(2).pixels
    step = make_view_step(NETWORK, MEAN, SIZE, 10, augment=AugmentConfig(mirror=False))
    logits = step(params, CENTRE_MEAN, images)
    assert logits.shape == (2, 5, CLASSES)


def test_ten_views_compile_one_program(params):
    step = make_predict_step(NETWORK, MEAN, SIZE, views=10)
    evaluate(step, params, CENTRE_MEAN, Split(23), batch_size=50)
    assert step._cache_size() == 1  # pyright: ignore[reportFunctionMemberAccess]


def test_a_split_that_loses_an_image_is_an_error(params):
    split = Split(10)
    split.num_examples = 11
    split.images = lambda indices: split.pixels[np.minimum(indices, 9)]
    split.labels = split.labels[np.minimum(np.arange(11), 9)]
    step = make_predict_step(NETWORK, MEAN, SIZE)
    assert evaluate(step, params, CENTRE_MEAN, split, batch_size=4).count == 11
    batches = list(evaluate_module.evaluation_batches(split, 4))[:-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_module, "evaluation_batches", lambda *_, **__: batches)
        with pytest.raises(DataError, match="saw 8 images, but the split has 11"):
            evaluate(step, params, CENTRE_MEAN, split, batch_size=4)


def test_parameters_that_are_not_finite_are_wrong_everywhere(params):
    broken = jax.tree.map(lambda leaf: leaf * jnp.float32(math.nan), params)
    step = make_predict_step(NETWORK, MEAN, SIZE)
    found = evaluate(step, broken, CENTRE_MEAN, Split(5), batch_size=2)
    assert found.top1_error == 1 and found.top5_error == 1
    assert not math.isfinite(found.loss)


def test_probabilities_are_dropped_on_request_and_progress_is_told(params):
    seen = []
    step = make_predict_step(NETWORK, MEAN, SIZE)
    found = evaluate(
        step,
        params,
        CENTRE_MEAN,
        Split(7),
        batch_size=3,
        keep_probabilities=False,
        progress=lambda done, count: seen.append((done, count)),
    )
    assert found.probabilities is None and found.count == 7
    assert seen == [(3, 7), (6, 7), (7, 7)]


def test_parameters_are_copied_to_the_device_once(params):
    seen = []

    def step(params, inputs, images):
        seen.append((params, inputs))
        return jnp.full((len(images), CLASSES), 1 / CLASSES, jnp.float32)

    evaluate(step, jax.tree.map(np.asarray, params), CENTRE_MEAN, Split(7), batch_size=3)
    leaves = [jax.tree.leaves(each) for each in seen]
    assert len(leaves) == 3 and all(isinstance(leaf, jax.Array) for leaf in leaves[0])
    assert all(a is b for a, b in zip(leaves[0], leaves[2], strict=True))


def test_the_confusion_matrix_adds_up_to_the_split(params):
    found = evaluate(make_predict_step(NETWORK, MEAN, SIZE), params, CENTRE_MEAN, Split(30), 8)
    matrix = metrics.confusion_matrix(kept(found), found.labels)
    assert matrix.sum() == 30
    assert 1 - matrix.trace() / 30 == pytest.approx(found.top1_error)


def member(name, seed, **changes):
    """A member with random probabilities."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(CLASSES), 40).astype(np.float32)
    evaluation = evaluation_of(probabilities, np.arange(40) % CLASSES)
    return dataclasses.replace(Member(name, evaluation, "f1", tuple("abcdefg")), **changes)


def test_an_ensemble_of_one_is_that_one():
    one = member("a", 0)
    found = ensemble([one])
    assert found.values == pytest.approx(one.evaluation.values)


def test_an_ensemble_averages_probabilities_with_equal_weight():
    members = [member("a", 0), member("b", 1), member("c", 2)]
    found = ensemble(members)
    mean = np.mean([kept(m.evaluation) for m in members], axis=0)
    np.testing.assert_allclose(kept(found), mean, rtol=1e-6)
    labels = np.arange(40) % CLASSES
    assert found.loss == pytest.approx(-np.log(mean[np.arange(40), labels]).mean(), rel=1e-5)
    assert found.top1_error == pytest.approx((mean.argmax(axis=1) != labels).mean())


def test_members_that_do_not_belong_together_are_refused():
    one = member("a", 0)
    other_labels = evaluation_of(kept(one.evaluation), np.zeros(40, np.int32))
    for other, message in (
        (member("b", 1, fingerprint="f2"), "different data"),
        (member("b", 1, class_names=tuple("gfedcba")), "different classes"),
        (member("b", 1, evaluation=other_labels), "different splits"),
        (
            member("b", 1, evaluation=dataclasses.replace(one.evaluation, probabilities=None)),
            "without keeping",
        ),
    ):
        with pytest.raises(InputError, match=message):
            ensemble([one, other])
    with pytest.raises(InputError, match="at least one"):
        ensemble([])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, STORED, STORED + 4, 3), np.uint8), "expected"),  # cut beside the centre
        (np.zeros((2, STORED, STORED, 1), np.uint8), "expected"),
        (np.zeros((STORED, STORED, 3), np.uint8), "rank 3"),
        (np.zeros((2, STORED, STORED, 3), np.float32), "float32 but expected uint8"),
    ],
)
def test_images_that_are_not_stored_ones_are_refused(params, images, message):
    step: Any = make_predict_step(NETWORK, MEAN, SIZE)
    with jax.numpy_rank_promotion("allow"), pytest.raises(AssertionError, match=message):
        step.trace(params, CENTRE_MEAN, images)
