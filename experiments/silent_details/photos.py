"""Measures details of the 2012 source on photos of ImageNet, without training.

    python -m experiments.silent_details.photos PHOTOS.tar.gz REFERENCE

PHOTOS holds JPEG files; REFERENCE is a folder with `conv1_filters.npz` (`bvlc_kernel` [11, 11, 3,
96], blue first, and `bvlc_bias`: the first layer of BVLC's trained AlexNet) and `ilsvrc12_mean.npz`
(`mean_bgr_chw` [3, 256, 256]).
"""

import dataclasses
import functools
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from alexnet_jax.config import AugmentConfig, PreprocessConfig
from alexnet_jax.data.decode import decode_rgb
from alexnet_jax.data.preprocess import Inputs, preprocess
from alexnet_jax.data.square import fit_square
from alexnet_jax.network import ops
from alexnet_jax.network.layers import Conv, MaxPool, Network, summarize, with_changes, with_named
from alexnet_jax.network.model import AlexNet
from alexnet_jax.network.networks import NETWORKS
from experiments import pages, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import write

OUTPUT = Path(__file__).parent / "results" / "photos.json"
STORED, SIZE, BATCH = 256, 224, 20

# Colour PCA of ILSVRC-2012's training set (cuda-convnet2, `make-data/input_meta`): standard
# deviations in 0..255, and the directions as columns, rows red, green, blue.
SIGMA = np.array([19.7208, 37.0939, 121.7801])
DIRECTIONS = np.array([
    [0.41795513, -0.71257945, -0.56351045],
    [-0.81698062, -0.02354167, -0.57618440],
    [0.39731118, 0.70119634, -0.59200296],
])  # fmt: skip


def read_photos(archive: Path) -> np.ndarray:
    """Returns uint8 `[n, 256, 256, 3]`: shorter side to 256, centre square (paper §2)."""
    photos = []
    with tarfile.open(archive) as tar:
        for entry in tar:
            file = tar.extractfile(entry)
            if file is not None:
                photos.append(fit_square(decode_rgb(file.read()), STORED))
    return np.stack(photos)


