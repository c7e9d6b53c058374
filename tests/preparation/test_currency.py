"""A prepared set is current when its contents are those of its source, and is never replaced."""

import dataclasses
import json
import os
import re
import shutil
import tarfile
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from interruptions import interrupted
from PIL import Image

from alexnet_jax import doctor
from alexnet_jax.config import DataConfig
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.display import Display
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.preparation import currency, source_files, source_record
from alexnet_jax.preparation.prepare import ensure_prepared, prepare
from alexnet_jax.preparation.sources import folder as folder_source
from alexnet_jax.preparation.survey import survey

LONG_AGO = 1_500_000_000 * 10**9


@pytest.fixture
def photos(tmp_path):
    """Two classes of eight photos, whose files are old enough for their times to be sure."""
    root = tmp_path / "photos"
    for label, name in enumerate(("cat", "dog")):
        for index in range(8):
            write(root / name / f"{index}.png", label, index)
    return root


def write(path: Path, label: int, index: int, when: int = LONG_AGO) -> None:
    pixels = np.random.default_rng([label, index]).integers(0, 256, (20, 24, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    os.utime(path, ns=(when, when))


def folder_of(source: Path | None, **changes) -> DataConfig:
    data = DataConfig("set", "folder", str(source or ""), stored_size=16, store="raw")
    return dataclasses.replace(data, **changes)


def pack(photos: Path, tar: Path, kind: Literal["w", "w:gz"], names: list[str]) -> Path:
    with tarfile.open(tar, kind) as archive:
        for name in names:
            archive.add(photos / name, f"photos/{name}")
    return tar


def names_of(photos: Path) -> list[str]:
    return sorted(str(p.relative_to(photos)) for p in photos.rglob("*.png"))


def counts(folder: Path) -> int:
    return sum(open_dataset(folder).splits.values())


def test_nothing_is_read_of_a_source_as_it_was(photos, tmp_path, monkeypatch, capsys):
    first = prepare(folder_of(photos), tmp_path / "data")
    capsys.readouterr()
    monkeypatch.setattr(currency, "list_images", None)
    monkeypatch.setattr(currency, "content_digest", None)
    assert ensure_prepared(folder_of(photos), tmp_path / "data") == first
    assert capsys.readouterr().err == ""


def grow(photos):
    for index in range(20, 25):
        write(photos / "dog" / f"{index}.png", 1, index)
    for index in range(6):
        write(photos / "fox" / f"{index}.png", 2, index)


def rename(photos):
    (photos / "cat" / "3.png").rename(photos / "cat" / "three.png")


def to_other_class(photos):
    (photos / "cat" / "3.png").rename(photos / "dog" / "of cats.png")


def same_size(photos):
    path = photos / "cat" / "3.png"
    data = bytearray(path.read_bytes())
    data[-5] ^= 255  # in the last chunk's check sum
    path.write_bytes(data)
    os.utime(path, ns=(LONG_AGO + 1, LONG_AGO + 1))  # a nanosecond later, as NFS may tell


def name_classes(photos):
    (photos / "class_names.csv").write_text("cat,Katze\n")


def lose_class(photos):
    grow(photos)
    shutil.rmtree(photos / "cat")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (grow, "11 added, new class fox"),
        (rename, "1 added, 1 removed"),
        (to_other_class, "1 added, 1 removed"),
        (same_size, "1 changed"),
        (name_classes, "other names of classes"),
        (lose_class, "11 added, 8 removed, new class fox, class cat removed"),
        (lambda photos: (photos / "cat" / "3.png").unlink(), "1 removed"),
    ],
)
def test_a_change_is_told_and_prepared_beside_the_old(photos, tmp_path, capsys, change, told):
    first = prepare(folder_of(photos), tmp_path / "data")
    old = {path: path.read_bytes() for path in first.iterdir()}
    change(photos)
    capsys.readouterr()
    display = Display.on_stderr(quiet=True)
    second = ensure_prepared(folder_of(photos), tmp_path / "data", display=display)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"{photos} has changed since set was prepared: {told}"
    assert f"{first} stays" in lines[1] and "can be removed" in lines[1]
    assert second.name == "set.2"
    assert {path: path.read_bytes() for path in first.iterdir()} == old
    assert ensure_prepared(folder_of(photos), tmp_path / "data") == second
    assert ensure_prepared(folder_of(None), tmp_path / "data") == second, "the newest"


