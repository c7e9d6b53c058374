"""Metrics against a plain NumPy loop, ties and padding included."""

import dataclasses
import json
import math
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax import workflow
from alexnet_jax.evaluation import metrics
from alexnet_jax.evaluation.ensemble import format_ensemble
from alexnet_jax.runs.metrics_log import read_rows


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
    expected = {
        "loss": losses[mask].sum(),
        "top1_error": credit_loop(logits, labels, 1)[mask].sum(),
        "top5_error": credit_loop(logits, labels, 5)[mask].sum(),
    }
    assert jax.tree.map(float, sums.by_name) == pytest.approx(expected, rel=1e-5)


def test_sums_of_probabilities_are_those_of_their_logits():
    logits = np.random.default_rng(2).normal(0, 2, (20, 7)).astype(np.float32)
    labels = np.arange(20, dtype=np.int32) % 7
    first = metrics.batch_sums(jnp.asarray(logits), jnp.asarray(labels))
    second = metrics.probability_sums(jax.nn.softmax(logits), jnp.asarray(labels))
    chex.assert_trees_all_close(first, second, rtol=1e-5)


def test_averaged_probabilities_that_do_not_add_up_exactly_keep_their_loss():
    probabilities = jnp.array([[0.25, 0.75]], jnp.float32)
    sums = metrics.probability_sums(probabilities, jnp.array([0], jnp.int32))
    assert sums.loss == pytest.approx(math.log(4), rel=1e-6)


def test_a_probability_of_zero_costs_much_but_not_infinity():
    sums = metrics.probability_sums(jnp.array([[1.0, 0.0]], jnp.float32), jnp.array([1], jnp.int32))
    assert 80 < float(sums.loss) < 100
    assert sums.by_name["top1_error"] == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_wrong_and_poison_the_loss(bad):
    scores = jnp.array([[bad, 1.0, 0.0], [0.0, 5.0, 0.0]], jnp.float32)
    sums = metrics.batch_sums(scores, jnp.array([1, 1], jnp.int32))
    assert sums.by_name["top1_error"] == 1 and sums.by_name["top5_error"] == 1 and sums.count == 2
    assert not math.isfinite(float(sums.loss))


def test_padding_counts_nowhere_whatever_it_holds():
    scores = jnp.array([[0.0, 5.0], [math.nan, math.nan]], jnp.float32)
    labels = jnp.array([1, 0], jnp.int32)
    sums = metrics.batch_sums(scores, labels, jnp.array([True, False]))
    assert sums.count == 1 and sums.by_name["top1_error"] == 1
    assert math.isfinite(float(sums.loss))


def test_the_gradient_of_the_loss_is_that_of_cross_entropy():
    logits = jnp.array([[0.5, -1.0, 2.0]], jnp.float32)
    labels = jnp.array([2], jnp.int32)
    found = jax.grad(lambda x: metrics.batch_sums(x, labels).loss)(logits)
    expected = jax.nn.softmax(logits) - jax.nn.one_hot(labels, 3)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def sums_of(count=2.0, loss=0.1, top1=1.0, top5=2.0):
    by_name = {"loss": loss, "top1_error": top1, "top5_error": top5}
    return metrics.MetricSums(jnp.float32(count), jax.tree.map(jnp.float32, by_name))


def test_batches_are_added_in_double_precision():
    total = metrics.no_sums()
    for _ in range(3):
        total += sums_of()
    assert total.count == 6.0 and isinstance(total.count, float)
    found = total.means(classes=6)
    assert found == {"loss": pytest.approx(0.05), "top1_error": 0.5, "top5_error": 0.0}
    with pytest.raises(ValueError, match="no images"):
        metrics.no_sums().means(classes=6)


@pytest.mark.parametrize("classes", [2, 5])
def test_there_is_no_top_5_error_of_five_classes_or_fewer(classes):
    assert sums_of().means(classes).keys() == {"loss", "top1_error"}


def test_errors_are_described_in_percent():
    assert metrics.describe_errors({"loss": 1.0, "top1_error": 0.5}) == "50.00 %"
    assert metrics.describe_errors({"top1_error": 0.5, "top5_error": 0.25}) == (
        "50.00 % (top-5 25.00 %)"
    )


def test_sums_survive_a_checkpoint():
    sums = metrics.no_sums() + sums_of()
    assert metrics.MetricSums.from_json(json.loads(json.dumps(sums.as_json()))) == sums
    old = [sums.loss, 1.0, 2.0, 2.0]  # loss, top-1, top-5, count: of older checkpoints
    assert metrics.MetricSums.from_json(old) == sums


@pytest.fixture
def two_metrics_more(monkeypatch):
    """A number and an error that the registry did not have."""

    def confidence(scores, labels):
        return jnp.max(jax.nn.softmax(scores), axis=1)

    old = metrics.no_sums()
    jax.clear_caches()  # programs that sum the other metrics
    monkeypatch.setitem(metrics.METRICS, "confidence", metrics.Metric(confidence, "confidence"))
    top2 = metrics.Metric(partial(metrics.credit, k=2), "top-2", is_error=True)
    monkeypatch.setitem(metrics.METRICS, "top2_error", top2)
    yield old
    jax.clear_caches()


@pytest.mark.slow
def test_a_metric_is_added_in_one_place(config, dataset, tmp_path, capsys, two_metrics_more):
    folder, names = tmp_path / "run", {"confidence", "top2_error"}
    data = dataclasses.replace(config.data, stored_size=10)
    workflow.train(dataclasses.replace(config, data=data), folder, dataset.path.parent)
    assert "(top-2 0.00 %), loss" in capsys.readouterr().out
    rows = read_rows(folder / "metrics.jsonl")
    kinds = ("train", "validation", "final")
    assert {f"{kind}/{name}" for kind in kinds for name in names} <= {
        k for row in rows for k in row
    }
    assert "train/confidence" in (folder / "metrics.csv").read_text().splitlines()[0]
    events = b"".join(path.read_bytes() for path in (folder / "tensorboard").iterdir())
    assert b"validation/top2_error" in events
    report, card = ((folder / name).read_text() for name in ("report.html", "model_card.md"))
    for name in ("top-2 error", "confidence", "Confidence against epochs", "validation, top 2"):
        assert name in report
    assert "| top-1 error (%) | top-5 error (%) | top-2 error (%) | loss | confidence |" in card
    assert "top-2 accuracy, centre view" in card
    result = workflow.evaluate_ensemble([folder, folder], data_dir=dataset.path.parent)
    assert names <= result.evaluation.values.keys()
    text = format_ensemble(result, "best")
    assert "\nconfidence   0." in text and "\ntop-2 error  0.00 %" in text


def test_a_checkpoint_from_before_a_metric_is_resumed_without_it(two_metrics_more):
    resumed = metrics.MetricSums.from_json(two_metrics_more.as_json())
    batch = metrics.batch_sums(jnp.zeros((1, 2), jnp.float32), jnp.zeros(1, jnp.int32))
    assert "confidence" in batch.by_name
    assert (resumed + batch).means(classes=2).keys() == {"loss", "top1_error"}


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
