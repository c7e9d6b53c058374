"""Pictures of what training and test themselves make of one image. Paper §4.1."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from alexnet_jax.config import AugmentConfig, Config
from alexnet_jax.data import augment as augmentation
from alexnet_jax.data.preprocess import Inputs, preprocess
from alexnet_jax.data.stream import Batch, TrainingSource, TrainingStream, stream_indices
from alexnet_jax.evaluation.views import averaged_views, choose_views, cut_views

EPOCHS = 6
"""Epochs shown by default."""
DEVIATIONS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""Coefficients with which each colour component is shown."""
HUES = ("#c0392b", "#2d6296", "#b8860b", "#2e8b57", "#7d3c98", "#d2691e")
"""Colours of frames and of the crops in them."""
MIN_FRAMED_SIDE = 224  # pixels, so that frames of tiny images can be told apart


class Picture(NamedTuple):
    """A picture, uint8 `[height, width, 3]`; `hue` colours its frame on the stored image."""

    image: np.ndarray
    caption: str
    hue: str = ""


class FramedRow(NamedTuple):
    """One kind of change; it has no pictures if the run does not use it."""

    name: str
    note: str
    pictures: tuple[Picture, ...] = ()


class OneImage:
    """A `TrainingSource` of a single image, to try changes on."""

    num_examples = 1
    labels = np.zeros(1, np.int32)

    def __init__(self, image: np.ndarray):  # uint8 [stored, stored, 3]
        self._image, self.stored_size = image, image.shape[0]

    def images(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return np.stack([self._image] * len(indices))

    def crops(self, indices, offsets: np.ndarray, flips: np.ndarray, out: np.ndarray) -> None:
        size = out.shape[1]
        for (top, left), flip, target in zip(offsets, flips, out, strict=True):
            augmentation.copy_image(
                self._image[top : top + size, left : left + size], bool(flip), target
            )


def training_pictures(
    split: TrainingSource,
    index: int,
    config: Config,
    inputs: Inputs,
    image_size: int,
    caption: str = "as stored",
    epochs: int = EPOCHS,
) -> list[FramedRow]:
    """Returns an image's crops, colours and views of the test; `image_size` is in pixels."""
    stored = np.asarray(split.images(np.array([index])))[0]
    seen, draws = _visits(split, index, config, image_size, epochs)
    return [
        _crops(stored, seen, draws, config.augment, caption),
        *_colours(seen, config, inputs),
        _views(stored, image_size, config),
    ]


def _visits(
    split: TrainingSource, index: int, config: Config, image_size: int, epochs: int
) -> tuple[Batch, augmentation.Draws]:
    """Returns what the stream of batches holds of an image in each epoch, and what was drawn."""
    count, seed = split.num_examples, config.seed
    orders = (stream_indices(seed, count, count, epoch)[1] for epoch in range(epochs))
    places = np.array([int(np.flatnonzero(order == index)[0]) for order in orders])
    # The changes do not depend on the batch size: with batches of one, the place is the step.
    stream = TrainingStream(split, seed, 1, image_size, config.augment)
    batches = [stream.batch(epoch * count + place) for epoch, place in enumerate(places.tolist())]
    draws = augmentation.draw_augmentations(
        config.augment,
        seed=seed,
        epochs=np.arange(epochs),
        indices=np.full(epochs, index),
        stored_size=split.stored_size,
        image_size=image_size,
        positions=places,
    )
    return Batch(*(np.concatenate(part) for part in zip(*batches, strict=True))), draws


def _crops(
    stored: np.ndarray, seen: Batch, draws: augmentation.Draws, augment: AugmentConfig, caption: str
) -> FramedRow:
    side, size = stored.shape[0], seen.images.shape[1]
    boxes = draws.boxes
    if augment.recipe != "resized-crop":
        boxes = np.concatenate([seen.offsets, np.full_like(seen.offsets, size)], axis=1)
    pictures = [Picture(framed(stored, boxes), caption)]
    for epoch, (image, flip, degrees) in enumerate(
        zip(seen.images, seen.flips, draws.degrees, strict=True)
    ):
        words = [f"epoch {epoch + 1}", *(["mirrored"] if flip else [])]
        words += [f"{degrees:+.0f}°"] if augment.rotation_degrees else []
        pictures.append(Picture(image, ", ".join(words), HUES[epoch % len(HUES)]))
    name, note = _crop_words(augment, side, size)
    mirrors = "Half are mirrored" if augment.mirror else "None is mirrored"
    if augment.crop_chunk > 1:
        mirrors += f"; {augment.crop_chunk} consecutive images share one place and mirroring"
    return FramedRow(name, f"{note}. {mirrors}.", tuple(pictures))


def _crop_words(augment: AugmentConfig, side: int, size: int) -> tuple[str, str]:
    """Returns name and note of the crops of `size` from images of `side` pixels."""
    if augment.recipe == "resized-crop":
        low, high = (f"{100 * share:.0f}" for share in augment.scale)
        note = f"{low} to {high} % of the area, brought to {size}x{size} pixels"
        if not augment.rotation_degrees:
            return "Resized crops", note
        note += f" and turned by at most {augment.rotation_degrees:g}° either way"
        if augment.rotation_probability < 1:
            note += f" with probability {augment.rotation_probability:g}"
        return "Resized crops, turned", note
    if size == side:
        return "All of it", f"{side}x{side} pixels: there is nothing to cut"
    if augment.recipe == "centre-crop":
        return "The middle", f"Always the same {size}x{size} of {side}x{side} pixels"
    places = f"{(side - size + 1) ** 2:,}"
    return "Crops", f"{size}x{size} of {side}x{side} pixels, at one of {places} places"


def _colours(seen: Batch, config: Config, inputs: Inputs) -> list[FramedRow]:
    noise = config.augment.colour_noise
    if not noise:
        return [FramedRow("Colour noise", "None in this run.")]
    ends = [phase.epoch for phase in config.schedule.phases if not phase.colour_noise]
    end = min(ends, default=np.inf) if config.schedule.kind == "step" else np.inf
    shown = sum(epoch + 2 <= end for epoch in range(len(seen.images)))
    note = f"Each with random coefficients of the colour components (below it), times {noise:g}"
    if end < np.inf:
        note += f", until epoch {end:g} begins"
    if config.augment.colour_form == "2012":
        note += f". As in 2012, contrast is divided by {1 + noise:g}"
    spreads = np.linalg.norm(inputs.colour, axis=0)  # [3], standard deviations
    order = np.argsort(-spreads)
    coloured = _coloured(seen, seen.colour, config, inputs)
    pictures = [
        Picture(image, ", ".join(f"{z:+.1f}" for z in colour[order]), HUES[epoch % len(HUES)])
        for epoch, (image, colour) in enumerate(zip(coloured, seen.colour, strict=True))
    ]
    rows = [FramedRow("Colour noise", f"{note}.", tuple(pictures[:shown]))]
    for number, column in enumerate(order, 1):
        # A set of grey images has one component, and rounding errors.
        if spreads[column] > 1e-4 * spreads[order[0]]:
            rows.append(_component(number, int(column), spreads, seen, config, inputs))
    return rows


def _component(
    number: int, column: int, spreads: np.ndarray, seen: Batch, config: Config, inputs: Inputs
) -> FramedRow:
    """Returns the first crop with each of `DEVIATIONS` as the coefficient of one component."""
    first = np.zeros(len(DEVIATIONS), int)
    crop = Batch(*(part[first] for part in seen))
    colour = np.zeros((len(DEVIATIONS), 3), np.float32)
    colour[:, column] = DEVIATIONS
    images = _coloured(crop, colour, config, inputs)
    red, green, blue = inputs.colour[:, column] / spreads[column]
    share = spreads[column] ** 2 / np.sum(spreads**2)
    note = (
        f"Red {red:+.2f}, green {green:+.2f}, blue {blue:+.2f}; standard deviation "
        f"{spreads[column]:.1f} grey levels, {100 * share:.1f} % of the variance. Coefficients:"
    )
    captions = (f"{z:+g}" if z else "0" for z in DEVIATIONS)
    return FramedRow(f"Component {number}", note, tuple(map(Picture, images, captions)))


def _coloured(crops: Batch, colour: np.ndarray, config: Config, inputs: Inputs) -> np.ndarray:
    """Adds colour noise to uint8 crops; the network's input has no mean and cannot be shown."""
    settings = config.preprocess, config.augment
    places = {"offsets": jnp.asarray(crops.offsets), "flips": jnp.asarray(crops.flips)}
    plain = preprocess(inputs, crops.images, config=settings, **places)
    noisy = preprocess(inputs, crops.images, colour=jnp.asarray(colour), config=settings, **places)
    change = np.asarray(noisy - plain)
    if config.preprocess.scale != "none":
        change = change * inputs.scale
    return np.rint(crops.images + change).clip(0, 255).astype(np.uint8)


def _views(stored: np.ndarray, image_size: int, config: Config) -> FramedRow:
    side, mirror = stored.shape[0], config.augment.mirror
    views = choose_views(side, image_size, 10, mirror)
    averaged = averaged_views(side, image_size, 10, mirror)
    cut = np.asarray(cut_views(jnp.asarray(stored[None]), image_size, views))[:, 0]
    boxes = np.array([(v.y, v.x, image_size, image_size) for v in views if not v.mirrored])
    corners = ("top left", "top right", "centre", "bottom left", "bottom right")
    names = corners if len(boxes) > 1 else ("all of it",)
    pictures = [Picture(framed(stored, boxes), f"{len(boxes)} place" + "s" * (len(boxes) > 1))]
    for number, (image, view) in enumerate(zip(cut, views, strict=True)):
        place = number % len(boxes)
        caption = names[place] + ", mirrored" * view.mirrored
        pictures.append(Picture(image, caption, HUES[place]))
    note = f"The probabilities of {averaged.name} are averaged"
    note += f": {averaged.why}." if averaged.why else "."
    name = f"The test: {averaged.name}"
    if config.final_views == 1 and averaged.views > 1:
        name = f"A test with {averaged.name}"
        note += " The test that ends this run takes the centre alone; --views 10 averages these."
    return FramedRow(name, note, tuple(pictures))


def framed(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Draws frames on uint8 `[h, w, 3]`: `boxes` is int `[n, 4]`, top, left, height, width."""
    times = -(-MIN_FRAMED_SIDE // min(image.shape[:2]))
    picture = Image.fromarray(image.repeat(times, axis=0).repeat(times, axis=1))
    pen = ImageDraw.Draw(picture)
    for number, (top, left, height, width) in enumerate((boxes * times).tolist()):
        corners = left, top, left + width - 1, top + height - 1
        pen.rectangle(corners, outline=HUES[number % len(HUES)], width=max(3, picture.width // 80))
    return np.asarray(picture)


def sheet(rows: Sequence[FramedRow], side: int = 112, columns: int = 7) -> Image.Image:
    """Returns rows on one white page; `side` is the height and width of each picture in pixels."""
    gap, line, head = 6, 30, 42
    lines = [-(-len(row.pictures) // columns) for row in rows]
    height = sum(head + count * (side + line + gap) for count in lines) + gap
    page = Image.new("RGB", (columns * (side + gap) + gap, height), "white")
    pen, font, small = ImageDraw.Draw(page), ImageFont.load_default(15), ImageFont.load_default(11)
    top = gap
    for row, count in zip(rows, lines, strict=True):
        pen.text((gap, top), row.name, "black", font)
        pen.text((gap, top + 20), row.note, "#555555", small)
        for number, picture in enumerate(row.pictures):
            down, across = divmod(number, columns)
            left, y = gap + across * (side + gap), top + head + down * (side + line + gap)
            tiny = max(picture.image.shape[:2]) < side
            smoothing = Image.Resampling.NEAREST if tiny else Image.Resampling.LANCZOS
            page.paste(Image.fromarray(picture.image).resize((side, side), smoothing), (left, y))
            if picture.hue:
                pen.rectangle((left, y + side, left + side - 1, y + side + 2), fill=picture.hue)
            caption = picture.caption.replace(", mirrored", ",\nmirrored")
            pen.text((left, y + side + 3), caption, "#333333", small, spacing=1)
        top += head + count * (side + line + gap)
    return page
