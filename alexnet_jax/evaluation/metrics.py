"""Loss and errors, exact over any number of images. A metric is added in `METRICS`, and only there.

The device sums one batch in float32 (counts below 2^24 are exact), the host in Python floats.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np


class Metric(NamedTuple):
    """A number per image, and what its mean over images is called and means."""

    # (scores float [n, classes], labels int32 [n]) -> [n]
    per_image: Callable[[jax.Array, jax.Array], jax.Array]
    label: str
    is_error: bool = False  # the number is a credit within 0..1, the metric 1 - mean
    min_classes: int = 1  # with fewer it says nothing and is left out
    unit: str = ""

    @property
    def title(self) -> str:
        return f"{self.label} error" if self.is_error else self.label

    def text(self, value: float) -> str:
        """`39.00 %`, or `1.2345` where it is no error."""
        return f"{100 * value:.2f} %" if self.is_error else f"{value:.4f}"


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MetricSums:
    """Sums over images: arrays for one batch, Python floats over batches."""

    count: Any
    by_name: dict[str, Any]

    def __add__(self, batch: "MetricSums") -> "MetricSums":
        """Waits for the device."""
        added = {
            name: float(total) + float(batch.by_name[name]) for name, total in self.by_name.items()
        }
        return MetricSums(float(self.count) + float(batch.count), added)

    @property
    def loss(self) -> Any:
        return self.by_name["loss"]

    def means(self, classes: int) -> dict[str, float]:
        """Returns the metrics per image, by name: `loss` in nats, errors as fractions."""
        if not self.count:
            raise ValueError("there are no metrics of no images")
        means = {}
        for name, metric in METRICS.items():
            if name in self.by_name and classes >= metric.min_classes:
                mean = float(self.by_name[name]) / float(self.count)
                means[name] = 1 - mean if metric.is_error else mean
        return means

    def as_json(self) -> dict[str, float]:
        return {"count": self.count, **self.by_name}

    @classmethod
    def from_json(cls, stored: Mapping[str, float] | Sequence[float]) -> "MetricSums":
        """A metric newer than the checkpoint is left out; older checkpoints store a list."""
        if not isinstance(stored, Mapping):
            stored = dict(zip(("loss", "top1_error", "top5_error", "count"), stored, strict=True))
        by_name = {name: stored[name] for name in METRICS if name in stored}
        return cls(stored["count"], by_name)


def no_sums() -> MetricSums:
    return MetricSums(0.0, dict.fromkeys(METRICS, 0.0))


def batch_sums(scores: jax.Array, labels: jax.Array, mask: jax.Array | None = None) -> MetricSums:
    """Returns the sums of one batch: float32 scalars, or float64 as the scores.

    Scores are `[n, classes]`, logits or log-probabilities (which are their own logits), labels
    int32 `[n]`, `mask` bool `[n]`: False rows are padding. Another that is not finite makes the
    loss NaN.
    """
    scores = scores.astype(np.promote_types(scores.dtype, np.float32))
    if mask is None:
        mask = jnp.ones(labels.shape, bool)
    chex.assert_rank(scores, 2)
    chex.assert_shape([labels, mask], (len(scores),), custom_message="labels, mask")
    chex.assert_type(mask, bool)

    def masked_sum(values: jax.Array) -> jax.Array:  # [n] -> []
        # `where`, not a product: a padding row may hold anything, and 0 * NaN is NaN.
        return jnp.sum(jnp.where(mask, values, jnp.zeros_like(values)))

    by_name = {
        name: masked_sum(metric.per_image(scores, labels)) for name, metric in METRICS.items()
    }
    return MetricSums(masked_sum(jnp.ones(labels.shape, scores.dtype)), by_name)


def probability_sums(
    probabilities: jax.Array, labels: jax.Array, mask: jax.Array | None = None
) -> MetricSums:
    """Returns the sums of float32 `[n, classes]`, whose rows need not add up to 1 exactly.

    Labels and mask are those of `batch_sums`.
    A probability below the smallest normal float32 counts as that (a loss of 87.3), so that one
    confident mistake does not make the mean infinite.
    """
    tiny = jnp.full_like(probabilities, jnp.finfo(jnp.float32).tiny)
    return batch_sums(jnp.log(jnp.maximum(probabilities, tiny)), labels, mask)


def metrics_of(
    values: Mapping[str, float], errors: bool | None = None
) -> list[tuple[Metric, float]]:
    """Returns the metrics among `values`: only errors, only others (False), or both (None)."""
    return [
        (metric, values[name])
        for name, metric in METRICS.items()
        if name in values and errors in (None, metric.is_error)
    ]


def table_columns(classes: int | None = None) -> dict[str, Metric]:
    """Errors come first."""
    columns = sorted(METRICS.items(), key=lambda item: not item[1].is_error)
    return {name: m for name, m in columns if classes is None or classes >= m.min_classes}


def describe_errors(values: Mapping[str, float]) -> str:
    """As in `39.00 % (top-5 17.25 %)`."""
    (_, first), *others = (
        (metric.label, metric.text(value)) for metric, value in metrics_of(values, errors=True)
    )
    rest = ", ".join(" ".join(other) for other in others)
    return first + f" ({rest})" * bool(rest)


def describe_others(values: Mapping[str, float]) -> str:
    """As in `loss 1.2345`."""
    found = metrics_of(values, errors=False)
    return ", ".join(f"{metric.label} {metric.text(value)}" for metric, value in found)


def cross_entropy(scores: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns -log p(label) of each image in nats; NaN where a score of it is not finite."""
    log_probabilities = jax.nn.log_softmax(scores)  # [n, classes]
    loss = -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]  # [n]
    finite = jnp.all(jnp.isfinite(scores), axis=1)
    return jnp.where(finite, loss, jnp.full_like(loss, jnp.nan))


