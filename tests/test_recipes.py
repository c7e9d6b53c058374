"""The preset `folder` leaves its recipe open: what is chosen, what stays as typed, what resumes."""

# ruff: noqa: F811 - fixtures have the names of their values

import csv
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import config, dataset, tiny_network, train  # noqa: F401

from alexnet_jax import recipes, workflow
from alexnet_jax.config import Config, PreprocessConfig
from alexnet_jax.display import Display
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.main import parse
from alexnet_jax.preparation.prepare import prepare
from alexnet_jax.presets import PRESETS
from alexnet_jax.recipes import Trunk, chosen, is_open, resume_recipe
from alexnet_jax.resolution import Facts, check_before_preparing, resolve
from alexnet_jax.runs.run_folder import read_run

OPEN = PRESETS["folder"]
CONVS = ("conv1", "conv2", "conv3", "conv4", "conv5")
TRUNK = Trunk("one-weird-trick", 224, 256, PreprocessConfig("imagenet", "imagenet"), CONVS)


def typed(**changes):
    return dataclasses.replace(OPEN, **changes)


@pytest.mark.parametrize("images", (1, 300, 5_000, 29_999, 30_000, 10**6))
@pytest.mark.parametrize("trunk", (None, TRUNK))
def test_what_is_chosen_can_be_run(images, trunk):
    transfer = dataclasses.replace(OPEN.transfer, run="trunk" if trunk else "")
    config = chosen(typed(transfer=transfer), images, ("train", "validation"), 1.0, trunk=trunk)
    assert not is_open(config)
    assert resolve(config, Facts(5, config.data.stored_size)).network.classes == 5
    check_before_preparing(config)
    assert Config.from_json(config.to_json()) == config


@pytest.mark.parametrize("name", ["cats-vs-dogs", "imagenette"])
def test_named_sets_get_what_any_photos_would(name):
    named = PRESETS[name]
    assert is_open(named) and dataclasses.replace(named, preset="folder") == OPEN
    for trunk in (None, TRUNK):
        mine, folders = (
            chosen(p, 5_200, ("train", "test"), 1.0, trunk=trunk) for p in (named, OPEN)
        )
        assert dataclasses.replace(mine, preset="folder") == folders


@pytest.mark.parametrize(
    ("record", "preset", "images"),
    [
        ("cats_vs_dogs/results/cats-vs-dogs.json", "cats-vs-dogs", 5_200),
        ("cats_vs_dogs/results/on-a-trunk.json", "cats-vs-dogs", 5_200),
        ("imagenette/results/imagenette.json", "imagenette", 4_500),
    ],
)
def test_what_is_chosen_today_is_what_was_run(record, preset, images):
    path = Path(__file__).parents[1] / "experiments" / record
    run = Config.from_json(json.dumps(json.loads(path.read_text())["config"]))
    trunk = TRUNK if run.transfer.layers else None
    today = chosen(PRESETS[preset], images, ("train", "test"), 1.0, trunk=trunk)
    data = dataclasses.replace(today.data, name=run.data.name)
    assert dataclasses.replace(today, preset=run.preset, data=data) == run


def test_few_photos_are_seen_more_often_than_many():
    sizes = (300, 600, 5_200, 20_000)
    recipes_ = [chosen(OPEN, n, ("train", "validation"), 1.0) for n in sizes]
    assert [recipe.epochs for recipe in recipes_] == [80, 67, 23, 15]
    few, many = recipes_[0], recipes_[-1]
    assert few.network == many.network == "cifar-alexnet"
    assert few.epochs > 10 * many.epochs / 3 > 10
    assert chosen(OPEN, 10**5, ("train", "validation"), 1.0).network == "original"


def test_a_trunk_gives_its_learned_layers_and_its_arithmetic():
    config = chosen(OPEN, 600, ("train", "validation"), 1.0, trunk=TRUNK)
    assert config.transfer.layers == CONVS
    assert config.preprocess == TRUNK.preprocess
    assert config.data.stored_size == 256
    assert dict(config.optimizer.layer_learning_rate) == dict.fromkeys(CONVS, 0.0)
    whole = TRUNK._replace(learned=(*CONVS, "fc6", "fc7", "fc8"))
    config = chosen(OPEN, 50_000, ("train", "validation"), 1.0, trunk=whole)
    assert config.transfer.layers == (*CONVS, "fc6", "fc7")  # never the classifier
    assert set(dict(config.optimizer.layer_learning_rate).values()) == {0.1}


