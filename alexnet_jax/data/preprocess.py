"""From uint8 images to the network's input: mean, scale and colour shift, in the jitted step."""

from typing import TYPE_CHECKING, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from alexnet_jax.config import AugmentConfig, PreprocessConfig
from alexnet_jax.errors import InputError

if TYPE_CHECKING:
    from alexnet_jax.data.prepared import Statistics

IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
"""Channel means of ImageNet that torchvision's networks expect, in 0..255."""
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)
"""Channel standard deviations that torchvision's networks expect, in 0..255."""


class Inputs(NamedTuple):
    """Arrays of the preprocessing, float32, in units of 0..255."""

    mean: np.ndarray  # [size, size, 3] (`image`), [stored, stored, 3] (`image-aligned`) or [3]
    scale: np.ndarray  # [3], divisor per channel
    colour: np.ndarray  # [3, 3], the colour PCA's directions (columns) times their deviations


def make_inputs(
    preprocess_config: PreprocessConfig,
    augment_config: AugmentConfig,
    statistics: "Statistics | None",
    image_size: int,
) -> Inputs:
    """Returns what `preprocess` needs of the training set's statistics; `image_size` is in pixels.

    Raises:
      InputError: the settings contradict each other, or need statistics and get none.
    """
    mean, scale = preprocess_config.mean, preprocess_config.scale
    if mean == "image-aligned" and augment_config.recipe == "resized-crop":
        raise InputError(
            "preprocess.mean 'image-aligned' needs crops at stored resolution, but augment.recipe "
            "is 'resized-crop': use preprocess.mean 'channel' or 'imagenet'."
        )
    needed = mean in ("image", "image-aligned", "channel") or scale == "channel"
    if statistics is None and (needed or augment_config.colour_noise):
        raise InputError(
            f"preprocess.mean '{mean}', preprocess.scale '{scale}' with augment.colour_noise "
            f"{augment_config.colour_noise} need the data set's statistics: prepare it first."
        )
    colour = np.zeros((3, 3))  # [channel, component]
    if statistics is not None and augment_config.colour_noise:
        colour = np.asarray(statistics.colour_vectors) * np.asarray(statistics.colour_std)[None, :]
    arrays = _mean(mean, statistics, image_size), _scale(scale, statistics), colour
    return Inputs(*(np.ascontiguousarray(a, np.float32) for a in arrays))


def _mean(kind: str, statistics: "Statistics | None", image_size: int) -> np.ndarray:
    if kind == "none":
        return np.zeros(3)
    if kind == "imagenet":
        return np.asarray(IMAGENET_MEAN)
    assert statistics is not None
    if kind == "channel":
        return np.asarray(statistics.channel_mean)
    image = np.asarray(statistics.mean_image)  # [stored, stored, 3]
    margin = image.shape[0] - image_size
    if margin < 0:
        raise InputError(
            f"The mean image has {image.shape[0]} pixels a side, fewer than image_size "
            f"{image_size}: lower image_size, or prepare the data with a larger stored_size."
        )
    if kind == "image-aligned":
        return image
    start = margin // 2
    return image[start : start + image_size, start : start + image_size]


def _scale(kind: str, statistics: "Statistics | None") -> np.ndarray:
    if kind == "none":
        return np.ones(3)
    if kind == "imagenet":
        return np.asarray(IMAGENET_STD)
    assert statistics is not None
    deviation = np.asarray(statistics.channel_std)
    return np.where(deviation > 0, deviation, 1.0)  # a constant channel is not divided


