"""The claims: what is asked, and the runs that test it."""

from typing import Literal, NamedTuple

from alexnet_jax.config import AugmentConfig, OptimizerConfig
from alexnet_jax.network.layers import Dropout, Lrn, without
from alexnet_jax.presets import PRESETS
from experiments.sweep.variants import (
    FIGURE1_RATES,
    MINIATURE,
    ON_PHOTOS,
    Variant,
    as_run,
    edited,
    figure1,
    fine_tuned,
    half,
    miniature,
    no_talk,
    not_overlapping,
    one_tower,
    six_convolutions,
    starting_with,
    toy_variant,
    until_it_converges,
    without_layer,
)


class Goal(NamedTuple):
    """An error that ends a run.

    Attributes:
      error: fraction; a run ends after the first epoch whose error is at most this.
      of: `training`: mean over the steps of an epoch, with masks; `test`: of the test images after
        each epoch, without masks.
      above: larger errors; the page has the epochs to these, too.
    """

    error: float
    of: Literal["training", "test"] = "training"
    above: tuple[float, ...] = ()


class Claim(NamedTuple):
    """A claim of the paper, or of its code."""

    title: str
    question: str  # what is asked, and how it is tested
    paper: str  # its claim, with the section
    variants: dict[str, Variant]
    baseline: str  # the variant with which the others are compared, seed by seed
    seeds: int = 3
    goal: Goal | None = None  # None: the run has all its epochs
    measure: str = "error"  # the key of a run's record that is compared
    source: str = ""  # data sets that `--data NAME=PLACE` names; empty: none is needed
    overfits: bool = False  # also tested on the training images (centre, no masks)