def test_a_table_above_the_photos_that_says_otherwise_is_a_change(tmp_path, capsys):
    table = tmp_path / "labels.csv"
    for index in range(8):
        write(tmp_path / "heap" / f"{index}.png", 0, index)
    rows = [f"{index},{('cat', 'dog')[index % 2]}" for index in range(8)]
    data = folder_of(tmp_path / "heap")
    for text in ("\n".join(rows), "\n".join(rows).replace("2,cat", "2,dog")):
        table.write_text(f"id,label\n{text}\n")
        os.utime(table, ns=(LONG_AGO, LONG_AGO + 10**9 * ("2,dog" in text)))
        place = prepare(data, tmp_path / "data")
    assert place.name == "set.2"
    assert "heap has changed since set was prepared: 1 changed" in capsys.readouterr().err
    os.utime(table, ns=(LONG_AGO + 1, LONG_AGO + 1))
    assert prepare(data, tmp_path / "data") == place


def test_a_name_cannot_steer_a_terminal_and_many_classes_are_counted(photos, tmp_path, capsys):
    prepare(folder_of(photos), tmp_path / "data")
    for index in range(9):
        write(photos / f"b\x1b[31m{index}" / "0.png", index, 0)
    capsys.readouterr()
    prepare(folder_of(photos), tmp_path / "data")
    line = capsys.readouterr().err.splitlines()[0]
    assert "\x1b" not in line and "9 added" in line and line.endswith("4 classes more")


def test_versions_are_as_sets_prepared_afresh_and_go_on(photos, tmp_path):
    prepare(folder_of(photos), tmp_path / "data")
    grow(photos)
    second = prepare(folder_of(photos), tmp_path / "data")
    fresh = prepare(folder_of(photos), tmp_path / "other")
    assert open_dataset(second).fingerprint == open_dataset(fresh).fingerprint
    assert json.loads((second / "prepared.json").read_text())["set_version"] == 2
    rename(photos)
    assert prepare(folder_of(photos), tmp_path / "data").name == "set.3"
    shutil.rmtree(tmp_path / "data" / "set")
    assert ensure_prepared(folder_of(photos), tmp_path / "data").name == "set.3"


@pytest.mark.parametrize("way", ["touch", "copy", "text", "thumbs", "hidden"])
def test_what_is_no_change_of_a_photo_is_none(photos, tmp_path, capsys, way):
    first = prepare(folder_of(photos), tmp_path / "data")
    if way == "copy":
        shutil.copytree(photos, tmp_path / "copy")  # with the times of now
        shutil.rmtree(photos)
        (tmp_path / "copy").rename(photos)
    elif way == "touch":
        for path in photos.rglob("*.png"):
            path.touch()
    else:
        name = {"text": "read me.txt", "thumbs": "cat/Thumbs.db", "hidden": ".git"}[way]
        (photos / name).write_text("no photo")
    capsys.readouterr()
    for _ in range(2):
        assert ensure_prepared(folder_of(photos), tmp_path / "data") == first
    assert "has changed" not in capsys.readouterr().err


def test_times_are_looked_at_once_more_and_then_are_sure(photos, tmp_path, monkeypatch):
    """A file that was written a moment before may change again within the same tick of a clock."""
    path = photos / "cat" / "3.png"
    path.touch()
    prepare(folder_of(photos), tmp_path / "data")
    status = path.stat()
    same_size(photos)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = prepare(folder_of(photos), tmp_path / "data")
    assert second.name == "set.2"
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    assert prepare(folder_of(photos), tmp_path / "data") == second
    monkeypatch.setattr(currency, "list_images", None)
    assert prepare(folder_of(photos), tmp_path / "data") == second


