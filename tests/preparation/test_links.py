"""Links are followed once; what systems lay among photos is no class and no photo."""

import os

import pytest
from photo_folders import counts, in_classes, keys, listed, write

from alexnet_jax.errors import DataError

TWO = {"cat": 2, "dog": 2}


def linked(tmp_path, *links):
    root = write(tmp_path / "x", *in_classes("."))
    for place, target in links:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, root / place)
    return root


def test_classes_and_photos_may_be_links(tmp_path):
    store = write(tmp_path / "store", *in_classes(".", names=("eel", "dog"), count=5))
    links = [("eel", store / "eel"), ("dog/far.png", store / "dog" / "4.png")]
    source = listed(linked(tmp_path, *links), tmp_path, validation_fraction=0.0)
    assert counts(source) == {"train": {"cat": 2, "dog": 3, "eel": 5}}
    assert not source.left_out


def test_a_set_of_links_alone(tmp_path):
    store = write(tmp_path / "store", *(f"{i}.png" for i in range(8)))
    root = tmp_path / "x"
    for i in range(8):
        place = root / ("train", "val")[i // 4] / ("cat", "dog")[i % 2] / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(store / f"{i}.png")
    (tmp_path / "link").symlink_to(root)
    source = listed(tmp_path / "link", tmp_path)
    assert counts(source) == {"train": TWO, "validation": TWO}


def test_the_same_photo_counts_once_in_a_class(tmp_path):
    links = [("cat/a.png", "0.png"), ("cat/b.png", "0.png"), ("cat/c.png", "../dog/1.png")]
    links += [
        ("cat/d.png", "../dog/1.png"),
        ("dog/more", "../dog2"),
        ("dog2/0.png", "../dog/0.png"),
    ]
    root = linked(tmp_path, *links[:4])
    source = listed(root, tmp_path, validation_fraction=0.0)
    assert keys(source) == {
        "train": ["cat/0.png", "cat/1.png", "cat/c.png", "dog/0.png", "dog/1.png"]
    }
    assert source.left_out == {"links to photos of the same class": 3}


def test_circles_of_links_end(tmp_path):
    links = [("cat/up", ".."), ("cat/me", "."), ("dog/cat", "../cat")]
    source = listed(linked(tmp_path, *links), tmp_path, validation_fraction=0.0)
    assert source.left_out == {"links to a folder around them": 4}
    assert {key for key in keys(source)["train"] if key.count("/") == 1} == {
        "cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png",
    }  # fmt: skip


@pytest.mark.parametrize("count", [1, 2])
def test_two_classes_that_are_one_folder_are_refused(tmp_path, count):
    store = write(tmp_path / "store", "1.png", "2.png")
    links = [("eel", store), ("fish", store)] if count == 2 else [("eel", "cat")]
    text = "'eel' and 'fish'" if count == 2 else "'cat' and 'eel'"
    with pytest.raises(DataError, match=f"classes {text} of the train split .* by links; remove"):
        listed(linked(tmp_path, *links), tmp_path)


def test_a_link_to_nowhere_is_named(tmp_path):
    source = listed(linked(tmp_path, ("cat/gone.png", "/nowhere")), tmp_path)
    assert source.left_out == {"links that lead outside an archive or nowhere: cat/gone.png": 1}
    with pytest.raises(DataError, match="the class eel of .* is a link to /nowhere/eel, which is"):
        listed(linked(tmp_path / "y", ("eel", "/nowhere/eel")), tmp_path)
    root = linked(tmp_path / "z")
    os.rename(root, tmp_path / "train")
    os.makedirs(root)
    os.rename(tmp_path / "train", root / "train")
    os.symlink("/nowhere", root / "val")
    with pytest.raises(DataError, match="the split val of .* is a link to /nowhere, which is not"):
        listed(root, tmp_path)


def test_a_split_that_is_a_link_to_the_training_is_told(tmp_path):
    root = write(tmp_path / "x", *in_classes("train"))
    (root / "val").symlink_to("train")
    source = listed(root, tmp_path)
    assert counts(source) == {"train": TWO, "validation": TWO}
    assert "4 photos of validation are photos of train, by links" in source.understood


SYSTEMS = (
    "@eaDir/cat@SynoEAStream.png", "cat/@eaDir/0.png/SYNOPHOTO_THUMB_M.png", "#recycle/a.png",
    "#snapshot/GMT/cat/0.png", "@Recycle/a.png", "$RECYCLE.BIN/$R1.png", "RECYCLER/S-1/a.png",
    "System Volume Information/a.png", "lost+found/a.png", "found.000/a.png", "__MACOSX/cat/a.png",
    "dog/__pycache__/a.pyc", "Catalog Previews.lrdata/0/a.png",
)  # fmt: skip
HIDDEN = (
    ".Trash-1000/files/a.png", ".Trashes/a.png", ".thumbnails/a.png", "cat/.AppleDouble/0.png",
    "cat/.ipynb_checkpoints/0-checkpoint.png", ".picasaoriginals/a.png", ".dropbox.cache/a.png",
    ".stversions/cat/0.png", "cat/.@__thumb/default0.png",
)  # fmt: skip
FILES = ("Thumbs.db", "cat/Thumbs.db", "dog/desktop.ini", "dog/0.png@SynoEAStream", "cat/Icon\r")


def test_folders_of_storage_systems_are_no_classes(tmp_path):
    root = write(tmp_path / "x", *in_classes("."), *SYSTEMS, *HIDDEN, *FILES)
    source = listed(root, tmp_path, validation_fraction=0.0)
    assert counts(source) == {"train": TWO}
    assert source.left_out["'@eaDir' folders of a storage system or program"] == 2
    assert source.left_out["hidden files and folders"] == len(HIDDEN)
    assert source.left_out["files of the operating system"] == len(FILES)
    assert sum(source.left_out.values()) == len(SYSTEMS) + len(HIDDEN) + len(FILES)


@pytest.mark.parametrize("name", ["trash", "recycle", "snapshot", "@home", "#1", "lost"])
def test_classes_may_be_called_nearly_so(tmp_path, name):
    source = listed(write(tmp_path / "x", f"{name}/1.png", "zebra/1.png"), tmp_path)
    assert source.class_ids == (name, "zebra")


def test_a_class_that_only_a_system_has_filled_is_an_error_by_name(tmp_path):
    root = write(tmp_path / "x", *in_classes("."), "eel/@eaDir/0.png/SYNOPHOTO_THUMB_M.png")
    with pytest.raises(DataError, match="class 'eel' of .* has no training images"):
        listed(root, tmp_path)
