"""A trained network in use: probabilities, predictions and features of any images."""

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from alexnet_jax.appearance import AS_VIEWED, Appearance, Colours, Orientation
from alexnet_jax.config import AugmentConfig, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs, centre_arrays
from alexnet_jax.errors import InputError, did_you_mean
from alexnet_jax.evaluation.evaluate import make_predict_step, make_view_step
from alexnet_jax.evaluation.views import centre_offset
from alexnet_jax.insight.explanations import (
    MOST_PROBABLE,
    Explained,
    Method,
    make_explain_step,
)
from alexnet_jax.insight.images import Unreadable, UserImages, as_sequence, read_batches
from alexnet_jax.network.compilation import jit
from alexnet_jax.network.layers import Activation, Network, Parametric, layer_names
from alexnet_jax.network.model import AlexNet
from alexnet_jax.runs.run_weights import RunWeights, load_weights

MAX_BATCH_SIZE = 64


class Prediction(NamedTuple):
    """One answer; `index` is the class's column of the outputs."""

    label: str
    index: int  # pyright: ignore[reportIncompatibleMethodOverride]
    probability: float


class Explanations(NamedTuple):
    """Maps of pictures: where each speaks for its answer.

    Attributes:
      maps: float32 `[n, image_size, image_size]`, in the pixels of `pictures`.
      pictures: uint8 `[n, image_size, image_size, 3]`, the centre views that the network saw.
      answers: the explained label of each picture, with its probability in this view.
    """

    maps: np.ndarray
    pictures: np.ndarray
    answers: list[Prediction]


