"""Any of our networks in TensorFlow's operators, for SavedModel and TFLite."""

from typing import Any

import numpy as np
import tensorflow as tf  # pyright: ignore[reportMissingImports]

from alexnet_jax.errors import InputError
from alexnet_jax.network import layers, ops
from alexnet_jax.runs.run_weights import RunWeights
from alexnet_jax.weights.writers.description import mean_and_scale
from alexnet_jax.weights.writers.program_spec import ProgramSpec


class Program(tf.Module):
    """Layouts are those of our parameters; TFLite's convolutions have no groups: each is one."""

    def __init__(self, weights: RunWeights, spec: ProgramSpec):
        super().__init__(name="alexnet_jax")
        self.run = weights.run
        self.shapes = {name: leaves["kernel"].shape for name, leaves in weights.params.items()}
        self.kernels = {k: tf.Variable(v["kernel"], name=k) for k, v in weights.params.items()}
        self.biases = {k: tf.Variable(v["bias"], name=k) for k, v in weights.params.items()}
        self.spec = spec
        shape = [spec.batch, *spec.image_shape(self.run)]
        images = tf.TensorSpec(shape, tf.as_dtype(np.dtype(spec.dtype)), name=spec.input_name)
        self.compute = tf.function(self._compute, input_signature=[images], autograph=False)

    def _compute(self, images: Any) -> dict[str, Any]:
        run = self.run
        x = self._preprocessed(images) if self.spec.whole else images
        summaries = layers.summarize(run.network, run.image_size)
        for name, summary in zip(layers.layer_names(run.network.layers), summaries, strict=True):
            x = self._layer(name, summary.layer, x, summary.input_shape)
        return {"logits": x} | ({"probabilities": tf.nn.softmax(x)} if self.spec.whole else {})

    def _preprocessed(self, images: Any) -> Any:
        run = self.run
        start = (run.stored_size - run.image_size) // 2
        window = slice(start, start + run.image_size)
        x = tf.cast(images[:, window, window, :], tf.float32)
        mean, scale = mean_and_scale(run)
        x = x if mean is None else x - mean
        return x if scale is None else x / scale

    def _layer(self, name: str, layer: layers.Layer, x: Any, shape: tuple[int, ...]) -> Any:
        match layer:
            case layers.Conv():
                return self._convolution(layer, x)
            case layers.Local():
                return self._local(layer, x)
            case layers.Dense():
                return self._dense(layer, x)
            case layers.Activation(kind=kind):
                return getattr(tf.nn, kind)(x)
            case layers.Lrn():
                return _lrn(layer, x)
            case layers.ResponseNorm(window, alpha, beta, bias):
                before, after = window // 2, window - 1 - window // 2
                squares = _padded(tf.square(x), [(before, after)] * 2)
                ones = np.ones((window, window, shape[2], 1), np.float32)
                total = tf.nn.depthwise_conv2d(squares, ones, [1, 1, 1, 1], "VALID")
                return x / tf.pow(bias + alpha * total, beta)
            case layers.MaxPool():
                lowest = x.dtype.min
                x = _padded(x, [layers.padding_of(size, layer) for size in shape[:2]], lowest)
                return tf.nn.max_pool2d(x, layer.window, layer.stride, "VALID")
            case layers.AvgPool():
                return _average(layer, x, shape)
            case layers.AdaptiveAvgPool(size=size):
                return _adaptive_average(size, x, shape)
            case layers.Flatten(groups=1):
                return tf.reshape(x, [-1, int(np.prod(shape))])
            case layers.Flatten(groups=groups):
                parts = [tf.reshape(part, [-1, int(np.prod(shape)) // groups])
                         for part in tf.split(x, groups, axis=-1)]  # fmt: skip
                return tf.concat(parts, -1)
            case layers.Dropout(rate=rate, inverted=inverted):
                return x if inverted else x * (1 - rate)
        raise InputError(f"layer '{name}' ({type(layer).__name__}) cannot be expressed here")

    def _convolution(self, layer: layers.Conv, x: Any) -> Any:
        x = _padded(x, [layers.padding_of(size, layer) for size in x.shape[1:3]])
        kernels = tf.split(self.kernels[layer.name], layer.groups, axis=-1)
        parts = tf.split(x, layer.groups, axis=-1)
        outputs = [
            tf.nn.conv2d(part, kernel, layer.stride, "VALID")
            for part, kernel in zip(parts, kernels, strict=True)
        ]
        return tf.concat(outputs, -1) + self.biases[layer.name]

    def _local(self, layer: layers.Local, x: Any) -> Any:
        rows, columns, window, _, channels, features = self.shapes[layer.name]
        x = _padded(x, [(layer.padding, layer.padding)] * 2)
        patches = [
            x[:, row : row + rows, column : column + columns]
            for row in range(window)
            for column in range(window)
        ]
        positions = tf.transpose(tf.concat(patches, -1), [1, 2, 0, 3])
        bank = tf.reshape(
            self.kernels[layer.name], [rows, columns, window * window * channels, features]
        )
        return tf.transpose(positions @ bank, [2, 0, 1, 3]) + self.biases[layer.name]

    def _dense(self, layer: layers.Dense, x: Any) -> Any:
        kernels = tf.split(self.kernels[layer.name], layer.groups, axis=1)
        parts = tf.split(x, layer.groups, axis=1)
        outputs = [part @ kernel for part, kernel in zip(parts, kernels, strict=True)]
        return tf.concat(outputs, 1) + self.biases[layer.name]


def _padded(x: Any, edges: list[tuple[int, int]], value: float = 0) -> Any:
    if not any(any(pair) for pair in edges):
        return x
    return tf.pad(x, [(0, 0), *edges, (0, 0)], constant_values=value)


def _lrn(layer: layers.Lrn, x: Any) -> Any:
    parts = tf.split(x, layer.groups, axis=-1)
    if layer.depth % 2:
        options = {"bias": layer.bias, "alpha": layer.alpha, "beta": layer.beta}
        half = layer.depth // 2
        outputs = [tf.nn.local_response_normalization(part, half, **options) for part in parts]
    else:  # which TensorFlow does not have
        sums = ops.window_matrix(x.shape[-1] // layer.groups, layer.depth).astype(np.float32)
        bank = sums[None, None]
        totals = [tf.nn.conv2d(tf.square(part), bank, 1, "VALID") for part in parts]
        outputs = [
            part / tf.pow(layer.bias + layer.alpha * total, layer.beta)
            for part, total in zip(parts, totals, strict=True)
        ]
    return tf.concat(outputs, -1)


def _average(layer: layers.AvgPool, x: Any, shape: tuple[int, ...]) -> Any:
    edges = [layers.padding_of(size, layer) for size in shape[:2]]
    shares = []
    for size, (before, after) in zip(shape[:2], edges, strict=True):
        first = np.arange(0, size + before + after - layer.window + 1, layer.stride) - before
        covered = np.minimum(first + layer.window, size) - np.maximum(first, 0)
        shares.append(layer.window / covered)
    weight = np.outer(*shares).astype(np.float32)[None, :, :, None]
    return tf.nn.avg_pool2d(_padded(x, edges), layer.window, layer.stride, "VALID") * weight


def _adaptive_average(size: int, x: Any, shape: tuple[int, ...]) -> Any:
    """Averages windows from floor(i h / size) to ceil((i + 1) h / size): of rows, then columns."""
    for axis, extent in ((1, shape[0]), (2, shape[1])):
        if extent == size:
            continue
        bounds = [(i * extent // size, -(-(i + 1) * extent // size)) for i in range(size)]
        windows = [x[:, a:b] if axis == 1 else x[:, :, a:b] for a, b in bounds]
        x = tf.stack([tf.reduce_mean(window, axis=axis) for window in windows], axis=axis)
    return x
