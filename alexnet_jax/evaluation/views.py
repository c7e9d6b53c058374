"""The windows of an image that a test averages: the centre, or the paper's ten; counted."""

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from alexnet_jax.errors import InputError

if TYPE_CHECKING:
    from alexnet_jax.runs.run_folder import Run


class View(NamedTuple):
    """A square window of a stored image, at pixel (y, x), flipped left to right after it is cut."""

    y: int
    x: int
    mirrored: bool


def centre_offset(stored_size: int, image_size: int) -> int:
    """Returns the top and left of the centre window, pixels, rounded down (2012)."""
    return (stored_size - image_size) // 2


def choose_views(
    stored_size: int, image_size: int, views: int = 1, mirror: bool = True
) -> tuple[View, ...]:
    """Returns the windows whose probabilities a test averages with equal weight. Paper: §4.1.

    Ten views are top left, top right, centre, bottom left, bottom right, then the five mirrored.
    Stored images of exactly the image size have one window. Without `mirror` (digits) the network
    has never seen a mirrored image, so there is no such half. Deviation: the paper always mirrors.
    """
    if views not in (1, 10):
        raise InputError(f"a test takes 1 or 10 views, not {views}")
    end = stored_size - image_size
    if end < 0:
        raise InputError(
            f"stored images of {stored_size}x{stored_size} are smaller than the network's input "
            f"of {image_size}x{image_size}; prepare them with a larger stored size"
        )
    middle = centre_offset(stored_size, image_size)
    windows = [(middle, middle)]
    if views == 10 and end > 0:
        windows = [(0, 0), (0, end), (middle, middle), (end, 0), (end, end)]
    sides = (False, True) if views == 10 and mirror else (False,)
    return tuple(View(y, x, mirrored) for mirrored in sides for y, x in windows)


VIEW_NAMES = {
    10: "ten views", 8: "eight views", 5: "five crops", 4: "four crops", 2: "two views",
    1: "one view",
}  # fmt: skip
"""Names of the views that a test averages, by how many of them differ."""


class Averaged(NamedTuple):
    """The views that a test averages: how many differ, and why fewer than requested."""

    views: int
    name: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.name} (10 views asked; {self.why})" if self.why else self.name


def averaged_views(
    stored_size: int, image_size: int, views: int = 1, mirror: bool = True
) -> Averaged:
    """Returns how many different views `choose_views` has, and their name.

    If a crop can move by one pixel only, the centre is a corner, and counts twice in the average.

    >>> str(averaged_views(32, 28, 10, mirror=False))
    'five crops (10 views asked; training does not mirror)'
    """
    count = len(set(choose_views(stored_size, image_size, views, mirror)))
    if views == 1:
        return Averaged(count, "centre view")
    reasons = {
        "stored images have the network's size": stored_size == image_size,
        "the centre is a corner": stored_size == image_size + 1,
        "training does not mirror": not mirror,
    }
    why = ", ".join(reason for reason, holds in reasons.items() if holds)
    return Averaged(count, VIEW_NAMES[count], why)


def averaged_by(run: "Run", views: int) -> Averaged:
    return averaged_views(run.stored_size, run.image_size, views, run.config.augment.mirror)


def cut_views(images: jax.Array, image_size: int, views: tuple[View, ...]) -> jax.Array:
    """Returns `[views, n, image_size, image_size, c]` of `[n, height, width, c]`."""

    def cut(view: View) -> jax.Array:
        window = images[:, view.y : view.y + image_size, view.x : view.x + image_size]
        return window[:, :, ::-1] if view.mirrored else window

    return jnp.stack([cut(view) for view in views])


def centre_view(images: jax.Array, image_size: int) -> jax.Array:
    return cut_views(images, image_size, choose_views(images.shape[1], image_size))[0]
