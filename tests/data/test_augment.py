import numpy as np
import pytest

from alexnet_jax.config import AugmentConfig
from alexnet_jax.data import augment as A
from alexnet_jax.errors import InputError
from alexnet_jax.evaluation.views import centre_offset


def _draw(augment, indices, *, seed=0, epoch=0, stored=256, size=224, positions=None):
    return A.draw_augmentations(
        augment,
        seed=seed,
        epochs=np.full(len(indices), epoch),
        indices=np.asarray(indices),
        stored_size=stored,
        image_size=size,
        positions=positions,
    )


def _images(n, size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # the known-answer tests of the Philox4x32-10 authors' library, Random123
        ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([2**32 - 1] * 4, (2**32 - 1,) * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_known_answers(counter, key, expected):
    assert A.philox(np.array(counter, np.uint64), key).tolist() == expected


@pytest.mark.parametrize("recipe", ["crop", "resized-crop"])
def test_draws_depend_on_seed_epoch_and_index_only(recipe):
    augment = AugmentConfig(recipe=recipe, colour_noise=0.1, rotation_degrees=30)
    whole = _draw(augment, np.arange(100), seed=5, epoch=3)
    some = [97, 3, 3, 50]
    for all_of_them, few in zip(whole, _draw(augment, some, seed=5, epoch=3), strict=True):
        np.testing.assert_array_equal(all_of_them[some], few)
    place = "offsets" if recipe == "crop" else "boxes"
    for other in (dict(seed=6, epoch=3), dict(seed=5, epoch=4), dict(seed=5 + 2**32, epoch=3)):
        others = _draw(augment, np.arange(100), **other)
        for name in (place, "colour"):
            same = (getattr(others, name) == getattr(whole, name)).all(axis=1).mean()
            assert same < 0.1, (other, name)


def test_switching_one_change_off_leaves_the_others_alone():
    everything = _draw(AugmentConfig(colour_noise=0.1), range(50))
    plain = _draw(AugmentConfig(mirror=False), range(50))
    np.testing.assert_array_equal(everything.offsets, plain.offsets)
    assert not plain.flips.any() and not plain.colour.any()
    assert everything.flips.any() and everything.colour.all()


@pytest.mark.parametrize("recipe", ["crop", "resized-crop"])
def test_a_chunk_shares_place_and_mirroring_but_not_colour(recipe):
    augment = AugmentConfig(recipe, colour_noise=0.1, rotation_degrees=30, crop_chunk=32)
    n = 32 * 200 + 5
    order = np.random.default_rng(0).permutation(n)
    draws = _draw(augment, order, seed=1, epoch=2, positions=np.arange(n))
    shared = np.concatenate([draws.offsets, draws.boxes, draws.flips[:, None]], axis=1)
    firsts = shared[::32]
    np.testing.assert_array_equal(shared, np.repeat(firsts, 32, axis=0)[:n])
    np.testing.assert_array_equal(draws.degrees, np.repeat(draws.degrees[::32], 32)[:n])
    assert len(np.unique(firsts, axis=0)) > 180, "chunks differ"
    assert 70 < draws.flips[::32].sum() < 131
    alone = _draw(AugmentConfig(colour_noise=0.1), order, seed=1, epoch=2)
    np.testing.assert_array_equal(draws.colour, alone.colour, "per image, whatever the chunk")


def test_offsets_are_uniform_over_33_by_33_places():
    n = 40_000
    offsets = _draw(AugmentConfig(), range(n)).offsets
    assert offsets.min() == 0 and offsets.max() == 32
    counts = np.zeros((33, 33))
    np.add.at(counts, (offsets[:, 0], offsets[:, 1]), 1)
    expected = n / 33**2
    chi_square = ((counts - expected) ** 2 / expected).sum()
    degrees = 33**2 - 1
    assert abs(chi_square - degrees) < 5 * np.sqrt(2 * degrees)


def test_the_crop_of_the_middle_is_always_that_of_the_centre_view():
    draws = _draw(AugmentConfig("centre-crop", mirror=False), range(50))
    assert (draws.offsets == centre_offset(256, 224)).all() and not draws.flips.any()


def test_half_of_the_images_are_mirrored_independently_of_their_place():
    draws = _draw(AugmentConfig(), range(40_000))
    flips = draws.flips.astype(float)
    assert abs(flips.mean() - 0.5) < 5 * 0.5 / 200
    for axis in (0, 1):
        assert abs(np.corrcoef(flips, draws.offsets[:, axis])[0, 1]) < 5 / 200
    assert abs(np.corrcoef(flips[1:], flips[:-1])[0, 1]) < 5 / 200


def test_colour_coefficients_are_independent_standard_normals():
    n = 40_000
    z = _draw(AugmentConfig(colour_noise=0.1), range(n)).colour.astype(np.float64)
    assert np.isfinite(z).all() and z.shape == (n, 3)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=5 / np.sqrt(n))
    np.testing.assert_allclose(np.cov(z.T), np.eye(3), atol=5 * np.sqrt(2 / n))
    np.testing.assert_allclose((np.abs(z) < 1).mean(axis=0), 0.682689, atol=0.012)
    np.testing.assert_allclose((np.abs(z) > 3).mean(axis=0), 0.0027, atol=0.0015)


def test_permutation_visits_every_image_and_differs_between_epochs():
    first, second = A.permutation(0, 0, 1000), A.permutation(0, 1, 1000)
    for order in (first, second):
        np.testing.assert_array_equal(np.sort(order), np.arange(1000))
        assert (order == np.arange(1000)).sum() < 10
    assert (first == second).sum() < 10
    assert (A.permutation(1, 0, 1000) == first).sum() < 10


def test_stream_of_random_numbers_never_changes():
    # Resuming a run after an upgrade must find the same images: these were computed once.
    assert A.permutation(7, 2, 8).tolist() == [5, 0, 3, 7, 6, 1, 4, 2]
    draws = _draw(AugmentConfig(colour_noise=0.1), [0, 1], seed=7, epoch=2)
    assert draws.offsets.tolist() == [[19, 3], [31, 10]]
    flips = _draw(AugmentConfig(), range(12), seed=7, epoch=2).flips
    assert np.flatnonzero(flips).tolist() == [3, 10, 11]
    expected = [[0.4848777, -0.6402839, -1.3744948], [-0.8582563, 0.3214587, -0.4666701]]
    np.testing.assert_allclose(draws.colour, expected, rtol=1e-6)


@pytest.mark.parametrize("flip", [False, True])
def test_copies_are_mirrored_by_pixels_or_by_bytes(flip):
    image, out = _images(1, 57)[0], np.empty((57, 57, 3), np.uint8)
    A.copy_image(image, flip, out)
    np.testing.assert_array_equal(out, image[:, ::-1] if flip else image)
    for width in (56, 57, 58):  # words of 8, 1 and 2 bytes fill a row
        out = np.empty((57, width, 3), np.uint8)
        image = _images(1, 64)[0, :57, 3 : 3 + width]
        A.copy_reversed(image[..., ::-1].copy() if flip else image, out)
        np.testing.assert_array_equal(out, image[:, ::-1] if flip else image[:, ::-1, ::-1])


def test_crop_larger_than_the_stored_images_is_an_error():
    with pytest.raises(InputError, match="A crop of 33 pixels .* of 32"):
        _draw(AugmentConfig(), [0], stored=32, size=33)


def test_resized_crop_may_enlarge():
    augment = AugmentConfig(recipe="resized-crop")
    draws = _draw(augment, range(3), stored=32, size=48)
    out = np.empty((3, 48, 48, 3), np.uint8)
    A.resized_crops(_images(3, 32), draws, out)
    assert out.std() > 10


def test_boxes_keep_to_scale_and_ratio():
    augment = AugmentConfig(recipe="resized-crop", scale=(0.1, 0.8), ratio=(0.5, 2.0))
    top, left, height, width = _draw(augment, range(5000)).boxes.T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= 256).all() and (left + width <= 256).all()
    # Accepted boxes can be told from the fallback, which is the whole image.
    area, ratio = height * width / 256**2, width / height
    assert 0.09 < area.min() < 0.12 and 0.72 < area.max() < 0.81
    assert 0.49 < ratio.min() < 0.55 and 1.8 < ratio.max() < 2.02
    assert abs(np.log(ratio).mean()) < 0.03, "log-uniform: as often upright as lying"
    # Small boxes always fit, so their area stays uniform: 0.1..0.2 has half of 0.1..0.3.
    share = (area < 0.2).sum() / (area < 0.3).sum()
    assert abs(share - 0.5) < 0.06
    room = 256 - height
    assert abs((top[room > 0] / room[room > 0]).mean() - 0.5) < 0.03


