"""What every kind of layer can be asked: its rules, with the defaults, and what they share."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from alexnet_jax.errors import InputError

Shape = tuple[int, ...]
"""Of an array for one image: without the batch axis."""


class Windows(NamedTuple):
    """Square windows over an image; lengths in pixels, `padding` of zeros on each side."""

    size: int
    stride: int = 1
    padding: int = 0
    overhang: bool = False  # the last may lie partly outside (2012 file `layer.py`, Caffe)

    def along(self, extent: int) -> int:
        """`1 + (extent + 2 padding - size) / stride`, rounded up with `overhang`; 0: none fits."""
        room = extent + 2 * self.padding - self.size
        if room < 0:
            return 0
        return 1 + (-(-room // self.stride) if self.overhang else room // self.stride)


class Field(NamedTuple):
    """What a unit reads of its layer's input along one axis, in units of that input."""

    size: int
    stride: float  # to the next unit's
    before: int  # units of padding that the first reads


@dataclass(frozen=True)
class Layer:
    """The rules raise `InputError` with what is wrong, to be read after "layer 'conv1' …"."""

    PREFIX: ClassVar[str] = ""  # of its name in a network; `Parametric` layers have their own
    LABEL: ClassVar[str] = ""  # in tables
    groups = 1  # of channels that are computed apart

    def prefix(self) -> str:
        return self.PREFIX

    def label(self) -> str:
        return self.LABEL

    def windows(self) -> Windows | None:
        """None: the units do not slide over the image."""
        return None

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameter_shapes(self, shape: Shape) -> tuple[Shape, Shape] | None:
        """Returns the shapes of `kernel` and `bias`, if any; towers share their last axes."""
        return None

    def macs(self, shape: Shape) -> int:
        """Returns the multiply-accumulate operations for one image."""
        return 0

    def drawing_note(self, output: Shape) -> str:
        return ""

    def field(self, extent: int) -> Field | None:
        """Returns what a unit reads of an input of `extent` units a side; None: all of it."""
        windows = self.windows() or Windows(1)
        return Field(windows.size, windows.stride, windows.padding)

    def combines_channels(self) -> bool:
        """Whether an output depends on several channels of the input."""
        return False

    def reads_all_towers(self) -> bool:
        return False

    def share(self, towers: int, divided: bool) -> "Layer":
        """Returns what one tower computes; `divided`: it has only its own channels of the input."""
        return self


class Parametric(Layer):
    """A layer with a kernel and a bias under its own name."""

    name: str  # trailing digits give the depth (`conv1`)
    features: int  # over all groups
    # Of normal initial weights. None: PyTorch's default, uniform within 1/sqrt(fan_in), biases too.
    weight_std: float | None
    bias: float

    def parameter_shapes(self, shape: Shape) -> tuple[Shape, Shape]:
        raise NotImplementedError

    def combines_channels(self) -> bool:
        return True

    def macs(self, shape: Shape) -> int:
        return math.prod(self.parameter_shapes(shape)[0])


def window_positions(windows: Windows, shape: Shape) -> tuple[int, int]:
    """Returns the rows and columns of windows on an image `[height, width, channels]`."""
    height, width, _ = shape
    rows, columns = windows.along(height), windows.along(width)
    if min(rows, columns) < 1:
        size = windows.size
        raise InputError(f"has {size}x{size} windows but gets only {height}x{width} pixels")
    return rows, columns


def check_groups(groups: int, channels: int, features: int) -> None:
    if channels % groups or features % groups:
        raise InputError(
            f"has {groups} groups, which must divide its {channels} inputs and its {features} "
            "outputs"
        )


def divide(count: int, towers: int, what: str) -> int:
    if count % towers:
        raise InputError(f"has {count} {what}, which {towers} towers cannot divide; use 1 tower")
    return count // towers


def divide_groups(groups: int, towers: int, divided: bool) -> int:
    if groups == 1:
        return 1
    if not divided:
        raise InputError(f"has {groups} groups of channels that every tower has; use 1 tower")
    return divide(groups, towers, "groups")
