"""What is claimed, and the runs that try it: each claim a list of configurations.

Networks that only a claim needs are made here from those of the package, as edits of their layers.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple

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
    """One of the things that are compared.

    Attributes:
      config: what is run; the seed is set by the sweep.
      network: for names that the package does not know.
      paper: the paper's number for it; empty for none.
      before: what is run first, with the same seed; `config.transfer` takes layers from it.
    """

    config: Config
    network: Network | None = None
    paper: str = ""
    before: "Variant | None" = None


class Goal(NamedTuple):
    """An error that ends a run.

    Attributes:
      error: fraction; a run ends after the epoch whose error is no larger.
      of: `training`: the mean over an epoch's steps, with masks; `test`: of the test images after
        each epoch, without masks.
      above: larger errors, which are told as well.
    """

    error: float
    of: Literal["training", "test"] = "training"
    above: tuple[float, ...] = ()


class Claim(NamedTuple):
    """A claim of the paper, or of its code.

    Attributes:
      title: in a few words.
      question: what is asked, and how it is tried.
      paper: the paper's claim, with its section.
      variants: by name.
      baseline: name of the variant that the others are compared with, seed by seed.
      seeds: how many.
      goal: the error that ends a run; none: it has its epochs.
      measure: what is compared, a key of a run's record.
      source: data set that `--data NAME=PLACE` names; empty: none is needed.
      overfits: runs are tested on their training images, too, as on the test images: centre, no
        masks; the gap of both errors is told.
    """

    title: str
    question: str
    paper: str
    variants: dict[str, Variant]
    baseline: str
    seeds: int = 3
    goal: Goal | None = None
    measure: str = "error"
    source: str = ""
    overfits: bool = False


_CIFAR10 = PRESETS["cifar10-alexnet"].data
_PHOTOS = DataConfig(
    name="imagenette-32", source_kind="folder", stored_size=32, store="raw", validation_split="test"
)

MINIATURE = Config(
    preset="miniature",
    network="miniature",
    epochs=8,
    evaluate_every_epochs=2,
    data=_CIFAR10,
    augment=AugmentConfig(colour_noise=0.1),
    preprocess=PreprocessConfig("image", "channel"),
    optimizer=OptimizerConfig(0.04, 0.08),
    schedule=ScheduleConfig("step", (Phase(7, 4e-3, 8e-3), Phase(7.75, 4e-4, 8e-4))),
)
"""The miniature's recipe: the paper's, shortened."""

_FEW = dataclasses.replace(
    MINIATURE,
    batch_size=64,
    epochs=80,
    evaluate_every_epochs=10,
    data=_PHOTOS,
    optimizer=OptimizerConfig(0.02, 0.04),
    schedule=ScheduleConfig("step", (Phase(65, 2e-3, 4e-3), Phase(75, 2e-4, 4e-4))),
)
"""The same for few images, each seen often: a network can memorize them."""


def _edited(
    name: str,
    change: Callable[[tuple[Layer, ...]], tuple[Layer, ...]],
    paper: str = "",
    recipe: Config = MINIATURE,
) -> Variant:
    """Returns a variant with a changed network."""
    network = NETWORKS["miniature"]
    edited = Network(f"miniature-{name}", change(network.layers), network.image_size, "a sweep")
    return Variant(dataclasses.replace(recipe, network=edited.name), edited, paper)


def _recipe(recipe: Config = MINIATURE, **changes) -> Variant:
    return Variant(dataclasses.replace(recipe, **changes))


def _half(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """One of the two towers; conv5 and the dense layers keep their widths (paper §3.2)."""
    one = with_changes(with_changes(layers, Conv, groups=1), Lrn, groups=1)
    return with_features(one, {"conv1": 8, "conv2": 24, "conv3": 32, "conv4": 32})


def _one_tower(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    return with_changes(with_changes(layers, Conv, groups=1), Lrn, groups=1)


def _no_talk(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The towers meet in the classifier only; wider where 2012's run 150 was, as many times."""
    layers = with_features(layers, {"conv2": 60, "fc6": 384})
    for name in ("conv3", "fc6", "fc7"):
        layers = with_named(layers, name, groups=2)
    return with_changes(layers, Flatten, groups=2)


