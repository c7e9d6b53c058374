"""What is read off a confusion matrix."""

import numpy as np

from alexnet_jax.insight.confusion import (
    class_errors,
    confused_pairs,
    heat_map,
    row_shares,
)

MATRIX = np.array([[8, 2, 0], [5, 4, 1], [0, 0, 0]])


def test_errors_by_class_are_worst_first_and_leave_out_classes_without_images():
    rows = class_errors(MATRIX, ["a", "b", "c"])
    assert [tuple(row)[:3] for row in rows] == [("b", 10, 6), ("a", 10, 2)]
    assert rows[0].error == 0.6 and rows[0].mistaken_for == "a"


def test_a_class_without_errors_is_taken_for_nothing():
    assert class_errors(np.eye(2, dtype=int), ["a", "b"])[0].mistaken_for == ""


def test_pairs_are_the_largest_mistakes_and_never_the_diagonal():
    pairs = confused_pairs(MATRIX, ["a", "b", "c"], 2)
    assert [tuple(pair) for pair in pairs] == [("b", "a", 5, 0.5), ("a", "b", 2, 0.2)]
    assert len(confused_pairs(MATRIX, ["a", "b", "c"], 20)) == 3


def test_shares_of_rows_are_finite():
    assert row_shares(MATRIX)[:2].sum(axis=1).tolist() == [1, 1]
    assert not row_shares(MATRIX)[2].any()


def test_heat_map_separates_right_from_wrong_by_colour_and_strength_by_alpha():
    picture = heat_map(MATRIX, side=3)[::4, ::4]
    assert picture.shape == (3, 3, 4)
    assert picture[0, 0, 2] > picture[0, 0, 0] and picture[1, 0, 0] > picture[1, 0, 2]
    assert picture[0, 2, 3] == 0
    assert picture[0, 0, 3] == round(255 * 0.8**0.5)


def test_large_heat_maps_are_reduced_without_losing_a_single_confusion():
    matrix = np.diag(np.full(1000, 50))
    matrix[900, 100] = 50
    picture = heat_map(matrix)
    assert max(picture.shape) <= 1000
    row, column = 900 * len(picture) // 1000, 100 * len(picture) // 1000
    assert picture[row, column, 3] > 150