class Classifier:
    """A network with its parameters, preprocessing and class names.

    Images may be paths, bytes of image files, Pillow images, uint8 arrays `[n, height, width, 3]`,
    or a list of such with `[height, width, 3]` arrays. They are prepared as the training images
    were: turned upright and converted to a viewer's colours if those were, shorter side to
    `stored_size` pixels, central square. Then views of `image_size` pixels are cut.

    `unreadable` is None: the first file that cannot be read raises `InputError`. A list collects
    those files, and the result has rows for the others only.

    `untrained` are layers with random values, of a file that had none for them.

    Attributes:
      params: `{layer: {"kernel": float32, "bias": float32}}`, JAX arrays on one device.
      mean: float32 `[image_size, image_size, 3]` or `[3]`, NumPy, in units of 0..255.
      scale: float32 `[3]`, NumPy; the centre view x, RGB 0..255, enters as `(x - mean) / scale`.
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
        batch_size: int = MAX_BATCH_SIZE,
        untrained: Sequence[str] = (),
    ):
        self.network = network
        self.class_names = tuple(class_names)
        self.image_size = image_size
        self.stored_size = stored_size
        self.appearance = appearance
        self.mirrored_views = augment.mirror
        self.untrained = tuple(untrained)
        self.mean, self.scale = centre_arrays(inputs, preprocess_config, image_size)
        self.params, self._inputs = jax.device_put((params, inputs))
        self._batch_size = batch_size
        settings = (network, preprocess_config, image_size)
        self._predict_step = functools.cache(
            lambda views: make_predict_step(*settings, views, dtype, augment)
        )
        self._view_step = functools.cache(
            lambda views, capture=None: make_view_step(*settings, views, dtype, augment, capture)
        )
        self._explain_step = functools.cache(
            lambda *method: make_explain_step(*settings, dtype, *method)
        )
        self._apply_module = jit(AlexNet(network, dtype).apply, static_argnames="capture")

    def probabilities(
        self, images: UserImages, views: int = 1, unreadable: list[Unreadable] | None = None
    ) -> np.ndarray:
        """Returns float32 `[n, classes]` of the centre (1), or the mean of up to 10 views."""
        rows = self._outputs(self._predict_step(views), images, views, unreadable)
        return np.concatenate([np.empty((0, self.network.classes), np.float32), *rows])

    def preprocess(
        self, images: UserImages, unreadable: list[Unreadable] | None = None
    ) -> np.ndarray:
        """Returns what `apply` takes, float32 `[n, image_size, image_size, 3]`."""
        start = centre_offset(self.stored_size, self.image_size)
        window = slice(start, start + self.image_size)

        def step(params: Any, inputs: Inputs, stored: np.ndarray) -> np.ndarray:
            return (stored[:, window, window].astype(np.float32) - self.mean) / self.scale

        empty = np.empty((0, self.image_size, self.image_size, 3), np.float32)
        return np.concatenate([empty, *self._outputs(step, images, 1, unreadable)])

    def apply(self, images: Any, layer: str | None = None) -> jax.Array:
        """Returns logits, float32 `[n, classes]`, or the activations of `layer` as `features` does.

        `images` are from `preprocess`; others raise `InputError`, as does an unknown layer. It may
        be jitted, mapped and differentiated, but in reverse only (`grad`, `vjp`, `jacrev`): the
        convolutions define no forward gradients. A program jitted around it has the parameters as
        constants; to pass them as an argument, jit `AlexNet(network).apply` and give it
        `{"params": params}`.

        >>> classifier = load("runs")
        >>> images = classifier.preprocess(["photo.jpg"])
        >>> jax.grad(lambda x: classifier.apply(x)[0, 3])(images).shape == images.shape
        True
        """
        images = _as_preprocessed(images, self.image_size)
        if not len(images):  # the module's layers need at least one image
            one = jnp.zeros((1, *images.shape[1:]), images.dtype)
            return self.apply(one, layer)[:0]
        capture = None if layer is None else capture_name(self.network, layer)
        return self._apply_module({"params": self.params}, images, capture=capture)

    def view_probabilities(self, images: UserImages) -> np.ndarray:
        """Returns float32 `[n, views, classes]`, of those of the ten views that differ."""
        rows = list(self._outputs(self._view_step(10), images, 10, None))
        logits = np.concatenate(rows).astype(np.float64)
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return (odds / odds.sum(axis=-1, keepdims=True)).astype(np.float32)

    def kernel(self, layer: str) -> np.ndarray | None:
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

    def explain(
        self,
        images: UserImages,
        method: Method = "saliency",
        label: str | int | None = None,
        unreadable: list[Unreadable] | None = None,
        *,
        window: int | None = None,
        stride: int | None = None,
    ) -> Explanations:
        """Returns maps of what in the centre view speaks for a label.

        `saliency`: the largest absolute gradient over the channels, in logits per grey level
        (0..255), of the label's logit (Simonyan et al., 2013). `grad-cam`: the last convolution's
        maps after ReLU, each weighted by the mean of its gradient, from 0 in no unit, bilinear
        between the centres of the units' fields (Selvaraju et al., 2017). `occlusion`: the fall of
        the label's probability, -1..1, under a square in the data's mean; a pixel has the mean of
        the squares that cover it (Zeiler and Fergus, 2013).

        Args:
          label: a class name or its column; None: the most probable of each picture.
          window: of occlusion, side of the square, pixels; by default a seventh of the image.
          stride: of occlusion, pixels from square to square; by default half a window.

        Raises:
          InputError: unknown method or label, a network without a convolution (`grad-cam`), a
            square that does not fit, or an imported run whose last layers are random.

        >>> found = load("runs").explain(["photo.jpg"], "occlusion")
        >>> found.maps.shape, found.pictures.shape, found.answers[0].probability > 0
        ((1, 28, 28), (1, 28, 28, 3), True)
        """
        if self.untrained:
            raise InputError(
                f"{', '.join(self.untrained)} have random values, so that there is nothing to "
                "explain; train them first: train --transfer.run"
            )
        explain = self._explain_step(method, window, stride)
        column = np.int32(MOST_PROBABLE if label is None else self._column(label))

        def step(params: Any, inputs: Inputs, stored: np.ndarray) -> Explained:
            return explain(params, inputs, stored, column)

        # Occlusion makes a batch of every image, and one that only fills up would cost as much.
        views = self._batch_size if method == "occlusion" else 1
        side = self.image_size
        maps, pictures = (
            [np.empty((0, side, side), np.float32)],
            [np.empty((0, side, side, 3), "u1")],
        )
        answers = []
        for found in self._outputs(step, images, views, unreadable):
            maps.append(found.maps)
            pictures.append(found.pictures)
            answers += [
                Prediction(self.class_names[index], int(index), float(probability))
                for index, probability in zip(found.labels, found.probabilities, strict=True)
            ]
        return Explanations(np.concatenate(maps), np.concatenate(pictures), answers)

    def _column(self, label: str | int) -> int:
        """Returns the column of a class; raises `InputError` for one that is not there."""
        if isinstance(label, str):
            if label in self.class_names:
                return self.class_names.index(label)
            raise InputError(
                f"label: there is no class '{label}'.{did_you_mean(label, self.class_names)} "
                f"`class_names` has the {len(self.class_names):,} names"
            )
        if not 0 <= label < self.network.classes:
            raise InputError(f"label should be 0 to {self.network.classes - 1}, not {label}")
        return int(label)

    def features(
        self,
        images: UserImages,
        layer: str | Sequence[str] = "fc7",
        before_relu: bool = False,
        unreadable: list[Unreadable] | None = None,
    ) -> Any:
        """Returns float32 `[n, height, width, channels]` or `[n, features]`; by name if several.

        A layer with weights stands for its output after the nonlinearity that follows it directly
        (paper §6: the 4096 of `fc7`); `fc7:linear` is its linear response, and `before_relu` gives
        that for all. `norm1` and `pool1` are after normalization and pooling. No dropout.
        An unknown layer raises `InputError`.

        >>> found = load("runs").features(["photo.jpg"], layer=["conv1:linear", "pool2", "fc7"])
        >>> {name: values.shape for name, values in found.items()}
        {'conv1:linear': (1, 12, 12, 24), 'pool2': (1, 3, 3, 64), 'fc7': (1, 256)}
        """
        names = (layer,) if isinstance(layer, str) else tuple(dict.fromkeys(layer))
        if not names:
            raise InputError("no layer is named; give one or more, e.g. 'fc7'")
        captured = {name: capture_name(self.network, name, before_relu) for name in names}
        step = self._view_step(1, tuple(sorted(set(captured.values()))))
        parts = list(self._outputs(step, images, 1, unreadable))
        found = {}
        for name, capture in captured.items():
            rows = [part[capture][:, 0] for part in parts]  # the only view
            shape = (0, *self.feature_shape(name, before_relu))
            found[name] = np.concatenate(rows) if rows else np.empty(shape, np.float32)
        return found[layer] if isinstance(layer, str) else found

    def feature_shape(self, layer: str = "fc7", before_relu: bool = False) -> tuple[int, ...]:
        """Returns the shape of a layer's activations for one image."""
        capture = capture_name(self.network, layer, before_relu)
        blank = np.zeros((1, self.stored_size, self.stored_size, 3), np.uint8)
        step = self._view_step(1, (capture,))
        return jax.eval_shape(step, self.params, self._inputs, blank)[capture].shape[2:]

    def _outputs(
        self,
        step: Callable[[Any, Inputs, Any], Any],
        images: UserImages,
        views: int,
        unreadable: list[Unreadable] | None,
    ) -> Iterator[Any]:
        """Yields the outputs of one batch after the other, without padding."""
        sequence = as_sequence(images)
        next_power_of_two = 1 << max(0, len(sequence) - 1).bit_length()
        batch_size = max(1, min(self._batch_size // views, next_power_of_two))
        for stored in read_batches(
            sequence, batch_size, self.stored_size, self.appearance, unreadable
        ):
            # One shape for all batches, so that only one program is compiled.
            count = len(stored)
            padding = [(0, batch_size - count), (0, 0), (0, 0), (0, 0)]
            output = step(self.params, self._inputs, np.pad(stored, padding))
            yield jax.tree.map(lambda x, count=count: np.asarray(x)[:count], output)


def _as_preprocessed(images: Any, size: int) -> jax.Array:
    """Raises `InputError` where the images are not what `apply` can take."""
    try:
        images = jnp.asarray(images)
    except (TypeError, ValueError):  # paths, or arrays of several shapes
        raise InputError(
            f"images should be one array of floats, not {type(images).__name__}: give photos to "
            "`preprocess`, and its result to `apply`"
        ) from None
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise InputError(
            f"images should be preprocessed floats, not {images.dtype}: give them to "
            "`preprocess`, or subtract `mean` and divide by `scale`"
        )
    shape = list(images.shape)
    if len(shape) != 4 or shape[1:] != [size, size, 3]:
        hint = "; add an axis in front: images[None]" if shape == [size, size, 3] else ""
        raise InputError(f"images should be [n, {size}, {size}, 3], not {shape}{hint}")
    return images


def load(
    workdir: str | Path,
    checkpoint: str | int = "best",
    compute_dtype: str = "",
    orientation: Orientation | None = None,
    colours: Colours | None = None,
) -> Classifier:
    """Returns the classifier of a run folder; the run's data set is not needed.

    Args:
      checkpoint: `best` (lowest validation error), `last`, or a step.
      compute_dtype: type of the activations, float32 or bfloat16; empty: as in training.
      orientation: `upright` as EXIF says, or `stored`; None: as in training.
      colours: `shown` as by a viewer (profile, transparency), or `stored`; None: as in training.

    Raises:
      CheckpointError: the checkpoint is missing or damaged.

    >>> classifier = load("runs")
    >>> classifier.probabilities(["photo.jpg"], views=10).shape
    (1, 10)
    """
    weights = load_weights(workdir, checkpoint)
    classifier = classifier_of(weights, compute_dtype, orientation, colours)
    if classifier.untrained:
        warnings.warn(
            f"{weights.run.workdir} was imported without {', '.join(classifier.untrained)}, which "
            "have random values: features of the layers before them are good, predictions mean "
            "nothing",
            stacklevel=2,
        )
    return classifier


def classifier_of(
    weights: RunWeights,
    compute_dtype: str = "",
    orientation: Orientation | None = None,
    colours: Colours | None = None,
) -> Classifier:
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
        batch_size=min(MAX_BATCH_SIZE, run.config.batch_size),
        untrained=run.info.get("import", {}).get("layers", {}).get("fresh") or (),
    )


def capture_name(network: Network, layer: str, before_relu: bool = False) -> str:
    """Returns the name of the layer whose output `Classifier.features` takes."""
    names = layer_names(network.layers)
    layer, _, form = layer.partition(":")
    if form not in ("", "linear"):
        raise InputError(f"'{layer}:{form}' is no layer; {layer}:linear precedes the ReLU")
    place = network.place(layer)
    if before_relu or form == "linear" or not isinstance(network.layers[place], Parametric):
        return layer
    following = network.layers[place + 1 : place + 2]
    activated = bool(following) and isinstance(following[0], Activation)
    return names[place + 1] if activated else layer
