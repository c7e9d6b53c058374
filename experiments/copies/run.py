"""How many changed copies of real photos are found, and how many other photos count as copies?

    python -m experiments.copies.run imagenette FOLDER_OR_TAR
    python -m experiments.copies.run imagenette FOLDER_OR_TAR --seconds    # how long it takes

Changed copies of the first photos (in the order of their names' hashes) are made, one kind at a
time, and searched for among these and other photos. A copy counts as found if it was joined to its
own original. Then all unchanged photos are compared; joined pairs are listed for inspection.
"""

import hashlib
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from alexnet_jax.config import DataConfig
from alexnet_jax.data.copies import MIN_SIDE, Thumbnails, find_copies, thumbnail
from alexnet_jax.data.decode import decode_rgb
from alexnet_jax.preparation.source_images import read_encoded
from alexnet_jax.preparation.sources import list_images
from experiments import pages, programs
from experiments.benchmarks.records import Record

OUTPUT = Path(__file__).parent / "results" / "copies.json"
SIZES = (1000, 10_000)
_T = Image.Transpose

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def _turn(how: Image.Transpose) -> Change:
    return lambda image, draw: image.transpose(how)


def _crop(across: float, down: float, centre: bool) -> Change:
    """Crops away shares of width and height, evenly or anywhere; keeps the size of the image."""

    def change(image: Image.Image, draw: np.random.Generator) -> Image.Image:
        lost = np.array([image.width * across, image.height * down])
        left, top = np.rint(lost * (0.5 if centre else draw.random(2))).astype(int).tolist()
        wide, high = image.width - round(lost[0]), image.height - round(lost[1])
        part = image.crop((left, top, left + wide, top + high))
        return part.resize(image.size, Image.Resampling.BICUBIC)

    return change


def _jpeg(quality: int) -> Change:
    def change(image: Image.Image, draw: np.random.Generator) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file).convert("RGB")

    return change


def _text(image: Image.Image, draw: np.random.Generator) -> Image.Image:
    image, (w, h) = image.copy(), image.size
    pen = ImageDraw.Draw(image)
    pen.rectangle((w * 0.6, h * 0.88, w * 0.98, h * 0.97), fill=(255, 255, 255))
    pen.text((w * 0.62, h * 0.89), "photo 2020", fill=(0, 0, 0))
    return image


def _rotated(degrees: float) -> Change:
    return lambda image, draw: image.rotate(
        degrees * draw.choice((-1, 1)), Image.Resampling.BICUBIC
    )


def _all(*changes: Change) -> Change:
    def change(image: Image.Image, draw: np.random.Generator) -> Image.Image:
        for one in changes:
            image = one(image, draw)
        return image

    return change


