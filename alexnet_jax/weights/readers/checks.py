"""Do these parameters look as if they had ever been trained? Shapes alone prove nothing.

Random weights in the right shapes are a known accident. What tells them apart, measured:

- Neighbouring pixels of a trained filter resemble each other. Correlation of horizontal and
  vertical neighbours: torchvision's conv1 to conv5 0.53, 0.43, 0.38, 0.42, 0.59 and Caffe's conv1
  0.60; random, shuffled or wrongly transposed values 0.00 to 0.10. Layers that were trained for
  minutes only keep most of their noise and lie below 0.1, too.
- Trained weights have heavy tails. Excess kurtosis: torchvision's 4.8, 41, 6.0, 1.8, 1.0; a normal
  distribution 0, a uniform one -1.2, each within 0.02 for a layer of 300,000 weights.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from alexnet_jax.network.layers import Conv, Dense, Local, Network, Parametric, parametric_layers

LEAST_CORRELATION = 0.15
"""Between neighbouring pixels of trained filters, over all filters of a layer."""
_STANDARD_ERRORS = 4.0
_KURTOSIS_MARGIN = 0.05
_BLOCK = 1 << 18


class Check(NamedTuple):
    """One statistic of one layer.

    Attributes:
      layer: its name.
      statistic: what was computed.
      value: the result.
      expected: of trained weights, in words; empty: recorded only.
      passed: whether the value is what is expected.
    """

    layer: str
    statistic: str
    value: float
    expected: str
    passed: bool


def check_trained(params: Any, network: Network, layers: list[str]) -> list[Check]:
    """Returns the statistics of the named layers, with the verdict of each.

    Args:
      params: `{layer: {"kernel": …, "bias": …}}`, finite.
      network: what they belong to.
      layers: names of those that were imported.
    """
    found = []
    for layer in parametric_layers(network.layers):
        if layer.name not in layers:
            continue
        kernel = np.asarray(params[layer.name]["kernel"])
        spread, kurtosis = moments(kernel)
        relative = spread / _initial_std(layer, kernel)
        found.append(
            Check(layer.name, "deviation / initial deviation", relative, "> 0", spread > 0)
        )
        if isinstance(layer, Conv | Local) and layer.window > 1:
            found.append(_smooth(layer.name, kernel))
            found.append(Check(layer.name, "excess kurtosis", kurtosis, "", True))
        else:
            found.append(_heavy_tailed(layer, kurtosis, params[layer.name]["bias"], kernel.size))
    return found


def warning_of(checks: list[Check]) -> str:
    """Returns one line about the layers that failed, or an empty string."""
    failed = [check for check in checks if not check.passed]
    if not failed:
        return ""
    kinds = dict.fromkeys((check.statistic, check.expected) for check in failed)
    parts = []
    for kind in kinds:
        found = [f"{c.layer} {c.value:.2f}" for c in failed if (c.statistic, c.expected) == kind]
        parts.append(f"{kind[0]} {', '.join(found)} (trained: {kind[1]})")
    return (
        f"THESE WEIGHTS LOOK RANDOM, not trained: {'; '.join(parts)}; the file may hold initial, "
        "shuffled or wrongly arranged values, or those of a short training"
    )


def neighbour_correlation(kernel: np.ndarray) -> float:
    """Returns the correlation of neighbouring pixels, horizontal and vertical averaged.

    Args:
      kernel: `[…, height, width, in, out]`; 0 where nothing varies.
    """
    right = _correlation(kernel[..., :, :-1, :, :], kernel[..., :, 1:, :, :])
    below = _correlation(kernel[..., :-1, :, :, :], kernel[..., 1:, :, :, :])
    return (right + below) / 2


def moments(values: np.ndarray) -> tuple[float, float]:
    """Returns the standard deviation, and the excess kurtosis (0 where nothing varies)."""
    flat = values.ravel()
    starts = range(0, flat.size, _BLOCK)  # in blocks, so that float64 copies stay small
    mean = sum(float(flat[i : i + _BLOCK].sum(dtype=np.float64)) for i in starts) / flat.size
    second = fourth = 0.0
    for i in starts:
        squares = np.square(flat[i : i + _BLOCK].astype(np.float64) - mean)
        second += float(squares.sum()) / flat.size
        fourth += float(np.vdot(squares, squares)) / flat.size
    return math.sqrt(second), fourth / second**2 - 3 if second else 0.0


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    sums = [
        float(np.vdot(a.astype(np.float64), b.astype(np.float64)))
        for a, b in ((first, second), (first, first), (second, second))
    ]
    return sums[0] / math.sqrt(sums[1] * sums[2]) if sums[1] and sums[2] else 0.0


def _smooth(name: str, kernel: np.ndarray) -> Check:
    # Where there are few weights, chance alone can come near the threshold.
    least = max(LEAST_CORRELATION, _STANDARD_ERRORS / math.sqrt(kernel.size))
    value = neighbour_correlation(kernel)
    expected = f"{least:.2f} or more"
    return Check(name, "correlation of neighbouring pixels", value, expected, value >= least)


def _heavy_tailed(layer: Parametric, kurtosis: float, bias: Any, size: int) -> Check:
    """A dense layer has no neighbours: exactly uniform, or normal with equal biases, is random."""
    margin = max(_KURTOSIS_MARGIN, _STANDARD_ERRORS * math.sqrt(24 / size))
    equal_biases = float(np.ptp(np.asarray(bias))) == 0
    random = abs(kurtosis + 1.2) < margin or (abs(kurtosis) < margin and equal_biases)
    expected = "neither -1.2, nor 0 with equal biases"
    return Check(layer.name, "excess kurtosis", kurtosis, expected, not random)


def _initial_std(layer: Parametric, kernel: np.ndarray) -> float:
    if layer.weight_std is not None:
        return layer.weight_std
    fan_in = kernel.size // kernel.shape[-1] if isinstance(layer, Conv | Dense) else kernel.size
    return 1 / math.sqrt(3 * fan_in)  # uniform within 1/sqrt(fan_in)
