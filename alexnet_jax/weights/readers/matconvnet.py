"""MatConvNet's networks (`imagenet-caffe-alex.mat`, `imagenet-caffe-ref.mat`), as SimpleNN.

Filters are `[height, width, in / groups, out]`; groups are known by their depth. Dense layers are
convolutions of all that is left of the image. Images are RGB in 0..255 less `averageImage`. The
normalization's `param` is window, k, alpha, beta; alpha is not divided by the window.
Source: vlfeat/matconvnet matlab/simplenn/vl_simplenn.m, vl_simplenn_tidy.m, utils/layers.py.
"""

from typing import Any

import numpy as np

from alexnet_jax.config import PreprocessConfig
from alexnet_jax.errors import InputError
from alexnet_jax.network import layers as ours
from alexnet_jax.preparation.sources.listing import unique_names
from alexnet_jax.weights.readers.array_checks import check_floats
from alexnet_jax.weights.readers.foreign_weights import ForeignWeights, plain_inputs
from alexnet_jax.weights.readers.layer_sequence import SOFTMAX, FileLayer, match_layers
from alexnet_jax.weights.readers.matlab_file import read_matlab
from alexnet_jax.weights.readers.source_file import SourceFile

_DEFAULT_NORM = (5, 1, 1e-4 / 5, 0.75)
_NO_SIZE = 227
_MAX_LAYERS = 1000
_MAX_SIDE = 4096


def read(file: SourceFile, network_name: str = "") -> ForeignWeights:
    net = read_matlab(file)
    if "layers" not in net and isinstance(net.get("net"), dict):
        net = net["net"]
    layers, meta = net.get("layers"), net.get("meta")
    meta = meta if isinstance(meta, dict) else net  # before 2015
    if "params" in net or not isinstance(layers, list) or not 0 < len(layers) <= _MAX_LAYERS:
        what = "a DagNN" if "params" in net else "no network"
        raise InputError(
            f"{file.name} holds {what}; of MatConvNet's files, those with the 'layers' of a "
            "SimpleNN can be read"
        )
    normalization = meta.get("normalization")
    settings = normalization if isinstance(normalization, dict) else {}
    size = _side(settings.get("imageSize"), _NO_SIZE)
    sequence = _Sequence(file, size)
    for number, layer in enumerate(layers):
        sequence.add(layer if isinstance(layer, dict) else {}, f"layer {number + 1}")
    network, params, size = match_layers(
        file.name, sequence.layers, size, network_name, flattened="hwc"
    )
    mean = _mean(file, settings.get("averageImage"), size)
    border = _side(settings.get("border"), 0)
    names = _class_names(meta.get("classes"))
    return ForeignWeights(
        file=file,
        network=network,
        params=params,
        image_size=size,
        stored_size=min(max(size + border, 256), _MAX_SIDE),
        preprocess=PreprocessConfig(mean="channel" if mean.ndim == 1 else "image"),
        inputs=plain_inputs(mean),
        form="MatConvNet",
        class_order="wordnet" if network.classes == 1000 else "names",
        class_names=names if len(names) == network.classes else (),
    )


class _Unfit(Exception):
    """What no layer of ours has."""