def _without_layer(name: str) -> Callable[[tuple[Layer, ...]], tuple[Layer, ...]]:
    """Takes a convolution out, with the nonlinearity that follows it."""

    def change(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        place = next(i for i, layer in enumerate(layers) if getattr(layer, "name", "") == name)
        return layers[:place] + layers[place + 2 :]

    return change


def _not_overlapping(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Windows of 2; they end with the edge, so that all sizes stay: 20, 10, 5, 2."""
    return with_changes(layers, MaxPool, window=2, overhang=False)


def _as_run(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Run 145's first two blocks: signed responses, two normalizations in the second."""
    lrn = Lrn(alpha=1e-4 / 5, groups=2)
    changed = list(with_changes(layers, Lrn, alpha=1e-4 / 5))
    changed[1:4] = [lrn, MaxPool(), Activation()]
    second = changed.index(lrn, 4)
    changed.insert(second + 1, ResponseNorm())
    return tuple(changed)


def _six(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """A sixth convolution over the last pooling (§6), which sees both towers: as in run 146."""
    place = layers.index(Flatten())
    sixth = Conv("conv6", 48, 3, padding=1, weight_std=0.1, bias=0.1)
    return (*layers[:place], sixth, Activation(), *layers[place:])


def _fine(part: float) -> Variant:
    """Fine-tuning of a net of CIFAR-10 at a part of the rate; the classifier's, new, is whole."""
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
    recipe = dataclasses.replace(_FEW, **changes)
    return _edited("conv6", _six, recipe=recipe)._replace(before=_edited("conv6", _six))


def _starting_with(**deviations: float) -> Callable[[tuple[Layer, ...]], tuple[Layer, ...]]:
    """Begins with biases of 1 (paper §5) and a deviation of 0.01, or that of the named layers.

    The biases of conv1, conv3 and the classifier stay 0.
    """

    def change(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        for layer in parametric_layers(layers):
            std = deviations.get(layer.name, 0.01)
            layers = with_named(layers, layer.name, weight_std=std, bias=1.0 if layer.bias else 0.0)
        return layers

    return change


def _until_it_converges(recipe: Config, epochs: float) -> dict[str, Variant]:
    """Returns a recipe at its first rate, tested after each epoch, without dropout and with it."""
    config = dataclasses.replace(
        recipe,
        epochs=epochs,
        evaluate_every_epochs=1,
        final_views=1,
        schedule=ScheduleConfig("constant"),
    )
    return {
        "none": _edited("no-dropout", lambda layers: without(layers, Dropout), recipe=config),
        "dropout": _recipe(config),
    }


def _figure1(kind: str, rate: float, epochs: float) -> Variant:
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
"""Of the weights, by nonlinearity; those of the biases are twice as high."""

CLAIMS: dict[str, Claim] = {
    "figure1": Claim(
        "Rectified units train several times faster",
        "A four-layer network on CIFAR-10 without regularisation, with ReLU, tanh and the logistic "
        "function: after how many epochs is the training error of an epoch 25 %? Each with the "
        "rate that brought it furthest in four epochs (figure1-rates).",
        "six times (§3.1, figure 1)",
        {
            "relu": _figure1("relu", 0.003, 20),
            "tanh": _figure1("tanh", 0.01, 40),
            "sigmoid": _figure1("sigmoid", 0.03, 28),  # twice what tanh needs
        },
        "relu",
        goal=Goal(0.25),
        measure="epochs_to_reach",
        source="cifar10",
    ),
    "seeds": Claim(
        "The default preset, ten times",
        "What do ten seeds of the preset `digits` reach, each from zero to its end?",
        "none on digits",
        {"digits": Variant(PRESETS["digits"])},
        "digits",
        seeds=10,
    ),
    "figure1-rates": Claim(
        "Rates for figure 1, searched for each nonlinearity",
        "Which rate brings the training error of each nonlinearity down furthest in four epochs? "
        "One seed each.",
        "rates were chosen independently to make training as fast as possible (figure 1)",
        {
            f"{kind} {rate:g}": _figure1(kind, rate, 4)
            for kind, rates in FIGURE1_RATES.items()
            for rate in rates
        },
        "relu 0.001",
        seeds=1,
        measure="training_error",
        source="cifar10",
    ),
    "towers": Claim(
        "Two towers are better than half of them",
        "The miniature with its two towers, with one of half the filters in conv1 to conv4 (the "
        "rest stays whole, as in the paper), with one tower of all filters, and with two that meet "
        "in the classifier only, which 2012 made wider in conv2 and fc6, in proportion as here.",
        "1.7 points of top-1 over half (§3.2); no talk: 1.2 (2012 logs, run 150)",
        {
            "two towers": _recipe(),
            "half": _edited("half", _half, "+1.7"),
            "one whole tower": _edited("one-tower", _one_tower),
            "no talk": _edited("no-talk-wide", _no_talk, "+1.2"),
        },
        "two towers",
        source="cifar10",
    ),
    "normalization": Claim(
        "Response normalization helps",
        "The miniature with LRN as printed, with run 145's two blocks, and without.",
        "1.4 points of top-1 (§3.3)",
        {
            "as printed": _recipe(),
            "as run": _edited("as-run", _as_run),
            "none": _edited("no-lrn", lambda layers: without(layers, Lrn), "+1.4"),
        },
        "as printed",
        source="cifar10",
    ),
    "overlapping": Claim(
        "Overlapping pooling helps",
        "The miniature with pooling of 3 at a stride of 2, and of 2 at a stride of 2.",
        "0.4 points of top-1 (§3.4)",
        {
            "overlapping": _recipe(),
            "not overlapping": _edited("non-overlapping", _not_overlapping, "+0.4"),
        },
        "overlapping",
        source="cifar10",
    ),
    "augmentation": Claim(
        "Without crops and mirrors the network overfits",
        "The miniature on 4,500 photos, with crops, mirrors and colour noise, without the noise, "
        "and with the same crop of the middle always: test error, and its gap to the error on the "
        "training images, tested alike.",
        "substantial overfitting without (§4.1)",
        {
            "all": _recipe(_FEW),
            "no colour noise": _recipe(_FEW, augment=AugmentConfig()),
            "none": _recipe(_FEW, augment=AugmentConfig("centre-crop", mirror=False)),
        },
        "all",
        source="imagenette",
        overfits=True,
    ),
    "colour": Claim(
        "Colour noise helps",
        "The miniature with colour noise of the PCA, and without; also without 2012's division of "
        "the noisy image by 1.1, so that training images are as bright as test images.",
        "over 1 point of top-1 (§4.1)",
        {"noise": _recipe(), "none": _recipe(augment=AugmentConfig())._replace(paper="over +1")},
        "noise",
        source="cifar10",
    ),
    "dropout": Claim(
        "Dropout prevents overfitting",
        "The miniature on 4,500 photos with dropout in fc6 and fc7, and without: test error, and "
        "its gap to the error on the training images, tested alike, without masks. Both are "
        "trained for as long; which takes longer is [convergence](../convergence/README.md).",
        "substantial overfitting without (§4.2)",
        {
            "dropout": _recipe(_FEW),
            "none": _edited("no-dropout", lambda layers: without(layers, Dropout), recipe=_FEW),
        },
        "dropout",
        source="imagenette",
        overfits=True,
    ),
    "convergence": Claim(
        "Dropout doubles the iterations",
        "The miniature on CIFAR-10 at its first rate, with dropout in fc6 and fc7, and without: "
        "after how many epochs is the test error, without masks, 50 % and 45 %? The errors were "
        "chosen before the runs.",
        "about twice the iterations (§4.2)",
        _until_it_converges(MINIATURE, 16),
        "none",
        goal=Goal(0.45, "test", above=(0.5,)),
        measure="epochs_to_reach",
        source="cifar10",
    ),
    "convergence-photos": Claim(
        "Dropout doubles the iterations, on few images",
        "The miniature on 4,500 photos at its first rate, with dropout in fc6 and fc7, and "
        "without: after how many epochs is the test error, without masks, 45 % and 40 %? The "
        "errors were chosen before the runs.",
        "about twice the iterations (§4.2)",
        _until_it_converges(_FEW, 80),
        "none",
        seeds=5,
        goal=Goal(0.4, "test", above=(0.45,)),
        measure="epochs_to_reach",
        source="imagenette",
    ),
    "depth": Claim(
        "Every convolution matters",
        "The miniature, and without each of its middle convolutions. The pooling and the response "
        "normalization after conv2 stay without it. At conv3 the towers meet: without it they do "
        "not before the classifier.",
        "about 2 points of top-1 for any middle layer (§7)",
        {
            "all": _recipe(),
            "without conv2": _edited("no-conv2", _without_layer("conv2"), "+2"),
            "without conv3": _edited("no-conv3", _without_layer("conv3"), "+2"),
            "without conv4": _edited("no-conv4", _without_layer("conv4"), "+2"),
            "without conv5": _edited("no-conv5", _without_layer("conv5"), "+2"),
        },
        "all",
        source="cifar10",
    ),
    "transfer": Claim(
        "Pre-training helps",
        "The last link of §6's chain in small: a miniature with a sixth convolution, on CIFAR-10, "
        "then fine-tuned on 4,500 photos of ten other classes, at the whole rate and at a "
        "fifth of it (the new classifier at the whole); and the same network from scratch. Both "
        "rates are shown, as tested: which is better was not chosen on other images.",
        "1.7 points of top-1, the sixth convolution included (§6, table 2: 40.7 to 39.0)",
        {
            "from scratch": _edited("conv6", _six, recipe=_FEW),
            "the whole rate": _fine(1),
            "a fifth": _fine(1 / 5),
        },
        "from scratch",
        source="cifar10, imagenette",
    ),
    "weight-decay": Claim(
        "Weight decay lowers the training error, too",
        "The miniature with a decay of 0.0005 and without it; see the training error.",
        "it reduces the model's training error (§5)",
        {
            "0.0005": _recipe(),
            "none": _recipe(optimizer=OptimizerConfig(0.04, 0.08, weight_decay=0.0)),
        },
        "0.0005",
        measure="training_error",
        source="cifar10",
    ),
    "initial-weights": Claim(
        "Small initial weights mean a plateau",
        "The miniature with weights that keep the signal's size and biases of 0.1; with the "
        "printed start, a deviation of 0.01 everywhere and biases of 1; and as it was run, with "
        "0.03 in conv3 to conv5. After how many steps is the training loss, of which every 20 "
        "steps have a row, 0.1 below that of guessing? A neuron here has a fifth to a "
        "forty-eighth of the inputs of the paper's, so that the same deviation makes a weaker "
        "signal than there.",
        "0.01 (§5); the 2012 files have 0.03 in conv3, conv4 and conv5",
        {
            "fitted": _recipe(),
            "0.01": _edited("printed-start", _starting_with()),
            "0.01, 0.03": _edited(
                "start-as-run", _starting_with(conv3=0.03, conv4=0.03, conv5=0.03)
            ),
        },
        "fitted",
        measure="steps_on_plateau",
        source="cifar10",
    ),
    "velocity": Claim(
        "The rate inside the velocity or outside of it",
        "The miniature by the 2012 rule, whose velocity keeps the old rate's steps for a while "
        "after a drop, and by the rule of today's libraries. Here the whole training; the steps "
        "after a drop are [after_drop](../after_drop/README.md).",
        "inside (§5); not compared there",
        {
            "inside": _recipe(),
            "outside": _recipe(optimizer=OptimizerConfig(0.04, 0.08, rate_inside_velocity=False)),
        },
        "inside",
        source="cifar10",
    ),
}
"""By name: `python -m experiments.sweep NAME`."""


def quick(claim: Claim, epochs: float = 2) -> Claim:
    """Returns the claim at toy size: the embedded digits, one seed, few epochs.

    Args:
      claim: whose variants keep their networks and their recipes.
      epochs: of each run.
    """

    def digits(size: int) -> DataConfig:
        name = f"digits-{size}"
        return DataConfig(name=name, stored_size=size, store="raw", validation_split="test")

    def small(variant: Variant) -> Variant:
        before = variant.before and small(variant.before)
        return variant._replace(config=toy(variant.config), before=before)

    def toy(config: Config) -> Config:
        return dataclasses.replace(
            config,
            data=digits(config.data.stored_size),
            epochs=epochs,
            evaluate_every_epochs=epochs,
            log_every_steps=1,
            final_views=1,
            schedule=ScheduleConfig("constant"),
        )

    variants = {name: small(variant) for name, variant in claim.variants.items()}
    return claim._replace(variants=variants, seeds=1, source="")