@pytest.mark.parametrize("kind", ["w", "w:gz"])
def test_an_archive_packed_anew_in_another_order_is_the_same(photos, tmp_path, kind, capsys):
    names = names_of(photos)
    tar = pack(photos, tmp_path / "photos.tar", kind, names)
    first = prepare(folder_of(tar), tmp_path / "data")
    pack(photos, tar, kind, names[::-1])
    assert prepare(folder_of(tar), tmp_path / "data") == first
    same_size(photos)
    write(photos / "dog" / "new.png", 1, 99)
    pack(photos, tar, kind, names_of(photos)[1:])
    capsys.readouterr()
    assert prepare(folder_of(tar), tmp_path / "data").name == "set.2"
    assert "1 added, 1 removed, 1 changed" in capsys.readouterr().err
    assert not list((tmp_path / "data").glob(".compare-*"))


def test_a_photo_moved_to_another_split_is_a_change(photos, tmp_path, capsys):
    root = tmp_path / "split"
    shutil.copytree(photos, root / "train")
    shutil.copytree(photos, root / "test")  # the same names in both
    write(root / "train" / "cat" / "new.png", 0, 50)
    prepare(folder_of(root), tmp_path / "data")
    (root / "train" / "cat" / "new.png").rename(root / "test" / "cat" / "new.png")
    assert prepare(folder_of(root), tmp_path / "data").name == "set.2"
    assert "was prepared: 1 in another split" in capsys.readouterr().err


def test_a_mended_image_is_a_change(photos, tmp_path, capsys):
    bad, good = photos / "cat" / "3.png", (photos / "cat" / "3.png").read_bytes()
    bad.write_bytes(bytes(len(good)))
    os.utime(bad, ns=(LONG_AGO, LONG_AGO))
    for index in range(8, 18):
        write(photos / "cat" / f"{index}.png", 0, index)
    first = prepare(folder_of(photos), tmp_path / "data")
    assert prepare(folder_of(photos), tmp_path / "data") == first
    bad.write_bytes(good)
    second = prepare(folder_of(photos), tmp_path / "data")
    assert "was prepared: 1 changed" in capsys.readouterr().err
    assert (counts(first), counts(second)) == (25, 26)


@pytest.mark.parametrize("there", ["nothing", "an empty folder"])
def test_a_set_outlives_its_source(photos, tmp_path, capsys, there):
    first = prepare(folder_of(photos), tmp_path / "data")
    shutil.rmtree(photos)
    if there != "nothing":
        photos.mkdir()  # as where a disk is not mounted
    capsys.readouterr()
    assert ensure_prepared(folder_of(photos), tmp_path / "data") == first
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and f"{photos} is not there" in lines[0]
    (line,) = [f.text for f in doctor.findings(None, tmp_path / "data") if "not there" in f.text]
    assert str(photos) in line


def test_a_source_that_can_no_longer_be_prepared_is_an_error_that_says_how_to_go_on(
    photos, tmp_path
):
    first = prepare(folder_of(photos), tmp_path / "data")
    shutil.rmtree(photos / "cat")
    with pytest.raises(DataError, match=r"only one class.*--data.name set"):
        ensure_prepared(folder_of(photos), tmp_path / "data")
    assert ensure_prepared(folder_of(None), tmp_path / "data") == first


def test_a_run_goes_on_though_nothing_can_be_prepared_from_its_source(photos, tmp_path, capsys):
    first = prepare(folder_of(photos), tmp_path / "data")
    began = open_dataset(first).fingerprint
    shutil.rmtree(photos / "cat")
    capsys.readouterr()
    assert ensure_prepared(folder_of(photos), tmp_path / "data", begun_with=began) == first
    (line,) = capsys.readouterr().err.splitlines()
    assert "only one class" in line and line.endswith(
        "this run continues with set, with which it began"
    )


