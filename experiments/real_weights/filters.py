"""The first layer of the import beside the reference arrays of `alexnet_reference`."""

from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.weights.readers.array_checks import moments, neighbour_correlation


def compare_conv1(kernel: np.ndarray, bias: np.ndarray, file: Path) -> dict[str, Any]:
    """Returns whether conv1 is torchvision's, and statistics of it and of Caffe's.

    The kernel is float32 `[11, 11, 3, 64]`, RGB; the file is `conv1_filters.npz`.
    """
    with np.load(file) as arrays:
        reference = {name: arrays[name] for name in arrays.files}
    caffe = reference["bvlc_kernel"][:, :, ::-1]  # BGR to RGB
    random = np.random.default_rng(0).uniform(-1, 1, kernel.shape)
    banks = {
        "imported": kernel,
        "torchvision (reference)": reference["torchvision_kernel"],
        "BVLC, filters 0-47": caffe[..., :48],
        "BVLC, filters 48-95": caffe[..., 48:],
        "random": random,
    }
    return {
        "bit_equal": np.array_equal(kernel, reference["torchvision_kernel"])
        and np.array_equal(bias, reference["torchvision_bias"]),
        "banks": {name: _statistics(bank) for name, bank in banks.items()},
    }


def _statistics(bank: np.ndarray) -> dict[str, float]:
    bank = bank.astype(np.float64)
    grey = bank.mean(axis=2, keepdims=True)
    energy = np.square(bank).sum(axis=(0, 1, 2))
    colour = 1 - 3 * np.square(grey).sum(axis=(0, 1, 2)) / energy
    return {
        "filters": bank.shape[-1],
        "correlation of neighbouring pixels": neighbour_correlation(bank),
        "excess kurtosis": moments(bank)[1],
        "median share of energy that is colour": float(np.median(colour)),
    }