@pytest.mark.parametrize(
    ("ratio", "box"),
    [
        ((0.9, 1.1), [0, 0, 256, 256]),
        ((2.0, 3.0), [64, 0, 128, 256]),
        ((1 / 3, 0.5), [0, 64, 256, 128]),
    ],
)
def test_ten_failed_attempts_fall_back_to_the_central_box(ratio, box):
    augment = AugmentConfig(recipe="resized-crop", scale=(4.0, 5.0), ratio=ratio)
    assert _draw(augment, range(3)).boxes.tolist() == [box] * 3


def test_boxes_are_those_of_the_first_attempt_that_fits():
    augment = AugmentConfig(recipe="resized-crop", scale=(0.08, 1.0))
    boxes = _draw(augment, range(300)).boxes
    zero = np.zeros(1, np.int64)
    late = 0
    for index, box in enumerate(boxes):
        for attempt in range(10):
            bits = A.random_block(0, zero, zero + index, A._ATTEMPTS + attempt)[0].astype(float)
            u = (bits + 0.5) / 2**32
            area = 256**2 * (0.08 + 0.92 * u[0])
            aspect = np.exp(np.log(3 / 4) + u[1] * np.log(16 / 9))
            width, height = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
            if width <= 256 and height <= 256:
                top, left = int(u[2] * (257 - height)), int(u[3] * (257 - width))
                assert box.tolist() == [top, left, height, width]
                late += attempt > 0
                break
    assert late > 10


