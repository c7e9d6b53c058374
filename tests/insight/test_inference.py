"""A run folder's parameters, classifier and files, without its data set."""

import csv
import io
import json
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

import alexnet_jax
from alexnet_jax.errors import CheckpointError, InputError
from alexnet_jax.insight.inference import predict_files, write_features
from alexnet_jax.insight.prediction_text import format_submission
from alexnet_jax.runs.run_weights import load_weights

NAMES = ("ant", "bee", "cat")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("x.png", "y.png"):
        Image.fromarray(rng.integers(0, 256, (14, 20, 3), np.uint8)).save(folder / name)
    return folder


@pytest.mark.parametrize(("checkpoint", "step"), [("best", 2), ("last", 4), (2, 2), ("4", 4)])
def test_a_checkpoint_is_found_by_name_or_step(run, checkpoint, step):
    workdir, params = run
    weights = load_weights(workdir, checkpoint)
    assert weights.step == step and weights.run.class_names == NAMES
    jax.tree.map(np.testing.assert_array_equal, weights.params, params[step])


def test_folders_without_a_run_or_checkpoints_are_refused(run, tmp_path):
    workdir, _ = run
    with pytest.raises(InputError, match="holds no run"):
        load_weights(tmp_path)
    for name in ("config.json", "run.json", "inputs.npz"):
        (tmp_path / name).write_bytes((workdir / name).read_bytes())
    with pytest.raises(CheckpointError, match="train first"):
        load_weights(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_weights(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint of step 3"):
        load_weights(workdir, 3)
    with pytest.raises(InputError, match="neither best, last nor a step"):
        load_weights(workdir, "newest")


def test_loading_changes_nothing_in_the_run_folder(run):
    workdir, _ = run
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}
    load_weights(workdir)
    after = {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}
    assert before == after


def test_a_run_computes_in_bfloat16_if_asked(run, photos):
    workdir, _ = run
    paths = sorted(photos.iterdir())
    exact = alexnet_jax.load(workdir).probabilities(paths)
    rounded = alexnet_jax.load(workdir, compute_dtype="bfloat16").probabilities(paths)
    assert rounded.dtype == np.float32 and (rounded != exact).any()
    np.testing.assert_allclose(rounded, exact, atol=0.02)
    found = predict_files(workdir, [str(photos)], form="csv", compute_dtype="bfloat16")
    assert found.text != predict_files(workdir, [str(photos)], form="csv").text


def test_a_run_predicts_without_its_data_set(run, photos):
    workdir, params = run
    classifier = alexnet_jax.load(workdir)
    assert classifier.class_names == NAMES and classifier.image_size == 8
    assert classifier.network.classes == 3
    pixels = np.random.default_rng(1).integers(0, 256, (2, 10, 10, 3), np.uint8)
    crops = (pixels[:, 1:9, 1:9].astype(np.float32) - 120).reshape(2, -1)
    fc1 = np.maximum(crops @ params[2]["fc1"]["kernel"] + params[2]["fc1"]["bias"], 0)
    logits = fc1 @ params[2]["fc2"]["kernel"] + params[2]["fc2"]["bias"]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(classifier.probabilities(pixels), expected, rtol=1e-3, atol=1e-6)


def test_files_are_predicted_and_bad_ones_reported(run, photos):
    workdir, _ = run
    (photos / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    found = predict_files(workdir, [str(photos)], top_k=2, form="json")
    rows = json.loads(found.text)
    assert [row["image"].rpartition("/")[2] for row in rows] == ["x.png", "y.png"]
    assert all(len(row["predictions"]) == 2 for row in rows)
    assert len(found.unreadable) == 1
    assert "torn.jpg cannot be read: " in found.complaint()
    assert predict_files(workdir, [str(photos / "x.png")]).complaint() == ""
    with pytest.raises(InputError, match="--format should be one of"):
        predict_files(workdir, [str(photos)], form="xml")


def test_a_missing_file_does_not_stop_the_others(run, photos, tmp_path):
    workdir, _ = run
    (tmp_path / "empty").mkdir()
    patterns = [str(photos / "gone.jpg"), str(photos), f"{photos}/*.tiff", str(tmp_path / "empty")]
    found = predict_files(workdir, patterns, form="json")
    assert [row["image"].rpartition("/")[2] for row in json.loads(found.text)] == ["x.png", "y.png"]
    assert found.complaint().splitlines() == [
        f"{photos}/gone.jpg does not exist and matches no file",
        f"{photos}/*.tiff does not exist and matches no file",
        f"folder {tmp_path}/empty holds no image",
    ]
    features = write_features(workdir, patterns, tmp_path / "f.npz", layer="fc1")
    assert features.complaint() == found.complaint() and "of 2 images" in features.text
    with pytest.raises(InputError, match="gone.jpg does not exist .*; .*none.jpg does not exist"):
        predict_files(workdir, [str(photos / "gone.jpg"), str(photos / "none.jpg")])


def test_what_is_not_taken_is_named_but_no_complaint(run, photos):
    workdir, _ = run
    for number in range(30):
        (photos / f"notes {number:02d}.txt").write_text("no image")
    found = predict_files(workdir, [str(photos)])
    notes = found.notes().splitlines()
    assert notes[0] == f"not taken: {photos}/notes 00.txt (no image)"
    assert len(notes) == 21 and notes[-1] == "not taken: 10 more"
    assert found.complaint() == ""


def test_standard_input_is_an_image(run, photos, tmp_path, monkeypatch):
    workdir, _ = run

    def pipe(data):
        return SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False)

    monkeypatch.setattr("sys.stdin", pipe((photos / "x.png").read_bytes()))
    rows = json.loads(predict_files(workdir, ["-", str(photos), "-"], form="json").text)
    assert [row["image"].rpartition("/")[2] for row in rows] == ["-", "x.png", "y.png"]
    assert rows[0]["predictions"] == rows[1]["predictions"]
    monkeypatch.setattr("sys.stdin", pipe((photos / "y.png").read_bytes()))
    write_features(workdir, ["-"], tmp_path / "f.npz", layer="fc1")
    with np.load(tmp_path / "f.npz", allow_pickle=False) as arrays:
        assert arrays["images"].tolist() == ["-"] and arrays["features"].shape == (1, 6)
    for data in (b"", b"GIF89a", b"text"):
        monkeypatch.setattr("sys.stdin", pipe(data))
        complaint = predict_files(workdir, ["-", str(photos)]).complaint()
        assert complaint.startswith("- cannot be read: ") and complaint.count("\n") == 1
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    with pytest.raises(InputError, match="pipe an image into it"):
        predict_files(workdir, ["-"])


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_file_names_that_are_no_utf8_are_printed(run, photos, form):
    workdir, _ = run
    name = os.fsdecode(b"caf\xe9.png")
    try:
        (photos / "x.png").rename(photos / name)
    except OSError:
        pytest.skip("the file system takes names in UTF-8 only")
    found = predict_files(workdir, [str(photos / name)], form=form)
    assert ("caf\\\\xe9.png" if form == "json" else "caf\\xe9.png") in found.text
    found.text.encode("utf-8")


def test_features_of_files_are_written_once(run, photos, tmp_path):
    workdir, _ = run
    (photos / "torn.jpg").write_bytes(b"")
    output = tmp_path / "f.npz"
    found = write_features(workdir, [str(photos)], output, layer="fc1")
    assert "wrote fc1 of 2 images (6 each)" in found.text and len(found.unreadable) == 1
    with np.load(output, allow_pickle=False) as arrays:
        assert arrays["features"].shape == (2, 6) and (arrays["features"] >= 0).all()
        assert [name.rpartition("/")[2] for name in arrays["images"]] == ["x.png", "y.png"]
    with pytest.raises(InputError, match="exists already"):
        write_features(workdir, [str(photos)], output, layer="fc1")
    with pytest.raises(InputError, match="no layer 'fc9'"):
        write_features(workdir, [str(photos)], tmp_path / "g.npz", layer="fc9")
    with pytest.raises(InputError, match="none of 1 files can be read"):
        write_features(workdir, [str(photos / "torn.jpg")], tmp_path / "g.npz", layer="fc1")


def numbered(folder, *names):
    rng = np.random.default_rng(3)
    folder.mkdir()
    for name in names:
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(folder / name)
    return folder


def test_a_submission_has_a_row_for_every_file_in_the_order_of_its_numbers(run, tmp_path):
    workdir, _ = run
    folder = numbered(tmp_path / "test1", "10.png", "9.png", "1.jpg", "b.png", "a.png")
    found = predict_files(workdir, [str(folder)], form="submission")
    rows = list(csv.reader(io.StringIO(found.text)))
    assert rows[0] == ["id", "label"] and [row[0] for row in rows[1:]] == ["1", "9", "10", "a", "b"]
    answers = json.loads(predict_files(workdir, [str(folder)], form="json").text)
    likeliest = {Path(a["image"]).stem: a["predictions"][0]["label"] for a in answers}
    assert dict(rows[1:]) == likeliest, "three classes: the label is the name"
    bees = predict_files(workdir, [str(folder)], form="submission", probability_of="bee")
    told = {Path(a["image"]).stem: p["probability"] for a in answers for p in a["predictions"]
            if p["label"] == "bee"}  # fmt: skip
    for name, value in list(csv.reader(io.StringIO(bees.text)))[1:]:
        assert float(value) == pytest.approx(told[name], rel=1e-6)


def test_two_classes_are_told_as_0_and_1():
    odds = np.array([[0.25, 0.75], [1, 0], [0.5625, 0.4375]], np.float32)
    text = format_submission(["10", "2", "007"], odds, ("cat", "dog"))
    assert text == "id,label\n2,0\n007,0\n10,1\n"
    text = format_submission(["10", "2", "007"], odds, ("cat", "dog"), column=1)
    assert text == "id,label\n2,0\n007,0.4375\n10,0.75\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "submission", "probability_of": "dog"}, "the run has no class 'dog'"),
        ({"form": "csv", "probability_of": "bee"}, "no effect without --format submission"),
    ],
)
def test_submissions_that_cannot_be_meant_are_refused(run, tmp_path, options, message):
    workdir, _ = run
    with pytest.raises(InputError, match=message):
        predict_files(workdir, [str(numbered(tmp_path / "t", "1.png"))], **options)


