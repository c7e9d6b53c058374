"""What training sees: the very pictures of its batches, colours by the formula, counted views."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from alexnet_jax.config import AugmentConfig, Config, Phase, PreprocessConfig, ScheduleConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.data.stream import TrainingStream, stream_indices
from alexnet_jax.evaluation.views import choose_views
from alexnet_jax.insight import augmentations
from alexnet_jax.insight.augmentations import OneImage, framed, sheet, training_pictures
from experiments.gallery import augmentation as gallery

STORED, SIZE, COUNT = 20, 16, 9
GRID = np.random.default_rng(0).integers(60, 190, (COUNT, STORED, STORED, 3), np.uint8)
VECTORS = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
SPREADS = np.array([2.0, 10.0, 50.0])
INPUTS = Inputs(*(np.asarray(a, np.float32) for a in (
    np.full((SIZE, SIZE, 3), 100), np.ones(3), VECTORS * SPREADS
)))  # fmt: skip


class Split(OneImage):
    """Several images, of which `OneImage` cuts each."""

    num_examples = COUNT
    labels = np.zeros(COUNT, np.int32)

    def __init__(self):
        super().__init__(GRID[0])

    def images(self, indices):
        return GRID[np.asarray(indices)]

    def crops(self, indices, offsets, flips, out):
        for row, index in enumerate(indices):
            OneImage(GRID[index]).crops([0], *(a[row : row + 1] for a in (offsets, flips, out)))


def shown(augment, index=3, seed=5, size=SIZE, **changes):
    preprocess = changes.pop("preprocess", PreprocessConfig())
    config = Config(seed=seed, augment=augment, preprocess=preprocess, **changes)
    mean = INPUTS.mean if preprocess.mean != "none" else np.zeros(3, np.float32)
    return training_pictures(Split(), index, config, INPUTS._replace(mean=mean), size, "an owl")


def row_of(rows, name):
    (row,) = [row for row in rows if row.name == name]
    return row


@pytest.mark.parametrize(
    "augment",
    [
        AugmentConfig(colour_noise=0.1),
        AugmentConfig(crop_chunk=4, mirror=True),
        AugmentConfig("centre-crop", mirror=False),
        AugmentConfig("resized-crop", scale=(0.3, 1.0), rotation_degrees=30),
    ],
    ids=("crop", "chunks", "centre-crop", "resized-crop"),
)
def test_the_crops_are_those_of_the_batches_of_training(augment):
    rows = shown(augment)
    crops = rows[0].pictures[1:]
    stream = TrainingStream(Split(), 5, 4, SIZE, augment)
    seen = {}
    for step in range(6 * COUNT // 4 + 1):
        epochs, indices = stream_indices(5, COUNT, 4, step)
        for row in np.flatnonzero(indices == 3):
            batch = stream.batch(step)
            seen[int(epochs[row])] = batch.images[row], batch.flips[row], batch.colour[row]
    assert len(crops) == 6
    for epoch, picture in enumerate(crops):
        image, flip, colour = seen[epoch]
        np.testing.assert_array_equal(picture.image, image)
        assert picture.caption.startswith(f"epoch {epoch + 1}")
        assert ("mirrored" in picture.caption) == flip
        assert ("°" in picture.caption) == (augment.recipe == "resized-crop")
        if augment.colour_noise:
            told = row_of(rows, "Colour noise").pictures[epoch].caption
            assert told == ", ".join(f"{z:+.1f}" for z in colour[::-1])
    assert rows[0].pictures[0].caption == "an owl"


@pytest.mark.parametrize("form", ["printed", "2012"])
@pytest.mark.parametrize("mean", ["image", "none"])
def test_colours_follow_the_formula(form, mean):
    augment = AugmentConfig(colour_noise=0.1, colour_form=form)
    rows = shown(augment, preprocess=PreprocessConfig(mean, "none"))
    crop = rows[0].pictures[1].image.astype(float)
    level, divisor = (100 if mean == "image" else 0), (1.1 if form == "2012" else 1)
    for number in (1, 2, 3):
        row, column = row_of(rows, f"Component {number}"), 3 - number
        assert f"standard deviation {SPREADS[column]:.1f} " in row.note
        assert [p.caption for p in row.pictures] == ["-3", "-2", "-1", "0", "+1", "+2", "+3"]
        for picture, z in zip(row.pictures, range(-3, 4), strict=True):
            change = 0.1 * z * SPREADS[column] * VECTORS[:, column]
            expected = level + (crop - level + change) / divisor
            np.testing.assert_allclose(picture.image, expected.clip(0, 255), atol=0.51)
    assert ("contrast" in row_of(rows, "Colour noise").note) == (form == "2012")


def test_views_that_the_test_of_a_run_leaves_out_are_said_to_be():
    row = shown(AugmentConfig(), final_views=1)[-1]
    assert row.name == "A test with ten views" and "takes the centre alone" in row.note
    assert shown(AugmentConfig())[-1].name == "The test: ten views"


def test_a_scaled_input_shows_the_same_colours():
    augment = AugmentConfig(colour_noise=0.1, colour_form="printed")
    config = Config(augment=augment, preprocess=PreprocessConfig("image", "channel"))
    plain = dataclasses.replace(config, preprocess=PreprocessConfig("image", "none"))
    scaled = INPUTS._replace(scale=np.array([7, 11, 13], np.float32))
    pairs = zip(
        training_pictures(Split(), 0, config, scaled, SIZE),
        training_pictures(Split(), 0, plain, INPUTS, SIZE),
        strict=True,
    )
    for one, other in pairs:
        for a, b in zip(one.pictures, other.pictures, strict=True):
            assert np.abs(a.image.astype(int) - b.image).max() <= 1


def test_colours_that_a_run_does_without_are_not_shown():
    assert row_of(shown(AugmentConfig()), "Colour noise").note == "None in this run."
    ends = ScheduleConfig("step", (Phase(3, colour_noise=False),))
    row = row_of(shown(AugmentConfig(colour_noise=0.1), schedule=ends), "Colour noise")
    assert len(row.pictures) == 2 and "until epoch 3 begins" in row.note
    grey = INPUTS._replace(colour=INPUTS.colour * np.array([0, 1e-7, 1], np.float32))
    config = Config(augment=AugmentConfig(colour_noise=0.1))
    names = [row.name for row in training_pictures(Split(), 0, config, grey, SIZE)]
    assert names == ["Crops", "Colour noise", "Component 1", "The test: ten views"]


@pytest.mark.parametrize(
    ("size", "mirror", "name", "pictures"),
    [
        (SIZE, True, "ten views", 10),
        (SIZE, False, "five crops", 5),
        (STORED, True, "two views", 2),
        (STORED, False, "one view", 1),
    ],
)
def test_the_views_are_those_of_the_test_and_are_counted(size, mirror, name, pictures):
    row = shown(AugmentConfig(mirror=mirror), size=size)[-1]
    assert row.name == f"The test: {name}" and len(row.pictures) == 1 + pictures
    views = choose_views(STORED, size, 10, mirror)
    for picture, view in zip(row.pictures[1:], views, strict=True):
        window = GRID[3][view.y : view.y + size, view.x : view.x + size]
        np.testing.assert_array_equal(picture.image, window[:, ::-1] if view.mirrored else window)
        assert ("mirrored" in picture.caption) == view.mirrored
    assert row.pictures[0].caption == ("5 places" if size < STORED else "1 place")


@pytest.mark.parametrize("recipe", ["crop", "centre-crop"])
def test_an_image_of_the_networks_size_is_not_said_to_be_cut(recipe):
    row = shown(AugmentConfig(recipe), size=STORED)[0]
    assert row.name == "All of it" and "nothing to cut. Half are mirrored." in row.note


def test_frames_lie_where_the_crops_do():
    black = np.zeros((10, 10, 3), np.uint8)
    picture = framed(black, np.array([[1, 2, 8, 5]]))
    side = picture.shape[0]
    assert picture.shape == (side, side, 3) and side % 10 == 0 and side >= 224
    drawn = np.argwhere(picture.any(axis=2)) / (side // 10)
    np.testing.assert_allclose(drawn.min(axis=0), [1, 2])
    np.testing.assert_allclose(drawn.max(axis=0), [9, 7], atol=0.1)
    assert {tuple(c) for c in picture[picture.any(axis=2)]} == {(0xC0, 0x39, 0x2B)}


@pytest.mark.slow
def test_the_picture_of_the_gallery_shows_photo_and_digit(tmp_path):
    page = np.asarray(gallery.made(tmp_path))
    with Image.open(gallery.PICTURE) as committed:
        assert committed.size == page.shape[1::-1]
        difference = np.abs(np.asarray(committed).astype(int) - page)
    assert difference.mean() < 6  # of JPEG, and of other versions' fonts


def test_a_sheet_holds_every_picture():
    rows = shown(AugmentConfig(colour_noise=0.1))
    page = np.asarray(sheet(rows, side=32, columns=6))
    assert page.shape[1] == 6 * 38 + 6
    first = rows[0].pictures[2].image.repeat(2, axis=0).repeat(2, axis=1)
    head = augmentations.sheet(rows[:1], side=32, columns=6)
    assert np.asarray(head).shape[0] < page.shape[0] / 4
    np.testing.assert_array_equal(page[48 : 48 + 32, 6 + 2 * 38 : 6 + 2 * 38 + 32], first)