class _Sequence:
    """Layers as they are read; `shape` is the image's side and channels, 0 channels of a vector."""

    def __init__(self, file: SourceFile, size: int):
        self.file, self.layers = file, []
        self.size, self.channels = size, 3

    def add(self, layer: dict[str, Any], number: str) -> None:
        name, kind = _text(layer.get("name")) or number, _text(layer.get("type"))
        try:
            match kind:
                case "conv":
                    self._add_convolution(name, layer)
                case "relu" if not _floats(layer.get("leak"), 1).any():
                    self._append(name, ours.Activation())
                case "sigmoid":
                    self._append(name, ours.Activation("sigmoid"))
                case "lrn" | "normalize":
                    param = layer.get("param")
                    n, k, alpha, beta = _DEFAULT_NORM if param is None else _floats(param, 4)
                    if n % 2 != 1:
                        raise _Unfit(f"normalization over {n:g} channels, no odd number")
                    self._append(name, ours.Lrn(int(n), alpha, beta, k))
                case "pool" if _text(layer.get("method")) in ("", "max", "avg"):
                    self._add_pool(name, layer)
                case "dropout":
                    self._append(name, ours.Dropout(inverted=True))
                case "softmax" | "softmaxloss":
                    self._append(name, SOFTMAX)
                case _:
                    raise _Unfit(kind or "without a type")
        except _Unfit as error:
            self._append(name, str(error))

    def _append(self, name: str, layer: ours.Layer | str, padding=(0, 0), weights=None, bias=None):
        self.layers.append(FileLayer(name, layer, padding, weights, bias))

    def _add_convolution(self, name: str, layer: dict[str, Any]) -> None:
        stored = layer.get("weights")
        both = stored if isinstance(stored, list) else [layer.get("filters"), layer.get("biases")]
        weights, bias = (*both, None, None)[:2]
        if not isinstance(weights, np.ndarray) or weights.ndim > 4 or weights.size == 0:
            raise _Unfit("conv without filters")
        weights = weights.reshape((*weights.shape, 1, 1)[:4])  # MATLAB drops sides of 1 at the end
        height, width, depth, features = weights.shape
        bias = bias if isinstance(bias, np.ndarray) and bias.size else None
        padding, stride = _padding(layer), _stride(layer)
        if height != width or self.channels % depth or np.any(_floats(layer.get("dilate"), 1) > 1):
            raise _Unfit(f"conv of {height}x{width} pixels and {depth} of {self.channels} channels")
        if height == self.size and not any(padding):
            if self.size > 1:
                self._append(f"before {name}", ours.Flatten())
            dense = ours.Dense("", features, self.channels // depth)
            self._append(name, dense, weights=weights.reshape(-1, features), bias=bias)
            self.size = 1
        else:
            groups = self.channels // depth
            conv = ours.Conv("", features, height, stride, groups=groups, overhang=False)
            self._append(name, conv, padding, weights, bias)
            self._slide(height, stride, padding)
        self.channels = features

    def _add_pool(self, name: str, layer: dict[str, Any]) -> None:
        rows, columns = _floats(layer.get("pool"), 2)
        padding, stride = _padding(layer), _stride(layer)
        if rows != columns or not 0 < rows < _MAX_SIDE:
            raise _Unfit(f"pool of {rows:g}x{columns:g} pixels")
        pool = ours.AvgPool if _text(layer.get("method")) == "avg" else ours.MaxPool
        self._append(name, pool(int(rows), stride, overhang=False), padding)
        self._slide(int(rows), stride, padding)

    def _slide(self, window: int, stride: int, padding: tuple[int, int]) -> None:
        self.size = max((self.size + sum(padding) - window) // stride + 1, 0)


def _floats(value: Any, count: int) -> np.ndarray:
    """Returns that many numbers: one may stand for all; none are zeros."""
    array = np.zeros(1) if value is None else np.ravel(value) if not _text(value) else np.empty(0)
    if (
        array.dtype.kind not in "fiu"
        or array.size not in (1, count)
        or not np.isfinite(array).all()
    ):
        raise _Unfit(f"with {array.size} numbers where {count} should be")
    return np.broadcast_to(array.astype(float), count)


def _padding(layer: dict[str, Any]) -> tuple[int, int]:
    top, bottom, left, right = _floats(layer.get("pad"), 4)
    if (top, bottom) != (left, right) or not 0 <= top + bottom < _MAX_SIDE:
        raise _Unfit("with other padding across than down")
    return int(top), int(bottom)


def _stride(layer: dict[str, Any]) -> int:
    rows, columns = _floats(1.0 if layer.get("stride") is None else layer["stride"], 2)
    if rows != columns or not 1 <= rows < _MAX_SIDE:
        raise _Unfit(f"with stride {rows:g}x{columns:g}")
    return int(rows)


def _text(value: Any) -> str:
    return value[:80] if isinstance(value, str) else ""


def _side(value: Any, default: int) -> int:
    """Returns the first of the sides, which are equal."""
    if not isinstance(value, np.ndarray) or value.size < 2 or value.dtype.kind not in "fiu":
        return default
    rows, columns = (float(side) for side in value.ravel()[:2])
    return int(rows) if rows == columns and 0 <= rows < _MAX_SIDE else default


def _mean(file: SourceFile, value: Any, size: int) -> np.ndarray:
    """Returns float32 `[size, size, 3]` or `[3]`."""
    array = value if isinstance(value, np.ndarray) else np.zeros(0)
    if array.size == 3:
        mean = array.reshape(3)
    elif array.shape == (size, size, 3):
        mean = array
    else:
        raise InputError(
            f"{file.name} has an averageImage of shape {list(array.shape)}, not of its images, "
            f"[{size}, {size}, 3], or of 3 channels; get the complete file"
        )
    mean = np.asarray(mean, np.float32)
    check_floats({"averageImage": mean}, file.name)
    return mean


def _class_names(classes: Any) -> tuple[str, ...]:
    found = classes.get("description") if isinstance(classes, dict) else None
    names = found if isinstance(found, list) and all(isinstance(x, str) for x in found) else []
    return unique_names(names, [str(i) for i in range(len(names))])
