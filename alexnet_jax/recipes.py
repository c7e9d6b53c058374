"""What suits photos of one's own: the preset `folder` names no network, and it is chosen here.

What was typed stays: only fields that are as the preset has them are chosen. A run folder keeps the
whole configuration, so that nothing is chosen a second time.
"""

import dataclasses
import math
from typing import Any, NamedTuple

from alexnet_jax.config import (
    AUTO,
    AugmentConfig,
    Config,
    OptimizerConfig,
    Phase,
    PreprocessConfig,
    ScheduleConfig,
    TransferConfig,
)
from alexnet_jax.network.layers import Conv, parametric_layers
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.presets import PRESETS

FEW = 30_000
"""Training photos below which a small network at 64 pixels learns as much, and in minutes."""
FROZEN_BELOW = 20_000
"""Training photos below which the convolutions of a trunk are left as they are."""
BALANCED_FROM = 2.0
"""Photos of the largest class for one of the smallest, from which on classes are balanced."""


class Trunk(NamedTuple):
    """The run that `transfer.run` names.

    Attributes:
      network: its name in `NETWORKS`.
      image_size: height and width of its input, pixels.
      stored_size: height and width of its images at rest, pixels.
      preprocess: its arithmetic on images.
      learned: layers whose values were learned (of an import: that the file had).
    """

    network: str
    image_size: int
    stored_size: int
    preprocess: PreprocessConfig
    learned: tuple[str, ...]


def is_open(config: Config) -> bool:
    """Returns whether a configuration leaves its network to be chosen."""
    return config.network == AUTO


def taken_up(config: Config, stored: Config) -> Config:
    """Returns an open configuration with all that it leaves open as a run has it.

    Args:
      config: what was typed.
      stored: of the run.
    """
    return _completed(config, stored)


def chosen(
    config: Config,
    images: int,
    splits: tuple[str, ...],
    imbalance: float,
    stored_size: int = 0,
    trunk: Trunk | None = None,
) -> Config:
    """Returns an open configuration with a network and a recipe that suit the photos.

    Args:
      config: what was typed.
      images: in training.
      splits: names of the source's splits.
      imbalance: images of the largest class for one of the smallest.
      stored_size: of a set that is prepared already, pixels; 0: it is still to be prepared.
      trunk: run to take layers from.
    """
    if trunk is not None:
        recipe = _on_trunk(config, images, trunk)
    elif images < FEW and stored_size in (0, _SMALL_STORED):
        recipe = _small(config, images)
    else:
        recipe = dataclasses.replace(_usual(config), network="original")
    split = recipe.data.validation_split
    if split not in splits and "test" in splits:
        split = "test"
    data = dataclasses.replace(
        recipe.data, validation_split=split, balance=imbalance >= BALANCED_FROM
    )
    return _completed(config, dataclasses.replace(recipe, data=data))


def described(config: Config) -> str:
    """Returns the main choices of a recipe in a line."""
    stored = f"stored at {config.data.stored_size}"
    layers = config.transfer.layers
    frozen = [name for name, factor in config.optimizer.layer_learning_rate if not factor]
    return (
        f"chosen      --network {config.network}, {stored} pixels, --epochs {config.epochs:g}, "
        f"--batch-size {config.batch_size}, --optimizer.learning-rate "
        f"{config.optimizer.learning_rate:g}"
        + (", classes balanced" if config.data.balance else "")
        + (f"; {layers[0]} to {layers[-1]} from the trunk" if layers else "")
        + (" and left as they are" if frozen else "")
        + "; whatever you type instead is kept"
    )


_SMALL_STORED = 72


def _usual(config: Config) -> Config:
    return PRESETS.get(config.preset, config)


def _epochs(config: Config, images: int, seen: int, least: int, most: int) -> float:
    """Returns how often to pass over the images so that about `seen` are seen, unless typed."""
    if config.epochs != _usual(config).epochs:
        return config.epochs
    return max(least, min(most, round(seen / max(1, images))))


def _stepped(epochs: float, rate: float, at: float) -> ScheduleConfig:
    """Returns a rate that is a tenth for the last part of a run."""
    drop = 1 + math.floor(at * epochs)
    return ScheduleConfig("step", (Phase(drop, rate / 10, rate / 5),))


def _small(config: Config, images: int) -> Config:
    """The paper's eight layers at 64 pixels: minutes on a CPU."""
    usual, epochs, rate = _usual(config), _epochs(config, images, 40_000, 15, 80), 0.01
    return dataclasses.replace(
        usual,
        network="cifar-alexnet",
        image_size=64,
        batch_size=32,
        epochs=epochs,
        evaluate_every_epochs=max(1, epochs // 20),
        data=dataclasses.replace(usual.data, stored_size=_SMALL_STORED, store="raw"),
        augment=AugmentConfig(colour_noise=0.1),
        preprocess=PreprocessConfig("image", "channel"),
        optimizer=OptimizerConfig(rate, 2 * rate),
        schedule=_stepped(epochs, rate, 0.8),
    )


def _on_trunk(config: Config, images: int, trunk: Trunk) -> Config:
    """A classifier on the trunk's convolutions; with many photos they learn, too, but slowly."""
    usual, epochs, rate = _usual(config), _epochs(config, images, 6_000, 3, 60), 0.01
    layers = parametric_layers(NETWORKS[trunk.network].layers)
    copied = tuple(layer.name for layer in layers[:-1] if layer.name in trunk.learned)
    convs = {layer.name for layer in layers if isinstance(layer, Conv)}
    slow = 0.0 if images < FROZEN_BELOW else 0.1
    factors = tuple((name, slow if name in convs else 0.1) for name in copied)
    own = NETWORKS[trunk.network].image_size
    return dataclasses.replace(
        usual,
        network=trunk.network,
        image_size=0 if trunk.image_size == own else trunk.image_size,
        batch_size=32,
        epochs=epochs,
        evaluate_every_epochs=max(1, epochs // 10),
        data=dataclasses.replace(usual.data, stored_size=trunk.stored_size),
        augment=AugmentConfig(),
        preprocess=trunk.preprocess,
        optimizer=OptimizerConfig(rate, 2 * rate, layer_learning_rate=factors),
        schedule=_stepped(epochs, rate, 0.8),
        transfer=TransferConfig(layers=copied),
    )


def _completed(config: Config, recipe: Config) -> Config:
    """Returns `config` with the recipe's value wherever it is as its preset has it."""
    return _merged(config, _usual(config), recipe)


def _merged(typed: Any, usual: Any, recipe: Any) -> Any:
    if not dataclasses.is_dataclass(usual):
        return recipe if typed == usual else typed
    fields = [field.name for field in dataclasses.fields(usual)]
    values = [[getattr(part, name) for part in (typed, usual, recipe)] for name in fields]
    both = zip(fields, values, strict=True)
    return dataclasses.replace(typed, **{name: _merged(*three) for name, three in both})
