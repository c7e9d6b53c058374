"""Zips and tars are read in place, whatever lies in them leads nowhere but inside."""

import bz2
import gzip
import lzma
import struct
import tarfile
import zipfile

import pytest
from archives import add_links, pack, pack_zip
from photo_folders import counts, keys, listed, png

from alexnet_jax.config import DataConfig
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.display import Display
from alexnet_jax.errors import BadImageError, DataError, InputError
from alexnet_jax.preparation.file_trees.unpacking import MAX_RATIO
from alexnet_jax.preparation.prepare import prepare
from alexnet_jax.preparation.source_images import read_square

FILES = {f"{c}/{i}.png": png(10 * k + i) for k, c in enumerate(("cat", "dog")) for i in range(3)}
THREE = {"train": {"cat": 3, "dog": 3}}


def values(source, split="train"):
    return [int(read_square(record, 8).max()) for record in source.splits[split]]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("wrapper", ["", "my photos/"])
def test_a_zip_is_read_where_it_lies(tmp_path, method, wrapper):
    archive = pack_zip(tmp_path / "x.zip", {wrapper + k: v for k, v in FILES.items()}, (), method)
    source = listed(archive, tmp_path, validation_fraction=0.0)
    assert counts(source) == THREE
    assert values(source) == [0, 1, 2, 10, 11, 12]
    assert not list((tmp_path / "work").iterdir())
    data = DataConfig("z", "folder", str(archive), stored_size=8, validation_fraction=0.0)
    folder = prepare(data, tmp_path / "data", display=Display.on_stderr(quiet=True))
    assert open_dataset(folder).splits == {"train": 6}


def test_a_zip_of_a_stream_and_a_zip_of_64_bits(tmp_path):
    class Pipe:  # cannot be sought, so that sizes stand behind the members
        def __init__(self, file):
            self.write, self.flush = file.write, file.flush

    with open(tmp_path / "x.zip", "wb") as file, zipfile.ZipFile(Pipe(file), "w") as archive:  # pyright: ignore
        for name, data in FILES.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    assert values(listed(tmp_path / "x.zip", tmp_path, validation_fraction=0.0)) == [
        0, 1, 2, 10, 11, 12,
    ]  # fmt: skip


def test_a_folder_that_holds_only_an_archive(tmp_path):
    root = tmp_path / "downloads"
    root.mkdir()
    pack_zip(root / "photos.zip", FILES)
    (root / "read me.txt").write_text("")
    assert counts(listed(root, tmp_path, validation_fraction=0.0)) == THREE
    for name in ("cat", "dog"):
        pack_zip(root / f"{name}.zip", {f"{i}.png": png() for i in range(3)})
    (root / "photos.zip").unlink()
    assert counts(listed(root, tmp_path, validation_fraction=0.0)) == THREE


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("folder", [False, True])
def test_zips_in_a_zip_as_a_competition_gives_them(tmp_path, method, folder):
    train = {
        f"train/{c}.{i}.jpg": png(10 * k + i)
        for k, c in enumerate(("cat", "dog"))
        for i in range(3)
    }
    inner = {
        "train.zip": pack_zip(tmp_path / "a", train).read_bytes(),
        "test1.zip": pack_zip(
            tmp_path / "b", {f"test1/{i}.jpg": png() for i in range(4)}
        ).read_bytes(),
        "sampleSubmission.csv": b"id,label\n1,0\n",
    }
    root = tmp_path / "download"
    root.mkdir()
    archive = pack_zip(root / "dogs-vs-cats.zip", inner, (), method)
    source = listed(root if folder else archive, tmp_path, validation_fraction=0.0)
    assert counts(source) == THREE
    assert values(source) == [0, 1, 2, 10, 11, 12]
    assert source.left_out["photos of test that have no label"] == 4


def test_a_zip_with_a_table_of_labels(tmp_path):
    rows = "".join(f"p{i},{('pug', 'lab')[i % 2]}\n" for i in range(6))
    files = {"labels.csv": b"id,breed\n" + rows.encode()}
    files |= {f"train/p{i}.jpg": png() for i in range(6)} | {"test/q.jpg": png()}
    source = listed(pack_zip(tmp_path / "x.zip", files), tmp_path, validation_fraction=0.0)
    assert counts(source) == {"train": {"lab": 3, "pug": 3}}
    assert source.left_out == {"photos of test that have no label": 1}


def test_what_macos_adds_to_a_zip_is_left_out(tmp_path):
    files = {f"p/{name}": data for name, data in FILES.items()}
    files |= {"__MACOSX/p/cat/._0.png": b"x", "p/.DS_Store": b"x"}
    source = listed(pack_zip(tmp_path / "x.zip", files), tmp_path, validation_fraction=0.0)
    assert counts(source) == THREE
    assert source.left_out == {
        "hidden files and folders": 1, "'__MACOSX' folders of a storage system or program": 1,
    }  # fmt: skip


