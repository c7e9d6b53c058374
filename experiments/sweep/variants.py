"""Configurations and networks of the claims: edits of the package's recipes and layers."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from alexnet_jax.config import (
    AugmentConfig,
    Config,
    DataConfig,
    OptimizerConfig,
    Phase,
    PreprocessConfig,
    ScheduleConfig,
    TransferConfig,
)
from alexnet_jax.network.layers import (
    Activation,
    Conv,
    Dropout,
    Flatten,
    Layer,
    Lrn,
    MaxPool,
    Network,
    ResponseNorm,
    parametric_layers,
    with_changes,
    with_features,
    with_named,
    without,
)
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.presets import PRESETS


class Variant(NamedTuple):
    """A configuration that is compared with others; the sweep sets its seed."""

    config: Config
    network: Network | None = None  # if the package does not have it
    paper: str = ""  # the paper's number
    before: "Variant | None" = None  # run first, same seed; `config.transfer` takes its layers


CIFAR10 = PRESETS["cifar10-alexnet"].data
PHOTOS = DataConfig(
    name="imagenette-32", source_kind="folder", stored_size=32, store="raw", validation_split="test"
)

MINIATURE = Config(
    preset="miniature",
    network="miniature",
    epochs=8,
    evaluate_every_epochs=2,
    data=CIFAR10,
    augment=AugmentConfig(colour_noise=0.1),
    preprocess=PreprocessConfig("image", "channel"),
    optimizer=OptimizerConfig(0.04, 0.08),
    schedule=ScheduleConfig("step", (Phase(7, 4e-3, 8e-3), Phase(7.75, 4e-4, 8e-4))),
)
"""The paper's recipe, shortened."""

ON_PHOTOS = dataclasses.replace(
    MINIATURE,
    batch_size=64,
    epochs=80,
    evaluate_every_epochs=10,
    data=PHOTOS,
    optimizer=OptimizerConfig(0.02, 0.04),
    schedule=ScheduleConfig("step", (Phase(65, 2e-3, 4e-3), Phase(75, 2e-4, 4e-4))),
)
"""The same for few images, each seen so often that a network can memorize them."""


def edited(
    name: str,
    change: Callable[[tuple[Layer, ...]], tuple[Layer, ...]],
    paper: str = "",
    recipe: Config = MINIATURE,
) -> Variant:
    """Returns a variant with a changed network."""
    network = NETWORKS["miniature"]
    edited = Network(f"miniature-{name}", change(network.layers), network.image_size, "a sweep")
    return Variant(dataclasses.replace(recipe, network=edited.name), edited, paper)


def miniature(recipe: Config = MINIATURE, **changes) -> Variant:
    return Variant(dataclasses.replace(recipe, **changes))


def placed(config: Config, source: str, seed: int = 0) -> Config:
    """Returns a recipe with the place of its images and a seed."""
    data = dataclasses.replace(config.data, source=source)
    return dataclasses.replace(config, data=data, seed=seed)


