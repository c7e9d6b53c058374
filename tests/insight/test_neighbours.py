"""Nearest images in a layer's activations."""

import dataclasses

import numpy as np
import pytest

from alexnet_jax.errors import InputError
from alexnet_jax.insight.neighbours import last_hidden_layer, nearest
from alexnet_jax.network.networks import NETWORKS


def test_the_nearest_rows_are_those_of_every_distance_computed():
    random = np.random.default_rng(0)
    queries = 1000 + random.normal(size=(700, 2, 3)).astype(np.float32)  # more than one part
    bank = 1000 + random.normal(size=(40, 2, 3)).astype(np.float32)
    indices, distances = nearest(queries, bank, 5)
    every = np.linalg.norm(
        queries.reshape(700, 1, 6).astype(np.float64) - bank.reshape(1, 40, 6), axis=2
    )
    order = np.argsort(every, axis=1)[:, :5]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(distances, np.take_along_axis(every, order, 1), rtol=1e-3)


def test_an_image_of_the_bank_is_its_own_neighbour_and_ties_keep_their_order():
    bank = np.array([[0, 0], [3, 4], [0, 0]], np.float32)
    indices, distances = nearest(bank[:2], bank, 3)
    assert indices.tolist() == [[0, 2, 1], [1, 0, 2]]
    np.testing.assert_allclose(distances, [[0, 0, 5], [0, 5, 5]])


@pytest.mark.parametrize(("shape", "count"), [((4, 3), 1), ((4, 2), 0), ((4, 2), 5)])
def test_what_does_not_fit_is_refused(shape, count):
    with pytest.raises(InputError):
        nearest(np.zeros((1, 2)), np.zeros(shape), count)


def test_the_last_hidden_layer_of_alexnet_is_fc7():
    assert last_hidden_layer(NETWORKS["paper"]) == "fc7"
    assert last_hidden_layer(NETWORKS["cifar-13pct"]) == "local4"
    alone = NETWORKS["cifar-80sec"]
    assert last_hidden_layer(dataclasses.replace(alone, layers=alone.layers[-1:])) is None
