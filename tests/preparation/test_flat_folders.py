"""Photos in one heap get their classes from a table or from their names, or are refused."""

import pytest
from photo_folders import counts, in_classes, keys, listed, write

from alexnet_jax.config import DataConfig
from alexnet_jax.errors import DataError
from alexnet_jax.preparation.photo_folders.labelling import classes_in_names
from alexnet_jax.preparation.prepare import prepare


def named(pattern, *words, count=3):
    return [pattern.format(word, i) for word in words for i in range(1, count + 1)]


@pytest.mark.parametrize(
    "pattern",
    ["{}.{}.jpg", "{}_{:03}.jpg", "{}-{}.png", "{} ({}).jpg", "{} {}.JPEG", "a big {}_{}.webp"],
)
def test_names_with_numbers_tell_the_class(pattern):
    words = pattern.format("cat", 1).partition("cat")[0]
    expected = [f"{words}cat"] * 3 + [f"{words}dog"] * 3
    assert classes_in_names(named(pattern, "cat", "dog")) == expected


def test_words_of_names_may_hold_what_separates(tmp_path):
    names = named("{}_{}.jpg", "american_bulldog", "Bengal") + named("{}_{}.JPEG", "n01440764")
    assert set(classes_in_names(names)) == {"american_bulldog", "Bengal", "n01440764"}
    assert classes_in_names(["Cat.1.jpg", "cat.2.jpg", "cat.3.jpg", "dog.1.jpg", "dog.2.jpg"]) == [
        "cat", "cat", "cat", "dog", "dog",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [
        named("IMG_{1:04}.jpg", "") + named("DSC_{1:04}.jpg", ""),
        named("IMG_2020010{1}_12000{1}.jpg", "") + named("PXL_2021_{1}.jpg", ""),
        [f"WhatsApp Image 2021-01-0{i} at 12.30.0{i} ({i}).jpeg" for i in range(1, 8)],
        [f"{i}.jpg" for i in range(9)],
        [f"2021-01-0{i}.jpg" for i in range(1, 9)],
        named("{}.{}.jpg", "cat"),
        [f"{word}_1.jpg" for word in ("ada", "bob", "eve", "mia")],
        named("{}.{}.jpg", "cat", "dog") + ["tree.jpg", "house.jpg"],
    ],
)
def test_other_names_tell_no_class(names):
    assert classes_in_names(names) == []


def test_a_heap_with_names_is_told_before_it_is_read(tmp_path):
    names = named("{}.{}.jpg", "cat", "dog", count=30)
    root = write(tmp_path / "x", *[f"train/{name}" for name in names], "train/cover.jpg")
    write(root, *[f"test1/{i}.jpg" for i in range(5)])
    source = listed(root, tmp_path, validation_fraction=0.0)
    assert counts(source) == {"train": {"cat": 30, "dog": 30}}
    assert keys(source)["train"][0] == "cat.1.jpg"
    assert source.understood == (
        "splits: train, test from 'test1'", "classes are taken from file names",
        "classes: cat 30, dog 30",
    )  # fmt: skip
    assert source.left_out == {
        "photos of train that have no label": 1, "photos of test that have no label": 5,
    }  # fmt: skip


def test_what_was_understood_is_said_before_the_work(tmp_path, capsys):
    root = write(tmp_path / "x", *named("train/{}.{}.jpg", "cat", "d\x1b[31mog"), "test/9.jpg")
    prepare(DataConfig("x", "folder", str(root), stored_size=8), tmp_path / "data")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:5] == [
        "understood  splits: train, test",
        "understood  classes are taken from file names",
        "understood  classes: cat 3, d\\x1b[31mog 3",
        "understood  10% of every class are set aside for validation",
        "left out    1 photos of test that have no label",
    ]
    assert any("images in" in line for line in lines[5:])


def test_photos_of_a_test_are_labelled_by_the_same_names(tmp_path):
    root = write(
        tmp_path / "x",
        *named("train/{}.{}.jpg", "cat", "dog"),
        *named("val/{}.{}.jpg", "cat", "dog"),
    )
    assert counts(listed(root, tmp_path))["validation"] == {"cat": 3, "dog": 3}


