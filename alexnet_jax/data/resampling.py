"""Weights of pixels along one axis of an image that is shrunk or enlarged, as whole numbers."""

from typing import NamedTuple

import numpy as np

_CUBIC_TAPS = 4


class Taps(NamedTuple):
    """For each output, the first of the pixels that it weighs, and their weights."""

    starts: np.ndarray  # int64 [outputs], not below zero
    weights: np.ndarray  # int64 [outputs, taps]; zero beyond the last pixel


def area(length: int, new_length: int, outputs: np.ndarray) -> Taps:
    """Averages over windows of `length / new_length` >= 1 pixels; weights add up to `length`."""
    begin = outputs * length  # in parts of a pixel: `new_length` of them are one
    starts = begin // new_length
    pixels = starts[:, None] + np.arange(-(-length // new_length) + 1)
    covered = np.minimum((pixels + 1) * new_length, (begin + length)[:, None])
    covered -= np.maximum(pixels * new_length, begin[:, None])
    return Taps(starts, np.maximum(covered, 0))


def bicubic(length: int, new_length: int, outputs: np.ndarray, unit: int) -> Taps:
    """Keys's cubic convolution with a = -1/2, to enlarge; weights add up to `unit`.

    At the edges the weights of the pixels that exist are scaled up, as Pillow does it.
    """
    centres = (outputs + 0.5) * length / new_length
    pixels = np.floor(centres - 1.5).astype(np.int64)[:, None] + np.arange(_CUBIC_TAPS)
    distance = np.abs(pixels + 0.5 - centres[:, None])
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    weights[(pixels < 0) | (pixels >= length)] = 0
    weights = np.rint(unit * weights / weights.sum(1, keepdims=True)).astype(np.int64)
    rest = unit - weights.sum(1)
    weights[np.arange(len(outputs)), weights.argmax(1)] += rest  # flat pictures stay as they are
    # Taps before the first pixel move to the end, where they weigh nothing.
    shift = np.maximum(-pixels[:, 0], 0)
    moved = (np.arange(_CUBIC_TAPS) + shift[:, None]) % _CUBIC_TAPS
    return Taps(pixels[:, 0] + shift, np.take_along_axis(weights, moved, 1))