@pytest.mark.parametrize("size", [None, 0, 100, 1000])
def test_an_older_set_or_one_with_a_damaged_record_is_used_as_it_is(photos, tmp_path, capsys, size):
    first = prepare(folder_of(photos), tmp_path / "data")
    if size is None:
        (first / source_record.SOURCE).unlink()
    else:
        os.truncate(first / source_record.SOURCE, size)
    grow(photos)
    capsys.readouterr()
    assert ensure_prepared(folder_of(photos), tmp_path / "data") == first
    (line,) = capsys.readouterr().err.splitlines()
    assert "it is unknown whether" in line and f"remove {first}" in line


def test_a_run_goes_on_with_the_version_that_it_began_with(photos, tmp_path, capsys):
    first = prepare(folder_of(photos), tmp_path / "data")
    began = open_dataset(first).fingerprint
    grow(photos)
    capsys.readouterr()

    def resumed(data):
        folder = ensure_prepared(data, tmp_path / "data", begun_with=began)
        return folder, capsys.readouterr().err

    folder, told = resumed(folder_of(photos))
    assert folder == first and "11 added" in told and "continues with set," in told
    assert not (tmp_path / "data" / "set.2").exists(), "nothing is prepared for it"
    second = prepare(folder_of(photos), tmp_path / "data")
    capsys.readouterr()
    for data in (folder_of(photos), folder_of(None)):
        folder, told = resumed(data)
        assert folder == first and "set.2 holds newer contents" in told
    shutil.rmtree(first)
    assert resumed(folder_of(photos))[0] == second, "the run will say that it is another"


def test_an_interrupted_new_version_is_continued(photos, tmp_path, monkeypatch, capsys):
    first = prepare(folder_of(photos), tmp_path / "data")
    grow(photos)
    with interrupted(monkeypatch, lambda shard, written: written):
        prepare(folder_of(photos), tmp_path / "data")
    capsys.readouterr()
    assert ensure_prepared(folder_of(None), tmp_path / "data") == first
    assert re.search(r"set\.2 holds newer contents.*interrupted", capsys.readouterr().err)
    second = prepare(folder_of(photos), tmp_path / "data")
    assert second.name == "set.2" and "continuing: 1 of 2" in capsys.readouterr().err
    fresh = prepare(folder_of(photos), tmp_path / "other")
    assert open_dataset(second).fingerprint == open_dataset(fresh).fingerprint


@pytest.mark.parametrize("really", [True, False])
def test_a_part_whose_photos_changed_in_the_interruption_is_written_again(
    photos, tmp_path, monkeypatch, really, capsys
):
    with interrupted(monkeypatch, lambda shard, _: shard.split == "validation"):
        prepare(folder_of(photos), tmp_path / "data")
    for path in photos.rglob("*.png"):
        data = path.read_bytes()
        image = np.asarray(Image.open(path))
        path.write_bytes(data)
        if really:
            Image.fromarray(image[::-1]).save(path)
            path.write_bytes((path.read_bytes() + bytes(len(data)))[: len(data)])
    capsys.readouterr()
    folder = prepare(folder_of(photos), tmp_path / "data", bad_images="skip")
    assert ("continuing" in capsys.readouterr().err) == (not really)
    fresh = prepare(folder_of(photos), tmp_path / "other")
    assert open_dataset(folder).fingerprint == open_dataset(fresh).fingerprint


def test_a_set_that_somebody_named_like_a_version_is_left_alone(photos, tmp_path):
    prepare(folder_of(photos), tmp_path / "data")
    own = prepare(folder_of(photos, name="set.2"), tmp_path / "data")
    grow(photos)
    assert prepare(folder_of(photos), tmp_path / "data").name == "set.3"
    assert ensure_prepared(folder_of(None, name="set.2"), tmp_path / "data") == own


