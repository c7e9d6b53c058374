"""Deletion and insertion: what is hidden, in which order, and the area under the curves."""

import numpy as np
import pytest

from alexnet_jax.insight.classifier import Explanations, Prediction
from experiments.explanations import run


class OneBlock:
    """A classifier whose probability is the share of one block's pixels that can be seen."""

    class network:
        pass

    def __init__(self, size, block):
        edges = run.block_edges(size)
        y, x = divmod(block, run.BLOCKS)
        self.place = slice(edges[y], edges[y + 1]), slice(edges[x], edges[x + 1])
        self.size = size

    def preprocess(self, stored):
        return stored.astype(np.float32)

    def apply(self, images):
        seen = (images[:, *self.place] != 0).mean(axis=(1, 2, 3))
        return np.log(np.stack([1 - seen, seen], axis=1) + 1e-9).astype(np.float32)

    def explain(self, images, method):
        values = np.zeros((1, self.size, self.size), np.float32)
        values[0][self.place] = 1 if method == "saliency" else -1
        return Explanations(values, images, [Prediction("seen", 1, 1.0)])


@pytest.fixture
def curves(monkeypatch):
    monkeypatch.setattr(run, "methods_of", lambda network: ("saliency", "occlusion"))
    stored = np.full((1, 40, 40, 3), 9, np.uint8)  # blocks of 2 and 3 pixels
    return run.curves_of(OneBlock(40, 100), stored, 0)  # type: ignore[arg-type]


def test_the_largest_block_is_hidden_first_and_shown_first(curves):
    of = curves["curves"]
    one_step = [1.0] + [0.0] * run.STEPS
    np.testing.assert_allclose(of["saliency"]["deletion"], one_step, atol=1e-6)
    np.testing.assert_allclose(of["saliency"]["insertion"], [0] + [1] * run.STEPS, atol=1e-6)
    np.testing.assert_allclose(of["occlusion"]["deletion"], [1] * run.STEPS + [0], atol=1e-6)
    assert of["random"]["deletion"][0] == pytest.approx(1) and set(of) == {
        *("saliency", "occlusion", "random")
    }


def test_areas_and_their_table(curves):
    found = run.summarize([curves, curves, curves])
    first = found["saliency"]["deletion"]["area"]
    assert first["mean"] == pytest.approx(0.5 / run.STEPS, abs=1e-5) and first["n"] == 3
    less = found["occlusion"]["deletion"]["less_random"]["mean"]
    by_chance = found["random"]["deletion"]["area"]["mean"]
    assert less == pytest.approx(1 - 0.5 / run.STEPS - by_chance, abs=1e-5)
    low, high = run.interval(np.array([1.0, 2, 3]))["interval_95"]
    assert (low + high) / 2 == pytest.approx(2) and high - low == pytest.approx(
        2 * 4.302653 / 3**0.5
    )
    text = run.table_of({"methods": found})
    assert text.count("\n") == 4 and "`random` | " in text


def test_the_steps_hide_everything_and_the_order_is_that_of_the_means():
    image = np.ones((33, 33, 3), np.float32)
    steps = run.steps_of(image, np.arange(run.BLOCKS**2))
    shares = steps.mean(axis=(1, 2, 3))
    assert shares[0] == 1 and shares[-1] == 0 and (np.diff(shares) < 0).all()
    values = np.arange(32 * 32, dtype=np.float32).reshape(32, 32)
    assert run.block_order(values)[0] == run.BLOCKS**2 - 1 and run.block_order(values)[-1] == 0