def credit(scores: jax.Array, labels: jax.Array, k: int) -> jax.Array:
    """Returns float32 `[n]`, 0..1: the credit for having a label among the `k` best scores.

    `slots = k - #(score > score of label)`; the credit is 0 without slots, 1 if the classes tied
    with the label (itself among them) fit into the slots, else `slots / #tied`. A row with a score
    that is not finite counts as wrong. Scores are float32 `[n, classes]`, labels int32 `[n]`.
    Source: 2012 file `layer_kernels.cu`.
    """
    k = min(k, scores.shape[1])
    own = jnp.take_along_axis(scores, labels[:, None], axis=1)  # [n, 1]
    slots = k - jnp.sum(scores > own, axis=1, dtype=jnp.int32)  # [n]
    tied = jnp.maximum(jnp.sum(scores == own, axis=1, dtype=jnp.int32), 1)
    share = jnp.clip(slots.astype(jnp.float32) / tied.astype(jnp.float32), 0.0, 1.0)
    return jnp.where(jnp.all(jnp.isfinite(scores), axis=1), share, jnp.zeros_like(share))


MAIN_ERROR = "top1_error"
"""The metric that selects the best checkpoint, ends plateaus and heads the report."""

METRICS = {
    "loss": Metric(cross_entropy, "loss", unit="nats per image"),
    MAIN_ERROR: Metric(functools.partial(credit, k=1), "top-1", is_error=True),
    # With five classes or fewer no answer among five is wrong.
    "top5_error": Metric(functools.partial(credit, k=5), "top-5", is_error=True, min_classes=6),
}
"""What is measured in training and in tests, by its name in `metrics.jsonl` (`train/loss`, …)."""


def confusion_matrix(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns int64 `[label, answer]` counts of images; the answer is the first of equals.

    Probabilities are `[n, classes]`, labels int `[n]`.
    """
    classes = probabilities.shape[1]
    cells = labels.astype(np.int64) * classes + probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)
