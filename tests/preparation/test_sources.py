"""Every kind of source is listed with the right classes, splits and bytes; bad ones are named."""

import json
import os
import pickle
import tarfile

import numpy as np
import pytest
from archives import IDS, pack, pack_zip, write_imagenet2012
from photo_folders import keys, listed, png, write

from alexnet_jax.config import DataConfig
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.display import Display
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.preparation.prepare import prepare
from alexnet_jax.preparation.set_options import default_options
from alexnet_jax.preparation.source_images import read_square
from alexnet_jax.preparation.sources import cifar10, source_kind
from alexnet_jax.source_kinds import SOURCE_KINDS


@pytest.mark.parametrize("name", SOURCE_KINDS)
def test_every_kind_of_source_has_its_module(name):
    kind = source_kind(name)
    assert kind.how_to_get and default_options(name).source_kind == name
    assert all(hasattr(DataConfig(), field) for field in (*kind.options, *kind.defaults))


def test_split_folders(tmp_path):
    root = write(tmp_path / "x", "train/b/1.png", "train/a/2.png", "val/a/3.png", "Test/b/4.png")
    source = listed(root, tmp_path)
    assert source.class_names == ("a", "b")
    assert keys(source) == {
        "train": ["a/2.png", "b/1.png"], "validation": ["a/3.png"], "test": ["b/4.png"],
    }  # fmt: skip
    assert [record.label for record in source.splits["train"]] == [0, 1]
    assert read_square(source.splits["test"][0], 8).tolist() == [[[3, 3, 3]] * 8] * 8


def test_a_share_of_every_class_is_set_aside(tmp_path):
    paths = [f"{name}/{i}.png" for name in "abc" for i in range(10)]
    root = write(tmp_path / "x", *paths, "d/1.png", "d/2.png", "e/only.png")
    source = listed(root, tmp_path, validation_fraction=0.2)
    counts = {split: np.bincount([r.label for r in rs], minlength=5).tolist()
              for split, rs in source.splits.items()}  # fmt: skip
    assert counts == {"train": [8, 8, 8, 1, 1], "validation": [2, 2, 2, 1, 0]}
    held = keys(source)["validation"]
    write(root, "a/new.png")  # one more image moves at most one other
    again = keys(listed(root, tmp_path, validation_fraction=0.2))["validation"]
    assert len(set(held) ^ set(again)) <= 2
    assert list(listed(root, tmp_path, validation_fraction=0.0).splits) == ["train"]


def test_files_beside_the_classes_are_counted(tmp_path):
    beside = ("front.jpg", "read me.txt")
    root = write(tmp_path / "x", "a/1.png", "b/2.png", *beside)
    (root / "class_names.csv").write_text("a,ant\n")  # that one is read
    source = listed(root, tmp_path, validation_fraction=0.0)
    assert source.class_names == ("ant", "b")
    assert source.left_out == {"files next to the class folders": 2}
    root = write(
        tmp_path / "y",
        "train/a/1.png",
        "train/b/2.png",
        "train/odd.png",
        "val/a/3.png",
        "val/odd.png",
        "read me",
    )
    assert listed(root, tmp_path).left_out == {
        "files next to the class folders": 2, "files outside train, validation and test": 1,
    }  # fmt: skip
    wrapped = {name: png() for name in ("y/a/1.png", "y/b/2.png", "y/odd.png", "y/read me")}
    source = listed(pack(tmp_path / "y.tar", wrapped), tmp_path, validation_fraction=0.0)
    assert source.class_names == ("a", "b")
    assert source.left_out == {"files next to the class folders": 2}
    root = write(tmp_path / "z", "odd.png")
    files = {name.removeprefix("x/train/"): data for name, data in FILES.items() if "train" in name}
    pack(root / "train.tar", files | {"odd.png": png()})
    assert listed(root, tmp_path).left_out == {
        "files outside train, validation and test": 1, "files next to the class folders": 1,
    }  # fmt: skip


NO_UTF8 = os.fsdecode(b"caf\xe9")


@pytest.fixture
def any_names(tmp_path):
    """Skips where the file system takes names in UTF-8 only."""
    try:
        (tmp_path / NO_UTF8).touch()
        (tmp_path / NO_UTF8).unlink()
    except OSError:
        pytest.skip("the file system takes names in UTF-8 only")


