"""How good parameters are on a split: every image exactly once, one compiled program."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from alexnet_jax.config import AugmentConfig, PreprocessConfig
from alexnet_jax.data.pipeline import evaluation_batches
from alexnet_jax.data.preprocess import Inputs, preprocess
from alexnet_jax.data.stream import Batch, ExampleSource
from alexnet_jax.errors import DataError
from alexnet_jax.evaluation import metrics
from alexnet_jax.evaluation.views import View, choose_views, cut_views
from alexnet_jax.network import placement, towers
from alexnet_jax.network.compilation import jit
from alexnet_jax.network.layers import Network
from alexnet_jax.network.model import AlexNet
from alexnet_jax.network.modules import DATA
from alexnet_jax.runs.run_folder import Run

PredictStep = Callable[..., jax.Array]

_MIRRORED = AugmentConfig()
_batch_sums = jit(metrics.probability_sums)


@dataclass(frozen=True)
class Evaluation:
    """The result of a test: `values` by their names in `metrics.METRICS`."""

    values: dict[str, float]
    count: int
    labels: np.ndarray  # int32 [count], in the split's order
    probabilities: np.ndarray | None = None  # float32 [count, classes]; None: not kept

    @property
    def loss(self) -> float:
        """Mean -log p(label) of the (averaged) probabilities, in nats."""
        return self.values["loss"]

    @property
    def top1_error(self) -> float:
        """A fraction; ties are counted as in `metrics.credit`."""
        return self.values[metrics.MAIN_ERROR]

    @property
    def top5_error(self) -> float | None:
        """A fraction; None with five classes or fewer."""
        return self.values.get("top5_error")


def make_view_step(
    network: Network,
    preprocess_config: PreprocessConfig,
    image_size: int,
    views: int = 1,
    dtype: Any = jnp.float32,
    augment: AugmentConfig = _MIRRORED,
    capture: str | tuple[str, ...] | None = None,
    mesh: Mesh | None = None,
) -> Callable[[Any, Inputs, Any], Any]:
    """As `make_predict_step`, but returns float32 `[n, views, …]` outputs of each view.

    `capture` names a layer, or layers (on one device) for a dictionary of outputs; None: logits.
    """
    forward = None if mesh is None else towers.make_forward(network, dtype, mesh)

    def step(params: Any, inputs: Inputs, images: jax.Array) -> Any:
        chex.assert_rank(images, 4)
        chex.assert_shape(images, (None, images.shape[1], images.shape[1], 3))
        chex.assert_type(images, np.uint8)
        chosen = choose_views(images.shape[1], image_size, views, augment.mirror)
        # All views of the micro-batch go through the network as one batch, those of an image side
        # by side, so that replicas have whole images.
        cut = jnp.moveaxis(cut_views(images, image_size, chosen), 0, 1)
        flat = cut.reshape(-1, *cut.shape[2:])
        offsets, flips = _windows(chosen, images.shape[0])
        ready = preprocess(
            inputs,
            flat,
            colour=None,
            offsets=offsets,
            flips=flips,
            colour_on=None,
            config=(preprocess_config, augment),
        )
        if forward is not None:
            outputs = forward(params, ready, capture=capture)
        else:
            module = AlexNet(network, dtype)
            outputs = module.apply({"params": params}, ready, train=False, capture=capture)
        shape = (images.shape[0], len(chosen))
        return jax.tree.map(lambda x: jnp.asarray(x).reshape(*shape, *x.shape[1:]), outputs)

    return jit(step)


def make_predict_step(
    network: Network,
    preprocess_config: PreprocessConfig,
    image_size: int,
    views: int = 1,
    dtype: Any = jnp.float32,
    augment: AugmentConfig = _MIRRORED,
    mesh: Mesh | None = None,
) -> PredictStep:
    """Returns the jitted function `f(params, inputs, images) -> probabilities`.

    The images are stored ones, uint8 `[n, stored_size, stored_size, 3]`, the result float32
    `[n, classes]`, the mean over 1 or 10 views (paper §4.1; attribute `views`). With `mean="image"`
    every view loses the centre window of the mean image, as in 2012; without `augment.mirror` none
    is mirrored. On a mesh params come from `placement.put`, images from `placement.batch_putter`,
    and the result lies whole on every device.
    """
    view_step = make_view_step(
        network, preprocess_config, image_size, views, dtype, augment, mesh=mesh
    )

    def step(params: Any, inputs: Inputs, images: jax.Array) -> jax.Array:
        logits = view_step(params, inputs, images)
        # Not `softmax`, which XLA's CPU backend fuses into the dense layers, and slows them down.
        log_total = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
        return jnp.mean(jnp.exp(logits - log_total), axis=1)

    predict_step = jit(step, out_shardings=mesh and placement.whole_sharding(mesh))
    predict_step.views = views  # type: ignore[attr-defined]
    return predict_step


def make_run_predict_step(
    run: Run, views: int, mesh: Mesh | None, compute_dtype: str = ""
) -> PredictStep:
    """Returns `make_predict_step` for a run; an empty dtype is that of its training."""
    config = run.config
    dtype = jnp.dtype(compute_dtype or config.compute_dtype)
    return make_predict_step(
        run.network, config.preprocess, run.image_size, views, dtype, config.augment, mesh
    )


def _windows(views: tuple[View, ...], count: int) -> tuple[jax.Array, jax.Array]:
    """Returns offsets int32 `[count * views, 2]` and flips bool `[count * views]`."""
    offsets = np.tile(np.array([(v.y, v.x) for v in views], np.int32), (count, 1))
    flips = np.tile(np.array([v.mirrored for v in views], bool), count)
    return jnp.asarray(offsets), jnp.asarray(flips)


def evaluate(
    predict_step: PredictStep,
    params: Any,
    inputs: Inputs,
    split: ExampleSource,
    batch_size: int,
    *,
    keep_probabilities: bool = True,
    progress: Callable[[int, int], None] | None = None,
    mesh: Mesh | None = None,
) -> Evaluation:
    """Tests parameters on a complete split.

    `batch_size` counts network inputs: with ten views a tenth as many images; on a mesh it is
    rounded up so that every replica has as many. Probabilities take 4 bytes x images x classes of
    memory. `progress` is called with (images done, images). Raises `DataError` where the batches
    held more or fewer images than the split.
    """
    # Once, not at every batch: parameters that come from a file are NumPy arrays.
    if mesh is None:
        params, inputs = jax.device_put((params, inputs))
    micro_batch = max(1, batch_size // getattr(predict_step, "views", 1))
    replicas = 1 if mesh is None else mesh.shape[DATA]
    micro_batch = -(-micro_batch // replicas) * replicas
    put = np.asarray if mesh is None else placement.batch_putter(mesh, micro_batch)
    rows = placement.own_rows(mesh, micro_batch)
    total, kept, labels = metrics.no_sums(), [], []
    classes = 0
    pending: tuple | None = None

    def collect(batch: Batch, probabilities: jax.Array, sums: metrics.MetricSums) -> None:
        nonlocal total
        mask = np.asarray(batch.mask)
        total += sums
        labels.append(np.asarray(batch.labels)[mask])
        if keep_probabilities:
            kept.append(np.asarray(probabilities)[mask])
        if progress is not None:
            progress(int(total.count), split.num_examples)

    for batch in evaluation_batches(split, micro_batch, rows=rows):
        probabilities = predict_step(params, inputs, put(batch.images))
        sums, classes = _batch_sums(probabilities, batch.labels, batch.mask), probabilities.shape[1]
        # One batch behind, so that the host decodes while the device computes.
        if pending is not None:
            collect(*pending)
        pending = (batch, probabilities, sums)
    if pending is not None:
        collect(*pending)
    return _result(total, labels, kept if keep_probabilities else None, split.num_examples, classes)


def _result(
    total: metrics.MetricSums,
    labels: list[np.ndarray],
    kept: list[np.ndarray] | None,
    expected: int,
    classes: int,
) -> Evaluation:
    count = int(total.count)
    if count != expected or not count:
        raise DataError(
            f"the test saw {count} images, but the split has {expected}; prepare the data again"
        )
    return Evaluation(
        total.means(classes),
        count,
        labels=np.concatenate(labels).astype(np.int32),
        probabilities=None if kept is None else np.concatenate(kept).astype(np.float32),
    )


def evaluation_of(
    probabilities: np.ndarray, labels: np.ndarray, chunk_size: int = 4096
) -> Evaluation:
    """Evaluates float32 `[n, classes]` against int `[n]`, `chunk_size` images at a time."""
    total = metrics.no_sums()
    for start in range(0, len(labels), chunk_size):
        stop = start + chunk_size
        total += _batch_sums(probabilities[start:stop], labels[start:stop].astype(np.int32))
    return _result(total, [labels], [probabilities], len(labels), probabilities.shape[1])
