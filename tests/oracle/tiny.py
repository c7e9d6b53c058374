"""A tiny data set and a tiny network, for loops that take a second."""

import dataclasses
import time
from pathlib import Path

import pytest
from PIL import Image

from alexnet_jax.config import AugmentConfig, Config, DataConfig, ScheduleConfig
from alexnet_jax.data.dataset import Dataset, open_dataset
from alexnet_jax.display import Display
from alexnet_jax.network.layers import Activation, Conv, Dense, Dropout, Flatten, MaxPool, Network
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.preparation.prepare import prepare
from alexnet_jax.runs.record import check_same_config
from alexnet_jax.runs.run_folder import opened
from alexnet_jax.training.start import mesh_of, open_run, source_of
from alexnet_jax.training.train import Outcome, train_run

TINY = Network(
    "tiny",
    (
        Conv("conv1", 4, 3, weight_std=0.1),
        Activation(),
        MaxPool(),
        Flatten(),
        Dropout(),
        Dense("fc2", 2, weight_std=0.1),
    ),
    8,
    "tests",
)


@pytest.fixture(autouse=True, scope="module")
def tiny_network():
    NETWORKS["tiny"] = TINY
    yield
    del NETWORKS["tiny"]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """44 training images and 10 test images of two colours, 10x10 pixels."""
    root = tmp_path_factory.mktemp("raw")
    for split, count in (("train", 22), ("test", 5)):
        for colour, name in ((200, "red"), (90, "dark")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                image = Image.new("RGB", (10, 10), (colour + i, 60 + 2 * i, 40))
                image.putpixel((i % 10, i % 7), (0, 255, 0))
                image.save(folder / f"{i}.png")
    data = DataConfig(
        name="colours", source_kind="folder", source=str(root), stored_size=10, store="raw",
        copies="ignore",  # each test image is a training image, too
    )  # fmt: skip
    return open_dataset(prepare(data, tmp_path_factory.mktemp("data"), display=Display(quiet=True)))


@pytest.fixture(scope="session")
def config():
    """12 steps: 3 epochs of 44 images in batches of 11."""
    return Config(
        preset="tiny",
        network="tiny",
        batch_size=11,
        replicas=1,
        epochs=3,
        log_every_steps=2,
        final_views=1,
        data=DataConfig(name="colours", source_kind="folder", validation_split="test"),
        augment=AugmentConfig(colour_noise=0.1),
        schedule=ScheduleConfig("plateau", patience_epochs=50),
        optimizer=dataclasses.replace(Config().optimizer, learning_rate=1e-3),
    )


def train(config: Config, workdir: Path, dataset: Dataset, retune: bool = False) -> Outcome:
    """Trains on an opened data set, without the final test and the report of `workflow.train`."""
    display, mesh = Display(), mesh_of(config)
    with opened(workdir, display.say) as record:
        if record is not None:
            check_same_config(workdir, record.config, config, retune)
        run = open_run(config, workdir, dataset, record, source_of(config, record), display.say)
        begun, previous = time.monotonic(), record and record.config
        return train_run(run, dataset, mesh=mesh, display=display, started=begun, previous=previous)
