"""Splits are found under the names that people give them; a class that is called so stays one."""

import pytest
from photo_folders import counts, in_classes, listed, write

from alexnet_jax.errors import DataError
from alexnet_jax.preparation.photo_folders.split_names import split_name

TWO = {"cat": 2, "dog": 2}


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        ("training_set test_set", "train test"),
        ("Training Testing", "train test"),
        ("TRAIN VAL TEST", "train validation test"),
        ("train valid", "train validation"),
        ("train validation test", "train validation test"),
        ("Train-Set Test-Set", "train test"),
        ("train_images val_images", "train validation"),
        ("flowers_train flowers_test", "train test"),
        ("seg_train/seg_train seg_test/seg_test", "train test"),
        ("archive/dataset/train archive/dataset/test", "train test"),
        ("TrainingData ValidationData", "train validation"),
        ("trains tests", "train test"),
        ("train2017 val2017", "train validation"),
        ("train dev test", "train validation test"),
        ("train eval", "train validation"),
        ("training validation evaluation", "train validation test"),
        ("train/images test/images", "train test"),
        ("test/train test/val", "train validation"),
        ("train/train train/val", "train validation"),
    ],
)
def test_splits_under_other_names(tmp_path, folders, splits):
    source = listed(write(tmp_path / "x", *in_classes(*folders.split())), tmp_path)
    assert counts(source) == {split: TWO for split in splits.split()}
    assert source.class_ids == ("cat", "dog")
    assert source.understood[0].startswith("splits")


@pytest.mark.parametrize(
    "name", ["constraint", "latest", "valley", "trainer", "contest", "device", "train_test", "7"]
)
def test_names_that_only_look_alike(name):
    assert split_name(name) is None


def test_spaces_in_names_of_splits(tmp_path):
    root = write(tmp_path / "x", *in_classes("Train Set", "Test Set"))
    source = listed(root, tmp_path)
    assert counts(source) == {"train": TWO, "test": TWO}
    assert source.understood[0] == "splits: train from 'Train Set', test from 'Test Set'"


@pytest.mark.parametrize("names", ["train bus car", "test val pass", "dev ops"])
def test_a_class_may_be_called_as_a_split_is(tmp_path, names):
    paths = [f"{name}/{i}.png" for name in names.split() for i in range(3)]
    source = listed(write(tmp_path / "x", *paths), tmp_path, validation_fraction=0.0)
    assert source.class_ids == tuple(sorted(names.split()))
    assert "taken for classes, not for splits" in source.understood[0]


def test_photos_of_a_split_without_labels_are_left_out_and_counted(tmp_path):
    loose = [f"test/{i}.png" for i in range(6)]
    for unlabelled in (loose, [p.replace("test/", "test/unknown/") for p in loose]):
        root = write(tmp_path / unlabelled[0].replace("/", "-"), *in_classes("train"), *unlabelled)
        source = listed(root, tmp_path, validation_fraction=0.0)
        assert counts(source) == {"train": TWO}
        assert source.left_out == {"photos of test that have no label": 6}
        assert "left out    6 photos of test that have no label" in source.summary()


def test_classes_with_kinds_of_their_own_may_be_called_as_a_split_is(tmp_path):
    kinds = ["train/steam/1.png", "train/diesel/1.png", "bus/city/1.png", "bus/tour/1.png"]
    source = listed(write(tmp_path / "x", *kinds), tmp_path, validation_fraction=0.0)
    assert counts(source) == {"train": {"bus": 2, "train": 2}}
    assert source.understood[0] == "taken for a class, not for a split: train"


def test_an_empty_sister_is_a_class_that_has_no_photos(tmp_path):
    root = write(tmp_path / "x", *(f"cat/{c}_{i}.png" for c in ("tabby", "tom") for i in range(3)))
    (root / "dog").mkdir()
    with pytest.raises(DataError, match="class 'dog' of .* has no training images"):
        listed(root, tmp_path)


def test_what_lies_beside_the_splits_is_named(tmp_path):
    root = write(
        tmp_path / "x",
        *in_classes("seg_train/seg_train", "seg_test/seg_test", "again/seg_train"),
        *[f"seg_pred/seg_pred/{i}.png" for i in range(3)],
    )
    source = listed(root, tmp_path)
    assert counts(source) == {"train": TWO, "test": TWO}
    assert source.left_out == {
        "files in the folder 'again'": 4,
        "files in the folder 'seg_pred'": 3,
    }


def test_folders_of_classes_that_hold_the_splits_are_turned(tmp_path):
    paths = [f"{c}/{s}/{i}.png" for c in ("cat", "dog") for s in ("Train", "val") for i in range(2)]
    root = write(tmp_path / "x", *paths, "cat/notes.txt", "read me.txt")
    source = listed(root, tmp_path)
    assert counts(source) == {"train": TWO, "validation": TWO}
    assert sum(source.left_out.values()) == 2
    assert source.understood[0] == "the folder of every class holds its splits"


