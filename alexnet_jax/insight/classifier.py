"""A trained network in use: probabilities, predictions and features of any images."""

import functools
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from alexnet_jax.config import (
    AS_VIEWED,
    Appearance,
    AugmentConfig,
    Colours,
    Orientation,
    PreprocessConfig,
)
from alexnet_jax.data.decode import BadImageError
from alexnet_jax.data.preprocess import Inputs, centre_arrays
from alexnet_jax.errors import InputError, did_you_mean
from alexnet_jax.evaluation.evaluate import make_predict_step, make_view_step
from alexnet_jax.evaluation.views import centre_offset
from alexnet_jax.insight.images import (
    Unreadable,
    UserImage,
    UserImages,
    as_sequence,
    name_of,
    read_image,
)
from alexnet_jax.network.layers import Activation, Network, Parametric, layer_names
from alexnet_jax.network.model import AlexNet
from alexnet_jax.runs.weights import RunWeights, load_weights

_LARGEST_BATCH = 64


class Prediction(NamedTuple):
    """One answer: the class's name, its number (column of the outputs), its probability."""

    label: str
    index: int  # pyright: ignore[reportIncompatibleMethodOverride]
    probability: float


class Classifier:
    """A network with its parameters, preprocessing and class names.

    Images may be paths, bytes of image files, Pillow images, uint8 arrays `[n, height, width, 3]`,
    or a list of such with `[height, width, 3]` arrays. They are brought to the form of the training
    images: upright by EXIF and in a viewer's colours where those were, shorter side to
    `stored_size`, central square; then the views are cut.

    Every method takes `unreadable`: None raises `InputError` at the first file that cannot be
    read; a list collects those files instead, and the result has rows for the others only. `apply`
    takes arrays that `preprocess` has made of images, so that gradients may flow through it.

    Attributes:
      network: with the run's number of classes.
      params: `{layer: {"kernel": float32, "bias": float32}}`, JAX arrays on one device.
      mean: float32 `[image_size, image_size, 3]` or `[3]`, NumPy, in units of 0..255.
      scale: float32 `[3]`, NumPy; the centre view x, RGB 0..255, enters as `(x - mean) / scale`.
      class_names: in the order of the outputs.
      image_size: height and width of the network's input in pixels.
      stored_size: height and width that photos are brought to before the views are cut.
      appearance: which way up and in which colours photos are shown to the network.
    """

    def __init__(
        self,
        network: Network,
        params: Any,
        inputs: Inputs,
        class_names: Sequence[str],
        *,
        image_size: int,
        stored_size: int,
        preprocess_config: PreprocessConfig,
        augment: AugmentConfig,
        appearance: Appearance = AS_VIEWED,
        dtype: Any = jnp.float32,
        batch_size: int = _LARGEST_BATCH,
    ):
        """See `load`; `batch_size` is the number of network inputs at once."""
        self.network = network
        self.class_names = tuple(class_names)
        self.image_size = image_size
        self.stored_size = stored_size
        self.appearance = appearance
        self.mean, self.scale = centre_arrays(inputs, preprocess_config, image_size)
        self.params, self._inputs = jax.device_put((params, inputs))
        self._batch_size = batch_size
        settings = (network, preprocess_config, image_size)
        self._predict_step = functools.cache(
            lambda views: make_predict_step(*settings, views, dtype, augment)
        )
        self._view_step = functools.cache(lambda: make_view_step(*settings, 10, dtype, augment))
        self.mirrored_views = augment.mirror
        self._feature_step = functools.cache(
            lambda capture: make_view_step(*settings, 1, dtype, augment, capture)
        )
        self._apply_module = jax.jit(AlexNet(network, dtype).apply, static_argnames="capture")

    def probabilities(
        self, images: UserImages, views: int = 1, unreadable: list[Unreadable] | None = None
    ) -> np.ndarray:
        """Returns float32 `[n, classes]`, rows in the order of the images.

        Args:
          images: see the class.
          views: 1 is the centre; 10 are the paper's corners, centre and mirrors, averaged, as far
            as they differ and training mirrors (`evaluation.views.choose_views`).
          unreadable: see the class.
        """
        rows = list(self._outputs(self._predict_step(views), images, views, unreadable))
        empty = np.empty((0, self.network.classes), np.float32)
        return np.concatenate(rows) if rows else empty

    def preprocess(
        self, images: UserImages, unreadable: list[Unreadable] | None = None
    ) -> np.ndarray:
        """Returns what `apply` takes: the centre views less `mean`, divided by `scale`.

        Args:
          images: see the class.
          unreadable: see the class.

        Returns:
          float32 `[n, image_size, image_size, 3]`.
        """
        start = centre_offset(self.stored_size, self.image_size)
        window = slice(start, start + self.image_size)

        def step(params: Any, inputs: Inputs, stored: np.ndarray) -> np.ndarray:
            return (stored[:, window, window].astype(np.float32) - self.mean) / self.scale

        empty = np.empty((0, self.image_size, self.image_size, 3), np.float32)
        return np.concatenate([empty, *self._outputs(step, images, 1, unreadable)])

    def apply(self, images: Any, layer: str | None = None) -> jax.Array:
        """Returns the logits of preprocessed images; may be jitted, mapped and differentiated.

        In a program that is jitted around it the parameters are constants; to hand them over as
        an argument, jit `AlexNet(network).apply` and give it `{"params": params}`. Gradients are
        in reverse (`grad`, `vjp`, `jacrev`): the convolutions define no forward ones.

        Args:
          images: float `[n, image_size, image_size, 3]`, from `preprocess`, or
            `(x - mean) / scale` of RGB values x in 0..255.
          layer: whose activations are wanted instead, named as in `features`.

        Returns:
          float32 `[n, classes]`, or the activations of `layer`.

        Raises:
          InputError: no array, one of another shape, or of integers, or there is no such layer.

        >>> classifier = load("runs")
        >>> images = classifier.preprocess(["photo.jpg"])
        >>> jax.grad(lambda x: classifier.apply(x)[0, 3])(images).shape == images.shape
        True
        """
        try:
            images = jnp.asarray(images)
        except (TypeError, ValueError):  # paths, or arrays of several shapes
            raise InputError(
                f"images should be one array of floats, not {type(images).__name__}: give photos "
                "to `preprocess`, and what it returns to `apply`"
            ) from None
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise InputError(
                f"images should be preprocessed floats, not {images.dtype}: give them to "
                "`preprocess`, or subtract `mean` and divide by `scale`"
            )
        size, shape = self.image_size, list(images.shape)
        if len(shape) != 4 or shape[1:] != [size, size, 3]:
            hint = "; add an axis in front: images[None]" if shape == [size, size, 3] else ""
            raise InputError(f"images should be [n, {size}, {size}, 3], not {shape}{hint}")
        if not shape[0]:  # which the module's layers do not take
            return self.apply(jnp.zeros((1, size, size, 3), images.dtype), layer)[:0]
        capture = None if layer is None else capture_name(self.network, layer)
        return self._apply_module({"params": self.params}, images, capture=capture)

    def view_probabilities(self, images: UserImages) -> np.ndarray:
        """Returns the probabilities of each view (`evaluation.views.choose_views`, of ten).

        Args:
          images: see the class.

        Returns:
          float32 `[n, views, classes]`; fewer than ten where some coincide, or none is mirrored.
        """
        rows = list(self._outputs(self._view_step(), images, 10, None))
        logits = np.concatenate(rows).astype(np.float64)
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return (odds / odds.sum(axis=-1, keepdims=True)).astype(np.float32)

    def kernel(self, layer: str) -> np.ndarray | None:
        """Returns the weights of a layer, float32; None where no layer of this name has any.

        Args:
          layer: e.g. `conv1`, whose weights are `[height, width, 3, filters]`.
        """
        leaves = self.params.get(layer)
        return None if leaves is None else np.asarray(leaves["kernel"], np.float32)

    def predict(
        self,
        images: UserImages,
        top_k: int = 5,
        views: int = 1,
        unreadable: list[Unreadable] | None = None,
    ) -> list[list[Prediction]]:
        """Returns the `top_k` most probable classes of each image, best first.

        Args:
          images: see the class.
          top_k: answers per image; no more than there are classes.
          views: see `probabilities`.
          unreadable: see the class.

        >>> answers = load("runs").predict(["photo.jpg", PIL.Image.open("photo.jpg")], top_k=3)
        >>> len(answers), len(answers[0]), answers[0] == answers[1]
        (2, 3, True)
        """
        if top_k < 1:
            raise InputError(f"top_k should be at least 1, not {top_k}")
        probabilities = self.probabilities(images, views, unreadable)
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
        return [
            [Prediction(self.class_names[i], int(i), float(row[i])) for i in order]
            for row, order in zip(probabilities, best, strict=True)
        ]

    def features(
        self,
        images: UserImages,
        layer: str | Sequence[str] = "fc7",
        before_relu: bool = False,
        unreadable: list[Unreadable] | None = None,
    ) -> Any:
        """Returns the activations of a layer, or of several, in the centre view, dropout off.

        Args:
          images: see the class.
          layer: any name in `layer_names(network.layers)`. A layer with weights means its output
            after the nonlinearity that directly follows it (paper §6: the 4096 of `fc7`), with
            `:linear` after the name the linear response (`fc7:linear`); `norm1` and `pool1` are
            after normalization and pooling. Several names are computed in one pass.
          before_relu: of every layer with weights, the linear response.
          unreadable: see the class.

        Returns:
          float32 `[n, height, width, channels]` or `[n, features]`; of several layers a dictionary
          of such by the names given.

        Raises:
          InputError: the network has no such layer.

        >>> found = load("runs").features(["photo.jpg"], layer=["conv1:linear", "pool2", "fc7"])
        >>> {name: values.shape for name, values in found.items()}
        {'conv1:linear': (1, 12, 12, 24), 'pool2': (1, 3, 3, 64), 'fc7': (1, 256)}
        """
        names = (layer,) if isinstance(layer, str) else tuple(dict.fromkeys(layer))
        if not names:
            raise InputError("no layer is named; give one or more, e.g. 'fc7'")
        wanted = {name: capture_name(self.network, name, before_relu) for name in names}
        step = self._feature_step(tuple(sorted(set(wanted.values()))))
        parts = list(self._outputs(step, images, 1, unreadable))
        found = {}
        for name, captured in wanted.items():
            rows = [part[captured][:, 0] for part in parts]
            shape = (0, *self.feature_shape(name, before_relu))
            found[name] = np.concatenate(rows) if rows else np.empty(shape, np.float32)
        return found[layer] if isinstance(layer, str) else found

    def feature_shape(self, layer: str = "fc7", before_relu: bool = False) -> tuple[int, ...]:
        """Returns the shape of a layer's activations for one image; see `features`.

        Args:
          layer: name of a layer.
          before_relu: the linear response; it has the same shape.
        """
        captured = capture_name(self.network, layer, before_relu)
        blank = np.zeros((1, self.stored_size, self.stored_size, 3), np.uint8)
        step = self._feature_step((captured,))
        return jax.eval_shape(step, self.params, self._inputs, blank)[captured].shape[2:]

    def _outputs(
        self,
        step: Callable[[Any, Inputs, Any], Any],
        images: UserImages,
        views: int,
        unreadable: list[Unreadable] | None,
    ) -> Iterator[Any]:
        """Yields the outputs of one batch after the other, without padding."""
        sequence = as_sequence(images)
        batch_size = max(1, min(self._batch_size // views, _power_of_two(len(sequence))))
        read = functools.partial(read_image, size=self.stored_size, appearance=self.appearance)
        for stored in _stored_batches(sequence, read, batch_size, unreadable):
            # One shape for all batches, so that only one program is compiled.
            padding = [(0, batch_size - len(stored)), (0, 0), (0, 0), (0, 0)]
            output = step(self.params, self._inputs, np.pad(stored, padding))
            count = len(stored)
            yield jax.tree.map(lambda x, count=count: np.asarray(x)[:count], output)


def load(
    workdir: str | Path,
    checkpoint: str | int = "best",
    compute_dtype: str = "",
    orientation: Orientation | None = None,
    colours: Colours | None = None,
) -> Classifier:
    """Returns the classifier that a run folder holds.

    Args:
      workdir: run folder; its data set need not be there.
      checkpoint: `best` (lowest validation error), `last`, or a step.
      compute_dtype: type of the activations, float32 or bfloat16; empty: that of the training.
      orientation: which way up photos are shown to the network, `upright` as their EXIF says or
        as `stored` in the file; None: as in training.
      colours: in which colours, `shown` as by a viewer (profile, transparency) or as `stored` in
        the file; None: as in training.

    Raises:
      InputError: no run there.
      CheckpointError: the checkpoint is missing or damaged.

    >>> classifier = load("runs")
    >>> classifier.probabilities(["photo.jpg"], views=10).shape
    (1, 10)
    """
    weights = load_weights(workdir, checkpoint)
    run = weights.run
    fresh = run.info.get("import", {}).get("layers", {}).get("fresh")
    if fresh:
        warnings.warn(
            f"{run.workdir} was imported without {', '.join(fresh)}, which have random values: "
            "features of the layers before them are good, predictions mean nothing",
            stacklevel=2,
        )
    return classifier_of(weights, compute_dtype, orientation, colours)


def classifier_of(
    weights: RunWeights,
    compute_dtype: str = "",
    orientation: Orientation | None = None,
    colours: Colours | None = None,
) -> Classifier:
    """Returns the classifier of weights that are in memory already.

    Args:
      weights: from `load_weights`.
      compute_dtype: see `load`.
      orientation: see `load`.
      colours: see `load`.
    """
    run = weights.run
    return Classifier(
        run.network,
        weights.params,
        run.inputs,
        run.class_names,
        image_size=run.image_size,
        stored_size=run.stored_size,
        preprocess_config=run.config.preprocess,
        augment=run.config.augment,
        appearance=Appearance(
            orientation or run.appearance.orientation, colours or run.appearance.colours
        ),
        dtype=jnp.dtype(compute_dtype or run.config.compute_dtype),
        batch_size=min(_LARGEST_BATCH, run.config.batch_size),
    )


def capture_name(network: Network, layer: str, before_relu: bool = False) -> str:
    """Returns the name of the layer whose output `Classifier.features` takes.

    Args:
      network: whose layers are meant.
      layer: name of a layer, perhaps with `:linear`.
      before_relu: the sums of a layer instead of its activations.

    Raises:
      InputError: the network has no layer of that name.
    """
    names = layer_names(network.layers)
    layer, _, form = layer.partition(":")
    if form not in ("", "linear"):
        raise InputError(f"'{layer}:{form}' is no layer; {layer}:linear precedes the ReLU")
    before_relu = before_relu or form == "linear"
    if layer not in names:
        raise InputError(
            f"network '{network.name}' has no layer '{layer}'.{did_you_mean(layer, names)} "
            f"Layers: {', '.join(names)}"
        )
    place = names.index(layer)
    followed = place + 1 < len(names) and isinstance(network.layers[place + 1], Activation)
    if followed and isinstance(network.layers[place], Parametric) and not before_relu:
        return names[place + 1]
    return layer


def _power_of_two(count: int) -> int:
    return 1 << max(0, count - 1).bit_length()


def _stored_batches(
    images: Sequence[UserImage],
    read: Callable[[UserImage], np.ndarray],
    batch_size: int,
    unreadable: list[Unreadable] | None,
) -> Iterator[np.ndarray]:
    """Yields uint8 `[k, size, size, 3]`; all but the last are full, though files drop out."""
    ready: list[np.ndarray] = []
    for index, result in enumerate(_read_ahead(images, read, 2 * batch_size)):
        if isinstance(result, np.ndarray):
            ready.append(result)
        elif unreadable is None:
            raise InputError(f"{name_of(images[index], index)} cannot be read: {result}")
        else:
            unreadable.append(Unreadable(index, name_of(images[index], index), str(result)))
        if len(ready) == batch_size:
            yield np.stack(ready)
            ready = []
    if ready:
        yield np.stack(ready)


def _read_ahead(
    images: Sequence[UserImage], read: Callable[[UserImage], np.ndarray], ahead: int
) -> Iterator[np.ndarray | BadImageError]:
    """Yields every image or why it cannot be read, in order, `ahead` of them read by threads."""

    def try_to_read(image: UserImage) -> np.ndarray | BadImageError:
        try:
            return read(image)
        except BadImageError as error:
            return error

    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="read_image")
    pending: deque[Future[np.ndarray | BadImageError]] = deque()
    try:
        for image in images:
            pending.append(pool.submit(try_to_read, image))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