def half(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """One of the two towers; conv5 and the dense layers keep their widths (paper §3.2)."""
    one = with_changes(with_changes(layers, Conv, groups=1), Lrn, groups=1)
    return with_features(one, {"conv1": 8, "conv2": 24, "conv3": 32, "conv4": 32})


def one_tower(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    return with_changes(with_changes(layers, Conv, groups=1), Lrn, groups=1)


def no_talk(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The towers meet in the classifier only; widened like run 150 of 2012."""
    layers = with_features(layers, {"conv2": 60, "fc6": 384})
    for name in ("conv3", "fc6", "fc7"):
        layers = with_named(layers, name, groups=2)
    return with_changes(layers, Flatten, groups=2)


def without_layer(name: str) -> Callable[[tuple[Layer, ...]], tuple[Layer, ...]]:
    """Removes a convolution, with the nonlinearity after it."""

    def change(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        place = next(i for i, layer in enumerate(layers) if getattr(layer, "name", "") == name)
        return layers[:place] + layers[place + 2 :]

    return change


def not_overlapping(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Windows of 2 that end at the edge, so that all sizes stay the same: 20, 10, 5, 2."""
    return with_changes(layers, MaxPool, window=2, overhang=False)


def as_run(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Run 145's first two blocks: signed responses, two normalizations in the second."""
    lrn = Lrn(alpha=1e-4 / 5, groups=2)
    changed = list(with_changes(layers, Lrn, alpha=1e-4 / 5))
    changed[1:4] = [lrn, MaxPool(), Activation()]
    second = changed.index(lrn, 4)
    changed.insert(second + 1, ResponseNorm())
    return tuple(changed)


def six_convolutions(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """A sixth convolution after the last pooling (§6), which sees both towers, as in run 146."""
    place = layers.index(Flatten())
    sixth = Conv("conv6", 48, 3, padding=1, weight_std=0.1, bias=0.1)
    return (*layers[:place], sixth, Activation(), *layers[place:])


def fine_tuned(part: float) -> Variant:
    """Fine-tuning of a CIFAR-10 network at a part of the rate; the new fc8 has the whole rate."""
    phases = (Phase(65, 2e-3 * part, 4e-3 * part), Phase(75, 2e-4 * part, 4e-4 * part))
    changes = {
        "optimizer": OptimizerConfig(
            0.02 * part, 0.04 * part, layer_learning_rate=(("fc8", 1 / part),)
        ),
        "schedule": ScheduleConfig("step", phases),
        "transfer": TransferConfig(
            layers=("conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "fc6", "fc7")
        ),
    }
    tuned = dataclasses.replace(ON_PHOTOS, **changes)
    return edited("conv6", six_convolutions, recipe=tuned)._replace(
        before=edited("conv6", six_convolutions)
    )


def starting_with(**deviations: float) -> Callable[[tuple[Layer, ...]], tuple[Layer, ...]]:
    """Sets biases to 1 (paper §5) and initial deviations to 0.01, or to those given by layer.

    The biases of conv1, conv3 and the classifier stay 0.
    """

    def change(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        for layer in parametric_layers(layers):
            std = deviations.get(layer.name, 0.01)
            layers = with_named(layers, layer.name, weight_std=std, bias=1.0 if layer.bias else 0.0)
        return layers

    return change


def until_it_converges(recipe: Config, epochs: float) -> dict[str, Variant]:
    """Returns a recipe at its first rate, tested after each epoch, with and without dropout."""
    config = dataclasses.replace(
        recipe,
        epochs=epochs,
        evaluate_every_epochs=1,
        final_views=1,
        schedule=ScheduleConfig("constant"),
    )
    return {
        "none": edited("no-dropout", lambda layers: without(layers, Dropout), recipe=config),
        "dropout": miniature(config),
    }


def figure1(kind: str, rate: float, epochs: float) -> Variant:
    config = PRESETS["cifar10-13pct"]
    return Variant(
        dataclasses.replace(
            config,
            preset="figure1",
            network=f"figure1-{kind}",
            image_size=32,
            epochs=epochs,
            evaluate_every_epochs=epochs,
            log_every_steps=50,
            final_views=1,
            augment=AugmentConfig(mirror=False),
            optimizer=OptimizerConfig(rate, 2 * rate, weight_decay=0.0),
            schedule=ScheduleConfig("constant"),
        )
    )


FIGURE1_RATES = {
    "relu": (3e-4, 1e-3, 3e-3, 1e-2),
    "tanh": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "sigmoid": (3e-3, 1e-2, 3e-2, 1e-1),
}
"""Rates of the weights, by nonlinearity; those of the biases are twice as high."""


def toy_variant(variant: Variant, epochs: float = 2) -> Variant:
    """Returns the variant, and the run before it, on the embedded digits, in few epochs."""
    size = variant.config.data.stored_size
    config = dataclasses.replace(
        variant.config,
        data=DataConfig(f"digits-{size}", stored_size=size, store="raw", validation_split="test"),
        epochs=epochs,
        evaluate_every_epochs=epochs,
        log_every_steps=1,
        final_views=1,
        schedule=ScheduleConfig("constant"),
    )
    before = variant.before and toy_variant(variant.before, epochs)
    return variant._replace(config=config, before=before)
