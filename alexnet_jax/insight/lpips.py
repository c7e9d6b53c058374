"""LPIPS: how different two pictures look to people, from the features of a trained AlexNet.

Both pictures pass conv1 to conv5 of torchvision's network. After each ReLU the channels of a place
are scaled to unit length; the squared differences are weighed by heads that were fitted to people's
judgements, averaged over places, and summed over layers.
Source: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (2018),
and the package `lpips` 0.1.4, version v0.1 with `net="alex"`.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.insight.classifier import Classifier, classifier_of
from alexnet_jax.network.layers import Network, summarize
from alexnet_jax.network.model import AlexNet, Params
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.runs.run_weights import load_weights
from alexnet_jax.weights.readers.array_checks import check_floats
from alexnet_jax.weights.readers.source_file import open_source
from alexnet_jax.weights.readers.torch_file import read_torch

NETWORK = "one-weird-trick"
LAYERS = ("relu1", "relu2", "relu3", "relu4", "relu5")
MIN_SIZE = 31  # pixels along a side: conv3 reads one place

# Pixels in -1..1 enter as `(x - shift) / scale`: ImageNet's mean and deviation.
_SHIFT = np.array([-0.030, -0.088, -0.188]).reshape(1, 1, 1, 3)
_SCALE = np.array([0.458, 0.448, 0.450]).reshape(1, 1, 1, 3)
_EPSILON = 1e-10

# Of the package's heads v0.0, which were fitted to pixels that were not scaled.
_OLD_HEADS = "18720f55913d0af89042f13faa7e536a6ce1444a0914e6db9461355ece1e8cd5"


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params", "heads"],
    meta_fields=["value_range"],
)
@dataclass(frozen=True)
class Lpips:
    """A perceptual distance, made by `lpips`; a pytree of its arrays.

    Attributes:
      params: of conv1 to conv5, `{layer: {"kernel": float32, "bias": float32}}`.
      heads: five float32 `[channels]`, of the layers' differences.
      value_range: what black and white are in the pictures.
    """

    params: Params
    heads: tuple[jax.Array, ...]
    value_range: tuple[float, float] = (-1.0, 1.0)

    def distance(
        self, x: Any, y: Any, *, per_layer: bool = False, spatial: bool = False
    ) -> jax.Array:
        """Returns `[n]`; `[n, 5]` `per_layer`; maps `[n, h, w]` or `[n, h, w, 5]` if `spatial`.

        0 for equal pictures. It may be jitted, mapped and differentiated, in reverse only. The
        result is float32, or float64 for float64 pictures; then the arithmetic is, too.

        Args:
          x: float `[n, h, w, 3]`, RGB in `value_range`, of 31 pixels or more a side.
          y: of the same shape.
          per_layer: do not sum over the layers.
          spatial: do not average over places: bilinear maps of the pictures' size.

        Raises:
          InputError: the pictures are no floats, too small, or of two shapes.
        """
        x, y = _pictures(x), _pictures(y)
        if x.shape != y.shape:
            raise InputError(
                f"pictures to compare should have one shape, not {list(x.shape)} and "
                f"{list(y.shape)}; resize one of them, or repeat it"
            )
        if not len(x):  # the module's layers need at least one image
            one = jnp.zeros((1, *x.shape[1:]), x.dtype)
            return self.distance(one, one, per_layer=per_layer, spatial=spatial)[:0]
        layers = _layer_distances(self, x, y, spatial)
        return layers if per_layer else layers.sum(axis=-1)


def lpips(
    trunk: str | Path | Classifier | Params,
    heads: str | Path | Sequence[Any],
    value_range: tuple[float, float] = (-1.0, 1.0),
) -> Lpips:
    """Returns the distance of a trained trunk and fitted heads.

    Args:
      trunk: a run folder made by `import-weights` of torchvision's AlexNet (convolutions are
        enough), its classifier, or `{"conv1": {"kernel": …, "bias": …}, …}` to conv5.
      heads: the package's file `lpips/weights/v0.1/alex.pth`, or its five arrays.
      value_range: what black and white are in the pictures, such as (0, 1).

    Raises:
      InputError: the trunk is of another network or other inputs, the heads do not fit it, or the
        range is none.
    """
    low, high = map(float, value_range)
    if not low < high:
        raise InputError(f"value_range should be (black, white), such as (0, 1), not {value_range}")
    if isinstance(heads, str | Path):
        heads = _read_heads(heads)
    params = jax.tree.map(jnp.asarray, _trunk_params(trunk))
    return Lpips(params, _fitting_heads(heads), (low, high))


def _network() -> Network:
    return NETWORKS[NETWORK].until(LAYERS[-1])


def _trunk_params(trunk: Any) -> Params:
    """Returns float32 arrays of the right shapes, of the convolutions alone."""
    if isinstance(trunk, str | Path):
        trunk = classifier_of(load_weights(trunk))
    if isinstance(trunk, Classifier):
        _check_classifier(trunk)
        trunk = trunk.params
    if not isinstance(trunk, Mapping):
        raise InputError(
            "the trunk should be a run folder, a classifier or parameters by layer, not "
            f"{type(trunk).__name__}"
        )
    params = {}
    for row in summarize(_network()):
        shapes = row.layer.parameter_shapes(row.input_shape)
        if shapes is None:
            continue
        leaves = trunk.get(row.name, {})
        params[row.name] = {leaf: leaves.get(leaf) for leaf in ("kernel", "bias")}
        found = [np.shape(leaf) for leaf in params[row.name].values()]
        if found != list(shapes):
            raise InputError(
                f"the trunk's '{row.name}' has kernel and bias of {found}, not {list(shapes)}: "
                f"LPIPS needs network '{NETWORK}', torchvision's AlexNet"
            )
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)


def _check_classifier(classifier: Classifier) -> None:
    """Its widths alone would not show another order of layers, or other inputs."""
    expected = _network().layers
    if classifier.network.layers[: len(expected)] != expected:
        raise InputError(
            f"the trunk is network '{classifier.network.name}', but LPIPS needs '{NETWORK}': "
            "import torchvision's AlexNet (its convolutions are enough)"
        )
    mean, scale = (_SHIFT + 1) * 127.5, _SCALE * 127.5
    if not (
        np.allclose(classifier.mean, mean, rtol=1e-3)
        and np.allclose(classifier.scale, scale, rtol=1e-3)
    ):
        raise InputError(
            "the trunk was trained on pixels that were scaled in another way than torchvision's, "
            "to which the heads of LPIPS were fitted; import torchvision's AlexNet"
        )


def _read_heads(path: str | Path) -> list[np.ndarray]:
    file = open_source(path)
    if file.sha256() == _OLD_HEADS:
        raise InputError(
            f"{path} holds the heads v0.0, which are for pixels that were not scaled; give "
            "weights/v0.1/alex.pth of the same package"
        )
    arrays = read_torch(file)
    names = [f"lin{i}.model.1.weight" for i in range(len(LAYERS))]
    if sorted(arrays) != names:
        raise InputError(
            f"{path} holds {', '.join(sorted(arrays)[:8])}, not the heads of LPIPS for AlexNet "
            f"({names[0]}, …): give weights/v0.1/alex.pth of the package lpips"
        )
    check_floats(arrays, file.name)
    return [arrays[name] for name in names]


def _fitting_heads(heads: Sequence[Any]) -> tuple[jax.Array, ...]:
    channels = [row.output_shape[-1] for row in summarize(_network()) if row.name in LAYERS]
    flat = [np.asarray(head, np.float32).reshape(-1) for head in heads]
    found = [len(head) for head in flat]
    if found != channels:
        raise InputError(
            f"the heads have {found} values, but the layers {channels} channels: give those of "
            "LPIPS for AlexNet (weights/v0.1/alex.pth of the package lpips)"
        )
    return tuple(map(jnp.asarray, flat))


def _pictures(pictures: Any) -> jax.Array:
    pictures = jnp.asarray(pictures)
    shape = list(pictures.shape)
    if not jnp.issubdtype(pictures.dtype, jnp.floating):
        raise InputError(
            f"pictures should be floats, not {pictures.dtype}: for bytes, divide by 255 and make "
            "the metric with value_range=(0, 1)"
        )
    if len(shape) != 4 or shape[3] != 3:
        hint = "; add an axis in front: pictures[None]" if shape[2:] == [3] else ""
        raise InputError(f"pictures should be [n, height, width, 3], not {shape}{hint}")
    if min(shape[1:3]) < MIN_SIZE:
        raise InputError(
            f"pictures of {shape[1]}x{shape[2]} pixels are too small for LPIPS, which needs "
            f"{MIN_SIZE}x{MIN_SIZE}: enlarge both pictures of a pair alike"
        )
    return pictures


@functools.partial(jax.jit, static_argnames="spatial")
def _layer_distances(metric: Lpips, x: jax.Array, y: jax.Array, spatial: bool) -> jax.Array:
    """Returns `[n, 5]` or `[n, h, w, 5]`."""
    dtype = np.promote_types(np.promote_types(x.dtype, y.dtype), np.float32)
    x, y = x.astype(dtype), y.astype(dtype)
    ours, theirs = (_features(metric, pictures) for pictures in (x, y))
    # The compiler may compute the two in different orders, and so with different last digits.
    differ = jnp.any(x != y, axis=(1, 2, 3))
    found = []
    for layer, head in zip(LAYERS, metric.heads, strict=True):
        difference = jnp.square(_unit(ours[layer]) - _unit(theirs[layer]))
        if spatial:
            small = difference @ head.astype(dtype)  # [n, rows, columns]
            found.append(jax.image.resize(small, x.shape[:3], "linear"))
        else:
            found.append(difference.mean(axis=(1, 2)) @ head.astype(dtype))
    layers = jnp.stack(found, axis=-1)
    differ = differ.reshape(-1, *(1,) * (layers.ndim - 1))
    return jnp.where(differ, layers, jnp.zeros_like(layers))


def _features(metric: Lpips, pictures: jax.Array) -> Any:
    dtype = pictures.dtype
    low, high = metric.value_range
    gain = 2 / (high - low)
    x = pictures * jnp.asarray(gain, dtype) + jnp.asarray(-1 - low * gain, dtype)  # -1..1
    x = (x - jnp.asarray(_SHIFT, dtype)) / jnp.asarray(_SCALE, dtype)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), metric.params)
    return AlexNet(_network(), dtype).apply({"params": params}, x, capture=LAYERS)


def _unit(features: jax.Array) -> jax.Array:
    """Scales the channels to unit length; where all are zero, so are value and gradient."""
    square = jnp.square(features).sum(axis=-1, keepdims=True)
    is_zero = square == 0
    norm = jnp.sqrt(jnp.where(is_zero, jnp.ones_like(square), square))
    return features * jnp.where(is_zero, jnp.zeros_like(square), 1 / (norm + _EPSILON))
