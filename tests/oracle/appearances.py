"""Image files that look different as stored and as a viewer shows them."""

import io
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

SIZE = 16
ORIENTATIONS = range(1, 9)
# EXIF 2.32, tag 274: where the stored rows and columns are in the upright picture.
STORED = {
    1: lambda picture: picture,
    2: lambda picture: picture[:, ::-1],
    3: lambda picture: picture[::-1, ::-1],
    4: lambda picture: picture[::-1],
    5: lambda picture: picture.transpose(1, 0, 2),
    6: lambda picture: picture.transpose(1, 0, 2)[::-1],
    7: lambda picture: picture[::-1, ::-1].transpose(1, 0, 2),
    8: lambda picture: picture.transpose(1, 0, 2)[:, ::-1],
}


def picture():
    """A picture without any symmetry, uint8 [SIZE, SIZE, 3]."""
    down, across = np.mgrid[:SIZE, :SIZE] * 255 // SIZE
    return np.stack([down, across, (down + 2 * across) % 256], 2).astype(np.uint8)


def photo(orientation, kind="PNG", **settings):
    """The bytes of the picture as a camera in this orientation stores it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](picture())))
    stored.save(buffer, kind, exif=exif, **settings)
    return buffer.getvalue()


def _drawing(hidden):
    """A grey stripe on a transparent ground that has the colour `hidden` in the file, as PNG."""
    pixels = np.full((SIZE, SIZE, 4), (*hidden, 0), np.uint8)
    pixels[:, SIZE // 2 :] = (90, 90, 90, 255)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _seen(ground):
    pixels = np.full((SIZE, SIZE, 3), ground, np.uint8)
    pixels[:, SIZE // 2 :] = 90
    return pixels


class Case(NamedTuple):
    """Files by number that a viewer shows alike: the field of `Appearance`, and their pixels."""

    field: Any
    as_viewed: Any  # the field's value
    files: dict[int, bytes]
    viewed: np.ndarray
    stored: dict[int, np.ndarray]

    def folder(self, root, names=("a", "b")):
        """Writes all files into each of the class folders; returns `root`."""
        for name in names:
            (root / name).mkdir(parents=True)
            for number, data in self.files.items():
                (root / name / f"{number}.png").write_bytes(data)
        return root

    def imagenet(self, root):
        """Writes them as an unpacked ILSVRC-2012."""
        self.folder(root / "train", ("n00000001", "n00000002"))
        return root


_GROUNDS = {i: (60 * i, 10, 200) for i in range(4)}
CASES = {
    "orientation": Case(
        "orientation",
        "upright",
        {number: photo(number) for number in ORIENTATIONS},
        picture(),
        {number: STORED[number](picture()) for number in ORIENTATIONS},
    ),
    "colours": Case(
        "colours",
        "shown",
        {i: _drawing(ground) for i, ground in _GROUNDS.items()},
        _seen((255, 255, 255)),
        {i: _seen(ground) for i, ground in _GROUNDS.items()},
    ),
}
