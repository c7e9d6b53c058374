"""Random images and what our network makes of them: the proof of every export."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from alexnet_jax.errors import AlexNetError, CheckpointError, InputError
from alexnet_jax.evaluation.evaluate import make_view_step
from alexnet_jax.runs.weights import RunWeights

TOLERANCE = 1e-4
"""Largest difference of logits that passes, relative to the largest logit: float32 sums in another
order differ by some 1e-6; a wrong layout, window or constant by far more."""
BATCHES = (1, 3)
"""Batch sizes with which a program is called."""


class Probe(NamedTuple):
    """Images and our logits.

    Attributes:
      images: stored images, uint8 `[n, s, s, 3]`.
      logits: float32 `[n, classes]`, of the centre view in float32.
    """

    images: np.ndarray
    logits: np.ndarray


def make_probe(weights: RunWeights, seed: int = 0) -> Probe:
    """Draws images with coarse and fine structure, and computes their logits.

    Raises:
      CheckpointError: the logits are not finite.
    """
    run = weights.run
    rng = np.random.default_rng(seed)
    count, size = max(BATCHES), run.stored_size
    patches = rng.uniform(0, 255, (count, 8, 8, 3))
    enlarge = np.arange(size) * 8 // size
    images = patches[:, enlarge][:, :, enlarge] + rng.normal(0, 40, (count, size, size, 3))
    images = np.clip(np.rint(images), 0, 255).astype(np.uint8)
    step = make_view_step(
        run.network, run.config.preprocess, run.image_size, 1, jnp.float32, run.config.augment
    )
    with on_cpu():
        logits = np.asarray(step(weights.params, run.inputs, images))[:, 0]
    if not np.isfinite(logits).all():
        raise CheckpointError("the logits are not finite; export another checkpoint")
    return Probe(images, logits)


def on_cpu() -> Any:
    """Returns a context in which JAX computes on the CPU: accelerators round float32 products.

    Raises:
      InputError: JAX was told to do without CPUs.
    """
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:
        raise InputError(
            "an export is checked on the CPU, which JAX_PLATFORMS leaves out; add cpu to it"
        ) from None


@contextlib.contextmanager
def judged(what: str, by: str) -> Iterator[None]:
    """Makes one line of whatever another library says against a file.

    Raises:
      CheckpointError: for any error of that library.
    """
    try:
        yield
    except (AlexNetError, OSError, MemoryError):
        raise
    except Exception as error:
        line = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise CheckpointError(
            f"{what} is refused by {by}: {line[:300]}; nothing was kept"
        ) from error


def check(
    what: str,
    by: str,
    probe: Probe,
    call: Callable[[np.ndarray], Any],
    batches: tuple[int, ...] = BATCHES,
) -> str:
    """Calls an exported program on the images and compares its logits with ours.

    Args:
      what: the file's kind, for the error.
      by: the program that computes, with its version.
      probe: from `make_probe`.
      call: from uint8 images `[n, s, s, 3]` to logits `[n, classes]`.
      batches: sizes to call it with.

    Returns:
      What was compared, and the difference.

    Raises:
      CheckpointError: the logits have another shape, or differ by more than `TOLERANCE`.
    """
    largest = float(np.abs(probe.logits).max())
    difference = 0.0
    for n in batches:
        with on_cpu(), judged(what, by):
            logits = np.asarray(call(probe.images[:n]))
        expected = probe.logits[:n]
        if logits.shape != expected.shape:
            raise CheckpointError(
                f"{what} returns logits {list(logits.shape)} for {n} images by {by}, not "
                f"{list(expected.shape)}; nothing was kept"
            )
        difference = float(np.maximum(difference, np.abs(logits - expected).max()))  # keeps NaN
    if not difference <= TOLERANCE * largest:
        raise CheckpointError(
            f"{what} gives other logits than the run by {by}: they differ by {difference:.2g}, "
            f"the largest being {largest:.3g}; nothing was kept"
        )
    sizes = " and ".join(str(n) for n in batches)
    return (
        f"checked with random images in batches of {sizes} by {by}: logits differ from ours by "
        f"{difference:.1e} at most (the largest is {largest:.3g})"
    )
