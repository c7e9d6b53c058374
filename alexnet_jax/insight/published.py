"""Published errors that a run of an ImageNet preset may be compared with."""

from dataclasses import dataclass

from alexnet_jax.config import Config


@dataclass(frozen=True)
class Rival:
    """Errors, as fractions, of the best method before, as the paper gives them."""

    who: str
    where: str
    top1_error: float | None
    top5_error: float

    def __str__(self) -> str:
        first = "" if self.top1_error is None else f"{100 * self.top1_error:.1f} / "
        kind = " top-5" if self.top1_error is None else ""
        return f"{self.who} {first}{100 * self.top5_error:.1f} %{kind} ({self.where})"


@dataclass(frozen=True)
class Published:
    """Errors of one network, `{views: (top-1, top-5)}`, fractions, on `images` test images."""

    who: str
    source: str
    images: int
    errors: dict[int, tuple[float, float]]
    rivals: tuple[Rival, ...] = ()


_FISHER = "SIFT and Fisher vectors"
BEFORE_2010 = (  # paper, Table 1
    Rival("sparse coding", "ILSVRC-2010 test", 0.471, 0.282),
    Rival(_FISHER, "ILSVRC-2010 test", 0.457, 0.257),
)
BEFORE_2012 = (  # paper, Table 2: the second-best entry of the contest
    Rival(_FISHER, "ILSVRC-2012 test", None, 0.262),
)
BEFORE_2009 = (  # paper §6, of 10,184 classes
    Rival("the best before", "half of Fall 2009", 0.781, 0.609),
)

_VALIDATION_2012 = 50_000
_PAPER_2012 = Published(
    "paper",
    "Paper, Table 2, 1 CNN, ILSVRC-2012 validation",
    _VALIDATION_2012,
    {10: (0.407, 0.182)},
    BEFORE_2012,
)
PUBLISHED = {
    "imagenet": _PAPER_2012,
    "imagenet-original": _PAPER_2012,
    "imagenet-2010": Published(
        "paper",
        "Paper, Table 1 and its footnote, ILSVRC-2010 test",
        150_000,
        {1: (0.390, 0.183), 10: (0.375, 0.170)},
        BEFORE_2010,
    ),
    "imagenet-finetune": Published(
        "paper",
        "Paper, Table 2, 1 CNN*, ILSVRC-2012 validation",
        _VALIDATION_2012,
        {10: (0.390, 0.166)},
        BEFORE_2012,
    ),
    "imagenet-caffenet": Published(
        "Caffe",
        "BVLC CaffeNet model card, ILSVRC-2012 validation",
        _VALIDATION_2012,
        {1: (0.426, 0.196)},
    ),
    "imagenet-one-weird-trick": Published(
        "torchvision",
        "torchvision's AlexNet weights, ILSVRC-2012 validation",
        _VALIDATION_2012,
        {1: (0.43478, 0.20934)},
    ),
}
"""By preset."""


def published_for(config: Config, classes: int, images: int | None) -> Published | None:
    """Returns what a run can be compared with; ten classes or fewer images are another task."""
    published = PUBLISHED.get(config.preset)
    if published is None or classes != 1000 or images != published.images:
        return None
    return published
