"""Metrics against a plain NumPy loop, ties and padding included."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.evaluation import metrics


def credit_loop(scores, labels, k):
    """The rule of the 2012 code, one image at a time."""
    result = []
    for row, label in zip(scores, labels, strict=True):
        slots = min(k, len(row)) - sum(value > row[label] for value in row)
        tied = sum(value == row[label] for value in row)
        result.append(0.0 if slots <= 0 else 1.0 if tied <= slots else slots / tied)
    return np.array(result, np.float32)


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("classes", [2, 4, 5, 6, 12])
def test_credit_is_the_rule_of_2012(k, classes):
    rng = np.random.default_rng(classes)
    scores = rng.integers(0, 4, (200, classes)).astype(np.float32)  # many ties
    labels = rng.integers(0, classes, 200).astype(np.int32)
    found = metrics.credit(jnp.asarray(scores), jnp.asarray(labels), k)
    np.testing.assert_allclose(found, credit_loop(scores, labels, k), rtol=1e-6)


def test_a_constant_network_gets_chance_credit():
    scores = jnp.zeros((3, 10), jnp.float32)
    labels = jnp.array([0, 4, 9], jnp.int32)
    np.testing.assert_allclose(metrics.credit(scores, labels, 1), [0.1] * 3, rtol=1e-6)
    np.testing.assert_allclose(metrics.credit(scores, labels, 5), [0.5] * 3, rtol=1e-6)


def test_sums_of_logits_are_those_of_a_loop():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, (50, 8)).astype(np.float32)
    labels = rng.integers(0, 8, 50).astype(np.int32)
    mask = rng.random(50) < 0.7
    sums = jax.jit(metrics.batch_sums)(logits, labels, mask)
    wide = logits.astype(np.float64)
    log_p = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    losses = -log_p[np.arange(50), labels]
    assert float(sums.count) == mask.sum()
    np.testing.assert_allclose(sums.loss, losses[mask].sum(), rtol=1e-5)
    np.testing.assert_allclose(sums.top1, credit_loop(logits, labels, 1)[mask].sum(), rtol=1e-6)
    np.testing.assert_allclose(sums.top5, credit_loop(logits, labels, 5)[mask].sum(), rtol=1e-6)


def test_sums_of_probabilities_are_those_of_their_logits():
    logits = np.random.default_rng(2).normal(0, 2, (20, 7)).astype(np.float32)
    labels = np.arange(20, dtype=np.int32) % 7
    first = metrics.batch_sums(jnp.asarray(logits), jnp.asarray(labels))
    second = metrics.probability_sums(jax.nn.softmax(logits), jnp.asarray(labels))
    np.testing.assert_allclose(first, second, rtol=1e-5)


def test_averaged_probabilities_that_do_not_add_up_exactly_keep_their_loss():
    probabilities = jnp.array([[0.25, 0.75]], jnp.float32)
    sums = metrics.probability_sums(probabilities, jnp.array([0], jnp.int32))
    np.testing.assert_allclose(sums.loss, math.log(4), rtol=1e-6)


def test_a_probability_of_zero_costs_much_but_not_infinity():
    sums = metrics.probability_sums(jnp.array([[1.0, 0.0]], jnp.float32), jnp.array([1], jnp.int32))
    assert 80 < float(sums.loss) < 100
    assert float(sums.top1) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_wrong_and_poison_the_loss(bad):
    scores = jnp.array([[bad, 1.0, 0.0], [0.0, 5.0, 0.0]], jnp.float32)
    sums = metrics.batch_sums(scores, jnp.array([1, 1], jnp.int32))
    assert float(sums.top1) == 1 and float(sums.top5) == 1 and float(sums.count) == 2
    assert not math.isfinite(float(sums.loss))


def test_padding_counts_nowhere_whatever_it_holds():
    scores = jnp.array([[0.0, 5.0], [math.nan, math.nan]], jnp.float32)
    labels = jnp.array([1, 0], jnp.int32)
    sums = metrics.batch_sums(scores, labels, jnp.array([True, False]))
    assert float(sums.count) == 1 and float(sums.top1) == 1
    assert math.isfinite(float(sums.loss))


def test_the_gradient_of_the_loss_is_that_of_cross_entropy():
    logits = jnp.array([[0.5, -1.0, 2.0]], jnp.float32)
    labels = jnp.array([2], jnp.int32)
    found = jax.grad(lambda x: metrics.batch_sums(x, labels).loss)(logits)
    expected = jax.nn.softmax(logits) - jax.nn.one_hot(labels, 3)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_means_add_batches_in_double_precision():
    total = metrics.ZERO
    for _ in range(3):
        total = metrics.add(total, metrics.Sums(*(jnp.float32(v) for v in (0.1, 1.0, 2.0, 2.0))))
    assert total.count == 6.0 and isinstance(total.count, float)
    found = metrics.means(total, 6)
    assert found["top1_error"] == 0.5 and found["top5_error"] == 0.0
    assert found["loss"] == pytest.approx(0.05)
    with pytest.raises(ValueError, match="no images"):
        metrics.means(metrics.ZERO, 6)


def test_there_is_no_top_5_error_of_five_classes_or_fewer():
    for classes in (2, 5):
        assert metrics.means(metrics.Sums(1.0, 1.0, 2.0, 2.0), classes).keys() == {
            "loss", "top1_error",
        }  # fmt: skip
    assert metrics.describe_errors({"top1_error": 0.5}) == "50.00 %"
    assert metrics.describe_errors({"top1_error": 0.5, "top5_error": 0.25}) == (
        "50.00 % (top-5 25.00 %)"
    )


def test_the_confusion_matrix_has_labels_in_rows():
    probabilities = np.eye(3, dtype=np.float32)[[0, 2, 2, 1]]
    labels = np.array([0, 1, 2, 1])
    found = metrics.confusion_matrix(probabilities, labels)
    np.testing.assert_array_equal(found, [[1, 0, 0], [0, 1, 1], [0, 0, 1]])


ROWS = jnp.zeros(4, jnp.int32)
WRONG = {
    "labels in a column": (jnp.zeros((4, 1), jnp.int32), None),
    "one label for all": (jnp.zeros(1, jnp.int32), None),
    "one-hot labels": (jnp.zeros((4, 6), jnp.int32), None),
    "a mask in a column": (ROWS, jnp.ones((4, 1), bool)),
    "one mask for all": (ROWS, jnp.ones(1, bool)),
    "weights": (ROWS, jnp.full(4, 0.5)),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_nothing_is_broadcast_in_silence(wrong):
    # A mask in a column made 16 images of four.
    labels, mask = WRONG[wrong]
    with jax.numpy_rank_promotion("allow"), pytest.raises(AssertionError, match="labels|bool"):
        metrics.batch_sums(jnp.zeros((4, 6)), labels, mask)
