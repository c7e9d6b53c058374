"""Which files a pattern names."""

import numpy as np
import pytest
from PIL import Image

from alexnet_jax.errors import InputError
from alexnet_jax.insight.images import expand_images, read_image


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jpg", "a.PNG", "sub/c.webp", "notes.txt", ".hidden.jpg", ".cache/d.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def names(files, folder):
    return [file.relative_to(folder).as_posix() for file in files]


def test_a_folder_gives_its_images_sorted_and_without_hidden_ones(folder):
    assert names(expand_images([folder]), folder) == ["a.PNG", "b.jpg", "sub/c.webp"]


def test_globs_files_and_folders_mix_and_repeat_nothing(folder):
    patterns = [folder / "b.jpg", f"{folder}/*.jpg", str(folder / "sub"), folder / "notes.txt"]
    assert names(expand_images(patterns), folder) == ["b.jpg", "sub/c.webp", "notes.txt"]


def test_two_stars_go_to_any_depth(folder):
    assert names(expand_images([f"{folder}/**/*.webp"]), folder) == ["sub/c.webp"]


def test_a_name_with_glob_characters_is_taken_as_it_is(tmp_path):
    (tmp_path / "photo[1].jpg").write_bytes(b"")
    assert names(expand_images([tmp_path / "photo[1].jpg"]), tmp_path) == ["photo[1].jpg"]


def test_a_pattern_that_names_nothing_is_an_error(folder, tmp_path):
    with pytest.raises(InputError, match="gone.jpg does not exist and matches no file"):
        expand_images([tmp_path / "gone.jpg"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        expand_images([tmp_path / "empty"])
    with pytest.raises(InputError, match="no images were named"):
        expand_images([])


def test_an_array_of_stored_size_stays_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    np.testing.assert_array_equal(read_image(pixels, 9), pixels)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "RGBA", "LA"])
def test_pillow_images_of_any_mode_become_rgb(mode):
    image = Image.new("RGB", (9, 9), (255, 255, 255)).convert(mode)
    found = read_image(image, 9)
    assert found.shape == (9, 9, 3) and found.dtype == np.uint8 and found.min() >= 254
