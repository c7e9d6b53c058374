"""Smaller classes are visited more often, and every place gives its own image."""

import pickle
from typing import Any

import numpy as np

from alexnet_jax.data.balance import MAX_VISITS, Balanced


class _Split:
    """Images that hold their index."""

    stored_size = 2

    def __init__(self, sizes):
        self.labels = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
        self.num_examples = len(self.labels)

    def images(self, indices):
        return np.broadcast_to(np.asarray(indices)[:, None, None, None], (len(indices), 2, 2, 3))

    def crops(self, indices, offsets, flips, out):
        out[:] = self.images(indices)[:, :1, :1]


Split: Any = _Split


def test_no_class_is_seen_less_than_half_as_often():
    view = Balanced(Split([100, 60, 30, 12]))
    seen = np.bincount(view.labels)
    assert seen[0] == 100
    assert seen.min() >= 50
    places = view.images(np.arange(view.num_examples))[:, 0, 0, 0]
    assert len(np.unique(places)) == 202
    np.testing.assert_array_equal(np.bincount(places)[:160], 100 * [1] + 60 * [2])


def test_a_tiny_class_is_not_repeated_without_end_and_equal_ones_not_at_all():
    assert np.bincount(Balanced(Split([1000, 3])).labels)[1] == 3 * MAX_VISITS
    assert Balanced(Split([5, 5])).num_examples == 10
    assert Balanced(Split([5, 0, 5])).num_examples == 10


def test_crops_and_copies_agree_with_the_images():
    view = pickle.loads(pickle.dumps(Balanced(Split([4, 1]))))
    order = np.array([7, 0, 3, 5])
    out = np.zeros((4, 1, 1, 3), np.uint8)
    view.crops(order, np.zeros((4, 2), int), np.zeros(4, bool), out)
    np.testing.assert_array_equal(out, view.images(order)[:, :1, :1])
    np.testing.assert_array_equal(view.labels[order], [1, 0, 0, 1])
