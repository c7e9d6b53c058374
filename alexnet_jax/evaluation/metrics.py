"""Loss and top-1/top-5 errors, exact over any number of images.

The device sums one batch in float32 (counts below 2^24 are exact); the host adds batches up in
Python floats.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np


class Sums(NamedTuple):
    """Sums over images: float32 scalars for one batch, Python floats over batches.

    Attributes:
      loss: sum of -log p(label), in nats.
      top1, top5: credit for correct answers, fractional on ties.
      count: images.
    """

    loss: Any
    top1: Any
    top5: Any
    count: Any


ZERO = Sums(0.0, 0.0, 0.0, 0.0)


def add(total: Sums, sums: Sums) -> Sums:
    """Returns `total + sums` in Python floats (waits for the device)."""
    return Sums(*(float(a) + float(b) for a, b in zip(total, sums, strict=True)))


def means(sums: Sums, classes: int) -> dict[str, float]:
    """Returns `loss` in nats, `top1_error` and `top5_error` as fractions, per image.

    With five classes or fewer no answer among five is wrong, and there is no `top5_error`.

    Args:
      sums: over any number of images.
      classes: that the answers are among.
    """
    loss, top1, top5, count = (float(value) for value in sums)
    if not count:
        raise ValueError("means of no images")
    errors = {"loss": loss / count, "top1_error": 1 - top1 / count}
    return errors | ({"top5_error": 1 - top5 / count} if classes > 5 else {})


def describe_errors(values: Mapping[str, float]) -> str:
    """Returns the errors of `means` in percent, as in `39.00 % (top-5 17.25 %)`."""
    text = f"{100 * values['top1_error']:.2f} %"
    top5 = values.get("top5_error")
    return text if top5 is None else f"{text} (top-5 {100 * top5:.2f} %)"


def credit(scores: jax.Array, labels: jax.Array, k: int) -> jax.Array:
    """Returns the credit of each image for having its label among the `k` best scores.

    `slots = k - #(score > score of label)`; the credit is 0 without slots, 1 if the classes tied
    with the label (itself among them) fit into the slots, else `slots / #tied`. With fewer than
    `k` classes, `k` is their number. A row with a score that is not finite counts as wrong.

    Args:
      scores: float32 `[n, classes]`; anything increasing with the probability.
      labels: int32 `[n]`.
      k: number of answers, 1 or more.

    Returns:
      float32 `[n]`, within 0..1.

    Source: 2012 file `layer_kernels.cu`.
    """
    k = min(k, scores.shape[1])
    own = jnp.take_along_axis(scores, labels[:, None], axis=1)
    slots = k - jnp.sum(scores > own, axis=1, dtype=jnp.int32)
    tied = jnp.maximum(jnp.sum(scores == own, axis=1, dtype=jnp.int32), 1)
    share = jnp.clip(slots.astype(jnp.float32) / tied.astype(jnp.float32), 0.0, 1.0)
    return jnp.where(jnp.all(jnp.isfinite(scores), axis=1), share, jnp.zeros_like(share))


def batch_sums(scores: jax.Array, labels: jax.Array, mask: jax.Array | None = None) -> Sums:
    """Returns the sums of one batch.

    Args:
      scores: float `[n, classes]`, logits or log-probabilities (which are their own logits).
      labels: int32 `[n]`.
      mask: bool `[n]`; False rows are padding and count nowhere. None: all count.

    Returns:
      `Sums` of float32 scalars, or float64 as the scores. A counted row that is not finite makes
      the loss NaN.
    """
    scores = scores.astype(np.promote_types(scores.dtype, np.float32))
    if mask is None:
        mask = jnp.ones(labels.shape, bool)
    chex.assert_rank(scores, 2)
    chex.assert_shape([labels, mask], (len(scores),), custom_message="labels, mask")
    chex.assert_type(mask, bool)
    log_probabilities = jax.nn.log_softmax(scores)
    loss = -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]
    finite = jnp.all(jnp.isfinite(scores), axis=1)
    loss = jnp.where(finite, loss, jnp.full_like(loss, jnp.nan))
    values = (loss, credit(scores, labels, 1), credit(scores, labels, 5), jnp.ones_like(loss))
    # `where`, not a product: a padding row may hold anything, and 0 * NaN is NaN.
    return Sums(*(jnp.sum(jnp.where(mask, value, jnp.zeros_like(value))) for value in values))


def probability_sums(
    probabilities: jax.Array, labels: jax.Array, mask: jax.Array | None = None
) -> Sums:
    """Returns the sums of one batch from probabilities, e.g. averaged ones.

    A probability below the smallest normal float32 counts as that (a loss of 87.3), so that one
    confident mistake does not make the mean infinite.

    Args:
      probabilities: float32 `[n, classes]`; a row need not add up to 1 exactly.
      labels: int32 `[n]`.
      mask: bool `[n]`, see `batch_sums`.
    """
    tiny = jnp.full_like(probabilities, jnp.finfo(jnp.float32).tiny)
    return batch_sums(jnp.log(jnp.maximum(probabilities, tiny)), labels, mask)


def confusion_matrix(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts images by label and answer.

    Args:
      probabilities: float `[n, classes]`; the answer is the most probable class, the first of
        equals.
      labels: int `[n]`.

    Returns:
      int64 `[classes, classes]`: row = label, column = answer. Adds up to n.
    """
    classes = probabilities.shape[1]
    cells = labels.astype(np.int64) * classes + probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)
