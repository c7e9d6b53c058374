"""The kinds of layers: small frozen specs, each with its own rules.

To add a kind: a spec here, its Linen module in `modules.MODULES`, and a case in each writer that
can express it (`weights/writers`). Kernels are `[height, width, in / groups, out]`. Shapes are
without the batch axis.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from alexnet_jax.errors import InputError
from alexnet_jax.network.layer_rules import (
    Field,
    Layer,
    Parametric,
    Shape,
    Windows,
    check_groups,
    divide,
    divide_groups,
    window_positions,
)


@dataclass(frozen=True)
class Conv(Parametric):
    """A convolution with one bias per filter; lengths in pixels."""

    name: str
    features: int
    window: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    weight_std: float | None = 0.01
    bias: float = 0.0
    # Rounds the number of windows up (2012 file `layer.py`): the last may reach over the edge and
    # reads zeros there.
    overhang: bool = True

    LABEL: ClassVar[str] = "conv"

    def windows(self) -> Windows:
        return Windows(self.window, self.stride, self.padding, self.overhang)

    def output_shape(self, shape: Shape) -> Shape:
        positions = window_positions(self.windows(), shape)
        check_groups(self.groups, shape[-1], self.features)
        return (*positions, self.features)

    def parameter_shapes(self, shape: Shape) -> tuple[Shape, Shape]:
        return (self.window, self.window, shape[-1] // self.groups, self.features), (self.features,)

    def macs(self, shape: Shape) -> int:
        return math.prod(window_positions(self.windows(), shape)) * super().macs(shape)

    def drawing_note(self, output: Shape) -> str:
        stride = f", stride {self.stride}" if self.stride > 1 else ""
        return f"{self.window} × {self.window}{stride}"

    def reads_all_towers(self) -> bool:
        return self.groups == 1

    def share(self, towers: int, divided: bool) -> "Conv":
        features = divide(self.features, towers, "features")
        groups = divide_groups(self.groups, towers, divided)
        return dataclasses.replace(self, features=features, groups=groups)


@dataclass(frozen=True)
class Local(Parametric):
    """A convolution with filters and a bias for each position. Source: 2012 layer type `local`."""

    name: str
    features: int
    window: int
    padding: int = 0
    weight_std: float | None = 0.01
    bias: float = 0.0

    LABEL: ClassVar[str] = "local"

    def windows(self) -> Windows:
        return Windows(self.window, padding=self.padding)

    def output_shape(self, shape: Shape) -> Shape:
        return (*window_positions(self.windows(), shape), self.features)

    def parameter_shapes(self, shape: Shape) -> tuple[Shape, Shape]:
        bank = (self.window, self.window, shape[-1], self.features)
        positions = window_positions(self.windows(), shape)
        return (*positions, *bank), (*positions, self.features)

    def reads_all_towers(self) -> bool:
        return True

    def share(self, towers: int, divided: bool) -> "Local":
        return dataclasses.replace(self, features=divide(self.features, towers, "features"))


@dataclass(frozen=True)
class Dense(Parametric):
    """Fully connected; with `groups`, each group of outputs sees its group of inputs."""

    name: str
    features: int
    groups: int = 1
    weight_std: float | None = 0.01
    bias: float = 0.0

    LABEL: ClassVar[str] = "dense"

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise InputError("is dense and needs a Flatten before it")
        check_groups(self.groups, shape[0], self.features)
        return (self.features,)

    def parameter_shapes(self, shape: Shape) -> tuple[Shape, Shape]:
        return (shape[0] // self.groups, self.features), (self.features,)

    def field(self, extent: int) -> None:
        return None

    def reads_all_towers(self) -> bool:
        return self.groups == 1

    def share(self, towers: int, divided: bool) -> "Dense":
        features = divide(self.features, towers, "features")
        groups = divide_groups(self.groups, towers, divided)
        return dataclasses.replace(self, features=features, groups=groups)


@dataclass(frozen=True)
class Activation(Layer):
    """A pointwise nonlinearity. Paper §3.1; `sigmoid` is what came before."""

    kind: Literal["relu", "tanh", "sigmoid"] = "relu"

    def prefix(self) -> str:
        return self.kind

    def label(self) -> str:
        return "ReLU" if self.kind == "relu" else self.kind


@dataclass(frozen=True)
class Lrn(Layer):
    """`b = a / (bias + alpha * sum a^2) ** beta` across the channels of a group. Paper: §3.3.

    `alpha` is the factor of the sum itself. The paper prints 1e-4; the 2012 code divides the
    configured 1e-4 by the window size, so what ran is 2e-5. The window of channel c starts at
    c - depth // 2 and is truncated: an even one has a channel more before c than after it, as in
    PyTorch.
    """

    depth: int = 5  # channels in the window; n of the paper
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 2.0  # k of the paper
    groups: int = 1

    PREFIX: ClassVar[str] = "norm"
    LABEL: ClassVar[str] = "LRN"

    def output_shape(self, shape: Shape) -> Shape:
        if shape[-1] % self.groups:
            raise InputError(f"normalizes in {self.groups} groups, but has {shape[-1]} channels")
        return shape

    def drawing_note(self, output: Shape) -> str:
        return "norm"

    def combines_channels(self) -> bool:
        return True

    def share(self, towers: int, divided: bool) -> "Lrn":
        if divided and self.groups == 1:
            raise InputError(
                f"normalizes across the border of the {towers} towers, which would then compute "
                "another network; use 1 tower"
            )
        return dataclasses.replace(self, groups=divide_groups(self.groups, towers, divided))


@dataclass(frozen=True)
class ResponseNorm(Layer):
    """`b = a / (bias + alpha * sum a^2) ** beta` over a window in each map (2012 code, `rnorm`).

    The window is truncated at the border without rescaling. `alpha` is the 2012 scale divided by
    window^2. Not mentioned in the paper.
    """

    window: int = 5
    alpha: float = 1e-3 / 25
    beta: float = 0.75
    bias: float = 1.0

    PREFIX: ClassVar[str] = "rnorm"
    LABEL: ClassVar[str] = "rnorm"

    def windows(self) -> Windows:
        return Windows(self.window, padding=self.window // 2)

    def drawing_note(self, output: Shape) -> str:
        return "norm"


@dataclass(frozen=True)
class _Pool(Layer):
    window: int = 3
    stride: int = 2
    overhang: bool = True

    PREFIX: ClassVar[str] = "pool"

    def windows(self) -> Windows:
        return Windows(self.window, self.stride, 0, self.overhang)

    def output_shape(self, shape: Shape) -> Shape:
        return (*window_positions(self.windows(), shape), shape[-1])

    def drawing_note(self, output: Shape) -> str:
        return f"pool {output[0]} × {output[0]}"


@dataclass(frozen=True)
class MaxPool(_Pool):
    """Max pooling; `overhang` rounds the number of windows up (2012, Caffe). Paper: §3.4."""

    LABEL: ClassVar[str] = "max pool"


@dataclass(frozen=True)
class AvgPool(_Pool):
    """Average pooling; overhanging windows divide by the pixels that they really cover."""

    LABEL: ClassVar[str] = "avg pool"


@dataclass(frozen=True)
class AdaptiveAvgPool(Layer):
    """Average pooling to `size` x `size`, windows as in PyTorch's AdaptiveAvgPool2d."""

    size: int = 6

    PREFIX: ClassVar[str] = "pool"
    LABEL: ClassVar[str] = "adaptive pool"

    def output_shape(self, shape: Shape) -> Shape:
        return self.size, self.size, shape[-1]

    def field(self, extent: int) -> Field:
        return Field(-(-extent // self.size), extent / self.size, 0)


@dataclass(frozen=True)
class Flatten(Layer):
    """`[height, width, channels]` to `[height * width * channels]`, group after group."""

    groups: int = 1

    PREFIX: ClassVar[str] = "flatten"
    LABEL: ClassVar[str] = "flatten"

    def output_shape(self, shape: Shape) -> Shape:
        if shape[-1] % self.groups:
            raise InputError(f"flattens {self.groups} groups, but has {shape[-1]} channels")
        return (math.prod(shape),)

    def field(self, extent: int) -> None:
        return None

    def reads_all_towers(self) -> bool:
        return self.groups == 1

    def share(self, towers: int, divided: bool) -> "Flatten":
        return dataclasses.replace(self, groups=divide_groups(self.groups, towers, divided))


@dataclass(frozen=True)
class Dropout(Layer):
    """Dropout with two conventions. Paper: §4.2.

    `inverted` scales the kept units by 1/(1-rate) in training; else (2012) every pass but
    training's multiplies by 1-rate. `towers`: the masks are slices of those of the whole layer.
    """

    rate: float = 0.5
    inverted: bool = False
    towers: int = 1

    PREFIX: ClassVar[str] = "dropout"
    LABEL: ClassVar[str] = "dropout"

    def share(self, towers: int, divided: bool) -> "Dropout":
        return dataclasses.replace(self, towers=towers) if divided else self


@dataclass(frozen=True)
class Gather(Layer):
    """The towers send their channels to one another: here the paper's two GPUs talk (§3.5)."""

    towers: int
    invariant: bool = False  # what follows is the same on every tower: no gradient comes back

    PREFIX: ClassVar[str] = "gather"
    LABEL: ClassVar[str] = "gather"

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-1], shape[-1] * self.towers)


def padding_of(size: int, layer: Conv | MaxPool | AvgPool | Local) -> tuple[int, int]:
    """Returns the pixels before and after an axis of `size` pixels that make VALID windows fit."""
    windows = layer.windows()
    needed = (windows.along(size) - 1) * windows.stride + windows.size
    return windows.padding, max(needed - size - windows.padding, 0)
