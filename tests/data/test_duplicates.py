"""Copies of a picture are found in another split, or another class; other pictures are not."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alexnet_jax.data import duplicates
from alexnet_jax.data.duplicates import (
    COPIES,
    CopyRow,
    across_splits,
    conflicts_line,
    near_duplicates,
    read_copies,
)

SIZE = 48


class _Split:
    stored_size = SIZE

    def __init__(self, images):
        self.pictures = np.stack(images)
        self.keys = [f"{i}.jpg" for i in range(len(images))]

    def __len__(self):
        return len(self.pictures)

    def images(self, indices):
        return self.pictures[indices]


Split: Any = _Split


def picture(seed):
    """A smooth picture, as photos are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def compressed(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=30)
    return np.asarray(Image.open(file))


def resized(image):
    return np.asarray(Image.fromarray(image).resize((30, 30)).resize((SIZE, SIZE)))


def brighter(image):
    return np.clip(image * 1.1 + 5, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("change", (np.copy, compressed, resized, brighter, np.rot90, np.fliplr))
def test_a_changed_copy_is_found_and_named(change):
    train = Split([picture(i) for i in range(60)])
    test = Split([picture(1000), change(picture(27)), picture(1001)])
    assert [pair[:2] for pair in near_duplicates(train, test) or ()] == [("1.jpg", "27.jpg")]


def test_large_sets_and_tiny_pictures_are_not_searched(monkeypatch):
    twice = Split([picture(0)] * 2)
    monkeypatch.setattr(duplicates, "MAX_IMAGES", 3)
    assert near_duplicates(twice, twice) is None
    monkeypatch.undo()
    assert len(near_duplicates(twice, twice) or ()) == 2
    twice.stored_size = 16
    assert near_duplicates(twice, twice) is None


ROWS = [
    CopyRow(1, "train", "a/0.jpg", "a", "", "", ""),
    CopyRow(1, "test", "a/9.jpg", "a", "a/0.jpg", "mirrored", "0.970"),
    CopyRow(2, "train", "b/0.jpg", "b", "", "", ""),
    CopyRow(2, "train", "a/1.jpg", "a", "b/0.jpg", "the same file", "1.000"),
    CopyRow(3, "test", "b/2.jpg", "b", "", "", ""),
    CopyRow(3, "validation", "b/3.jpg", "b", "b/2.jpg", "the same file", "1.000"),
]


def test_listed_copies_are_paired_across_the_splits_of_a_run():
    assert across_splits(ROWS, "train", "test") == [("a/9.jpg", "a/0.jpg", 0.97)]
    assert across_splits(ROWS, "test", "train") == [("a/0.jpg", "a/9.jpg", 0.97)]
    assert across_splits(ROWS, "train", "validation") == across_splits(ROWS, "train", "train") == []


def test_a_photo_in_two_classes_is_told_as_that():
    assert conflicts_line(ROWS).startswith("1 photo is in two classes, as b/0.jpg and a/1.jpg;")
    assert conflicts_line(ROWS[:2]) == ""


def test_a_list_of_copies_is_read_and_a_damaged_one_is_none(tmp_path):
    assert read_copies(tmp_path) is None
    lines = [",".join(map(str, row)) for row in (CopyRow._fields, *ROWS)]
    (tmp_path / COPIES).write_text("\n".join(lines) + "\n")
    assert read_copies(tmp_path) == ROWS
    for damaged in ("scene\nx,y\n", "scene\n1,train\n"):
        (tmp_path / COPIES).write_text(damaged)
        assert read_copies(tmp_path) is None