def test_what_was_typed_stays():
    optimizer = dataclasses.replace(OPEN.optimizer, learning_rate=0.003)
    data = dataclasses.replace(OPEN.data, stored_size=128, validation_split="dev")
    config = chosen(
        typed(epochs=7, batch_size=16, optimizer=optimizer, data=data), 600, ("train", "test"), 1.0
    )
    assert (config.epochs, config.batch_size) == (7, 16)
    assert config.optimizer.learning_rate == 0.003
    assert config.optimizer.bias_learning_rate == 0.006  # twice the weights', as in 2012
    assert (config.data.stored_size, config.data.validation_split) == (128, "dev")
    assert config.schedule.phases[0].epoch <= 7  # the drop comes within the epochs typed
    assert not is_open(typed(network="original"))


def test_the_split_that_is_there_is_tested_and_unequal_classes_are_balanced():
    config = chosen(OPEN, 600, ("train", "test"), 5.0)
    assert config.data.validation_split == "test"
    assert config.data.balance
    both = chosen(OPEN, 600, ("train", "validation", "test"), 1.9)
    assert both.data.validation_split == "validation"
    assert not both.data.balance


def test_a_set_stored_large_gets_a_network_that_reads_it():
    large = dataclasses.replace(OPEN.data, stored_size=256, store="jpeg")
    config = chosen(OPEN, 600, ("train", "validation"), 1.0, large)
    assert config.network == "original"
    assert config.data.stored_size == 256


@pytest.mark.parametrize("size, image", [(32, 28), (72, 64), (128, 113)])
def test_a_set_stored_small_gets_a_network_that_reads_it(size, image):
    stored = dataclasses.replace(OPEN.data, stored_size=size, store="jpeg")
    for images in (600, 10**6):
        config = chosen(OPEN, images, ("train", "validation"), 1.0, stored)
        assert (config.network, config.image_size) == ("cifar-alexnet", image)
        assert (config.data.stored_size, config.data.store) == (size, "jpeg")
        assert resolve(config, Facts(5, size))


def test_a_typed_rate_or_size_has_its_consequences():
    optimizer = dataclasses.replace(OPEN.optimizer, learning_rate=0.0005)
    config = chosen(typed(optimizer=optimizer, image_size=128), 600, ("train", "test"), 1.0)
    assert config.optimizer.bias_learning_rate == 0.001
    (drop,) = config.schedule.phases
    assert drop.learning_rate == pytest.approx(5e-5)
    assert drop.bias_learning_rate == pytest.approx(1e-4)
    assert config.data.stored_size == 144
    with pytest.raises(InputError, match="epochs is inf"):
        chosen(typed(epochs=float("inf")), 600, ("train", "test"), 1.0)


def test_layers_that_are_not_copied_are_not_frozen():
    transfer = dataclasses.replace(OPEN.transfer, run="trunk", layers=("conv1", "conv2"))
    config = chosen(typed(transfer=transfer), 600, ("train", "test"), 1.0, trunk=TRUNK)
    assert dict(config.optimizer.layer_learning_rate) == {"conv1": 0.0, "conv2": 0.0}


def test_what_was_typed_stays_where_it_is_the_presets_own_value():
    words = ["--workdir", "w", "--preset", "folder", "--epochs", "60", "--batch-size=64"]
    words += ["--data.no-balance", "--schedule.kind", "plateau"]
    verb = parse("train", words)
    config = chosen(verb.config, 600, ("train", "test"), 5.0, typed=verb.typed)
    assert (config.epochs, config.batch_size, config.schedule.kind) == (60, 64, "plateau")
    assert not config.data.balance and config.network == "cifar-alexnet"
    assert resume_recipe(verb.config, chosen(OPEN, 600, (), 5.0), verb.typed).epochs == 60


@pytest.mark.parametrize("preset", ["imagenette-original", "digits"])
def test_a_network_is_chosen_in_other_presets_too(preset):
    config = dataclasses.replace(PRESETS[preset], network="auto")
    assert chosen(config, 600, ("train", "test"), 1.0).network == "cifar-alexnet"


def test_a_run_keeps_what_was_chosen_and_a_typed_value_is_seen_to_differ():
    stored = chosen(OPEN, 600, ("train", "test"), 5.0)
    assert resume_recipe(OPEN, stored) == stored
    assert resume_recipe(typed(epochs=7), stored) == dataclasses.replace(stored, epochs=7)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Ten red and thirty blue pictures with stripes; a test picture stands in training, too."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for split, counts in (("train", (10, 30)), ("test", (4, 4))):
        for label, (name, count) in enumerate(zip(("red", "blue"), counts, strict=True)):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                picture = rng.integers(0, 120, (1, 40, 1)) + rng.integers(0, 60, (40, 40, 3))
                picture[..., 2 * label] += 60
                file = root / split / name / f"{i}.png"
                Image.fromarray(picture.astype(np.uint8)).save(file)
    again = Image.open(root / "train" / "blue" / "7.png").resize((90, 90))
    again.save(root / "test" / "blue" / "copy.jpg", quality=60)
    (root / "train" / "red" / "notes.jpg").write_text("no picture")
    return root


