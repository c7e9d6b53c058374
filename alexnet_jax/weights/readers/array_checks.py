"""Checks of imported arrays: finite, and trained.

Shapes alone prove nothing: random weights in the right shapes are a known accident. Measured:

- Correlation of neighbouring pixels: torchvision's conv1 to conv5 0.53, 0.43, 0.38, 0.42, 0.59,
  Caffe's conv1 0.60; random, shuffled, wrongly transposed or hardly trained ones 0.00 to 0.10.
- Excess kurtosis: torchvision's 4.8, 41, 6.0, 1.8, 1.0; a normal distribution 0, a uniform one
  -1.2, each within 0.02 for a layer of 300,000 weights.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Conv, Dense, Local, Network, Parametric, parametric_layers

MIN_CORRELATION = 0.15
_STANDARD_ERRORS = 4.0
_KURTOSIS_MARGIN = 0.05
_BLOCK_VALUES = 1 << 18  # float64 copies stay small


class ArrayCheck(NamedTuple):
    """One statistic of one layer; without `expected` it is only recorded."""

    layer: str
    statistic: str
    value: float
    expected: str
    passed: bool


def check_floats(arrays: dict[str, np.ndarray], file_name: str) -> None:
    """Raises `InputError` for the first array that is not floating-point, or not finite."""
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            raise InputError(
                f"{file_name}: '{name}' has type {array.dtype}, not a floating-point one"
            )
        if not np.isfinite(array).all():
            raise InputError(
                f"{file_name}: '{name}' has values that are not finite; the training diverged or "
                "the file is damaged: get another"
            )


def check_trained(params: Any, network: Network, layers: list[str]) -> list[ArrayCheck]:
    checks = []
    for layer in parametric_layers(network.layers):
        if layer.name not in layers:
            continue
        kernel = np.asarray(params[layer.name]["kernel"])
        spread, kurtosis = moments(kernel)
        ratio = spread / _initial_std(layer, kernel)
        statistic = "deviation / initial deviation"
        checks.append(ArrayCheck(layer.name, statistic, ratio, "> 0", spread > 0))
        if isinstance(layer, Conv | Local) and layer.window > 1:
            checks.append(_check_smooth(layer.name, kernel))
            checks.append(ArrayCheck(layer.name, "excess kurtosis", kurtosis, "", True))
        else:
            bias = np.asarray(params[layer.name]["bias"])
            checks.append(_check_tails(layer.name, kurtosis, bias, kernel.size))
    return checks


def random_weights_warning(checks: list[ArrayCheck]) -> str:
    failed = [check for check in checks if not check.passed]
    parts = []
    for statistic, expected in dict.fromkeys((c.statistic, c.expected) for c in failed):
        group = [c for c in failed if (c.statistic, c.expected) == (statistic, expected)]
        values = [f"{check.layer} {check.value:.2f}" for check in group]
        parts.append(f"{statistic} {', '.join(values)} (trained: {expected})")
    if not failed:
        return ""
    return (
        f"THESE WEIGHTS LOOK RANDOM, not trained: {'; '.join(parts)}; the file may hold initial, "
        "shuffled or wrongly arranged values, or those of a short training"
    )


def neighbour_correlation(kernel: np.ndarray) -> float:
    """Returns the mean correlation in `[…, y, x, in, out]`, -1 to 1; 0 if nothing varies."""
    right = _correlation(kernel[..., :, :-1, :, :], kernel[..., :, 1:, :, :])
    below = _correlation(kernel[..., :-1, :, :, :], kernel[..., 1:, :, :, :])
    return (right + below) / 2


def moments(values: np.ndarray) -> tuple[float, float]:
    """Returns the standard deviation and the excess kurtosis (0 if nothing varies)."""
    flat = values.ravel()
    starts = range(0, flat.size, _BLOCK_VALUES)
    mean = sum(float(flat[i : i + _BLOCK_VALUES].sum(dtype=np.float64)) for i in starts) / flat.size
    second = fourth = 0.0
    for i in starts:
        squares = np.square(flat[i : i + _BLOCK_VALUES].astype(np.float64) - mean)
        second += float(squares.sum()) / flat.size
        fourth += float(np.vdot(squares, squares)) / flat.size
    return math.sqrt(second), fourth / second**2 - 3 if second else 0.0


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    both, ones, others = (
        float(np.vdot(a.astype(np.float64), b.astype(np.float64)))
        for a, b in ((first, second), (first, first), (second, second))
    )
    return both / math.sqrt(ones * others) if ones and others else 0.0


def _check_smooth(layer: str, kernel: np.ndarray) -> ArrayCheck:
    # With few weights, chance alone can come near the threshold.
    least = max(MIN_CORRELATION, _STANDARD_ERRORS / math.sqrt(kernel.size))
    value = neighbour_correlation(kernel)
    statistic = "correlation of neighbouring pixels"
    return ArrayCheck(layer, statistic, value, f"{least:.2f} or more", value >= least)


def _check_tails(layer: str, kurtosis: float, bias: np.ndarray, size: int) -> ArrayCheck:
    """A dense layer has no neighbours: exactly uniform, or normal with equal biases, is random."""
    margin = max(_KURTOSIS_MARGIN, _STANDARD_ERRORS * math.sqrt(24 / size))
    is_uniform = abs(kurtosis + 1.2) < margin
    is_initial = abs(kurtosis) < margin and float(np.ptp(bias)) == 0
    expected = "neither -1.2, nor 0 with equal biases"
    return ArrayCheck(layer, "excess kurtosis", kurtosis, expected, not (is_uniform or is_initial))


def _initial_std(layer: Parametric, kernel: np.ndarray) -> float:
    if layer.weight_std is not None:
        return layer.weight_std
    fan_in = kernel.size // kernel.shape[-1] if isinstance(layer, Conv | Dense) else kernel.size
    return 1 / math.sqrt(3 * fan_in)  # uniform within 1/sqrt(fan_in)
