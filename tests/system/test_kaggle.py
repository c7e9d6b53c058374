"""From a competition's archives to a submission, by the three commands of the page."""

import csv
import io
import shlex
import tarfile

import compiling
import numpy as np
import pytest
from PIL import Image

from alexnet_jax.main import main
from alexnet_jax.network.layers import Activation, AvgPool, Conv, Dense, Flatten, Network
from alexnet_jax.network.networks import NETWORKS
from experiments.cats_vs_dogs.kaggle import lay_out, score

SMALL = shlex.split(
    "--network toy --image-size 8 --data.stored-size 10 --data.store raw --data.copies ignore "
    "--epochs 6 --evaluate-every-epochs 6 --optimizer.learning-rate 0.05 --batch-size 8 "
    "--replicas 1 --augment.scale 0.5 1"
)
TOY = Network(
    "toy",
    (Conv("conv1", 4, 3), Activation(), AvgPool(6, 6), Flatten(), Dense("fc2", 2)),
    8,
    "this test",
)


def photo(rng, bright):
    buffer = io.BytesIO()
    pixels = rng.integers(0, 120, (20, 20, 3)) + 130 * bright
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_tar(path, split, each, first=0):
    rng = np.random.default_rng(each)
    with tarfile.open(path, "w:gz") as archive:
        for label, kind in enumerate(("cat", "dog")):
            for number in range(first, first + each):
                data = photo(rng, bright=label)
                entry = tarfile.TarInfo(f"{split}/{kind}/{kind}.{number}.jpg")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))


@pytest.fixture(scope="module")
def competition(tmp_path_factory):
    """A folder with the competition's files, in which the network has been trained."""
    home = tmp_path_factory.mktemp("kaggle")
    write_tar(home / "train.tar.gz", "train", 30)
    write_tar(home / "test.tar.gz", "test", 7, first=100)
    assert lay_out(home, home, home / "key.csv") == {"train.zip": 60, "test1.zip": 14}
    with pytest.MonkeyPatch.context() as patch, compiling.few_optimizations():
        patch.chdir(home)
        patch.setenv("JAX_COMPILATION_CACHE_DIR", "")
        patch.setenv("ALEXNET_DATA_DIR", str(home / "data"))
        patch.setitem(NETWORKS, "toy", TOY)
        words = "train --preset cats-vs-dogs-224 --data.source train.zip --workdir runs/cats"
        assert main([*words.split(), *SMALL]) == 0
        yield home


def predict(*words):
    return main(["predict", "--workdir", "runs/cats", *words])


def test_three_commands_make_a_submission(competition, capsys):
    assert main("evaluate --workdir runs/cats --views 1".split()) == 0
    assert "6 images, centre view" in capsys.readouterr().out  # a tenth of each class
    words = "test1.zip --format submission --output submission.csv"
    assert predict(*words.split()) == 0
    said = capsys.readouterr()
    assert said.out == f"wrote answers for 14 images to {competition}/submission.csv\n"
    assert not said.err
    with open("submission.csv", newline="") as file, open("sampleSubmission.csv") as sample:
        rows, wanted = list(csv.reader(file)), list(csv.reader(sample))
    assert [row[0] for row in rows] == [row[0] for row in wanted] and rows[0] == wanted[0]
    assert {row[1] for row in rows[1:]} == {"0", "1"}
    found = score(competition / "submission.csv", competition / "key.csv")
    assert found["photos"] == 14 and found["accuracy"] > 0.9


def test_the_later_edition_wants_the_probability_of_a_dog(competition, capsys):
    words = "test1.zip --format submission --probability-of dog --output redux.csv"
    assert predict(*words.split()) == 0
    found = score(competition / "redux.csv", competition / "key.csv")
    assert found["accuracy"] > 0.9 and found["log_loss"] < 0.5
    capsys.readouterr()
    assert predict(*words.replace("redux", "other").replace("dog", "dgo").split()) == 1
    assert "no class 'dgo'. Did you mean 'dog'?" in capsys.readouterr().err


def test_a_score_of_other_ids_is_refused(competition, tmp_path):
    (tmp_path / "short.csv").write_text("id,label\n1,0\n")
    with pytest.raises(SystemExit, match="does not have the ids"):
        score(tmp_path / "short.csv", competition / "key.csv")
    (tmp_path / "twice.csv").write_text("id,label\n1,0\n1,1\n")
    with pytest.raises(SystemExit, match="an id twice"):
        score(tmp_path / "twice.csv", competition / "key.csv")