CHANGES: dict[str, Change] = {
    "mirrored": _turn(_T.FLIP_LEFT_RIGHT),
    "turned by 90 degrees": _turn(_T.ROTATE_90),
    "turned by 180 degrees": _turn(_T.ROTATE_180),
    "turned by 270 degrees": _turn(_T.ROTATE_270),
    "mirrored and turned": _turn(_T.TRANSPOSE),
    "half the size": lambda image, draw: image.resize((image.width // 2, image.height // 2)),
    "JPEG, quality 50": _jpeg(50),
    "JPEG, quality 20": _jpeg(20),
    "brightness + 30 %": lambda image, draw: ImageEnhance.Brightness(image).enhance(1.3),
    "contrast - 30 %": lambda image, draw: ImageEnhance.Contrast(image).enhance(0.7),
    "grey": lambda image, draw: image.convert("L").convert("RGB"),
    "blurred, 2 pixels": lambda image, draw: image.filter(ImageFilter.GaussianBlur(2)),
    "white corner with text": _text,
    "cropped 5 %, centre": _crop(0.05, 0.05, True),
    "cropped 10 %, anywhere": _crop(0.1, 0.1, False),
    "cropped 20 %, centre": _crop(0.2, 0.2, True),
    "cropped 20 %, anywhere": _crop(0.2, 0.2, False),
    "cropped 30 %, centre": _crop(0.3, 0.3, True),
    "cropped 30 %, anywhere": _crop(0.3, 0.3, False),
    "cropped 33 % in width only": _crop(0.33, 0.0, False),
    "cropped 40 %, anywhere": _crop(0.4, 0.4, False),
    "cropped 20 %, mirrored, brighter, JPEG 50": _all(
        _crop(0.2, 0.2, False), _turn(_T.FLIP_LEFT_RIGHT),
        lambda image, draw: ImageEnhance.Brightness(image).enhance(1.2), _jpeg(50),
    ),
    "rotated by 5 degrees": _rotated(5),
    "rotated by 10 degrees": _rotated(10),
}  # fmt: skip


def photos(source: str, count: int) -> tuple[list[str], list[Image.Image]]:
    """Returns names and pictures of `count` photos of a folder or tar, ordered by hashes."""
    with tempfile.TemporaryDirectory() as work:
        data = DataConfig(source_kind="folder", source=source, validation_fraction=0.0)
        listed = list_images(data, Path(work)).splits
        records = [record for part in listed.values() for record in part]
        records.sort(key=lambda record: hashlib.sha256(record.key.encode()).digest())
        images = [decode_rgb(read_encoded(record)) for record in records[:count]]
    return [record.key for record in records[:count]], images


def thumbnails(images: list[Image.Image]) -> Thumbnails:
    parts = [thumbnail(image) for image in images]
    grey, colour = (np.stack(arrays) for arrays in zip(*parts, strict=True))
    return Thumbnails(grey, colour, np.array([min(i.size) < MIN_SIDE for i in images]))


def shares(images: list[Image.Image], copied: int, others: int) -> dict[str, float]:
    """Returns the share of copies of the first `copied` images that are found, by kind of change.

    They are searched for among these and the `others` that follow.
    """
    beside = thumbnails(images[: copied + others])
    found = {}
    for name, change in CHANGES.items():
        draw = np.random.default_rng(1)
        changed = thumbnails([change(image, draw) for image in images[:copied]])
        both = Thumbnails(*(np.concatenate(pair) for pair in zip(beside, changed, strict=True)))
        pairs = {copy[:2] for copy in find_copies(both)}
        found[name] = sum((i, copied + others + i) in pairs for i in range(copied)) / copied
        print(f"{name}: {found[name]:.3f}", flush=True)
    return found


def joined(names: list[str], pictures: Thumbnails) -> dict[str, Any]:
    """Returns the number of pairs of unchanged photos, and the pairs that are joined."""
    copies = find_copies(pictures)
    pairs = len(names) * (len(names) - 1) // 2
    listed = [[names[c.first], names[c.second], c.agreement, c.change] for c in copies]
    return {"photos": len(names), "pairs": pairs, "joined": listed}


def seconds(pictures: Thumbnails) -> dict[str, dict[str, float]]:
    """Returns wall time and processor time of a search among each of `SIZES` photos."""
    taken = {}
    for size in SIZES:
        rows = np.arange(size) % len(pictures.grey)
        part = Thumbnails(*(array[rows] for array in pictures))
        for again in range(len(pictures.grey), size):  # shifted, so that none are equal
            part.grey[again] = np.roll(part.grey[again], (again, 2 * again), (0, 1))
        clock, processors = time.perf_counter(), time.process_time()
        find_copies(part)
        taken[str(size)] = {
            "seconds": round(time.perf_counter() - clock, 1),
            "processor_seconds": round(time.process_time() - processors, 1),
        }
        print(size, taken[str(size)], flush=True)
    return taken


def main() -> None:
    parser = programs.parser(__doc__)
    parser.add_argument("name", help="of the set, in the record")
    parser.add_argument("source", help="folder or tar of class folders")
    parser.add_argument("--photos", type=int, default=4000)
    parser.add_argument("--copied", type=int, default=100)
    parser.add_argument("--others", type=int, default=300)
    parser.add_argument("--seconds", action="store_true", help="measure only how long it takes")
    arguments = parser.parse_args()
    record = Record(OUTPUT, "Which copies of a photo are found, and what is taken for one?")
    names, images = photos(arguments.source, arguments.photos)
    pictures = thumbnails(images)
    if arguments.seconds:
        record.put(f"{arguments.name}, seconds", {"seconds": seconds(pictures)})
    else:
        found = shares(images, arguments.copied, arguments.others)
        others = joined(names, pictures)
        print(others["joined"])
        counts = {"copied": arguments.copied, "beside": arguments.others}
        record.put(arguments.name, {**counts, "found": found, "others": others})
    pages.write("copies")


if __name__ == "__main__":
    main()
