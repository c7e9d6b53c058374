"""Exports networks with fixed random weights, and writes images and our logits beside the files.

    python experiments/runtimes/make_files.py FORMAT FORM BATCH FOLDER NETWORK...

`run.py` starts it with the package that is to be tried first on the path, so it imports nothing of
`experiments`. FORM is `whole` or `network`, BATCH `free` or a number. Where the package refuses,
FILE.refusal.txt says why.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from alexnet_jax.config import Config, PreprocessConfig
from alexnet_jax.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Inputs
from alexnet_jax.errors import AlexNetError
from alexnet_jax.network.layers import parametric_layers, with_features
from alexnet_jax.network.model import init_params
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.runs.run_folder import Run
from alexnet_jax.runs.run_weights import RunWeights
from alexnet_jax.weights.exporting import export
from alexnet_jax.weights.writers.description import mean_and_scale
from alexnet_jax.weights.writers.logits_check import our_logits

PREPROCESSING = {
    "one-weird-trick": ("imagenet", "imagenet"),
    "one-tower-adaptive": ("imagenet", "imagenet"),
    "caffenet": ("image-aligned", "none"),
    "digits": ("channel", "channel"),
}
"""Mean and scale of each network's own preset; of the others: the mean image, no scale."""
WIDE, UNITS = ("fc6", "fc7"), 512
"""Layers that are narrower here: a file has 20 instead of 240 MB, and the same nodes."""
_GAINS = {"conv1": 1.5, "conv2": 4.0}
"""Responses in the hundreds, as trained networks have, so that normalization shows."""
_STORED = {224: 256, 227: 256, 32: 32, 28: 32, 24: 32}


def weights_of(name: str) -> RunWeights:
    layers = NETWORKS[name].layers
    widths = {layer.name: UNITS for layer in parametric_layers(layers)[:-1] if layer.name in WIDE}
    network = dataclasses.replace(NETWORKS[name], layers=with_features(layers, widths))
    rng = np.random.default_rng(7)
    params: Any = jax.tree.map(np.asarray, init_params(network, network.image_size, 0))
    last = list(params)[-1]
    for layer, leaves in params.items():
        kernel, bias = leaves["kernel"], leaves["bias"]
        fan_in = np.prod(kernel.shape[-4:-1] if kernel.ndim > 2 else kernel.shape[:1])
        gain = 0.3 if layer == last else _GAINS.get(layer, 1.5)
        draws = rng.laplace(size=kernel.shape) * gain / np.sqrt(2 * fan_in)
        leaves["kernel"] = draws.astype(np.float32)
        leaves["bias"] = rng.normal(0, 1, bias.shape).astype(np.float32)
    mean, scale = PREPROCESSING.get(name, ("image", "none"))
    size, stored = network.image_size, _STORED[network.image_size]
    config = Config(network=name, preprocess=PreprocessConfig(mean, scale))  # type: ignore[arg-type]
    side = {"image": size, "image-aligned": stored}.get(mean)
    means = rng.uniform(90, 160, (side, side, 3)) if side else np.asarray(IMAGENET_MEAN)
    inputs = Inputs(*(np.asarray(a, np.float32) for a in (means, IMAGENET_STD, np.zeros((3, 3)))))
    classes = tuple(f"class {i}" for i in range(network.classes))
    return RunWeights(
        Run(Path("run"), config, network, size, stored, classes, inputs, {}), params, 1
    )


def preprocessed(weights: RunWeights, images: np.ndarray, kind: str) -> np.ndarray:
    """Returns float32 `[n, 3, size, size]` for ONNX, else `[n, size, size, 3]`."""
    size, (mean, scale) = weights.run.image_size, mean_and_scale(weights.run)
    start = (weights.run.stored_size - size) // 2
    x = images[:, start : start + size, start : start + size].astype(np.float32)
    x = x if mean is None else x - mean
    x = x if scale is None else x / scale
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2) if kind == "onnx" else x)


def random_images(size: int) -> np.ndarray:
    """Returns uint8 `[3, size, size, 3]` with coarse and fine structure."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (3, 8, 8, 3))
    enlarge = np.arange(size) * 8 // size
    images = coarse[:, enlarge][:, :, enlarge] + rng.normal(0, 40, (3, size, size, 3))
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def main(kind: str, form: str, batch: str, folder: str, *names: str) -> None:
    options: dict[str, Any] = {}
    if (form, batch) != ("whole", "free"):  # older versions have no such options
        options = {"form": form, "batch": None if batch == "free" else int(batch)}
    for name in names:
        file = f"{folder}/{name}.{kind}"
        weights = weights_of(name)
        try:
            export(weights, file, kind, **options)  # type: ignore[arg-type]
        except AlexNetError as error:
            Path(f"{file}.refusal.txt").write_text(str(error))
            continue
        images = random_images(weights.run.stored_size)
        ready = images if form == "whole" else preprocessed(weights, images, kind)
        np.save(f"{file}.images.npy", ready)
        np.save(f"{file}.logits.npy", our_logits(weights, images))


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    main(*sys.argv[1:])