def test_names_of_other_systems(tmp_path):
    with zipfile.ZipFile(tmp_path / "windows.zip", "w") as archive:
        for name, data in FILES.items():
            info = zipfile.ZipInfo("x")
            info.filename, info.create_system = name.replace("/", "\\"), 0
            archive.writestr(info, data)
    assert counts(listed(tmp_path / "windows.zip", tmp_path, validation_fraction=0.0)) == THREE
    data = pack_zip(tmp_path / "mac.zip", {n.replace("cat", "café"): d for n, d in FILES.items()})
    bare = data.read_bytes().replace(struct.pack("<HH", 0x800, 8), struct.pack("<HH", 0, 8))
    data.write_bytes(bare)  # UTF-8 without the mark for it
    assert listed(data, tmp_path).class_ids == ("café", "dog")


def test_the_last_of_a_name_counts(tmp_path):
    archive = pack_zip(tmp_path / "x.zip", FILES)
    with zipfile.ZipFile(archive, "a") as again, pytest.warns(UserWarning, match="Duplicate"):
        again.writestr("cat/0.png", png(99))
    source = listed(archive, tmp_path, validation_fraction=0.0)
    assert values(source)[0] == 99
    assert source.left_out == {"files of a name that comes again later": 1}


def test_a_zip_can_not_reach_outside(tmp_path):
    outside = tmp_path / "secret.png"
    outside.write_bytes(png(77))
    files = FILES | {"../up.png": png(), "/top.png": png(), "cat/../../up.png": png()}
    links = [
        ("cat/in.png", "../dog/0.png"), ("cat/same.png", "0.png"), ("cat/abs.png", str(outside)),
        ("cat/up.png", "../../secret.png"), ("dog/me", "../dog"), ("dog/loop", "loop"),
    ]  # fmt: skip
    source = listed(pack_zip(tmp_path / "x.zip", files, links), tmp_path, validation_fraction=0.0)
    assert keys(source)["train"][3] == "cat/in.png"
    assert values(source) == [0, 1, 2, 10, 10, 11, 12]
    assert source.left_out == {
        "absolute or upward paths": 3,
        "links that lead outside an archive or nowhere: "
        "cat/abs.png, cat/up.png, dog/me, … (4 in all)": 4,
        "links to photos of the same class": 1,
    }


def _patched(archive, place, value, width=4, mark=b"PK\1\2"):
    data = bytearray(archive.read_bytes())
    at = data.find(mark) + place
    data[at : at + width] = value.to_bytes(width, "little")
    archive.write_bytes(data)
    return archive