def in_batches(function: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    """Returns a function's results for parts of about `BATCH` images, joined."""
    parts = (np.array_split(array, len(array) // BATCH) for array in arrays)
    return np.concatenate([np.asarray(function(*part)) for part in zip(*parts, strict=True)])


def conv1_responses(photos: np.ndarray, folder: Path) -> np.ndarray:
    """Returns the signed responses of a trained first layer, float32 `[n, 55, 55, 96]`."""
    with np.load(folder / "conv1_filters.npz") as arrays:
        kernel, bias = arrays["bvlc_kernel"][:, :, ::-1], arrays["bvlc_bias"]
    padding = ((0, 3), (0, 3))  # the 55th window overhangs

    @jax.jit
    def respond(images):
        x = ops.convolution(images, jnp.asarray(kernel), stride=4, padding=padding, groups=1)
        return x + bias[None, None, None]

    images = centre(photos) - window(mean_image(folder))
    return in_batches(respond, images)


def mean_image(folder: Path) -> np.ndarray:
    """Returns the mean image of ILSVRC-2012, float32 `[256, 256, 3]`, red first."""
    with np.load(folder / "ilsvrc12_mean.npz") as arrays:
        return np.ascontiguousarray(arrays["mean_bgr_chw"][::-1].transpose(1, 2, 0))


def window(image: np.ndarray, top: int = 16, left: int = 16) -> np.ndarray:
    """Returns a 224 x 224 window of `[…, 256, 256, 3]`."""
    return image[..., top : top + SIZE, left : left + SIZE, :]


def centre(photos: np.ndarray) -> np.ndarray:
    """Returns the centre windows, float32."""
    return window(photos).astype(np.float32)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the root mean square of `a - b` over that of `b`."""
    return float(np.sqrt(np.mean(np.square(a - b, dtype=np.float64)) / np.mean(np.square(b))))


def up_to_a_factor(a: np.ndarray, b: np.ndarray) -> float:
    """Returns `difference(c a, b)` for the best number c."""
    return difference(a * np.float32(np.vdot(a, b) / np.vdot(a, a)), b)


def normalization(responses: np.ndarray) -> dict[str, Any]:
    """LRN of a trained first layer: the printed constants, Caffe's, one sum over both towers."""

    def lrn(x, alpha=1e-4 / 5, bias=2.0, groups=2):
        apply = jax.jit(
            lambda part: ops.local_response_norm(
                part, depth=5, alpha=alpha, beta=0.75, bias=bias, groups=groups
            )
        )
        return in_batches(apply, x)

    positive = np.maximum(responses, 0)
    source = lrn(positive)
    result: dict[str, Any] = {}
    for name, other in (
        ("alpha 1e-4 undivided", lrn(positive, alpha=1e-4)),
        ("k = 1 (Caffe)", lrn(positive, bias=1.0)),
        ("one sum over both towers", lrn(positive, groups=1)),
        ("LRN before ReLU", np.maximum(lrn(responses), 0)),
    ):
        channels = np.abs(other - source).max(axis=(0, 1, 2)) > 1e-4 * np.abs(source).max()
        result[name] = {
            "difference": difference(other, source),
            "up to a factor": up_to_a_factor(other, source),
            "channels": [int(c) for c in np.flatnonzero(channels)] if channels.sum() < 9 else "all",
        }
    return result


def colour(photos: np.ndarray, folder: Path) -> dict[str, Any]:
    """The colour noise in grey levels, and the effect of the divisor on the input's scale."""
    noise = {
        "standard deviations (source)": 0.1 * SIGMA,
        "eigenvalues (as printed)": 0.1 * SIGMA**2,
        "torchvision-style lighting": 0.1 * 255 * np.array([0.0045, 0.0188, 0.2175]),
    }
    rng = np.random.default_rng(0)
    z = rng.standard_normal((len(photos), 3)).astype(np.float32)
    inputs = Inputs(window(mean_image(folder)), np.ones(3), (DIRECTIONS * SIGMA).astype(np.float32))
    spread = {}
    source = AugmentConfig(colour_noise=0.1)
    undivided = AugmentConfig(colour_noise=0.1, colour_form="printed")
    for name, augment, on in (
        ("test, without noise", source, False),
        ("training, source", source, True),
        ("training, as printed: not divided", undivided, True),
    ):
        ready = jax.jit(
            lambda x, z, on, augment=augment: preprocess(
                inputs, x, colour=z, colour_on=on, config=(PreprocessConfig(), augment)
            )
        )
        x = in_batches(functools.partial(ready, on=np.bool_(on)), window(photos), z)
        spread[name] = float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
    return {
        "noise per channel, grey levels": {
            name: [float(v) for v in np.sqrt(((DIRECTIONS * s) ** 2).sum(axis=1))]
            for name, s in noise.items()
        },
        "input, root mean square, grey levels": spread,
    }


def mean_windows(folder: Path) -> dict[str, float]:
    """How far the centre window of the mean is from the crop's own window, in grey levels."""
    mean = mean_image(folder)
    middle = window(mean)
    squares, largest = [], 0.0
    for top in range(33):
        for left in range(33):
            gap = window(mean, top, left) - middle
            squares.append(float(np.mean(np.square(gap))))
            largest = max(largest, float(np.abs(gap).max()))
    return {"root mean square": float(np.sqrt(np.mean(squares))), "largest": largest}


def start(photos: np.ndarray, folder: Path) -> dict[str, dict[str, float]]:
    """How much the logits of an untrained network differ between photos: its initial signal."""
    images = centre(photos) - window(mean_image(folder))
    original = NETWORKS["original"]
    small = original.layers
    for name in ("conv3", "conv4", "conv5"):
        small = with_named(small, name, weight_std=0.01)
    networks = {
        "original: 0.03 in conv3 to conv5": original,
        "original with 0.01 everywhere": dataclasses.replace(original, layers=small),
        "paper as printed": NETWORKS["paper"],
    }
    result = {name: _signal(network, images) for name, network in networks.items()}
    result["paper, inputs divided by 58"] = _signal(NETWORKS["paper"], images / np.float32(58))
    return result


def _signal(network: Network, images: np.ndarray) -> dict[str, float]:
    model = AlexNet(network)
    params = jax.jit(model.init)(jax.random.key(0), images[:1])
    forward = jax.jit(lambda x: model.apply(params, x))
    logits = in_batches(forward, images)
    return {"logits, standard deviation across photos": float(logits.std(axis=0).mean())}


def windows() -> dict[str, Any]:
    """Sizes of the maps when windows are counted by rounding up (2012) and down."""

    def sizes(network: Network, size: int) -> list[int]:
        kept = [s for s in summarize(network, size) if isinstance(s.layer, Conv | MaxPool)]
        return [s.output_shape[0] for s in kept]

    result = {}
    for name, size in (("original", 224), ("cifar-13pct", 24), ("cifar-13pct", 32)):
        network = NETWORKS[name]
        layers = with_changes(network.layers, MaxPool, overhang=False)
        down = with_changes(layers, Conv, overhang=False)
        result[f"{name} at {size}"] = {
            "up": sizes(network, size),
            "down": sizes(dataclasses.replace(network, layers=down), size),
        }
    return result


def main() -> None:
    parser = programs.parser(__doc__, OUTPUT)
    parser.add_argument("photos", type=Path)
    parser.add_argument("reference", type=Path)
    arguments = parser.parse_args()
    photos = read_photos(arguments.photos)
    record = {
        "environment": environment(),
        "photos": len(photos),
        "normalization": normalization(conv1_responses(photos, arguments.reference)),
        "colour": colour(photos, arguments.reference),
        "mean": mean_windows(arguments.reference),
        "start": start(photos, arguments.reference),
        "windows": windows(),
    }
    write(arguments.output, record)
    print(arguments.output.read_text())
    if arguments.output == OUTPUT:
        pages.write("silent_details")


if __name__ == "__main__":
    main()