def test_no_submission_lacks_a_file_or_has_an_id_twice(run, tmp_path):
    workdir, _ = run
    folder, output = numbered(tmp_path / "t", "1.png", "2.png"), tmp_path / "s.csv"

    def refused(*patterns, match):
        with pytest.raises(InputError, match=match):
            predict_files(workdir, [*map(str, patterns)], form="submission", output=output)
        assert not output.exists()

    refused(folder, folder / "3.png", match="needs all of its images: .*3.png does not exist")
    again = numbered(tmp_path / "u", "2.jpg")
    refused(folder, again, match="2.png and .*2.jpg would both have the id 2")
    (folder / "3.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    refused(folder, match="a row for every image, and 1 of 3 cannot be read, e.g. .*3.jpg: ")
    (folder / "3.jpg").unlink()
    found = predict_files(workdir, [str(folder)], form="submission", output=output)
    assert found.text == f"wrote answers for 2 images to {output}\n"
    assert output.read_text().startswith("id,label\n1,")
    with pytest.raises(InputError, match="exists already"):
        predict_files(workdir, [str(folder)], form="submission", output=output)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_taken_as_the_folder_in_it(run, tmp_path, method):
    workdir, _ = run
    folder, packed = numbered(tmp_path / "test1", "1.png", "2.png"), tmp_path / "test1.zip"
    with zipfile.ZipFile(packed, "w", method) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"test1/{path.name}")
        archive.writestr("test1/read me.txt", "no image")
        archive.writestr("__MACOSX/test1/._1.png", "of the system")
    expected = predict_files(workdir, [str(folder)], form="json").text
    found = predict_files(workdir, [str(packed)], form="json")
    assert found.text.replace(f"{packed}/test1/", f"{folder}/") == expected
    assert f"not taken: {packed}/test1/read me.txt (no image by its name)" in found.notes()
    assert "of the operating system" in found.notes() or "storage system" in found.notes()
    with pytest.raises(InputError, match="no image"):
        with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
            archive.write(packed, "test1.zip")
        predict_files(workdir, [str(tmp_path / "outer.zip")])
    data = bytearray(packed.read_bytes())
    data[data.index(b"IHDR") + 6] ^= 255
    packed.write_bytes(data)
    if method == zipfile.ZIP_STORED:  # else it is the stream that is damaged
        assert "1.png cannot be read" in predict_files(workdir, [str(packed)]).complaint()
