"""Which files a pattern names, and what is read of one image."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_jax.errors import BadImageError, InputError
from alexnet_jax.insight.image_files import find_images
from alexnet_jax.insight.images import read_image

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0"
    "000003010100c9fe92ef0000000049454e44ae426082"
)


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jpg", "a.PNG", "sub/c.webp", "notes.txt", ".hidden.jpg", ".cache/d.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def found(patterns, folder):
    return [Path(name).relative_to(folder).as_posix() for name in find_images(patterns).names]


def test_a_folder_gives_its_images_sorted_and_without_hidden_ones(folder):
    assert found([folder], folder) == ["a.PNG", "b.jpg", "sub/c.webp"]


def test_globs_files_and_folders_mix_and_repeat_nothing(folder):
    patterns = [folder / "b.jpg", f"{folder}/*.jpg", str(folder / "sub"), folder / "notes.txt"]
    assert found(patterns, folder) == ["b.jpg", "sub/c.webp", "notes.txt"]


def test_two_stars_go_to_any_depth(folder):
    assert found([f"{folder}/**/*.webp"], folder) == ["sub/c.webp"]


def test_a_name_with_glob_characters_is_taken_as_it_is(tmp_path):
    (tmp_path / "photo[1].jpg").write_bytes(b"")
    assert found([tmp_path / "photo[1].jpg"], tmp_path) == ["photo[1].jpg"]


def test_a_pattern_that_names_nothing_is_an_error(folder, tmp_path):
    with pytest.raises(InputError, match="gone.jpg does not exist and matches no file"):
        find_images([tmp_path / "gone.jpg"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        find_images([tmp_path / "empty"])
    with pytest.raises(InputError, match="no images were named"):
        find_images([])


def skipped(patterns):
    return {Path(name).name: reason for name, reason in find_images(patterns).not_taken}


def test_what_a_folder_holds_besides_is_named(folder):
    (folder / "no suffix").write_bytes(PNG)
    (folder / "photo.dat").write_bytes(PNG)
    (folder / "empty").write_bytes(b"")
    (folder / "linked").symlink_to(folder / "sub")
    (folder / "gone.jpg").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.jpg")
    images = ["a.PNG", "b.jpg", "gone.jpg", "no suffix", "photo.dat", "sub/c.webp"]
    assert found([folder], folder) == images
    assert skipped([folder]) == {
        ".cache": "a hidden folder", "linked": "a link to a folder", ".hidden.jpg": "a hidden file",
        "empty": "no image", "notes.txt": "no image", "pipe.jpg": "no regular file",
    }  # fmt: skip


def test_folders_of_storage_systems_hold_no_photos(folder):
    for name in ("@eaDir/a.PNG/SYNOPHOTO_THUMB_M.jpg", "sub/#recycle/d.jpg", "Thumbs.db"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PNG)
    assert found([folder], folder) == ["a.PNG", "b.jpg", "sub/c.webp"]
    reasons = skipped([folder])
    assert reasons["@eaDir"] == reasons["#recycle"] == "a folder of a storage system"
    assert reasons["Thumbs.db"] == "a file of the operating system"


def test_a_folder_without_an_image_says_what_it_holds(tmp_path):
    (tmp_path / "a.txt").write_text("no image")
    with pytest.raises(InputError, match="holds no image; not used: 1, e.g. .*a.txt"):
        find_images([tmp_path])


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may read every folder")
def test_a_folder_that_may_not_be_read_is_named(folder):
    (folder / "sub").chmod(0)
    assert found([folder], folder) == ["a.PNG", "b.jpg"]
    assert "Permission denied" in skipped([folder]).values()
    (folder / "sub").chmod(0o700)


def test_an_array_of_stored_size_stays_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    np.testing.assert_array_equal(read_image(pixels, 9), pixels)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "RGBA", "LA"])
def test_pillow_images_of_any_mode_become_rgb(mode):
    image = Image.new("RGB", (9, 9), (255, 255, 255)).convert(mode)
    found = read_image(image, 9)
    assert found.shape == (9, 9, 3) and found.dtype == np.uint8 and found.min() >= 254


def test_bytes_are_an_image_file():
    assert read_image(PNG, 9).shape == (9, 9, 3)
    with pytest.raises(BadImageError, match="not a JPEG, PNG"):
        read_image(b"no image", 9)