def centre_arrays(
    inputs: Inputs, settings: PreprocessConfig, image_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and scale, in units of 0..255: a centre view enters as `(x - mean) / scale`.

    They are float32 [image_size, image_size, 3] or [3], and [3].
    """
    mean, scale = (np.asarray(array, np.float32) for array in (inputs.mean, inputs.scale))
    if settings.mean == "none":
        mean = np.zeros(3, np.float32)
    elif settings.mean == "image-aligned":
        start = (mean.shape[0] - image_size) // 2
        mean = mean[start : start + image_size, start : start + image_size]
    return mean, np.ones(3, np.float32) if settings.scale == "none" else scale


def preprocess(
    inputs: Inputs,
    images: jax.Array,  # uint8 [n, h, w, 3], already cropped and mirrored
    *,
    colour: jax.Array | None = None,  # float32 [n, 3], standard normal z; None: no noise
    offsets: jax.Array | None = None,  # int32 [n, 2], for `image-aligned`; None: central
    flips: jax.Array | None = None,  # bool [n], for `image-aligned`; None: none
    colour_on: jax.Array | bool | None = None,  # bool, may be traced: its change compiles nothing
    config: tuple[PreprocessConfig, AugmentConfig],  # static under `jit`
) -> jax.Array:
    """Returns `((x - mean + c V (sigma * z)) / (1 + c)) / scale`, float32 [n, h, w, 3]. Paper §4.1.

    c is the colour noise. The divisor 1 + c is in the 2012 source only, and there only while the
    noise is on; images without `colour` (tests) are never divided.
    """
    settings, augment = config
    _check_shapes(inputs, images, settings.mean, colour=colour, offsets=offsets, flips=flips)
    x = images.astype(jnp.asarray(inputs.mean).dtype)
    if settings.mean == "image-aligned":
        x = x - _aligned_mean(jnp.asarray(inputs.mean), images.shape, offsets, flips)
    elif settings.mean != "none":
        mean = jnp.asarray(inputs.mean)  # [h, w, 3] or [3]
        x = x - mean.reshape((1,) * (4 - mean.ndim) + mean.shape)
    if colour is not None and augment.colour_noise:
        on = jnp.asarray(True if colour_on is None else colour_on, jnp.bool_)
        shift = augment.colour_noise * colour_shift(inputs, colour)  # [n, 1, 1, 3]
        x = x + jnp.where(on, shift, 0.0)
        if augment.colour_form == "2012":
            divisor = jnp.asarray(1 + augment.colour_noise, x.dtype)
            x = x / jnp.where(on, divisor, jnp.ones_like(divisor))
    if settings.scale != "none":
        x = x / jnp.asarray(inputs.scale)[None, None, None]
    return x


def _check_shapes(
    inputs: Inputs, images: jax.Array, mean: str, **of_images: jax.Array | None
) -> None:
    """Refuses arrays that would be broadcast: grey images, one image's draws for all images."""
    chex.assert_shape(images, (None, None, None, 3))
    chex.assert_type(inputs, float)  # `preprocess` computes in the mean's type
    mean_shapes = {"image": images.shape[1:], "image-aligned": (None, None, 3)}
    chex.assert_shape([inputs.mean, inputs.scale], [mean_shapes.get(mean, (3,)), (3,)])
    shapes = {"colour": (3,), "offsets": (2,), "flips": ()}
    for name, array in of_images.items():
        if array is not None:
            chex.assert_shape(array, (images.shape[0], *shapes[name]), custom_message=name)


def colour_shift(inputs: Inputs, colour: jax.Array) -> jax.Array:
    """Returns `V (sigma * z)`, float32 [n, 1, 1, 3], for z = `colour` [n, 3]. Paper §4.1.

    Deviation: sigma are standard deviations as in the 2012 source; the eigenvalues of the printed
    formula would mean noise of over a thousand grey levels.
    """
    # A sum of products, because accelerators round the operands of a matrix product.
    products = jnp.asarray(inputs.colour)[None] * colour[:, None, :]  # [n, channel, component]
    shift = jnp.sum(products, axis=-1)  # [n, 3]
    return shift[:, None, None, :]


def _aligned_mean(
    mean: jax.Array, shape: tuple[int, ...], offsets: jax.Array | None, flips: jax.Array | None
) -> jax.Array:
    """Returns float32 [n or 1, h, w, 3]: `mean` [s, s, 3] under the crops, mirrored with them."""
    _, height, width, _ = shape
    if offsets is None:
        top, left = (mean.shape[0] - height) // 2, (mean.shape[1] - width) // 2
        windows = mean[None, top : top + height, left : left + width]
    else:

        def window(offset: jax.Array) -> jax.Array:
            return jax.lax.dynamic_slice(mean, (offset[0], offset[1], 0), (height, width, 3))

        windows = jax.vmap(window)(offsets)  # [n, h, w, 3]
    if flips is None:
        return windows
    return jnp.where(flips[:, None, None, None], windows[:, :, ::-1], windows)