CLAIMS: dict[str, Claim] = {
    "figure1": Claim(
        "Rectified units train several times faster",
        "A four-layer network learns CIFAR-10 without regularization, with ReLU, tanh or the "
        "logistic function. After how many epochs is the training error of an epoch 25 %? Each "
        "function has the rate with the lowest error after four epochs (figure1-rates).",
        "six times (§3.1, figure 1)",
        {
            "relu": figure1("relu", 0.003, 20),
            "tanh": figure1("tanh", 0.01, 40),
            "sigmoid": figure1("sigmoid", 0.03, 28),  # twice what tanh needs
        },
        "relu",
        goal=Goal(0.25),
        measure="epochs_to_reach",
        source="cifar10",
    ),
    "seeds": Claim(
        "The default preset, ten times",
        "What errors do ten complete runs of the preset `digits` reach?",
        "none on digits",
        {"digits": Variant(PRESETS["digits"])},
        "digits",
        seeds=10,
    ),
    "figure1-rates": Claim(
        "Rates for figure 1, searched for each nonlinearity",
        "Which rate gives each nonlinearity the lowest training error after four epochs? One seed "
        "each.",
        "rates were chosen independently to make training as fast as possible (figure 1)",
        {
            f"{kind} {rate:g}": figure1(kind, rate, 4)
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
        "Four forms of the miniature: its two towers; one tower with half of the filters in conv1 "
        "to conv4 (all other layers keep their size, as in the paper); one tower with all "
        "filters; and two towers that meet only in the classifier (wider in conv2 and fc6, in the "
        "same proportion as in 2012).",
        "1.7 points of top-1 better than half (§3.2); without talk 1.2 points worse (2012 logs, "
        "run 150)",
        {
            "two towers": miniature(),
            "half": edited("half", half, "+1.7"),
            "one whole tower": edited("one-tower", one_tower),
            "no talk": edited("no-talk-wide", no_talk, "+1.2"),
        },
        "two towers",
        source="cifar10",
    ),
    "normalization": Claim(
        "Response normalization helps",
        "The miniature with LRN as printed, with the two blocks of run 145, and without LRN.",
        "1.4 points of top-1 (§3.3)",
        {
            "as printed": miniature(),
            "as run": edited("as-run", as_run),
            "none": edited("no-lrn", lambda layers: without(layers, Lrn), "+1.4"),
        },
        "as printed",
        source="cifar10",
    ),
    "overlapping": Claim(
        "Overlapping pooling helps",
        "The miniature with pooling windows of 3 x 3 or of 2 x 2, both at a stride of 2.",
        "0.4 points of top-1 (§3.4)",
        {
            "overlapping": miniature(),
            "not overlapping": edited("non-overlapping", not_overlapping, "+0.4"),
        },
        "overlapping",
        source="cifar10",
    ),
    "augmentation": Claim(
        "Without crops and mirrors the network overfits",
        "The miniature on 4,500 photos: with crops, mirrors and colour noise; without the noise; "
        "and always with the centre crop. Compared are the test error, and its gap to the error "
        "on the training images in the same test.",
        "substantial overfitting without them (§4.1)",
        {
            "all": miniature(ON_PHOTOS),
            "no colour noise": miniature(ON_PHOTOS, augment=AugmentConfig()),
            "none": miniature(ON_PHOTOS, augment=AugmentConfig("centre-crop", mirror=False)),
        },
        "all",
        source="imagenette",
        overfits=True,
    ),
    "colour": Claim(
        "Colour noise helps",
        "The miniature with the colour noise of the PCA, and without it. In 2012 noisy images were "
        "divided by 1.1; without noise they are not, so they are as bright as test images.",
        "over 1 point of top-1 (§4.1)",
        {
            "noise": miniature(),
            "none": miniature(augment=AugmentConfig())._replace(paper="over +1"),
        },
        "noise",
        source="cifar10",
    ),
    "dropout": Claim(
        "Dropout prevents overfitting",
        "The miniature on 4,500 photos, with dropout in fc6 and fc7 and without. Compared are the "
        "test error, and its gap to the error on the training images in the same test, without "
        "masks. Both train for the same number of epochs. [Convergence](../convergence/README.md) "
        "asks which needs more.",
        "substantial overfitting without it (§4.2)",
        {
            "dropout": miniature(ON_PHOTOS),
            "none": edited("no-dropout", lambda layers: without(layers, Dropout), recipe=ON_PHOTOS),
        },
        "dropout",
        source="imagenette",
        overfits=True,
    ),
    "convergence": Claim(
        "Dropout doubles the iterations",
        "The miniature on CIFAR-10 at its first rate, with dropout in fc6 and fc7 and without. "
        "After how many epochs is the test error (without masks) 50 % and 45 %? These errors were "
        "chosen before the runs.",
        "about twice the iterations (§4.2)",
        until_it_converges(MINIATURE, 16),
        "none",
        goal=Goal(0.45, "test", above=(0.5,)),
        measure="epochs_to_reach",
        source="cifar10",
    ),
    "convergence-photos": Claim(
        "Dropout doubles the iterations, on few images",
        "The miniature on 4,500 photos at its first rate, with dropout in fc6 and fc7 and without. "
        "After how many epochs is the test error (without masks) 45 % and 40 %? These errors were "
        "chosen before the runs.",
        "about twice the iterations (§4.2)",
        until_it_converges(ON_PHOTOS, 80),
        "none",
        seeds=5,
        goal=Goal(0.4, "test", above=(0.45,)),
        measure="epochs_to_reach",
        source="imagenette",
    ),
    "depth": Claim(
        "Every convolution matters",
        "The miniature, complete and without one of its middle convolutions. Without conv2, its "
        "pooling and its response normalization stay. The towers meet at conv3; without conv3 they "
        "meet only at the classifier.",
        "about 2 points of top-1 for any middle layer (§7)",
        {
            "all": miniature(),
            "without conv2": edited("no-conv2", without_layer("conv2"), "+2"),
            "without conv3": edited("no-conv3", without_layer("conv3"), "+2"),
            "without conv4": edited("no-conv4", without_layer("conv4"), "+2"),
            "without conv5": edited("no-conv5", without_layer("conv5"), "+2"),
        },
        "all",
        source="cifar10",
    ),
    "transfer": Claim(
        "Pre-training helps",
        "A small form of the last step of §6: a miniature with a sixth convolution learns "
        "CIFAR-10, and is then fine-tuned on 4,500 photos of ten other classes, at the full rate "
        "or at a fifth of it (its new classifier always at the full rate). The same network from "
        "scratch is the baseline. Both rates are shown; no other images were used to choose "
        "between them.",
        "1.7 points of top-1, the sixth convolution included (§6, table 2: 40.7 to 39.0)",
        {
            "from scratch": edited("conv6", six_convolutions, recipe=ON_PHOTOS),
            "the whole rate": fine_tuned(1),
            "a fifth": fine_tuned(1 / 5),
        },
        "from scratch",
        source="cifar10, imagenette",
    ),
    "weight-decay": Claim(
        "Weight decay lowers the training error, too",
        "The miniature with a weight decay of 0.0005 and without it. Compared is the training "
        "error.",
        "it reduces the model's training error (§5)",
        {
            "0.0005": miniature(),
            "none": miniature(optimizer=OptimizerConfig(0.04, 0.08, weight_decay=0.0)),
        },
        "0.0005",
        measure="training_error",
        source="cifar10",
    ),
    "initial-weights": Claim(
        "Small initial weights mean a plateau",
        "Three starts of the miniature: weights that keep the size of the signal, and biases of "
        "0.1; the printed start (a deviation of 0.01 in all layers, and biases of 1); and the "
        "start that was really run, with 0.03 in conv3 to conv5. After how many steps is the "
        "training loss (logged every 20 steps) 0.1 below the loss of guessing? A neuron of the "
        "miniature has 5 to 48 times fewer inputs than in the paper, so the same deviation gives "
        "a weaker signal.",
        "0.01 (§5); the 2012 files have 0.03 in conv3, conv4 and conv5",
        {
            "fitted": miniature(),
            "0.01": edited("printed-start", starting_with()),
            "0.01, 0.03": edited("start-as-run", starting_with(conv3=0.03, conv4=0.03, conv5=0.03)),
        },
        "fitted",
        measure="steps_on_plateau",
        source="cifar10",
    ),
    "velocity": Claim(
        "The rate inside the velocity or outside of it",
        "The miniature with the rule of 2012 and with the rule of today's libraries. In the rule "
        "of 2012 the velocity still contains the old rate for some steps after a drop. This page "
        "compares complete runs; [after_drop](../after_drop/README.md) shows the steps after a "
        "drop.",
        "inside (§5); not compared there",
        {
            "inside": miniature(),
            "outside": miniature(optimizer=OptimizerConfig(0.04, 0.08, rate_inside_velocity=False)),
        },
        "inside",
        source="cifar10",
    ),
}
"""By name: `python -m experiments.sweep NAME`."""


def toy_claim(claim: Claim, epochs: float = 2) -> Claim:
    """Returns the claim at toy size: the embedded digits, one seed, few epochs."""
    variants = {name: toy_variant(variant, epochs) for name, variant in claim.variants.items()}
    return claim._replace(variants=variants, seeds=1, source="")
