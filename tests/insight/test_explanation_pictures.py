"""Maps over photos, and the pictures that `predict --explain` writes."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

import alexnet_jax
from alexnet_jax.errors import InputError
from alexnet_jax.insight.explanation_pictures import (
    explanation_sheet,
    overlay,
    picture_names,
)
from alexnet_jax.insight.inference import predict_files


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("x.png", "x.bmp", "y.png"):
        Image.fromarray(rng.integers(0, 256, (14, 20, 3), np.uint8)).save(folder / name)
    return folder


def test_lightness_alone_tells_the_value_of_a_map():
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    for shade in (0, 128, 255):
        drawn = overlay(np.full((8, 8, 3), shade, np.uint8), values)
        light = np.asarray(Image.fromarray(drawn).convert("L"), int).ravel()
        assert (np.diff(light) <= 0).all() and light[0] - light[-1] > 90
        assert len(set(drawn[0, 0].tolist())) == 1, "grey where the map is 0"
    flat = overlay(np.full((8, 8, 3), 9, np.uint8), np.full((8, 8), -1, np.float32))
    assert len(np.unique(flat)) == 1


def test_names_of_pictures_differ_and_are_names_of_files():
    names = ["a/x.jpg", "b/X.png", "x-2.png", "-", "t.zip/a:b?.jpg", "\udce9.png", "é" * 200]
    found = picture_names(names)
    assert found[:5] == ["x.png", "X-2.png", "x-2-2.png", "standard-input.png", "a_b_.png"]
    assert found[5] == "_.png" and found[6] == "é" * 90 + ".png"


def test_a_sheet_has_the_picture_and_a_map_of_each_method(run, photos):
    workdir, _ = run
    classifier = alexnet_jax.load(workdir)
    found = {m: classifier.explain([photos / "y.png"], m) for m in ("saliency", "occlusion")}
    page = np.asarray(explanation_sheet(found, 0, "y.png" * 100))
    side, gap, head = 224, 6, 42
    assert page.shape[1] == 3 * (side + gap) + gap
    places = [page[gap + head :][:side, gap + i * (side + gap) :][:, :side] for i in range(3)]
    picture = found["saliency"].pictures[0]
    np.testing.assert_array_equal(places[0][::28, ::28], picture)
    for place, each in zip(places[1:], found.values(), strict=True):
        np.testing.assert_array_equal(place[::28, ::28], overlay(picture, each.maps[0]))


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_predict_draws_each_readable_photo_once(run, photos, tmp_path, form):
    workdir, _ = run
    (photos / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    folder = tmp_path / "new" / "pictures"
    plain = predict_files(workdir, [str(photos)], form=form)
    found = predict_files(workdir, [str(photos)], form=form, explain=folder)
    written = [folder / name for name in ("x.png", "x-2.png", "y.png")]
    assert sorted(folder.iterdir()) == sorted(written)
    assert found.complaint() == plain.complaint() and "torn.jpg" in found.complaint()
    lines = "".join(f"wrote {path}\n" for path in written) if form == "table" else ""
    assert found.text == plain.text + lines
    with Image.open(written[0]) as picture:
        assert picture.size == (3 * 230 + 6, 308), "a dense network has two maps"
    with pytest.raises(InputError, match="pictures exists already; .*another --explain"):
        predict_files(workdir, [str(photos)], form=form, explain=folder)


def test_a_zip_is_drawn_and_the_answers_may_go_to_a_file(run, photos, tmp_path):
    workdir, _ = run
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(photos / "y.png", "inner/y.png")
    output, folder = tmp_path / "answers.json", tmp_path / "pictures"
    words = {"form": "json", "output": output, "views": 10, "explain": folder}
    found = predict_files(workdir, [str(tmp_path / "photos.zip")], **words)
    assert found.text.splitlines() == [
        f"wrote answers for 1 images to {output}",
        f"wrote {folder / 'y.png'}",
    ]
    assert len(json.loads(output.read_text())) == 1


def test_what_cannot_be_drawn_is_refused_before_the_work(run, photos, tmp_path):
    workdir, _ = run
    (tmp_path / "file").write_text("")
    for explain, form, message in (
        (tmp_path / "new", "submission", "no effect with --format submission"),
        (tmp_path / "file", "table", "file exists already"),
        (tmp_path / "file" / "below", "table", "cannot write .*below.*irectory"),
    ):
        with pytest.raises(InputError, match=message):
            predict_files(workdir, [str(photos)], form=form, explain=explain)
    assert not (tmp_path / "new").exists()
