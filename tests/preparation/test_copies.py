"""Copies of one photo are kept on one side of a split, and told; so is a photo in two classes."""

import csv
import functools
import json
import shutil

import photo_folders
import pytest
from PIL import Image

from alexnet_jax.config import DataConfig
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.errors import DataError
from alexnet_jax.preparation import copy_search as copies
from alexnet_jax.preparation.prepare import prepare
from alexnet_jax.preparation.source_images import SourceImage
from alexnet_jax.preparation.splitting import hold_out

T = Image.Transpose
SIZE = 80
photo = functools.partial(photo_folders.photo, size=SIZE)


def save(image, *parts):
    path = parts[0].joinpath(*parts[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def augmented(root, count=5):
    """Two classes of photos, each with a mirrored, a turned and a cropped copy."""
    for label, name in enumerate(("a", "b")):
        for i in range(count):
            image = photo(100 * label + i)
            save(image, root, name, f"{i}.png")
            save(image.transpose(T.FLIP_LEFT_RIGHT), root, name, f"{i}_mirrored.png")
            save(image.transpose(T.ROTATE_270), root, name, f"{i}_turned.png")
            save(image.crop((5, 5, 75, 75)).resize((SIZE, SIZE)), root, name, f"{i}_cropped.png")
    return root


def prepared(root, data_dir, **changes):
    data = DataConfig(
        **{"source_kind": "folder", "source": str(root), "stored_size": 32, **changes}
    )
    return prepare(data, data_dir)


def rows(folder):
    with open(folder / "copies.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def scenes(keys):
    return {key[:3] for key in keys}


def images(*counts):
    return [SourceImage(f"{c}/{i}.jpg", c) for c, count in enumerate(counts) for i in range(count)]


def test_groups_are_held_out_whole_and_near_the_share():
    photos = images(80, 40)
    groups = [range(first, first + 4) for first in range(0, 120, 4)]
    kept, held = hold_out(photos, 0.1, groups)
    assert [sum(r.label == label for r in held) for label in (0, 1)] == [8, 4]
    assert len(kept) == 108 and [r for r in photos if r in held] == held
    whole = {record.key for record in held}
    assert all(len({photos[i].key in whole for i in group}) == 1 for group in groups)


def test_photos_without_copies_are_held_out_as_before():
    """Recorded sets must come out the same: the smallest hashes of each class."""
    photos = images(9, 2, 1)
    _, held = hold_out(photos, 0.3)
    assert [r.key for r in held] == ["0/0.jpg", "0/4.jpg", "0/5.jpg", "1/0.jpg"]
    assert hold_out(photos, 0.0)[1] == [] and hold_out(photos, 0.0)[0] == photos


def test_one_group_of_all_stays_whole_and_a_large_one_is_taken_where_there_is_no_other():
    kept, held = hold_out(images(6), 0.5, [range(6)])
    assert len(kept) == 6 and held == []
    _, held = hold_out(images(8), 0.1, [range(4), range(4, 8)])
    assert len(held) == 4


def test_a_group_of_two_classes_stays_together():
    photos = images(10, 10)
    for fraction in (0.1, 0.3, 0.5):
        _, held = hold_out(photos, fraction, [(i, 10 + i) for i in range(10)])
        assert {r.key[2:] for r in held if not r.label} == {r.key[2:] for r in held if r.label}
        assert len(held) == 20 * fraction


def test_copies_are_kept_on_one_side_and_told(tmp_path, capsys):
    root = augmented(tmp_path / "photos")
    folder = prepared(root, tmp_path / "data", validation_fraction=0.2)
    dataset = open_dataset(folder)
    train, held = (scenes(dataset.split(name).keys) for name in ("train", "validation"))
    assert len(held) == 2 and not train & held and dataset.splits["validation"] == 8
    said = capsys.readouterr().err
    assert "40 photos show 10 scenes; copies of one photo are kept on one side" in said
    assert "two classes" not in said
    listed = rows(folder)
    assert len(listed) == 40 and len({row["scene"] for row in listed}) == 10
    assert {row["photo"]: row["split"] for row in listed} == {
        key: name for name in dataset.splits for key in dataset.split(name).keys
    }
    turned = next(row for row in listed if row["photo"] == "a/0_mirrored.png")
    assert turned["change"] and turned["like"].startswith("a/0")
    counts = json.loads((folder / "prepared.json").read_text())["copies"]
    assert counts == {"searched": "photos", "photos": 40, "scenes": 10}


def test_classes_of_a_still_camera_are_told_and_cannot_all_be_split(tmp_path, capsys):
    for index in range(4):
        for name in ("a", "b"):
            save(photo(ord(name)), tmp_path, "still", name, f"{index}.png")
    with pytest.raises(DataError, match="are like one photo.*: --copies ignore"):
        prepared(tmp_path / "still", tmp_path / "data", name="x")
    assert not (tmp_path / "data" / "x").exists(), "nothing was begun"
    ignored = prepared(tmp_path / "still", tmp_path / "data", name="x", copies="ignore")
    assert len(open_dataset(ignored).split("validation")) == 2
    for index in range(4):
        save(photo(index), tmp_path, "still", "a", f"more_{index}.png")
    capsys.readouterr()
    prepared(tmp_path / "still", tmp_path / "data", name="y")
    assert "set aside   nothing of b: all photos" in capsys.readouterr().err


def test_copies_are_left_alone_where_that_is_asked_for(tmp_path, capsys):
    root = augmented(tmp_path / "photos", 3)
    together = prepared(root, tmp_path / "data")
    folder = prepared(root, tmp_path / "data", copies="ignore")
    assert folder != together and not (folder / "copies.csv").exists()
    assert json.loads((folder / "prepared.json").read_text())["copies"]["searched"] == "no"
    with pytest.raises(DataError, match="copies 'together', asked for 'ignore'"):
        prepared(root, tmp_path / "data", copies="ignore", name=together.name)


def test_a_source_with_splits_keeps_them_and_copies_across_are_listed(tmp_path, capsys):
    root = tmp_path / "photos"
    for name, first in (("a", 0), ("b", 10)):
        for i in range(3):
            save(photo(first + i), root, "train", name, f"{i}.png")
            save(photo(50 + first + i), root, "test", name, f"{i}.png")
    save(photo(1).transpose(T.TRANSPOSE), root, "test", "a", "again.png")
    folder = prepared(root, tmp_path / "data", validation_split="test")
    assert open_dataset(folder).splits == {"train": 6, "test": 7}
    said = capsys.readouterr().err
    assert "13 photos show 12 scenes; listed in" in said and "one side" not in said
    assert [(row["split"], row["photo"]) for row in rows(folder)] == [
        ("train", "a/1.png"),
        ("test", "a/again.png"),
    ]


def test_one_photo_in_two_classes_is_told(tmp_path, capsys):
    root = tmp_path / "photos"
    for name, first in (("a", 0), ("b", 10)):
        for i in range(6):
            save(photo(first + i), root, name, f"{i}.png")
    for i in range(3):
        shutil.copy(root / "a" / f"{i}.png", root / "b" / f"also_{i}.png")
    save(photo(3).transpose(T.FLIP_LEFT_RIGHT), root, "b", "also_3.png")
    folder = prepared(root, tmp_path / "data")
    assert "4 photos are in two classes, as a/0.png and b/also_0.png;" in capsys.readouterr().err
    by_scene = {}
    for row in rows(folder):
        by_scene.setdefault(row["scene"], []).append((row["split"], row["class_id"]))
    assert len(by_scene) == 4
    for places in by_scene.values():
        assert len({split for split, _ in places}) == 1 and {c for _, c in places} == {"a", "b"}


def test_of_very_many_photos_only_equal_files_are_looked_for_and_it_is_said(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(copies, "MAX_IMAGES", 10)
    root = augmented(tmp_path / "photos", 2)
    shutil.copy(root / "a" / "0.png", root / "a" / "same.png")
    folder = prepared(root, tmp_path / "data")
    said = capsys.readouterr().err
    assert "17 photos are more than 10: only copies with the same bytes" in said
    assert [row["photo"] for row in rows(folder)] == ["a/0.png", "a/same.png"]


def test_unreadable_and_flat_photos_are_no_copies_and_are_named_as_ever(tmp_path, capsys):
    root = tmp_path / "photos"
    for name, first in (("a", 0), ("b", 20)):
        for i in range(12):
            save(photo(first + i), root, name, f"{i}.png")
    save(Image.new("RGB", (60, 50), (9, 9, 9)), root, "a", "flat.png")
    save(Image.new("RGB", (50, 60), (200, 9, 9)), root, "b", "flat.png")
    (root / "a" / "broken.png").write_bytes((root / "a" / "1.png").read_bytes()[:900])
    (root / "b" / "empty.png").write_bytes(b"")
    prepared(root, tmp_path / "data")
    said = capsys.readouterr().err
    assert "2 bad images left out" in said and "scenes" not in said


def test_a_set_whose_copies_were_kept_together_is_current(tmp_path, capsys):
    root = augmented(tmp_path / "photos")
    first = prepared(root, tmp_path / "data", name="set")
    assert (first / "copies.csv").exists()
    capsys.readouterr()
    for path in root.rglob("*.png"):  # touched, so that the images are listed again
        path.touch()
    assert prepared(root, tmp_path / "data", name="set") == first
    assert "is prepared already" in capsys.readouterr().err
    save(photo(500), root, "a", "new.png")
    assert prepared(root, tmp_path / "data", name="set").name == "set.2"
    assert "has changed since set was prepared: 1 added\n" in capsys.readouterr().err


def test_copies_in_a_zip_that_packs_them_are_found(tmp_path):
    root = augmented(tmp_path / "photos")
    shutil.copy(root / "a" / "0.png", root / "b" / "0_again.png")
    shutil.make_archive(str(tmp_path / "photos"), "zip", root)
    folder = prepared(tmp_path / "photos.zip", tmp_path / "data", name="set")
    found = json.loads((folder / "prepared.json").read_text())["copies"]
    assert found == {"searched": "photos", "photos": 41, "scenes": 10}


def test_equal_files_that_cannot_be_read_are_no_copies(tmp_path):
    for index in range(12):
        for label, name in enumerate(("a", "b")):
            save(photo(100 * label + index), tmp_path, "photos", name, f"{index}.png")
    for name in ("a", "b"):
        (tmp_path / "photos" / name / "cut.png").write_bytes(b"\x89PNG cut off")
    folder = prepared(tmp_path / "photos", tmp_path / "data", name="set")
    assert rows(folder) == []
    counts = json.loads((folder / "prepared.json").read_text())["copies"]
    assert counts == {"searched": "photos", "photos": 24, "scenes": 24}
