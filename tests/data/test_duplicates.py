"""Copies of a picture are found in another split; other pictures, and flat ones, are not."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alexnet_jax.data import duplicates
from alexnet_jax.data.duplicates import near_duplicates

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


@pytest.mark.parametrize("change", (np.copy, compressed, resized, brighter))
def test_a_changed_copy_is_found_and_named(change):
    train = Split([picture(i) for i in range(300)])
    test = Split([picture(1000), change(picture(270)), picture(1001)])
    assert [pair[:2] for pair in near_duplicates(train, test) or ()] == [("1.jpg", "270.jpg")]


def test_other_pictures_are_not():
    train, test = (Split([picture(i) for i in r]) for r in (range(300), range(300, 600)))
    assert near_duplicates(train, test) == []
    mirrored = Split([picture(3)[:, ::-1]])
    assert near_duplicates(train, mirrored) == []


def test_flat_pictures_are_no_copies_of_each_other():
    grey = [np.full((SIZE, SIZE, 3), value, np.uint8) for value in (0, 100, 255)]
    assert near_duplicates(Split(grey), Split(grey)) == []


def test_large_sets_and_tiny_pictures_are_not_searched(monkeypatch):
    twice = Split([picture(0)] * 2)
    monkeypatch.setattr(duplicates, "MOST_IMAGES", 3)
    assert near_duplicates(twice, twice) is None
    monkeypatch.undo()
    assert len(near_duplicates(twice, twice) or ()) == 2
    twice.stored_size = 16
    assert near_duplicates(twice, twice) is None
