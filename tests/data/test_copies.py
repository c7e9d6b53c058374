"""One photo, changed in the ways that people change photos, is one; other photos are others."""

import functools
import io

import numpy as np
import photo_folders
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from alexnet_jax.data.copies import Thumbnails, find_copies, groups, thumbnail

SIZE = 96
T = Image.Transpose
photo = functools.partial(photo_folders.photo, size=SIZE)


def drawing(kind, seed):
    """A disc or a square on one colour, without noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    middle, radius = rng.uniform(35, 61, 2), rng.uniform(14, 28)
    apart = np.abs([x - middle[0], y - middle[1]])
    inside = (np.hypot(*apart) if kind == "disc" else apart.max(0)) < radius
    pixels = np.where(inside[..., None], rng.uniform(150, 255, 3), (40, 60, 160))
    return Image.fromarray(pixels.astype(np.uint8))


def stripes(angle, colour, noise):
    y, x = np.mgrid[:SIZE, :SIZE]
    inside = ((x * np.cos(angle) + y * np.sin(angle)) // 6 % 2 == 0)[..., None]
    pixels = np.where(inside, colour, (40, 140, 60))
    pixels = pixels + np.random.default_rng(noise).normal(0, 12, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def pairs(images, small=False):
    parts = [thumbnail(image) for image in images]
    grey, colour = (np.stack(arrays) for arrays in zip(*parts, strict=True))
    found = find_copies(Thumbnails(grey, colour, np.full(len(images), small)))
    return {tuple(sorted(copy[:2])): copy for copy in found}


def cropped(left, top, right, bottom):
    box = (left * SIZE, top * SIZE, right * SIZE, bottom * SIZE)
    return lambda image: image.crop(tuple(map(round, box))).resize((80, 80))


def jpeg(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=50)
    return Image.open(file)


CHANGES = {
    "the same picture": lambda image: image.resize((60, 60)),
    "mirrored": lambda image: image.transpose(T.FLIP_LEFT_RIGHT),
    "turned by 90 degrees": lambda image: image.transpose(T.ROTATE_90),
    "turned by 180 degrees": lambda image: image.transpose(T.ROTATE_180),
    "turned by 270 degrees": lambda image: image.transpose(T.ROTATE_270),
    "mirrored, turned by": lambda image: image.transpose(T.TRANSPOSE),
    "cropped to 77 % of the area": cropped(0.06, 0.06, 0.94, 0.94),
    "cropped to 64 % of the area": cropped(0.03, 0.17, 0.83, 0.97),
    "cropped to 67 % of the area": cropped(0.2, 0, 0.87, 1),
    "without colour": lambda image: image.convert("L").convert("RGB"),
    "turned by 4 degrees": lambda image: image.rotate(4, Image.Resampling.BICUBIC),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_others_and_its_change_is_named(change):
    images = [photo(seed) for seed in range(12)]
    copy = CHANGES[change](ImageEnhance.Brightness(images[5]).enhance(0.9))
    found = pairs([*images, jpeg(copy)])
    assert list(found) == [(5, 12)]
    assert change in found[5, 12].change
    assert ("mirrored" in change) == ("mirrored" in found[5, 12].change_back)


def test_a_crop_of_a_mirrored_copy_is_found():
    images = [photo(seed) for seed in range(8)]
    found = pairs([*images, cropped(0, 0.1, 0.8, 0.9)(images[3].transpose(T.FLIP_LEFT_RIGHT))])
    assert list(found) == [(3, 8)]


def test_other_photos_are_no_copies():
    assert pairs([photo(seed) for seed in range(80)]) == {}


@pytest.mark.parametrize("kind", ("disc", "square"))
def test_drawings_of_one_kind_are_no_copies_but_equal_ones_are(kind):
    images = [drawing(kind, seed) for seed in range(30)]
    assert list(pairs([*images, images[4].transpose(T.ROTATE_90)])) == [(4, 30)]


def icon(colours, letter, radius):
    image = Image.new("RGB", (128, 128), colours[0])
    pen = ImageDraw.Draw(image)
    pen.rectangle((64 - radius, 64 - radius, 64 + radius, 64 + radius), colours[1], "white", 3)
    pen.text((50, 50), letter, "white", font_size=28)
    return image


def test_icons_of_other_colours_and_letters_are_no_copies():
    rng = np.random.default_rng(3)
    images = []
    for i in range(60):
        colours = [tuple(int(v) for v in rng.integers(0, 255, 3)) for _ in range(2)]
        images.append(icon(colours, chr(65 + i % 26) * 2, int(rng.integers(25, 55))))
    assert pairs(images) == {}


def test_stripes_of_other_colours_are_no_copies_but_a_crop_of_them_is():
    red, violet = (220, 160, 170), (160, 170, 250)
    images = [
        stripes(0.7, red, 1),
        stripes(0.7, violet, 2),
        stripes(0.7 + np.pi / 2, (200, 250, 160), 3),
    ]
    images += [stripes(angle, violet, 4) for angle in (1.0, 1.3)]
    assert list(pairs([*images, cropped(0.06, 0.06, 0.94, 0.94)(images[0])])) == [(0, 5)]


def test_flat_pictures_are_no_copies():
    greys = [Image.new("RGB", (SIZE, SIZE), (level, level, level)) for level in (0, 90, 255)]
    assert pairs(greys * 2) == {}


def test_digits_of_one_kind_are_no_copies():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    ones = (images[labels == 1][:60].reshape(-1, 8, 8) * 15.9).astype(np.uint8)
    digits = [Image.fromarray(one).resize((28, 28)).convert("RGB") for one in ones]
    assert pairs(digits, small=True) == {}
    assert list(pairs([*digits[:9], digits[2]], small=True)) == [(2, 9)]


def test_small_pictures_are_found_mirrored_but_not_cropped():
    images = [photo(seed) for seed in range(6)]
    copies = [images[2].transpose(T.FLIP_LEFT_RIGHT), cropped(0.1, 0.1, 0.9, 0.9)(images[4])]
    assert list(pairs([*images, *copies], small=True)) == [(2, 6)]


def test_of_two_grey_pictures_none_is_told_to_have_lost_its_colour():
    grey = photo(1).convert("L").convert("RGB")
    assert pairs([photo(0), grey, grey.resize((90, 90))])[1, 2].change == "the same picture"


def test_groups_connect_what_pairs_connect():
    assert groups(7, [(4, 1), (2, 5), (1, 6)]) == [[1, 4, 6], [2, 5]]
    assert groups(3, []) == []