def test_rotation_is_uniform_both_ways():
    augment = AugmentConfig(recipe="resized-crop", rotation_degrees=30)
    degrees = _draw(augment, range(20_000)).degrees
    assert -30 <= degrees.min() < -29.9 and 29.9 < degrees.max() <= 30
    assert abs(degrees.mean()) < 5 * 30 / np.sqrt(3 * 20_000)
    assert abs(degrees.std() - 30 / np.sqrt(3)) < 0.3
    assert not _draw(AugmentConfig(rotation_degrees=30), range(10)).degrees.any()


def _triangle_weights(size, out):
    """Antialiased bilinear interpolation as a matrix [out, size]."""
    scale = max(size / out, 1.0)
    centres = (np.arange(out) + 0.5) * size / out
    weights = 1 - np.abs(np.arange(size)[None] + 0.5 - centres[:, None]) / scale
    weights = np.maximum(weights, 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("out", [10, 24, 60])
def test_resize_is_antialiased_bilinear(out):
    image = _images(1, 48)[0]
    rows, columns = _triangle_weights(40, out), _triangle_weights(30, out)
    crop = image[3:43, 9:39].astype(float)
    expected = np.einsum("yh,xw,hwc->yxc", rows, columns, crop)
    result = A.resized_crop(image, np.array([3, 9, 40, 30]), 0.0, out)
    assert np.abs(result - expected).max() < 1.51, "two roundings"


def test_rotation_is_counter_clockwise_about_the_centre_with_black_corners():
    image = _images(1, 32)[0] | 1
    whole = np.array([0, 0, 32, 32])
    np.testing.assert_array_equal(A.resized_crop(image, whole, 90.0, 32), np.rot90(image))
    turned = A.resized_crop(image, whole, 30.0, 32)
    angle = np.deg2rad(30)
    y, x = np.mgrid[:32, :32] + 0.5 - 16
    source_x = np.floor(np.cos(angle) * x - np.sin(angle) * y + 16).astype(int)
    source_y = np.floor(np.sin(angle) * x + np.cos(angle) * y + 16).astype(int)
    inside = (source_x >= 0) & (source_x < 32) & (source_y >= 0) & (source_y < 32)
    expected = np.where(
        inside[..., None], image[source_y.clip(0, 31), source_x.clip(0, 31)], np.uint8(0)
    )
    assert (turned == expected).all(axis=-1).mean() > 0.99
    assert not turned[0, 0].any() and not turned[-1, -1].any()


def test_order_is_crop_rotation_mirror():
    image = _images(1, 32)
    draws = A.Draws(
        offsets=np.zeros((1, 2), np.int32),
        boxes=np.array([[0, 4, 28, 28]], np.int32),
        degrees=np.array([20.0]),
        flips=np.array([True]),
        colour=np.zeros((1, 3), np.float32),
    )
    out = np.empty((1, 20, 20, 3), np.uint8)
    A.resized_crops(image, draws, out)
    unmirrored = A.resized_crop(image[0], draws.boxes[0], 20.0, 20)
    np.testing.assert_array_equal(out[0], unmirrored[:, ::-1])
    mirrored_first = A.resized_crop(image[0, :, ::-1], np.array([0, 0, 28, 28]), 20.0, 20)
    assert (out[0] != mirrored_first).any()


def test_rotations_come_with_their_probability_and_are_else_as_they_were():
    n = 20_000
    always = _draw(AugmentConfig("resized-crop", rotation_degrees=30), range(n))
    half = AugmentConfig("resized-crop", rotation_degrees=30, rotation_probability=0.5)
    some = _draw(half, range(n))
    turned = some.degrees != 0
    assert abs(turned.mean() - 0.5) < 5 * 0.5 / np.sqrt(n) and (always.degrees != 0).all()
    np.testing.assert_array_equal(some.degrees[turned], always.degrees[turned])
    for name in ("boxes", "flips", "colour"):
        np.testing.assert_array_equal(getattr(some, name), getattr(always, name))
    # Whether says nothing of how far, of mirroring, or of the next image.
    for other in (np.abs(always.degrees), some.flips, some.boxes[:, 2], np.roll(turned, 1)):
        assert abs(np.corrcoef(turned, other)[0, 1]) < 5 / np.sqrt(n)
    never = AugmentConfig("resized-crop", rotation_degrees=30, rotation_probability=0)
    assert not _draw(never, range(100)).degrees.any()
    # As they were before there was a probability: computed once.
    old = _draw(AugmentConfig("resized-crop", rotation_degrees=30), range(4), seed=7, epoch=2)
    np.testing.assert_allclose(
        old.degrees,
        [9.584768966306, -5.586542438250035, 11.283717777114, 21.03964778361842],
        rtol=1e-12,
    )
