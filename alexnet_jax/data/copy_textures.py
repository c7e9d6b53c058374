"""More candidates among finely textured pictures, whose lowest frequencies say nothing.

Stripes, cloth and grass are alike in what `copy_candidates` compares. Of these the pictures with
the most similar dark and light colours (which no turn and hardly a crop changes) are laid over each
other at every place, in eight orientations and seven sizes, by cross-correlation.
"""

import numpy as np
from PIL import Image

from alexnet_jax.data.copy_alignment import two_tones
from alexnet_jax.data.copy_candidates import Candidates

_LOW = 8  # cells across that a fine picture has little in
_FINE = 0.15  # share of the variance in these
_LEAST_DEVIATION = 4.0  # grey levels
_NEAREST = 6
_MOST_APART = 12.0  # grey levels between their colours
_SIZES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
_ROWS = 512


def is_fine(grey: np.ndarray) -> np.ndarray:
    """Says of which pictures the variance is in fine texture, bool [n].

    Args:
      grey: uint8 [n, s, s].
    """
    size = grey.shape[1] // _LOW
    answers = [np.zeros(0, bool)]
    for first in range(0, len(grey), _ROWS):
        part = grey[first : first + _ROWS].astype(np.float32)
        cells = part.reshape(len(part), _LOW, size, _LOW, size).mean((2, 4))
        whole, low = part.var((1, 2)), cells.var((1, 2))
        answers.append((whole > _LEAST_DEVIATION**2) & (low < _FINE * whole))
    return np.concatenate(answers)


def texture_candidates(grey: np.ndarray, colour: np.ndarray, asked: np.ndarray) -> Candidates:
    """Returns pairs of fine pictures with similar colours, laid over each other.

    Args:
      grey: uint8 [n, s, s].
      colour: uint8 [n, c, c, 3].
      asked: int64 [m]: pictures whose like is looked for among all.
    """
    fine = np.flatnonzero(is_fine(grey))
    levels = grey[fine].reshape(len(fine), grey.shape[1] ** 2).astype(np.float32)
    tones = two_tones(colour[fine], levels).reshape(len(fine), 6)
    pairs, maps = [np.zeros((0, 2), np.int64)], [np.zeros((0, 2, 3), np.float32)]
    for row in np.flatnonzero(np.isin(fine, asked)):
        apart = np.sqrt(((tones - tones[row]) ** 2).mean(1))
        apart[row] = np.inf
        near = np.argsort(apart, kind="stable")[:_NEAREST]
        near = near[apart[near] <= _MOST_APART]
        if len(near):
            pairs.append(np.stack([np.full(len(near), fine[row]), fine[near]], 1))
            maps.append(_best_places(grey[fine[row]], grey[fine[near]]))
    return Candidates(np.concatenate(pairs), np.concatenate(maps))


def _best_places(picture: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the maps from others, uint8 [k, s, s], to where they fit a picture best."""
    size = len(picture)
    spectrum = np.fft.rfft2(picture - picture.mean())
    best = np.full(len(others), -np.inf)
    maps = np.zeros((len(others), 2, 3), np.float32)
    for scale in _SIZES:
        length = round(scale * size)
        small = np.stack([_resized(other, length) for other in others])
        small -= small.mean((1, 2), keepdims=True)
        small /= np.maximum(small.std((1, 2), keepdims=True), 1e-3) * length**2
        for turned in (False, True):
            for across in (1, -1):
                for down in (1, -1):
                    laid = (small.transpose(0, 2, 1) if turned else small)[:, ::down, ::across]
                    product = spectrum * np.conj(np.fft.rfft2(laid, (size, size)))
                    room = size - length + 1
                    fit = np.fft.irfft2(product, (size, size))[:, :room, :room]
                    flat = fit.reshape(len(others), -1)
                    place, value = flat.argmax(1), flat.max(1)
                    better = value > best
                    best[better] = value[better]
                    top, left = place // room, place % room
                    linear = np.diag([across * length / size, down * length / size])
                    maps[better, :, :2] = linear @ [[0, 1], [1, 0]] if turned else linear
                    middle = (np.stack([left, top], 1) + length / 2) / size
                    maps[better, :, 2] = middle[better]
    return maps


def _resized(picture: np.ndarray, length: int) -> np.ndarray:
    image = Image.fromarray(picture.astype(np.float32))
    return np.asarray(image.resize((length, length), Image.Resampling.BILINEAR))
