"""The check of every export: random images, and the logits of our network for them."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from alexnet_jax.errors import AlexNetError, CheckpointError, InputError
from alexnet_jax.evaluation.evaluate import make_view_step
from alexnet_jax.runs.run_weights import RunWeights

TOLERANCE = 1e-4
"""Largest difference of logits that passes, relative to the largest logit: float32 sums in another
order differ by some 1e-6; a wrong layout, window or constant by far more."""


class Written(NamedTuple):
    """What a writer returns: a file that was read back, still to be checked."""

    description: dict[str, Any]  # for the sidecar
    # uint8 `[n, s, s, 3]` to logits `[n, classes]`; None: the arrays were compared
    compute: Callable[[np.ndarray], Any] | None = None
    program: str = ""  # what computes, for messages: "the ONNX model"
    engine: str = ""  # what runs it, with its version
    check: str = ""  # what was compared before
    notes: tuple[str, ...] = ()  # for the user, one line each


def compare_logits(weights: RunWeights, written: Written, batches: tuple[int, ...]) -> str:
    """Returns what was compared, for batches of those sizes; raises `CheckpointError` otherwise."""
    compute, program, engine = written.compute, written.program, written.engine
    assert compute is not None
    images = random_images(weights.run.stored_size, max(batches))
    ours = our_logits(weights, images)
    largest = float(np.abs(ours).max())
    difference = 0.0
    for n in batches:
        with _on_cpu(), errors_of(engine, program):
            logits = np.asarray(compute(images[:n]))
        if logits.shape != ours[:n].shape:
            raise CheckpointError(
                f"{program} returns logits {list(logits.shape)} for {n} images in {engine}, not "
                f"{list(ours[:n].shape)}; nothing was kept"
            )
        difference = float(np.maximum(difference, np.abs(logits - ours[:n]).max()))  # keeps NaN
    if not difference <= TOLERANCE * largest:
        raise CheckpointError(
            f"{program} gives other logits than the run in {engine}: they differ by "
            f"{difference:.2g}, and the largest is {largest:.3g}; nothing was kept"
        )
    sizes = " and ".join(str(n) for n in batches)
    return (
        f"checked with random images in batches of {sizes} in {engine}: logits differ from ours "
        f"by {difference:.1e} at most (the largest is {largest:.3g})"
    )


def random_images(size: int, count: int) -> np.ndarray:
    """Returns uint8 `[count, size, size, 3]` with coarse and fine structure."""
    rng = np.random.default_rng(0)
    patches = rng.uniform(0, 255, (count, 8, 8, 3))
    enlarge = np.arange(size) * 8 // size
    images = patches[:, enlarge][:, :, enlarge] + rng.normal(0, 40, (count, size, size, 3))
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def our_logits(weights: RunWeights, images: np.ndarray) -> np.ndarray:
    """Returns float32 `[n, classes]` of the centre view."""
    run = weights.run
    step = make_view_step(
        run.network, run.config.preprocess, run.image_size, 1, jnp.float32, run.config.augment
    )
    with _on_cpu():
        logits = np.asarray(step(weights.params, run.inputs, images))[:, 0]
    if not np.isfinite(logits).all():
        raise CheckpointError("the logits are not finite; export another checkpoint")
    return logits


@contextlib.contextmanager
def errors_of(engine: str, program: str) -> Iterator[None]:
    try:
        yield
    except (AlexNetError, OSError, MemoryError):
        raise
    except Exception as error:
        line = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise CheckpointError(
            f"{engine} refuses {program}: {line[:300]}; nothing was kept"
        ) from error


def _on_cpu() -> Any:
    """Accelerators round float32 products."""
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:
        raise InputError(
            "an export is checked on the CPU, which JAX_PLATFORMS leaves out; add cpu to it"
        ) from None
