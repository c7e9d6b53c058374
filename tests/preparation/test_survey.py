"""A source is looked at before anything of it is decoded."""

import dataclasses
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from alexnet_jax.config import DataConfig
from alexnet_jax.errors import DataError
from alexnet_jax.preparation.prepare import prepare
from alexnet_jax.preparation.survey import survey


@pytest.fixture
def photos(tmp_path):
    """Pictures of two classes, one with a name that would steer a terminal, and a text."""
    random = np.random.default_rng(0)
    for name, count in (("cat", 4), ("d\x1b[31mog", 2)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(count):
            pixels = random.integers(0, 256, (30 + i, 50, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    (tmp_path / "photos" / "cat" / "note.jpg").write_text("no picture")
    return tmp_path / "photos"


@pytest.mark.parametrize("packed", ["", "w", "w:gz", "zip"])
def test_a_folder_and_its_archives_tell_the_same(photos, tmp_path, packed):
    source = photos
    if packed == "zip":
        source = tmp_path / "photos.zip"
        with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in photos.rglob("*.*"):
                archive.write(path, path.relative_to(tmp_path))
    elif packed:
        source = tmp_path / "photos.tar"
        with tarfile.open(source, packed) as archive:
            archive.add(photos, "photos")
    data = DataConfig(source_kind="folder", source=str(source))
    found = survey(data, data, tmp_path / "data")
    assert found is not None and found.stored is None
    assert sum(map(sum, found.counts.values())) == 7
    assert found.shorter_sides == (30, 30, 31, 31, 32, 33)
    assert found.unknown_headers == 1 and "1 of 7 files" in found.doubts()[0]
    text = "\n".join(found.lines())
    assert "\x1b" not in text and "cat 4" in text
    assert list((tmp_path / "data").iterdir()) == [], "nothing is left"


def test_a_source_that_can_no_longer_be_listed_is_told_with_the_set_that_there_is(photos, tmp_path):
    data = DataConfig(source_kind="folder", source=str(photos))
    likely = dataclasses.replace(data, stored_size=32)
    (photos / "cat" / "note.jpg").unlink()
    folder = prepare(likely, tmp_path / "data")
    shutil.rmtree(photos / "cat")
    with pytest.raises(DataError, match=rf"only one class.*--data.name {folder.name}\)"):
        survey(data, likely, tmp_path / "data")