def test_names_that_are_no_utf8_become_names_that_are(tmp_path, any_names):
    root = tmp_path / os.fsdecode(b"photos \xff")
    write(root, f"{NO_UTF8}/{NO_UTF8}.png", "plain/1.png", f"plain/{NO_UTF8}/2.png")
    archive = pack(
        tmp_path / "x.tar",
        {f"x/{NO_UTF8}/{NO_UTF8}.png": png(0), "x/plain/1.png": png(1),
         f"x/plain/{NO_UTF8}/2.png": png(2)},
    )  # fmt: skip
    for place in (root, archive):
        source = listed(place, tmp_path, validation_fraction=0.0)
        assert source.class_names == source.class_ids == ("caf\\xe9", "plain")
        assert keys(source)["train"] == [
            "caf\\xe9/caf\\xe9.png", "plain/1.png", "plain/caf\\xe9/2.png"
        ]  # fmt: skip
        values = [int(read_square(record, 8).max()) for record in source.splits["train"]]
        assert values == [0, 1, 2]


def test_names_that_are_no_utf8_stand_in_every_file_of_a_set(tmp_path, any_names):
    root = tmp_path / os.fsdecode(b"photos \xff")
    write(root, *(f"{name}/{NO_UTF8}{i}.png" for name in (NO_UTF8, "plain") for i in range(8)))
    (root / NO_UTF8 / "0bad.png").write_bytes(b"no image")
    data = DataConfig("", "folder", str(root), stored_size=8)
    folder = prepare(data, tmp_path / "data", display=Display.on_stderr(quiet=True))
    dataset = open_dataset(folder)
    assert dataset.class_names == ("caf\\xe9", "plain")
    assert all(key.startswith(("caf\\xe9/", "plain/")) for key in dataset.split("train").keys)
    assert json.loads((folder / "prepared.json").read_text("utf-8"))["options"]["source"] == str(
        root
    )
    assert (
        json.loads((folder / "bad_images.jsonl").read_text("utf-8"))["key"] == "caf\\xe9/0bad.png"
    )
    assert prepare(data, tmp_path / "data", display=Display.on_stderr(quiet=True)) == folder
    with pytest.raises(InputError, match=r"caf\\xe9/photos.* no UTF-8; name another"):
        prepare(data, tmp_path / NO_UTF8, display=Display.on_stderr(quiet=True))
    assert not (tmp_path / NO_UTF8).exists()


def test_images_in_subfolders_belong_to_the_class(tmp_path):
    root = write(tmp_path / "x", "a/day1/1.png", "a/2.png", "b/1.png")
    assert keys(listed(root, tmp_path, validation_fraction=0.0)) == {
        "train": ["a/2.png", "a/day1/1.png", "b/1.png"]
    }


def test_readable_class_names(tmp_path):
    root = write(tmp_path / "x", "train/n1/1.png", "train/n2/2.png", "train/n3/3.png")
    rows = 'n1,crane\nn2,crane\nn3,"tench, a fish"\n'
    (root / "train" / "class_names.csv").write_text(rows)
    source = listed(root, tmp_path)
    assert source.class_names == ("crane (n1)", "crane (n2)", "tench, a fish")
    assert source.class_ids == ("n1", "n2", "n3")


FILES = {f"x/{split}/{name}/{i}.png": png(i) for split in ("train", "test") for name in "ab"
         for i in range(2)}  # fmt: skip


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz"])
def test_tars_with_a_folder_around(tmp_path, ending):
    archive = pack(tmp_path / f"x.{ending}", FILES, "w" if ending == "tar" else "w:gz")
    source = listed(archive, tmp_path)
    assert keys(source)["test"] == ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]
    assert read_square(source.splits["test"][3], 8).max() == 1
    unpacked = {path.name for path in (tmp_path / "work").iterdir()}
    assert len(unpacked) == (ending != "tar")  # a plain tar is read where it is


def test_a_folder_of_split_archives(tmp_path):
    root = tmp_path / "sets"
    root.mkdir()
    for split in ("train", "test"):
        files = {k.removeprefix("x/"): v for k, v in FILES.items() if split in k}
        pack(root / f"{split}.tar.gz", files, "w:gz")
    assert {split: len(names) for split, names in keys(listed(root, tmp_path)).items()} == {
        "train": 4, "test": 4,
    }  # fmt: skip


