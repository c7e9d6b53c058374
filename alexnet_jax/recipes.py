"""What suits photos: presets like `folder` name no network, and it is chosen here, once per run.

What was typed stays; from Python, where nothing is typed, whatever differs from the preset.
"""

import dataclasses
import math
from collections.abc import Collection
from typing import Any, NamedTuple

from alexnet_jax.config import (
    AUTO,
    AugmentConfig,
    Config,
    DataConfig,
    OptimizerConfig,
    Phase,
    PreprocessConfig,
    Rates,
    ScheduleConfig,
    TransferConfig,
)
from alexnet_jax.fields import fields_of
from alexnet_jax.network.layers import Conv, parametric_layers
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.presets import PRESETS
from alexnet_jax.resolution import check_values

FEW = 30_000
"""Training photos below which a small network at 64 pixels learns, and far sooner."""
FROZEN_BELOW = 20_000
"""Training photos below which the convolutions of a trunk are left as they are."""
BALANCED_FROM = 2.0
"""Photos of the largest class for one of the smallest, from which on classes are balanced."""


class Trunk(NamedTuple):
    """The run that `transfer.run` names; sizes are in pixels; `learned` are names of layers."""

    network: str
    image_size: int
    stored_size: int
    preprocess: PreprocessConfig
    learned: tuple[str, ...]


def is_open(config: Config) -> bool:
    """Returns whether a configuration leaves its network to be chosen."""
    return config.network == AUTO


def tests_on_any(config: Config, typed: Collection[str] = ()) -> bool:
    """Returns whether a configuration is for photos, and its split was left to them."""
    name, preset = "data.validation_split", PRESETS.get(config.preset)
    if preset is None or not is_open(preset) or name in typed:
        return False
    return config.data.validation_split == preset.data.validation_split


def resume_recipe(config: Config, stored: Config, typed: Collection[str] = ()) -> Config:
    """Returns a configuration with all that it leaves open as the run of `stored` has it."""
    usual = _usual(config)
    recipe = stored if is_open(config) else _on_split(usual, (stored.data.validation_split,))
    return _merged(config, usual, recipe, frozenset(typed))


def chosen(
    config: Config,
    images: int,
    splits: Collection[str],
    imbalance: float,
    stored: DataConfig | None = None,
    trunk: Trunk | None = None,
    typed: Collection[str] = (),
) -> Config:
    """Returns a configuration with a network and a recipe that suit the photos.

    With a named network it is the preset's recipe, on the split `test` where its own is not there.

    Args:
      splits: of the source; empty: not known yet.
      imbalance: images of the largest class for one of the smallest.
      stored: how a set lies on disk; None: it is still to be prepared.
      typed: dotted names of fields that are kept even where they are as the preset has them.

    Raises:
      InputError: a number that no run can have.
    """
    check_values(config)
    usual = _usual(config)
    if not is_open(config):
        return _merged(config, usual, _on_split(usual, splits), frozenset(typed))
    request = RecipeRequest(config, usual, frozenset(typed))
    size = stored.stored_size if stored else request.value("data.stored_size", 0)
    if trunk is not None:
        recipe = _on_trunk(request, images, trunk, size)
    elif request.value("image_size", size) < 224 and (images < FEW or size):
        recipe = _small(request, images, size)
    else:
        recipe = dataclasses.replace(usual, network="original")
    recipe = _on_split(recipe, splits)
    data = dataclasses.replace(recipe.data, balance=imbalance >= BALANCED_FROM)
    if stored is not None:
        data = dataclasses.replace(data, stored_size=stored.stored_size, store=stored.store)
    recipe = dataclasses.replace(recipe, data=data)
    return _merged(config, usual, recipe, frozenset(typed))


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