DAMAGED = {
    "encrypted": (lambda a: _patched(a, 8, 1, 2), "cat/0.png is encrypted; unpack it"),
    "another method": (lambda a: _patched(a, 10, 9, 2), "cat/0.png is compressed by method 9"),
    "a size that reaches over": (lambda a: _patched(a, 20, 10**6), "reaches into what follows"),
    "a damaged directory": (lambda a: _patched(a, 0, 0), "cannot be read"),
    "no name": (lambda a: _patched(a, 28, 0, 2), "."),
    "cut": (lambda a: a.write_bytes(a.read_bytes()[:-40]) and a, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_a_bad_zip_is_one_clear_line(tmp_path, name):
    make, text = DAMAGED[name]
    archive = make(pack_zip(tmp_path / "x.zip", FILES))
    with pytest.raises((DataError, InputError), match=text) as caught:
        listed(archive, tmp_path)
    assert "\n" not in str(caught.value)


def test_overlapping_members_are_refused(tmp_path):
    archive = pack_zip(tmp_path / "x.zip", FILES)
    with zipfile.ZipFile(archive) as packed:
        second = packed.infolist()[1].header_offset
    with pytest.raises(DataError, match="reaches into what follows"):
        listed(_patched(archive, 42, second), tmp_path)


@pytest.mark.parametrize("claimed", [10, 10**9])
def test_a_size_that_lies_makes_a_bad_image_not_a_large_one(tmp_path, claimed):
    bomb = {"cat/0.png": bytes(40_000_000), "dog/0.png": png()}
    archive = _patched(pack_zip(tmp_path / "x.zip", bomb), 24, claimed)
    source = listed(archive, tmp_path, validation_fraction=0.0)
    with pytest.raises(BadImageError, match="more than the 10 bytes|over|ends inside"):
        read_square(source.splits["train"][0], 8)


def test_an_inner_archive_that_unpacks_to_too_much_is_refused(tmp_path):
    inner = {"train.zip": bytes(MAX_RATIO * 2**20)}
    with pytest.raises(DataError, match="train.zip in .* unpacks to over 100 times its size"):
        listed(pack_zip(tmp_path / "x.zip", inner), tmp_path)


@pytest.mark.parametrize(("kind", "compression"), [("gz", gzip), ("bz2", bz2), ("xz", lzma)])
def test_compressed_tars_are_read_and_damaged_ones_and_bombs_refused(tmp_path, kind, compression):
    archive = pack(tmp_path / f"x.tar.{kind}", FILES, f"w:{kind}")  # pyright: ignore
    assert values(listed(archive, tmp_path, validation_fraction=0.0)) == [0, 1, 2, 10, 11, 12]
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is damaged"):
        listed(archive, tmp_path)
    archive.write_bytes(compression.compress(bytes(30_000_000)))
    with pytest.raises(DataError, match="unpacks to over 100 times"):
        listed(archive, tmp_path)


UNREAD = {
    "x.tar.zst": (b"\x28\xb5\x2f\xfd", "a Zstandard archive"), "x.rar": (b"Rar!", "a RAR archive"),
    "x.7z": (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREAD)
def test_archives_that_are_not_read_are_named(tmp_path, name):
    head, kind = UNREAD[name]
    root = tmp_path / "x"
    root.mkdir()
    (root / name).write_bytes(head + bytes(600))
    for place in (root, root / name):
        with pytest.raises(InputError, match=f"{name} is {kind}, which is not supported; unpack"):
            listed(place, tmp_path)


def test_hard_links_of_a_tar_are_files(tmp_path):
    archive = pack(tmp_path / "x.tar", {f"train/{name}": data for name, data in FILES.items()})
    links = [(f"val/{name}", f"train/{name}", tarfile.LNKTYPE) for name in FILES]
    links += [("val/cat/again.png", "val/cat/0.png", tarfile.LNKTYPE)]  # a link to a link
    source = listed(add_links(archive, links), tmp_path)
    assert values(source, "validation") == [0, 1, 2, 0, 10, 11, 12]
    assert counts(source)["train"] == THREE["train"]
    assert "7 photos of validation are photos of train, by links" in source.understood


def test_hard_links_lead_to_members_that_are_no_photos_of_the_set_and_come_later(tmp_path):
    links = [(f"photos/{name}", f".store/{name}", tarfile.LNKTYPE) for name in FILES]
    archive = add_links(pack(tmp_path / "x.tar", {}), links)
    with (
        tarfile.open(archive, "a") as tar,
        tarfile.open(
            pack(tmp_path / "y.tar", {f".store/{name}": data for name, data in FILES.items()})
        ) as other,
    ):
        for member in other:
            tar.addfile(member, other.extractfile(member))
    source = listed(archive, tmp_path, validation_fraction=0.0)
    assert values(source) == [0, 1, 2, 10, 11, 12]


def test_symbolic_links_of_a_tar_lead_inside_or_are_told(tmp_path):
    archive = pack(tmp_path / "x.tar", {f"store/{name}": data for name, data in FILES.items()})
    links = [
        ("train/cat", "../store/cat", tarfile.SYMTYPE),
        ("train/dog", "../store/dog/", tarfile.SYMTYPE),
        ("train/eel/1.png", "../../store/dog/1.png", tarfile.SYMTYPE),
        ("train/eel/2.png", "../../../etc/passwd", tarfile.SYMTYPE),
        ("train/eel/3.png", "/etc/passwd", tarfile.SYMTYPE),
        ("train/eel/4.png", "../store/dog/1.png", tarfile.LNKTYPE),
    ]  # fmt: skip
    source = listed(add_links(archive, links), tmp_path, validation_fraction=0.0)
    assert counts(source) == {"train": {"cat": 3, "dog": 3, "eel": 1}}
    assert values(source) == [0, 1, 2, 10, 11, 12, 11]
    assert source.left_out["files in the folder 'store'"] == 6
    assert sum(n for why, n in source.left_out.items() if "lead outside" in why) == 3


def test_links_that_multiply_are_refused(tmp_path):
    archive = pack(tmp_path / "x.tar", {f"a/{i}.png": b"x" for i in range(200)})
    links = [(f"b{i}", "a", tarfile.SYMTYPE) for i in range(50)]
    with pytest.raises(DataError, match="stand for over ten times its files"):
        listed(add_links(archive, links), tmp_path)


def test_a_class_that_is_a_link_out_of_the_archive_is_an_error(tmp_path):
    archive = pack(tmp_path / "x.tar", dict(FILES))
    add_links(archive, [("eel", "../photos/eel", tarfile.SYMTYPE)])
    with pytest.raises(DataError, match="class eel of .* is a link to ../photos/eel, which is not"):
        listed(archive, tmp_path)
