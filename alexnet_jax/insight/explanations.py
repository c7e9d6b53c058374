"""What in a picture speaks for a label: saliency, Grad-CAM and occlusion."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from alexnet_jax.config import AugmentConfig, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs, preprocess
from alexnet_jax.errors import InputError, did_you_mean
from alexnet_jax.evaluation.views import centre_view
from alexnet_jax.network.compilation import jit
from alexnet_jax.network.layers import Activation, Dense, Network, Parametric, layer_names
from alexnet_jax.network.model import PERTURBATIONS, AlexNet
from alexnet_jax.network.receptive_fields import receptive_fields

Method = Literal["saliency", "grad-cam", "occlusion"]
METHODS: tuple[Method, ...] = get_args(Method)
MOST_PROBABLE = -1
"""Stands for the label that each picture most probably has."""
SQUARES = 64
"""Pictures with a square that go through the network at once."""


class Explained(NamedTuple):
    """What a step returns of each stored image."""

    maps: Any  # float32 [n, image_size, image_size]
    pictures: Any  # uint8 [n, image_size, image_size, 3], the centre views
    labels: Any  # int32 [n]
    probabilities: Any  # float32 [n], of the labels


ExplainStep = Callable[[Any, Inputs, Any, Any], Explained]


def make_explain_step(
    network: Network,
    preprocess_config: PreprocessConfig,
    image_size: int,
    dtype: Any,
    method: Method,
    window: int | None = None,
    stride: int | None = None,
) -> ExplainStep:
    """Returns the jitted function `f(params, inputs, stored, label)`; see `Classifier.explain`.

    The stored images are uint8 `[n, stored_size, stored_size, 3]`, the label an int32 column of the
    outputs or `MOST_PROBABLE`.

    Raises:
      InputError: no such method, squares that do not fit, or Grad-CAM without a convolution.
    """
    if method not in METHODS:
        raise InputError(
            f"method should be one of {', '.join(METHODS)}, not '{method}'."
            f"{did_you_mean(str(method), METHODS)}"
        )
    if method != "occlusion" and (window is not None or stride is not None):
        raise InputError(f"window and stride are for occlusion, and {method} has none")
    apply = AlexNet(network, dtype).apply
    if method == "saliency":
        explain = _saliency(apply)
    elif method == "grad-cam":
        explain = _grad_cam(apply, network, image_size)
    else:
        lengths = square_lengths(image_size, window, stride)
        explain = _occlusion(apply, image_size, *lengths, preprocess_config.mean == "none")

    def step(params: Any, inputs: Inputs, stored: jax.Array, label: jax.Array) -> Explained:
        pictures = centre_view(stored, image_size)

        def ready(pixels: jax.Array) -> jax.Array:
            return preprocess(inputs, pixels, config=(preprocess_config, AugmentConfig()))

        maps, logits = explain(params, ready, pictures, label)
        labels = _labels(logits, label)
        return Explained(maps, pictures, labels, _of_labels(_softmax(logits), labels))

    return jit(step)


def _labels(logits: jax.Array, label: jax.Array) -> jax.Array:
    best = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    return jnp.where(label == MOST_PROBABLE, best, label)


def _softmax(logits: jax.Array) -> jax.Array:
    """As in `evaluate.make_predict_step`, and for its reason."""
    return jnp.exp(logits - jax.nn.logsumexp(logits, axis=-1, keepdims=True))


def _of_labels(values: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns `[n]` of `[n, classes]`."""
    return jnp.take_along_axis(values, labels[:, None], axis=-1)[:, 0]


def _saliency(apply: Callable[..., Any]) -> Callable:
    """Simonyan, Vedaldi, Zisserman, 2013, "Deep inside convolutional networks", section 3."""

    def explain(params: Any, ready: Callable, pictures: jax.Array, label: jax.Array) -> Any:
        def score(pixels: jax.Array) -> tuple[jax.Array, jax.Array]:
            logits = apply({"params": params}, ready(pixels))
            return jnp.sum(_of_labels(logits, _labels(logits, label))), logits

        gradient, logits = jax.grad(score, has_aux=True)(pictures.astype(jnp.float32))
        return jnp.max(jnp.abs(gradient), axis=-1), logits

    return explain


