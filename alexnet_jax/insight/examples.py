"""Test images with the five best answers, as in the paper's Figure 4 (left)."""

import base64
import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

PHOTO_SIDE = 256
JPEG_QUALITY = 80


@dataclass(frozen=True)
class Example:
    """One test image and what the network says of it.

    Attributes:
      image: uint8 `[height, width, 3]`.
      label: true class.
      probabilities: float32 `[classes]`.
      file_name: where it comes from, for the reader.
      kind: drawn at `random`, or one of the most confident mistakes (`mistake`).
    """

    image: np.ndarray
    label: int
    probabilities: np.ndarray
    file_name: str = ""
    kind: Literal["random", "mistake"] = "random"


def choose_examples(
    probabilities: np.ndarray, labels: np.ndarray, seed: int = 0, count: int = 8
) -> tuple[list[int], list[int]]:
    """Returns indices of `count` images drawn at random and of the `count` worst mistakes.

    The worst mistakes are those with the least probability for the true class ("top losses"),
    ties by the most confident wrong answer; none is repeated from the random ones. The same
    arguments always give the same images.

    Args:
      probabilities: float `[n, classes]`.
      labels: int `[n]`.
      seed: of the random half.
      count: images in each half; fewer where there are not as many.
    """
    number = len(labels)
    draw = np.random.Generator(np.random.Philox(key=[seed, 0xF16]))
    random = draw.permutation(number)[:count].tolist()
    true = probabilities[np.arange(number), labels]
    best = probabilities.max(axis=1)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    order = wrong[np.lexsort((wrong, -best[wrong], true[wrong]))]
    return random, [int(i) for i in order if i not in random][:count]


def top_answers(example: Example, names: list[str], count: int = 5) -> list[dict[str, Any]]:
    """Returns the best `count` answers: name, probability, and whether it is the true class.

    Args:
      example: image with its probabilities.
      names: one per class.
      count: answers to return.
    """
    order = np.argsort(-example.probabilities, kind="stable")[:count]
    return [
        {
            "name": names[index],
            "probability": float(example.probabilities[index]),
            "right": bool(index == example.label),
        }
        for index in order
    ]


def png_uri(image: np.ndarray) -> str:
    """Returns uint8 `[h, w, 3 or 4]` as a `data:` address of a PNG."""
    return _uri(image, "PNG")


def photo_uri(image: np.ndarray, side: int = PHOTO_SIDE) -> str:
    """Returns a picture as a `data:` address: JPEG, no larger than `side`; tiny ones stay exact."""
    from PIL import Image

    if max(image.shape[:2]) <= 64:
        return png_uri(image)
    photo = Image.fromarray(image)
    photo.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _uri(np.asarray(photo), "JPEG", quality=JPEG_QUALITY, optimize=True)


def _uri(image: np.ndarray, form: str, **options: Any) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