class RecipeRequest(NamedTuple):
    """What somebody asks for: a configuration, its preset's, and the names of what was typed."""

    config: Config
    usual: Config
    typed: frozenset[str]

    def value(self, name: str, otherwise: Any) -> Any:
        """Returns a field that was set, by its dotted name, or else what suits."""
        mine, usual = (fields_of(part)[name] for part in (self.config, self.usual))
        return mine if name in self.typed or mine != usual else otherwise

    def epochs(self, images: int, seen: int, least: int, most: int) -> float:
        """Returns the epochs that were set, or that show about `seen` images, in [least, most]."""
        return self.value("epochs", max(least, min(most, round(seen / max(1, images)))))

    def rates(self, epochs: float, at: float, factors: Rates = ()) -> dict[str, Any]:
        """Returns optimiser and schedule: a tenth of the rate after the fraction `at` of a run."""
        rate = self.value("optimizer.learning_rate", 0.01)
        bias = self.value("optimizer.bias_learning_rate", 2 * rate)
        drop = Phase(1 + max(1, math.floor(at * epochs)), rate / 10, bias / 10)
        return {
            "optimizer": OptimizerConfig(rate, bias, layer_learning_rate=factors),
            "schedule": ScheduleConfig("step", (drop,)),
        }


def _usual(config: Config) -> Config:
    return dataclasses.replace(PRESETS.get(config.preset, config), network=AUTO)


def _on_split(recipe: Config, splits: Collection[str]) -> Config:
    if recipe.data.validation_split in splits or "test" not in splits:
        return recipe
    return dataclasses.replace(
        recipe, data=dataclasses.replace(recipe.data, validation_split="test")
    )


def _small(request: RecipeRequest, images: int, stored: int) -> Config:
    """The paper's eight layers at 64 pixels, of 72: some ten minutes to an hour on a CPU.

    Of 5,200 cats and dogs 29 % are wrong after 40,000 images, and 15 % after 120,000
    (`experiments/cats_vs_dogs`): with more photos more images are seen, in fewer passes.
    """
    seen = round(40_000 * math.sqrt(max(1.0, images / 600)))
    usual, epochs = request.usual, request.epochs(images, seen, 15, 80)
    size = request.value("image_size", stored * 8 // 9 or 64)
    return dataclasses.replace(
        usual,
        network="cifar-alexnet",
        image_size=size,
        batch_size=32,
        epochs=epochs,
        evaluate_every_epochs=max(1, epochs // 20),
        data=dataclasses.replace(usual.data, stored_size=max(72, size * 9 // 8), store="raw"),
        augment=AugmentConfig(colour_noise=0.1),
        preprocess=PreprocessConfig("image", "channel"),
        **request.rates(epochs, 0.8),
    )


def _on_trunk(request: RecipeRequest, images: int, trunk: Trunk, stored: int) -> Config:
    """A classifier on the trunk's convolutions; with many photos they learn, too, but slowly."""
    usual, epochs = request.usual, request.epochs(images, 6_000, 3, 60)
    network = NETWORKS[trunk.network]
    layers = parametric_layers(network.layers)
    learned = tuple(layer.name for layer in layers[:-1] if layer.name in trunk.learned)
    copied = request.value("transfer.layers", learned)
    convs = {layer.name for layer in layers if isinstance(layer, Conv)}
    slow = 0.0 if images < FROZEN_BELOW else 0.1
    factors = tuple((name, slow if name in convs else 0.1) for name in copied)
    return dataclasses.replace(
        usual,
        network=trunk.network,
        image_size=0 if trunk.image_size == network.image_size else trunk.image_size,
        batch_size=32,
        epochs=epochs,
        evaluate_every_epochs=max(1, epochs // 10),
        data=dataclasses.replace(usual.data, stored_size=stored or trunk.stored_size),
        augment=AugmentConfig(),
        preprocess=trunk.preprocess,
        transfer=TransferConfig(layers=copied),
        **request.rates(epochs, 0.8, factors),
    )


def _merged(mine: Any, usual: Any, recipe: Any, typed: frozenset[str], path: str = "") -> Any:
    """Returns the recipe, but what was typed, or differs from the preset, as somebody asks for."""
    if not dataclasses.is_dataclass(usual):
        kept = mine != usual or any(name == path or name.startswith(f"{path}.") for name in typed)
        return mine if kept else recipe
    values = {}
    for field in dataclasses.fields(usual):
        one, two, three = (getattr(part, field.name) for part in (mine, usual, recipe))
        values[field.name] = _merged(one, two, three, typed, f"{path}.{field.name}".lstrip("."))
    return dataclasses.replace(mine, **values)
