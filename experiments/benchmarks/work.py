"""What there is to compute: the experiment behind a network, and its multiply-adds."""

from alexnet_jax.config import Config
from alexnet_jax.network.layers import Parametric, summarize
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.presets import PRESETS

BOUND_SIZE = 3072
"""Rows and columns of the float32 matrices whose product is the bound."""


def gflop_of_product(size: int) -> float:
    """Returns the arithmetic of a product of two `size` x `size` matrices in GFLOP."""
    return 2 * size**3 / 1e9


def experiment(network: str) -> Config:
    """Returns the preset that trains `network`; the `imagenet` preset where none does."""
    presets = [config for config in PRESETS.values() if config.network == network]
    # Of several, the one that ran for publication and not on somebody's folder of photos.
    presets.sort(key=lambda config: config.data.source_kind == "folder")
    return presets[0] if presets else PRESETS["imagenet"]


def image_size(network: str) -> int:
    return NETWORKS[network].image_size


def stored_size(network: str) -> int:
    """Returns height and width of the stored images that `network` is tested on."""
    return max(experiment(network).data.stored_size, image_size(network))


def gflop(network: str, what: str) -> float:
    """Returns the arithmetic of one image in GFLOP, a multiply-add counted as two.

    Convolutions and dense layers only. Training is three times the forward pass, without the
    gradient of the images.
    """
    macs = [
        layer.macs for layer in summarize(NETWORKS[network]) if isinstance(layer.layer, Parametric)
    ]
    passes = 3 * sum(macs) - macs[0] if what == "train" else sum(macs)
    return 2 * passes / 1e9
