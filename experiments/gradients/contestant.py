"""Contestants that compute gradients of images, or of parameters, again and again.

Options (JSON):
  network, batch.
  what: "images", or "parameters" of one training step without the update.
  form: one of `forms.FORMS`; or memory_format: "contiguous" or "channels_last", of PyTorch.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from alexnet_jax.network.networks import NETWORKS
from experiments.benchmarks import contest
from experiments.benchmarks.environment import threads

Run = Callable[[int], None]


def build(options: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """Returns what `contest.serve` asks for."""
    size = NETWORKS[options["network"]].image_size
    shape = (options["batch"], size, size, 3)
    images = 60 * np.random.default_rng(0).standard_normal(shape, np.float32)
    if "memory_format" in options:
        return _torch(options, images)
    return _jax(options, images), {}


def _jax(options: dict[str, Any], images: np.ndarray) -> Run:
    import jax
    import jax.numpy as jnp

    from alexnet_jax.network.model import AlexNet, init_params
    from experiments.gradients.forms import forms

    network = NETWORKS[options["network"]]
    params = init_params(network, network.image_size, 0)

    def loss(params, images):
        logits: Any = AlexNet(network).apply({"params": params}, images)
        return jnp.square(logits).sum()

    argument = {"parameters": 0, "images": 1}[options["what"]]
    images_ = jax.device_put(images)
    with forms(options["form"]):
        gradient = jax.jit(jax.grad(loss, argnums=argument)).lower(params, images_).compile()

    def run(iterations: int) -> None:
        for _ in range(iterations):
            jax.block_until_ready(gradient(params, images_))

    return run


def _torch(options: dict[str, Any], images: np.ndarray) -> tuple[Run, dict[str, Any]]:
    try:
        import torch
    except ImportError:
        raise contest.ContestantError("PyTorch is not installed") from None
    from experiments.benchmarks.torch_network import TorchNetwork

    torch.set_num_threads(threads())
    form = getattr(torch, f"{options['memory_format']}_format".replace("last_format", "last"))
    model: Any = TorchNetwork(NETWORKS[options["network"]]).eval().to(memory_format=form)
    pictures = torch.tensor(images).permute(0, 3, 1, 2).contiguous(memory_format=form)
    model.requires_grad_(options["what"] == "parameters")
    leaves = list(model.parameters()) if options["what"] == "parameters" else [pictures]
    pictures.requires_grad_(options["what"] == "images")

    def run(iterations: int) -> None:
        for _ in range(iterations):
            torch.autograd.grad(model(pictures).square().sum(), leaves)

    return run, {"threads": torch.get_num_threads()}


if __name__ == "__main__":
    contest.serve(build)
