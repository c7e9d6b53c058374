"""Explanations as pictures: maps laid over photos, and a PNG of them for each photo."""

import io
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from alexnet_jax.errors import BadImageError, InputError, printable
from alexnet_jax.files import write_bytes
from alexnet_jax.insight.augmentations import FramedRow, Picture, sheet
from alexnet_jax.insight.classifier import Classifier, Explanations
from alexnet_jax.insight.explanations import methods_of
from alexnet_jax.insight.images import UserImage, read_image

TITLES = {"saliency": "saliency", "grad-cam": "Grad-CAM", "occlusion": "occlusion"}
SIDE = 224
"""Side of a map on a sheet, pixels; smaller pictures are enlarged by a whole number."""
_PALE = 155, 255
"""Lightness of black and of white; every colour of a map is darker."""
_RAMP = np.array([(222, 138, 30), (205, 82, 40), (150, 25, 65), (60, 0, 60)], np.float32)
_NAME_LENGTH = 90


def overlay(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns a map over a pale grey picture, uint8 `[h, w, 3]`, darker where the map is larger.

    The picture is uint8 `[h, w, 3]`, the map float32 `[h, w]`. Nothing is drawn where it is 0 or
    less; the largest hundredth of its values are darkest. Lightness alone tells the values, so that
    the picture can be read in print, and by people who see few colours.
    """
    top = float(np.percentile(values, 99))
    top = top if top > 0 else max(float(values.max()), 1e-30)
    strength = np.clip(values / top, 0, 1).astype(np.float32)[..., None]  # [h, w, 1]
    grey = picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    pale = _PALE[0] + grey[..., None] / 255 * (_PALE[1] - _PALE[0])  # [h, w, 1]
    places = np.linspace(0, 1, len(_RAMP))
    colour = np.stack([np.interp(strength[..., 0], places, c) for c in _RAMP.T], axis=-1)
    opacity = np.minimum(1, 1.6 * strength) * 0.9
    return np.rint(pale * (1 - opacity) + colour * opacity).astype(np.uint8)


def explanation_sheet(found: dict[str, Explanations], row: int, name: str) -> Image.Image:
    """Returns a picture beside its maps by each method, with its label and probability."""
    first = next(iter(found.values()))
    answer, picture = first.answers[row], first.pictures[row]
    maps = [
        Picture(overlay(picture, each.maps[row]), TITLES[method]) for method, each in found.items()
    ]
    title = f"{_short(answer.label)}: {100 * answer.probability:.2f} % in the centre view"
    pictures = (Picture(picture, "the centre view"), *maps)
    size = picture.shape[0]
    return sheet(
        [FramedRow(title, _short(name), pictures)], size * max(1, SIDE // size), len(pictures)
    )


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _NAME_LENGTH else "…" + text[-_NAME_LENGTH:]


def check_folder(folder: Path) -> None:
    """Raises `InputError` unless the folder is new or empty."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder} exists already; remove it or choose another --explain")


def write_explanations(
    classifier: Classifier,
    images: Sequence[UserImage],
    names: Sequence[str],
    labels: Sequence[int],
    folder: Path,
    show: Callable[[int], None] = lambda done: None,
) -> list[Path]:
    """Writes a PNG for each image, with maps of its label; returns their paths, in order.

    `show` is called after each image with the number of those that are done.
    """
    paths = [folder / name for name in picture_names(names)]
    methods = methods_of(classifier.network)
    for row, (image, name, label, path) in enumerate(
        zip(images, names, labels, paths, strict=True), 1
    ):
        try:
            stored = read_image(image, classifier.stored_size, classifier.appearance)[None]
        except BadImageError as error:  # it could be read a moment ago
            raise InputError(f"{name} cannot be read: {error}") from None
        found = {method: classifier.explain(stored, method, label) for method in methods}
        buffer = io.BytesIO()
        explanation_sheet(found, 0, name).save(buffer, "PNG")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_bytes(path, buffer.getvalue())
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from None
        show(row)
    return paths


def picture_names(names: Sequence[str]) -> list[str]:
    """Returns a different file name for each image: its own, ending in `.png`, or with a number.

    >>> picture_names(["a/x.jpg", "b/X.png", "zip/y.jpg", "-"])
    ['x.png', 'X-2.png', 'y.png', 'standard-input.png']
    """
    taken: set[str] = set()
    found = []
    for name in names:
        stem = "standard-input" if name == "-" else re.sub(r"[^\w .-]", "_", PurePath(name).stem)
        stem = os.fsencode(stem)[:180].decode("utf-8", "ignore")
        candidate, number = stem, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{stem}-{number}"
        taken.add(candidate.casefold())
        found.append(f"{candidate}.png")
    return found
