"""`one-weird-trick` as PyTorch users load it: torchvision's keys, in .safetensors or .pth."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from safetensors.numpy import save_file

from alexnet_jax.runs.run_weights import RunWeights
from alexnet_jax.weights.readers.safetensors import read_safetensors
from alexnet_jax.weights.readers.source_file import open_source
from alexnet_jax.weights.readers.torch_file import read_torch
from alexnet_jax.weights.readers.torchvision import from_torchvision, to_torchvision
from alexnet_jax.weights.writers import torch_zip
from alexnet_jax.weights.writers.description import describe_weights, preprocessing_values
from alexnet_jax.weights.writers.logits_check import Written
from alexnet_jax.weights.writers.program_spec import network_input
from alexnet_jax.weights.writers.safetensors import check_same_bits

LAYOUT = {
    "images": "[batch, channels, height, width], RGB",
    "convolution weight": "OIHW: [channels_out, channels_in, height, width]",
    "dense weight": "[out, in]; images are flattened in the order channel, height, width",
}


def write(weights: RunWeights, path: Path) -> Written:
    arrays = to_torchvision(weights.params, weights.run.network)
    own_name = path.with_suffix("").with_suffix("")  # without the temporary endings
    if own_name.suffix == ".pth":
        torch_zip.write(arrays, path)
        written = read_torch(open_source(path))
    else:
        save_file(arrays, path, metadata={"format": "pt"})
        written, _ = read_safetensors(path)
    params = from_torchvision(written, weights.run.network)
    for layer, leaves in weights.params.items():
        for name, array in leaves.items():
            check_same_bits(f"{layer} {name}", params.get(layer, {}).get(name), np.asarray(array))

    def compute(images: np.ndarray) -> jax.Array:
        return jax.jit(torchvision_logits)(written, network_input(weights.run, images, "NCHW"))

    return Written(
        description=_describe(weights),
        compute=compute,
        program="the file",
        engine="torchvision's layers in JAX",
        check="read back, largest difference of parameters 0; ",
        notes=_notes(weights),
    )


def torchvision_logits(arrays: dict[str, np.ndarray], images: Any) -> jax.Array:
    """Computes from a `state_dict` and float32 `[n, 3, size, size]`; shares only JAX with ours.

    Source: pytorch/vision torchvision/models/alexnet.py.
    """
    x = jnp.asarray(images)
    for module, stride, padding, pooled in (
        (0, 4, 2, True),
        (3, 1, 2, True),
        (6, 1, 1, False),
        (8, 1, 1, False),
        (10, 1, 1, True),
    ):
        weight, bias = (jnp.asarray(arrays[f"features.{module}.{n}"]) for n in ("weight", "bias"))
        edges = ((padding, padding),) * 2
        x = lax.conv_general_dilated(
            x, weight, (stride, stride), edges, dimension_numbers=("NCHW", "OIHW", "NCHW")
        )
        x = jnp.maximum(x + bias[None, :, None, None], jnp.zeros_like(x))
        if pooled:
            low = np.array(-np.inf, np.float32)
            x = lax.reduce_window(x, low, lax.max, (1, 1, 3, 3), (1, 1, 2, 2), "VALID")
    x = _adaptive_average(x, 6).reshape(x.shape[0], -1)
    for module in (1, 4, 6):
        weight, bias = (jnp.asarray(arrays[f"classifier.{module}.{n}"]) for n in ("weight", "bias"))
        x = x @ weight.T + bias[None]
        x = x if module == 6 else jnp.maximum(x, jnp.zeros_like(x))
    return x


def _adaptive_average(x: jax.Array, size: int) -> jax.Array:
    """Returns `[n, c, size, size]`: window i from floor(i h / size) to ceil((i + 1) h / size)."""
    extent = x.shape[2]
    bounds = [(i * extent // size, -(-(i + 1) * extent // size)) for i in range(size)]
    rows = jnp.stack([x[:, :, a:b].mean(axis=2) for a, b in bounds], axis=2)
    return jnp.stack([rows[:, :, :, a:b].mean(axis=3) for a, b in bounds], axis=3)


def _describe(weights: RunWeights) -> dict[str, Any]:
    facts = describe_weights(weights)
    del facts["layers"], facts["version"]
    facts["preprocessing"] |= preprocessing_values(weights.run)
    use = f"torchvision.models.alexnet(num_classes={weights.run.network.classes}).load_state_dict"
    return facts | {"format": "torchvision", "layout": LAYOUT, "check": "", "use": use}


def _notes(weights: RunWeights) -> tuple[str, ...]:
    settings = weights.run.config.preprocess
    if (settings.mean, settings.scale) == ("imagenet", "imagenet"):
        return ()
    return (
        "this run does not prepare images as torchvision does (preprocess.mean "
        f"'{settings.mean}', preprocess.scale '{settings.scale}'); the .json says how",
    )