def small(photos, trunk=""):
    data = dataclasses.replace(OPEN.data, source=str(photos), stored_size=32)
    transfer = dataclasses.replace(OPEN.transfer, run=trunk)
    return typed(data=data, image_size=28, epochs=1, final_views=1, transfer=transfer)


@pytest.mark.slow
def test_photos_are_described_trained_and_continued(config, dataset, photos, tmp_path):
    trunk = tmp_path / "trunk"
    train(config, trunk, dataset)
    said = []
    asked = small(photos, str(trunk))
    state = workflow.train(asked, tmp_path / "run", tmp_path / "data", say=said.append)
    text = "\n".join(said)
    assert "41 train, 9 test; 2 classes: blue 30, red 11" in text
    assert "2.7 times" in text and "'blue' errs in 44 %" in text
    assert "shorter sides 40 to 90 pixels" in text
    assert "doubtful    1 of 50 files" in text
    assert "--network tiny" in text and "conv1 to conv1 from the trunk" in text
    assert "classes balanced" in text
    assert "1 of 9 test images show the same as a training image" in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "run/near_duplicates.csv").read_text())))
    assert [(row["test"], row["training"]) for row in rows] == [("blue/copy.jpg", "blue/7.png")]
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (info["train_images"], info["epoch_images"]) == (40, 60)
    assert int(state.step) == 2  # 60 places of 32 at a time
    again = workflow.train(asked, tmp_path / "run", tmp_path / "data", say=said.append)
    assert "nothing to do" in said[-6] and int(again.step) == 2


def test_a_prepared_set_is_taken_as_it_is_and_a_torn_config_is_read_from_a_checkpoint(
    config, dataset, photos, tmp_path
):
    train(config, tmp_path / "trunk", dataset)
    data = dataclasses.replace(OPEN.data, name="photos", source=str(photos), stored_size=40)
    prepare(data, tmp_path / "data", display=Display.on_stderr(quiet=True))
    asked = small(photos, str(tmp_path / "trunk"))
    open_size = dataclasses.replace(data, stored_size=OPEN.data.stored_size)
    asked = dataclasses.replace(asked, data=open_size)
    said = []
    workflow.train(asked, tmp_path / "run", tmp_path / "data", say=said.append)
    assert "stored at 40 pixels" in "\n".join(said)
    before = (tmp_path / "run" / "config.json").read_text()
    (tmp_path / "run" / "config.json").write_text(before[:100])
    workflow.train(asked, tmp_path / "run", tmp_path / "data", say=said.append)
    assert any(line.startswith("config.json written again") for line in said)
    assert "nothing to do" in said[-6]
    assert (tmp_path / "run" / "config.json").read_text() == before


def test_a_named_network_is_tested_on_the_split_that_is_there(config, photos, tmp_path):
    asked = dataclasses.replace(small(photos), network=config.network, batch_size=8)
    place, said = (tmp_path / "run", tmp_path / "data"), []
    with pytest.raises(InputError, match="no split 'validation'"):
        workflow.train(asked, *place, say=said.append, typed=("data.validation_split",))
    workflow.train(asked, *place, say=said.append)
    assert any("40 train, 9 test" in line for line in said)
    assert not any(line.startswith("chosen") for line in said)
    assert any("follow 'test': there is no other" in line for line in said)
    assert read_run(tmp_path / "run").config.data.validation_split == "test"
    workflow.train(asked, *place, say=said.append)
    assert "nothing to do" in said[-6]


def test_a_catalogue_set_is_refused_before_tensorflow_is_loaded(tmp_path):
    data = dataclasses.replace(OPEN.data, source_kind="tfds", source="cats_vs_dogs")
    with pytest.raises(InputError, match="--network auto is for folders"):
        workflow.train(typed(data=data), tmp_path / "run", tmp_path / "data")


def test_a_folder_with_another_run_is_refused(config, dataset, photos, tmp_path):
    train(config, tmp_path / "run", dataset)
    with pytest.raises(InputError, match="another configuration .*preset was 'tiny', is 'folder'"):
        workflow.train(small(photos), tmp_path / "run", tmp_path / "data")


def test_without_photos_it_is_said_what_to_name(tmp_path):
    with pytest.raises(DataError, match=r"--data\.source PHOTOS"):
        workflow.train(OPEN, tmp_path / "run", tmp_path / "data")
    assert recipes.is_open(OPEN)