TABLES = {
    "comma": ("labels.csv", "id,label\n", "{name},{kind}\n"),
    "mark and semicolon": ("labels.csv", "\ufeffimage;breed\n", "{name}.jpg;{kind}\n"),
    "tab": ("train.tsv", "filename\tcategory\n", "train/{name}.jpg\t{kind}\n"),
    "another place": ("x.csv", "path,class\n", "C:\\photos\\train\\{name}.jpg,{kind}\n"),
    "no header": ("labels.csv", "", "{name}.jpg,{kind}\n"),
    "quoted": ("labels.csv", '"file","species"\n', '"{name}.jpg","{kind}"\n'),
    "the label first": ("labels.csv", "target,image_id\n", "{kind},{name}\n"),
    "one more column": ("train.csv", "id,width,label\n", "{name},{i},{kind}\n"),
    "Id for the label": ("train.csv", "Image,Id\n", "{name}.jpg,{kind}\n"),
    "label and its number": ("train.csv", "id,label,label_id\n", "{name},{kind},{number}\n"),
    "one column a class": ("train.csv", "image_id,bee,ant\n", "{name},{number},{other}\n"),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("place", [".", "train"])
def test_tables_of_labels(tmp_path, name, place):
    file, head, row = TABLES[name]
    photos = [f"p{i}" for i in range(8)]
    root = write(tmp_path / "x", *(f"train/{photo}.jpg" for photo in photos))
    rows = [
        row.format(name=p, i=i, kind=("ant", "bee")[i % 2], number=i % 2, other=1 - i % 2)
        for i, p in enumerate(photos)
    ]
    (root / place / file).write_text(head + "".join(rows), "utf-8")
    source = listed(root, tmp_path, validation_fraction=0.0)
    assert counts(source) == {"train": {"ant": 4, "bee": 4}}
    assert [record.label for record in source.splits["train"]] == [0, 1] * 4
    assert any(f"taken from {file}" in line for line in source.understood)
    assert not source.left_out


def test_rows_without_photos_and_photos_without_rows_are_told(tmp_path):
    root = write(tmp_path / "x", *(f"{i}.png" for i in range(10)))
    (root / "labels.csv").write_text(
        "id,label\n" + "".join(f"{i},{i % 2}\n" for i in range(2, 12)), "utf-16"
    )
    (root / "sample_submission.csv").write_text("id,label\n0,0\n1,0\n2,0\n")
    source = listed(root, tmp_path, validation_fraction=0.0)
    assert counts(source) == {"train": {"0": 4, "1": 4}}
    assert source.understood[0].endswith("2 rows without a photo (10, …)")
    assert source.left_out == {
        "photos of train that have no label": 2, "files next to the photos": 1,
    }  # fmt: skip


def test_the_table_may_lie_above_the_folder_that_is_named(tmp_path):
    root = write(tmp_path / "x", *(f"train/{i}.png" for i in range(6)))
    (root / "labels.csv").write_text("id,label\n" + "".join(f"{i},k{i % 2}\n" for i in range(6)))
    source = listed(root / "train", tmp_path, validation_fraction=0.0)
    assert counts(source) == {"train": {"k0": 3, "k1": 3}}
    assert "../labels.csv" in source.understood[0]


def test_a_test_with_the_same_names_is_not_labelled_by_the_table_of_the_training(tmp_path):
    root = write(tmp_path / "x", *(f"{s}/{i}.png" for s in ("train", "test") for i in range(6)))
    (root / "labels.csv").write_text("id,label\n" + "".join(f"{i},k{i % 2}\n" for i in range(6)))
    source = listed(root, tmp_path, validation_fraction=0.0)
    assert counts(source) == {"train": {"k0": 3, "k1": 3}}
    assert source.left_out == {"photos of test that have no label": 6}
    (root / "test.csv").write_text("id,label\n" + "".join(f"{i},k{i // 3}\n" for i in range(6)))
    assert counts(listed(root, tmp_path))["test"] == {"k0": 3, "k1": 3}


def test_a_table_in_the_folder_of_a_split_is_of_that_split(tmp_path):
    root = write(tmp_path / "x", *(f"{s}/{i}.png" for s in ("train", "test") for i in range(6)))
    rows = "file_name,label\n" + "".join(f"{i}.png,k{i % 2}\n" for i in range(6))
    (root / "train" / "metadata.csv").write_text(rows)
    assert listed(root, tmp_path).left_out == {"photos of test that have no label": 6}
    rows = "file_name,label\n" + "".join(f"{i}.png,k{i // 4}\n" for i in range(6))
    (root / "test" / "metadata.csv").write_text(rows)
    source = listed(root, tmp_path, validation_fraction=0.0)
    assert counts(source) == {"train": {"k0": 3, "k1": 3}, "test": {"k0": 4, "k1": 2}}
    assert not source.left_out


def test_a_column_may_tell_the_splits(tmp_path):
    root = write(tmp_path / "x", *(f"images/{i}.png" for i in range(9)))
    rows = "".join(f"{i}.png,k{i % 2},{('train', 'test', 'val')[i // 4]}\n" for i in range(9))
    (root / "meta.csv").write_text("file,label,split\n" + rows)
    assert counts(listed(root, tmp_path)) == {
        "train": {"k0": 2, "k1": 2}, "test": {"k0": 2, "k1": 2}, "validation": {"k0": 1},
    }  # fmt: skip


def test_a_table_decides_where_folders_are_only_parts(tmp_path):
    root = write(tmp_path / "x", *(f"images_part_{1 + i // 4}/p{i}.png" for i in range(8)))
    assert listed(root, tmp_path).class_ids == ("images_part_1", "images_part_2")
    rows = "".join(f"L{i},p{i},{('nv', 'mel')[i % 2]},histo,{40 + i}\n" for i in range(8))
    (root / "metadata.csv").write_text("lesion_id,image_id,dx,dx_type,age\n" + rows)
    assert counts(listed(root, tmp_path, validation_fraction=0.0)) == {"train": {"mel": 4, "nv": 4}}


def test_a_flat_validation_takes_only_a_table_of_the_same_classes(tmp_path):
    root = write(tmp_path / "x", *in_classes("train"), *(f"val/v{i}.png" for i in range(4)))
    (root / "val.csv").write_text("file,label\n" + "".join(f"v{i},{i % 2}\n" for i in range(4)))
    assert listed(root, tmp_path).left_out["photos of validation that have no label"] == 4
    rows = "".join(f"v{i},{('cat', 'dog')[i % 2]}\n" for i in range(4))
    (root / "val.csv").write_text("file,label\n" + rows)
    assert counts(listed(root, tmp_path))["validation"] == {"cat": 2, "dog": 2}


def test_a_table_without_names_of_columns_labels_a_validation(tmp_path):
    root = write(tmp_path / "x", *in_classes("train"), *(f"val/images/v{i}.png" for i in range(4)))
    rows = "".join(f"v{i}.png\t{('cat', 'dog')[i % 2]}\t0\t32\t{i}\n" for i in range(4))
    (root / "val" / "val_annotations.txt").write_text(rows)
    assert counts(listed(root, tmp_path))["validation"] == {"cat": 2, "dog": 2}


REFUSED = {
    "two columns": ("id,size,colour", "{i},{two},{three}", "which of the columns size, colour"),
    "twice": ("id,label", "{half},{two}", "names 0 twice, as '0' and as '1'"),
    "ages": ("id,age", "{i},{i}.5", "labels.csv names no photos, or no classes of them"),
    "other photos": ("id,label", "x{i},{two}", "labels.csv names no photos"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_that_tells_no_classes_is_refused(tmp_path, name):
    head, row, text = REFUSED[name]
    root = write(tmp_path / "x", *(f"{i}.png" for i in range(12)))
    rows = [row.format(i=i, two=i % 2, three=i % 3, half=i // 2) for i in range(12)]
    (root / "labels.csv").write_text("\n".join([head, *rows]))
    with pytest.raises(DataError, match=text):
        listed(root, tmp_path)


def test_tables_that_contradict_each_other_are_refused(tmp_path):
    root = write(tmp_path / "x", *(f"{i}.png" for i in range(6)))
    for name, shift in (("a.csv", 0), ("b.csv", 1)):
        rows = "".join(f"{i},k{(i + shift) % 2}\n" for i in range(6))
        (root / name).write_text("id,label\n" + rows)
    with pytest.raises(DataError, match="b.csv says 'k1' of 0.png, and another table 'k0'"):
        listed(root, tmp_path)