def test_an_archive_can_not_reach_outside(tmp_path):
    files = {"a/1.png": png(), "b/1.png": png(), "../c/1.png": png(), "/d/1.png": png()}
    archive = pack(tmp_path / "x.tar", files)
    with tarfile.open(archive, "a") as tar:
        link = tarfile.TarInfo("a/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        device = tarfile.TarInfo("a/device.png")
        device.type = tarfile.CHRTYPE
        tar.addfile(device)
    source = listed(archive, tmp_path, validation_fraction=0.0)
    assert keys(source) == {"train": ["a/1.png", "b/1.png"]}
    assert source.left_out == {
        "absolute or upward paths": 2,
        "special files": 1,
        "links that lead outside an archive or nowhere: a/link.png": 1,
    }


def _cut(path, keep):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    return path


BAD_FOLDERS = {
    "missing": (InputError, "does not exist", lambda t: t / "nowhere"),
    "no tar": (InputError, "neither a folder nor a tar", lambda t: _file(t, b"hello" * 500)),
    "gzip of no tar": (
        InputError, "holds no tar",
        lambda t: _file(t, __import__("gzip").compress(b"hello" * 500)),
    ),
    "tar cut between two files": (
        DataError, "cannot be read as a tar", lambda t: _cut(pack(t / "x.tar", FILES), .5),
    ),
    "tar cut in a file": (
        DataError, "cannot be read as a tar", lambda t: _cut(pack(t / "x.tar", FILES), .53),
    ),
    "tar cut in a header": (
        DataError, "cannot be read as a tar", lambda t: _cut(pack(t / "x.tar", FILES), .57),
    ),
    "empty folder": (DataError, "no class folders", lambda t: _made(t)),
    "flat folder": (DataError, "no class folders", lambda t: write(t / "x", "1.png", "2.png")),
    "one class": (DataError, "only one class .'a'", lambda t: write(t / "x", "a/1.png", "a/2.png")),
    "empty class": (
        DataError, "class 'b' .* has no training images",
        lambda t: (write(t / "x", "a/1.png", "c/2.png") / "b").mkdir() or t / "x",
    ),
    "no train": (
        DataError, "no train folder", lambda t: write(t / "x", "val/a/1.png", "val/b/2.png"),
    ),
    "strange class": (
        DataError, "class 'c' of the validation split",
        lambda t: write(t / "x", "train/a/1.png", "train/b/1.png", "val/c/1.png"),
    ),
    "empty split": (
        DataError, "the test split of .* has no images",
        lambda t: (write(t / "x", "train/a/1.png", "train/b/2.png") / "test").mkdir() or t / "x",
    ),
    "two names of one split": (
        DataError, "two folders for one split",
        lambda t: write(t / "x", "train/a/1.png", "train/b/1.png", "val/a/1.png", "valid/a/1.png"),
    ),
}  # fmt: skip


def _file(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    return tmp_path / "x"


def _made(tmp_path):
    (tmp_path / "x").mkdir()
    return tmp_path / "x"


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_bad_folders_are_one_clear_line(tmp_path, name):
    kind, text, make = BAD_FOLDERS[name]
    with pytest.raises(kind, match=text) as caught:
        listed(make(tmp_path), tmp_path)
    assert "\n" not in str(caught.value)


def cifar_files(form):
    """A tiny CIFAR-10: 3 images per batch; returns {name: bytes}, images, labels."""
    draw = np.random.default_rng(0)
    files, images, labels = {}, [], []
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for batch in names:
        data = draw.integers(0, 256, (10, 3072), dtype=np.uint8)
        label = [int(x) for x in draw.permutation(10)]
        images += list(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels += label
        if form == "python":
            value = {"data": data, "labels": label, "filenames": [f"{i}.png" for i in range(10)]}
            files[f"cifar-10-batches-py/{batch}"] = pickle.dumps(value, protocol=2)
        else:
            rows = b"".join(bytes([x]) + row.tobytes() for x, row in zip(label, data, strict=True))
            files[f"cifar-10-batches-bin/{batch}.bin"] = rows
    return files, images, labels


@pytest.mark.parametrize("form", ["python", "binary"])
@pytest.mark.parametrize("packed", [True, False])
def test_cifar10_published_forms(tmp_path, form, packed):
    files, images, labels = cifar_files(form)
    root = pack(tmp_path / f"cifar-10-{form}.tar.gz", files, "w:gz")
    if not packed:
        with tarfile.open(root) as tar:
            tar.extractall(tmp_path / "unpacked", filter="data")
        root = tmp_path / "unpacked"
    source = listed(root, tmp_path, "cifar10")
    records = source.splits["train"] + source.splits["test"]
    assert {split: len(rs) for split, rs in source.splits.items()} == {"train": 50, "test": 10}
    assert source.class_names[3] == "cat"
    assert [record.label for record in records] == labels
    assert len({record.key for record in records}) == 60
    for record, image in zip(records, images, strict=True):
        np.testing.assert_array_equal(read_square(record, 32), image)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_cifar10_batches_that_python_3_wrote_are_read_too(protocol, tmp_path):
    files, _, labels = cifar_files("python")
    for name, packed in files.items():
        batch = {key.encode(): value for key, value in pickle.loads(packed).items()}
        batch[b"filenames"] = [name.encode() for name in batch[b"filenames"]]
        files[name] = pickle.dumps(batch, protocol)
    source = listed(pack(tmp_path / "cifar-10-python.tar.gz", files, "w:gz"), tmp_path, "cifar10")
    records = source.splits["train"] + source.splits["test"]
    assert [record.label for record in records] == labels
    assert records[0].key == "data_batch_1/0.png"


def test_cifar10_in_a_zip(tmp_path):
    files, images, _ = cifar_files("python")
    source = listed(pack_zip(tmp_path / "cifar.zip", files), tmp_path, "cifar10")
    np.testing.assert_array_equal(read_square(source.splits["train"][0], 32), images[0])
    files, _, _ = cifar_files("binary")
    with pytest.raises(DataError, match="data_batch_1.bin is compressed in .*; unpack that"):
        listed(pack_zip(tmp_path / "binary.zip", files), tmp_path, "cifar10")


class _Endless:
    def __reduce__(self):
        return np._core.multiarray._reconstruct, (np.ndarray, (2**60,), b"b")  # pyright: ignore


@pytest.mark.parametrize(
    ("content", "why"),
    [({"data": [1]}, "labels"), (["no", "dict"], "items"), ({"data": _Endless()}, "")],
)
def test_a_pickle_that_is_no_batch_or_asks_for_all_memory_is_named(tmp_path, content, why):
    files, _, _ = cifar_files("python")
    files["cifar-10-batches-py/data_batch_1"] = pickle.dumps(content, protocol=2)
    root = pack(tmp_path / "cifar-10-python.tar.gz", files, "w:gz")
    with pytest.raises(DataError, match=f"data_batch_1 is no batch of CIFAR-10: .*{why}"):
        listed(root, tmp_path, "cifar10")


def test_cifar10_class_folders_become_a_set(tmp_path):
    paths = [f"{s}/{n}/{i}.png" for s in ("train", "test") for n in cifar10.CLASS_NAMES
             for i in range(2)]  # fmt: skip
    root = write(tmp_path / "x", *paths)
    data = DataConfig("cifar10", "cifar10", str(root), stored_size=32, store="raw")
    dataset = open_dataset(prepare(data, tmp_path / "data", display=Display.on_stderr(quiet=True)))
    assert dataset.splits == {"train": 20, "test": 20}
    assert dataset.class_names == cifar10.CLASS_NAMES


def test_a_pickle_that_calls_anything_is_refused(tmp_path):
    sentinel = tmp_path / "called"

    class Attack:
        def __reduce__(self):
            return open, (str(sentinel), "w")

    files, _, _ = cifar_files("python")
    files["cifar-10-batches-py/data_batch_1"] = pickle.dumps(Attack(), protocol=2)
    archive = pack(tmp_path / "cifar-10-python.tar.gz", files, "w:gz")
    with pytest.raises(DataError, match=r"names (io|_io).open, which is refused"):
        listed(archive, tmp_path, "cifar10")
    assert not sentinel.exists()


def test_cifar10_faults_are_named(tmp_path):
    files, _, _ = cifar_files("binary")
    files.pop("cifar-10-batches-bin/data_batch_3.bin")
    with pytest.raises(DataError, match="lacks data_batch_3.bin"):
        listed(pack(tmp_path / "one.tar", files), tmp_path, "cifar10")
    files, _, _ = cifar_files("binary")
    files["cifar-10-batches-bin/data_batch_3.bin"] += b"x"
    with pytest.raises(DataError, match="no multiple of 3073"):
        listed(pack(tmp_path / "two.tar", files), tmp_path, "cifar10")
    with pytest.raises(DataError, match="class folders of .* are a, b"):
        listed(write(tmp_path / "x", "train/a/1.png", "train/b/1.png"), tmp_path, "cifar10")
    with pytest.raises(DataError, match="holds no CIFAR-10"):
        listed(pack(tmp_path / "three.tar", {"readme": b""}), tmp_path, "cifar10")


def imagenet_files(tmp_path, **parts):
    return write_imagenet2012(tmp_path / "imagenet", png, **parts)


@pytest.mark.parametrize(
    ("order", "ids", "labels"),
    [("wordnet", sorted(IDS), [1, 2, 0]), ("ilsvrc", IDS, [2, 0, 1])],
)
def test_imagenet_archives_in_both_orders(tmp_path, order, ids, labels):
    root = imagenet_files(tmp_path)
    source = listed(root, tmp_path, "imagenet2012", class_order=order)
    assert source.class_ids == tuple(ids)
    crane = source.class_names[ids.index("n00000001")]
    assert crane == "crane (n00000001)"
    assert source.class_names[ids.index("n00000002")] == "tench"
    validation = source.splits["validation"]
    assert [record.label for record in validation] == labels
    assert [read_square(record, 8).max() for record in validation] == [101, 102, 103]
    for record in source.splits["train"]:
        assert record.key.startswith(f"{ids[record.label]}/")
        number = IDS.index(ids[record.label]) + 1
        assert read_square(record, 8).max() // 10 == number


def test_imagenet_becomes_a_set_without_unpacking(tmp_path):
    root = imagenet_files(tmp_path)
    data = DataConfig("", "imagenet2012", str(root), stored_size=8)
    folder = prepare(data, tmp_path / "data", display=Display.on_stderr(quiet=True))
    assert folder.name == "imagenet2012-8"
    assert open_dataset(folder).splits == {"train": 6, "validation": 3}


def test_imagenet_without_devkit_names_classes_by_id(tmp_path):
    root = imagenet_files(tmp_path, devkit=False, validation=False)
    source = listed(root, tmp_path, "imagenet2012")
    assert source.class_names == tuple(sorted(IDS))
    assert list(source.splits) == ["train"]
    with pytest.raises(InputError, match="'ilsvrc' needs ILSVRC2012_devkit"):
        listed(root, tmp_path, "imagenet2012", class_order="ilsvrc")


def test_imagenet_validation_labels_need_the_devkit(tmp_path):
    root = imagenet_files(tmp_path, devkit=False)
    with pytest.raises(DataError, match="labels of ILSVRC2012_val_.* are in ILSVRC2012_devkit"):
        listed(root, tmp_path, "imagenet2012")


KAGGLE = "ILSVRC/Data/CLS-LOC"


def kaggle(root):
    """Writes ImageNet as Kaggle packs it: flat validation and test, two files of labels."""
    write(
        root,
        *(f"{KAGGLE}/train/{name}/{name}_{i}.JPEG" for name in IDS for i in range(2)),
        *(f"{KAGGLE}/val/ILSVRC2012_val_{i:08d}.JPEG" for i in (1, 2, 3)),
        *(f"{KAGGLE}/test/ILSVRC2012_test_{i:08d}.JPEG" for i in (1, 2)),
    )
    rows = [f"ILSVRC2012_val_{i:08d},{IDS[i - 1]} 1 2 5 6 {IDS[i - 1]} 2 2 5 6" for i in (3, 1, 2)]
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "\n".join(rows))
    (root / "LOC_synset_mapping.txt").write_text(
        "n00000001 crane, bird\nn00000002 tench, Tinca tinca\nn00000003 crane, machine\n"
    )
    return root


@pytest.mark.parametrize("place", [".", "ILSVRC", KAGGLE])
def test_imagenet_as_kaggle_packs_it(tmp_path, place):
    source = listed(kaggle(tmp_path / "x") / place, tmp_path, "imagenet2012")
    assert source.class_names == ("crane (n00000001)", "tench", "crane (n00000003)")
    assert [record.label for record in source.splits["validation"]] == [2, 0, 1]
    assert len(source.splits["train"]) == 6
    assert source.left_out == {"photos of test that have no label": 2}
    assert source.understood[-1] == "labels of the validation images from LOC_val_solution.csv"


def test_imagenet_of_kaggle_without_its_labels_says_what_is_missing(tmp_path):
    root = kaggle(tmp_path / "x")
    (root / "LOC_val_solution.csv").unlink()
    with pytest.raises(DataError, match="00000001.JPEG are in .* LOC_val_solution.csv of Kaggle"):
        listed(root, tmp_path, "imagenet2012")
    with pytest.raises(InputError, match="'ilsvrc' needs ILSVRC2012_devkit"):
        listed(root, tmp_path, "imagenet2012", class_order="ilsvrc")
    (root / "LOC_val_solution.csv").write_text("nothing,here\n")
    with pytest.raises(DataError, match="LOC_val_solution.csv has no rows of ILSVRC2012_val_"):
        listed(root, tmp_path, "imagenet2012")


def test_imagenet_unpacked(tmp_path):
    paths = [f"{split}/{name}/{split}_{i}.JPEG" for split in ("train", "val") for name in IDS
             for i in range(2)]  # fmt: skip
    source = listed(write(tmp_path / "x", *paths), tmp_path, "imagenet2012")
    assert [record.label for record in source.splits["validation"]] == [0, 1, 2] * 2 or [
        record.label for record in source.splits["validation"]
    ] == [0, 0, 1, 1, 2, 2]
    assert len(source.splits["train"]) == 6


def test_what_is_no_image_of_imagenet_is_counted(tmp_path):
    paths = [f"{split}/{name}/1.JPEG" for split in ("train", "val") for name in IDS]
    odd = ("train/read me.txt", "train/misc/1.JPEG", "val/n99999999/1.JPEG", "val/.x.JPEG")
    source = listed(write(tmp_path / "x", *paths, *odd), tmp_path, "imagenet2012")
    assert {split: len(records) for split, records in source.splits.items()} == {
        "train": 3, "validation": 3,
    }  # fmt: skip
    assert source.left_out == {
        "training files outside the classes' folders": 2,
        "validation files of no class of the training set": 1,
        "hidden files and folders": 1,
    }


def test_imagenet_folder_is_missing_or_empty(tmp_path):
    with pytest.raises(InputError, match="give the folder that holds ILSVRC2012_img_train.tar"):
        listed(tmp_path / "nowhere", tmp_path, "imagenet2012")
    with pytest.raises(DataError, match="neither ILSVRC2012_img_train.tar nor a folder 'train'"):
        listed(tmp_path, tmp_path, "imagenet2012")


def test_a_prepared_tfds_set_is_a_source(tmp_path):
    paths = [f"{name}/{i}.png" for name in "ab" for i in range(4)]
    root = write(tmp_path / "x", *paths)
    data = DataConfig("first", "folder", str(root), stored_size=8, validation_fraction=0.0)
    first = prepare(data, tmp_path / "data", display=Display.on_stderr(quiet=True))
    data = DataConfig("second", "tfds", str(first), 16, "raw", validation_fraction=0.25)
    second = open_dataset(prepare(data, tmp_path / "data", display=Display.on_stderr(quiet=True)))
    assert second.splits == {"train": 6, "validation": 2}
    assert second.class_names == ("a", "b")
    images = second.split("train").images(range(6))
    wanted = open_dataset(first).split("train")
    for image, key, label in zip(
        images, second.split("train").keys, second.split("train").labels, strict=True
    ):
        index = int(key.removeprefix("train/"))
        assert wanted.labels[index] == label
        assert abs(float(image.mean()) - wanted.images([index]).mean()) <= 1


def test_tfds_without_tensorflow_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(InputError, match="pip install tensorflow"):
        listed("cats_vs_dogs", tmp_path, "tfds")
    with pytest.raises(InputError, match="no prepared TFDS set"):
        listed(tmp_path, tmp_path, "tfds")


def test_tfds_packages_import():
    # TFDS 4.9.10 forgets to require it, and its own builders then fail (tensorflow/datasets 11212).
    import importlib_resources

    assert importlib_resources.files