def test_a_version_can_be_named(photos, tmp_path):
    prepare(folder_of(photos), tmp_path / "data")
    grow(photos)
    second = prepare(folder_of(photos), tmp_path / "data")
    rename(photos)
    prepare(folder_of(photos), tmp_path / "data")
    named = folder_of(None, name="set.2")
    assert ensure_prepared(named, tmp_path / "data") == second
    with pytest.raises(InputError, match="set.2 is version 2 of set; .*--data.name set"):
        ensure_prepared(folder_of(photos, name="set.2"), tmp_path / "data")


def test_a_survey_sees_the_new_photos(photos, tmp_path):
    data = folder_of(photos)
    prepare(data, tmp_path / "data")
    before = survey(data, data, tmp_path / "data")
    grow(photos)
    after = survey(data, data, tmp_path / "data")
    assert before is not None and sum(map(sum, before.counts.values())) == 16
    assert after is not None and sum(map(sum, after.counts.values())) == 27
    assert after.class_names == ("cat", "dog", "fox")
    assert after.stored is not None and after.stored.stored_size == 16, "the next is stored alike"


def test_links_are_followed_once_and_circles_end(photos, tmp_path):
    (photos / "circle").symlink_to(photos)
    (photos / "cat" / "nowhere.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "store").mkdir()
    write(tmp_path / "store" / "a.png", 5, 5)
    (photos / "bird").symlink_to(tmp_path / "store")
    files = source_files.list_files(photos)
    assert files is not None and len(files.names) == 8 + 8 + 1 + 1
    write(tmp_path / "store" / "a.png", 5, 6, LONG_AGO + 1)
    assert source_files.list_files(photos).digest != files.digest  # pyright: ignore


def test_a_folder_that_cannot_be_read_is_named(photos, tmp_path, monkeypatch):
    first = prepare(folder_of(photos), tmp_path / "data")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match="dog: Permission denied; make it readable"):
        ensure_prepared(folder_of(photos), tmp_path / "data")
    assert first.is_dir()


def test_a_photo_that_goes_while_it_is_listed_is_named(photos, tmp_path, monkeypatch):
    def vanish(data, work):
        raise FileNotFoundError(2, "No such file or directory", str(photos / "cat" / "3.png"))

    vanishing = dataclasses.replace(folder_source.SOURCE, list_images=vanish)
    monkeypatch.setattr(folder_source, "SOURCE", vanishing)
    with pytest.raises(DataError, match=r"cat/3.png: No such file.* try again when that is done"):
        prepare(folder_of(photos), tmp_path / "data")
    assert not (tmp_path / "data" / "set").exists()


def test_a_photo_that_could_not_be_read_and_now_can_is_a_change(photos, tmp_path, monkeypatch):
    for index in range(8, 20):
        write(photos / "cat" / f"{index}.png", 0, index)
    path = photos / "cat" / "3.png"
    content = path.read_bytes()
    path.unlink()
    path.symlink_to(path.name)  # cannot be opened, and is listed by nobody
    first = prepare(folder_of(photos), tmp_path / "data")
    path.unlink()
    path.write_bytes(content)
    assert prepare(folder_of(photos), tmp_path / "data") != first


def test_doctor_tells_versions_and_whether_they_are_current(photos, tmp_path):
    def notes():
        found = doctor.findings(None, tmp_path / "data")
        return [f.text for f in found if f.subject == "data set"]

    prepare(folder_of(photos), tmp_path / "data")
    assert notes()[1] == f"set: {photos} is as it was"
    grow(photos)
    assert "is changed" in notes()[1]
    prepare(folder_of(photos), tmp_path / "data")
    old, note, new, _ = notes()
    assert "set.2 is newer" in note and "version 2 of set" in new and "version" not in old


def test_a_long_look_is_told_and_may_be_given_up(photos, monkeypatch):
    many = [(f"{i}.png", 1, LONG_AGO) for i in range(3000)]
    monkeypatch.setattr(source_files, "_files", lambda root: many)
    clock = iter(range(0, 10**15, 10**10))
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    assert source_files.list_files(photos, max_seconds=5) is None
    lines = []
    files = source_files.list_files(photos, display=Display(lines.append))
    assert files is not None and "looking at the files of" in lines[0] and len(lines) == 1