def _grad_cam(apply: Callable[..., Any], network: Network, image_size: int) -> Callable:
    """Selvaraju et al., 2017, "Grad-CAM", section 3."""
    layer, activated = last_spatial_layer(network)
    field = next(f for f in receptive_fields(network, image_size) if f.layer == layer)
    centres = [field.centre(unit) for unit in range(field.units)]
    # A unit's value is laid on the centre of what it sees. That paper stretches the map
    # over the image, which here moves it by up to half a unit (8 pixels in the paper's network).
    spread = np.stack(
        [np.interp(np.arange(image_size), centres, row) for row in np.eye(field.units)]
    ).astype(np.float32)  # [units, image_size]
    output = layer_names(network.layers)[-1]

    def explain(params: Any, ready: Callable, pictures: jax.Array, label: jax.Array) -> Any:
        images = ready(pictures)

        def score(perturbation: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            variables = {"params": params, PERTURBATIONS: {layer: perturbation}}
            found = apply(variables, images, capture=(layer, output))
            logits = found[output]
            total = jnp.sum(_of_labels(logits, _labels(logits, label)))
            return total, (found[layer], logits)

        shape = jax.eval_shape(lambda: apply({"params": params}, images, capture=layer))
        zeros = jnp.zeros(shape.shape, shape.dtype)
        gradient, (maps, logits) = jax.grad(score, has_aux=True)(zeros)
        if not activated:  # a later ReLU has the same effect
            maps = jax.nn.relu(maps)
        weights = jnp.mean(gradient, axis=(1, 2), keepdims=True)  # [n, 1, 1, channels]
        found = jax.nn.relu(jnp.sum(weights * maps, axis=-1)).astype(jnp.float32)
        return _einsum("nij,iy,jx->nyx", found, spread, spread), logits

    return explain


def methods_of(network: Network) -> tuple[Method, ...]:
    """Returns the methods that can explain a network: Grad-CAM needs a convolution."""
    return METHODS if _spatial(network) else tuple(m for m in METHODS if m != "grad-cam")


def _spatial(network: Network) -> list[int]:
    """Returns the places of the layers that have weights and units with a place in the image."""
    layers = enumerate(network.layers)
    return [i for i, x in layers if isinstance(x, Parametric) and not isinstance(x, Dense)]


def last_spatial_layer(network: Network) -> tuple[str, bool]:
    """Returns the layer that Grad-CAM looks at, and whether it is a nonlinearity.

    It is the nonlinearity that directly follows the last convolution, else the convolution.
    Raises `InputError` if there is none.
    """
    names, layers, places = layer_names(network.layers), network.layers, _spatial(network)
    if not places:
        raise InputError(
            f"network '{network.name}' has no convolution, which Grad-CAM needs; take saliency or "
            "occlusion"
        )
    following = places[-1] + 1
    if following < len(layers) and isinstance(layers[following], Activation):
        return names[following], True
    return names[places[-1]], False


def square_lengths(image_size: int, window: int | None, stride: int | None) -> tuple[int, int]:
    """Returns the side of the square and its steps, pixels: a seventh of the image, and half that.

    Raises:
      InputError: the square does not fit into the image, or its steps leave gaps.
    """
    side = max(1, round(image_size / 7)) if window is None else window
    if not 1 <= side <= image_size:
        raise InputError(f"window should be 1 to {image_size} pixels (the image), not {side}")
    step = max(1, side // 2) if stride is None else stride
    if not 1 <= step <= side:
        raise InputError(f"stride should be 1 to {side} pixels (the window), not {step}")
    return side, step


def square_starts(image_size: int, window: int, stride: int) -> np.ndarray:
    """Returns the first pixels of the squares along one side; the last square ends at the edge."""
    end = image_size - window
    return np.unique([*range(0, end, stride), end])


def _occlusion(
    apply: Callable[..., Any], image_size: int, window: int, stride: int, no_mean: bool
) -> Callable:
    """Zeiler and Fergus, 2013, "Visualizing and understanding convolutional networks", 4.2."""
    starts = square_starts(image_size, window, stride)
    covers = starts[:, None] <= np.arange(image_size)
    covers &= np.arange(image_size) < starts[:, None] + window  # [starts, image_size]
    covers = covers.astype(np.float32)
    counts = covers.sum(axis=0)
    corners = np.stack(np.meshgrid(starts, starts, indexing="ij"), axis=-1).reshape(-1, 2)
    chunks = -(-len(corners) // SQUARES)
    size = -(-len(corners) // chunks)
    padded = np.pad(corners, [(0, chunks * size - len(corners)), (0, 0)], mode="edge")
    corner_chunks = padded.astype(np.int32).reshape(chunks, size, 2)

    def explain(params: Any, ready: Callable, pictures: jax.Array, label: jax.Array) -> Any:
        images = ready(pictures)
        # What is preprocessed to 0 is the data's mean; where none is subtracted, middle grey.
        grey = jnp.full((1, image_size, image_size, 3), 127.5, jnp.float32)
        fill = ready(grey)[0] if no_mean else jnp.zeros_like(images[0])
        logits = apply({"params": params}, images)
        labels = _labels(logits, label)
        before = _of_labels(_softmax(logits), labels)

        def of_image(image: jax.Array, chosen: jax.Array) -> jax.Array:
            def of_chunk(corners: jax.Array) -> jax.Array:
                inside = _inside(corners, image_size, window)[..., None]  # [squares, y, x, 1]
                hidden = jnp.where(inside, fill[None], image[None])
                return _softmax(apply({"params": params}, hidden))[:, chosen]

            left = lax.map(of_chunk, corner_chunks).reshape(-1)[: len(corners)]
            return left.reshape(len(starts), len(starts))

        left = lax.map(lambda pair: of_image(*pair), (images, labels))  # [n, starts, starts]
        falls = before[:, None, None] - left
        total = _einsum("nij,iy,jx->nyx", falls, covers, covers)
        return total / (counts[:, None] * counts)[None], logits

    return explain


def _inside(corners: jax.Array, size: int, window: int) -> jax.Array:
    """Returns bool `[n, size, size]` of int32 `[n, 2]`: the pixels of each square."""
    places = jnp.arange(size, dtype=jnp.int32)[None, None]  # [1, 1, size]
    first = corners[..., None]  # [n, 2, 1]
    within = (first <= places) & (places < first + window)
    return within[:, 0, :, None] & within[:, 1, None]


def _einsum(formula: str, *arrays: Any) -> jax.Array:
    return jnp.einsum(formula, *arrays, precision=lax.Precision.HIGHEST)