def test_classes_that_differ_in_case_between_splits_are_one(tmp_path):
    accented = ("caf\u00e9", "cafe\u0301")  # as Linux and as macOS store it
    root = write(
        tmp_path / "x",
        *in_classes("train", names=("cat", accented[0])),
        *in_classes("test", names=("Cat", accented[1])),
    )
    source = listed(root, tmp_path)
    assert counts(source)["test"] == {"cat": 2, accented[0]: 2}
    assert "class 'Cat' of test is 'cat' of train" in source.understood
    write(root, *in_classes("train", names=("CAT",)))  # now it is not clear which is meant
    with pytest.raises(DataError, match="class 'Cat' of the test split .* is not in train; add"):
        listed(root, tmp_path)


def test_a_split_may_lack_classes(tmp_path):
    root = write(tmp_path / "x", *in_classes("train"), "test/cat/1.png")
    assert counts(listed(root, tmp_path)) == {"train": TWO, "test": {"cat": 1}}


REFUSED = {
    "folds": (
        in_classes("fold1", "fold2"),
        r"fold1, fold2 of .* hold the same folders \(cat, dog\) and no photos of their own.* "
        r"prepare --source folder \S*x/fold1 \(in train: --data.source \S*x/fold1\)",
    ),
    "several sets": (
        in_classes("big/train", "big/test", count=4) + in_classes("small/train", "small/test"),
        r"big, small of .* hold the same folders .* prepare --source folder \S*x/big ",
    ),
    "groups in the training": (
        in_classes("train/day1", "train/day2", "test/day1", "test/day2"),
        r"day1, day2 of \S*train hold the same folders \(cat, dog\)",
    ),
    "no folder for the training": (
        in_classes("images", "test"), "next to it images, but no train folder; .* to train"
    ),
    "classes beside a test": (
        in_classes(".", "test"), "next to it cat, dog, but no train folder; put the training photos"
    ),
    "train alone beside classes": (
        in_classes("train") + ["bus/1.png", "car/1.png"],
        "holds 'train' with the folders cat, dog, and next to it bus, car; if 'train' is",
    ),
    "splits of each class by name": (
        [f"{c}_{s}/{i}.png" for c in ("cat", "dog") for s in ("train", "test") for i in range(2)],
        "several sets of splits: cat_test, cat_train, dog_test, dog_train; arrange them as",
    ),
    "a set before and after it was split": (
        in_classes("input", "output/train", "output/val"),
        r"'output' of \S*x holds splits \(train, val\), .* input; .* folder \S*x/output ",
    ),
    "the set once more in itself": (
        in_classes(".", "x"),
        r"'x' of \S*x holds folders with the names of those next to it \(cat, dog\).* move "
        r"it away, or to take it alone, type: .* \S*x/x \(in train"
    ),
    "the set once more beside itself": (
        in_classes("Plants", "plants/Plants"), r"'plants' of \S*x holds .* next to it \(Plants\)"
    ),
    "splits without classes": (
        ["train/a.png", "train/b.png", "test/c.png"], "x has only one class .*or no class folders"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_clear_layout_is_refused_with_what_to_type(tmp_path, name):
    paths, text = REFUSED[name]
    with pytest.raises(DataError, match=text):
        listed(write(tmp_path / "x", *paths), tmp_path)


def test_class_names_csv_says_that_what_holds_its_sisters_is_a_class(tmp_path):
    root = write(tmp_path / "x", *in_classes(".", "other"))
    (root / "class_names.csv").write_text("other,other\n")
    source = listed(root, tmp_path, validation_fraction=0.0)
    assert counts(source) == {"train": TWO | {"other": 4}}


def test_class_names_csv_says_that_folders_with_the_same_folders_are_classes(tmp_path):
    root = write(tmp_path / "x", *in_classes("a", "b", names=("day1", "day2")))
    (root / "class_names.csv").write_text("a,ant\nb,bee\n")
    source = listed(root, tmp_path, validation_fraction=0.0)
    assert source.class_names == ("ant", "bee")
    assert counts(source) == {"train": {"a": 4, "b": 4}}


@pytest.mark.parametrize("wrapper", ["photos", "My Photos (2)/all"])
def test_folders_that_only_wrap_are_looked_through(tmp_path, wrapper):
    root = write(tmp_path / "x", *in_classes(wrapper))
    (root / "read me.txt").write_text("")
    source = listed(root, tmp_path, validation_fraction=0.0)
    assert counts(source) == {"train": TWO}
    assert source.understood[0] == f"the photos are those in the folder {wrapper}"
    assert source.left_out == {f"files next to the folder '{wrapper.partition('/')[0]}'": 1}


def test_annotations_beside_the_images_are_no_class(tmp_path):
    root = write(tmp_path / "x", *in_classes("images"), "annotations/trimaps/1.png")
    (root / "annotations" / "list.txt").write_text("")
    source = listed(root, tmp_path, validation_fraction=0.0)
    assert counts(source) == {"train": TWO}
    assert source.left_out == {"files in the folder 'annotations'": 2}


def test_what_programs_lay_beside_every_photo_is_left_out_and_counted(tmp_path):
    root = write(tmp_path / "x", *in_classes("."))
    for path in list(root.glob("*/*")):
        for ending in ("png.json", "xml", "txt", "MOV"):
            path.with_suffix(f".{ending}").write_bytes(b"{}")
    source = listed(root, tmp_path, validation_fraction=0.0)
    assert counts(source) == {"train": TWO}
    assert source.left_out == {"files among the photos that are none by their names": 16}
