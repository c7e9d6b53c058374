"""The kinds of sources of images, and what other modules need to know of each."""

from typing import NamedTuple


class SourceTraits(NamedTuple):
    """What all rooms ask of a kind of source."""

    has_files: bool = True  # which have an appearance
    loads_tensorflow: bool = False  # its images are listed in a process of its own
    reports_copies: bool = False  # a run names test images that are copies of training's


SOURCE_KINDS = {
    "digits": SourceTraits(has_files=False),
    "folder": SourceTraits(reports_copies=True),
    "cifar10": SourceTraits(has_files=False),
    "imagenet2012": SourceTraits(),
    "tfds": SourceTraits(loads_tensorflow=True),
}
"""Kinds of sources; each has a module of its name in `preparation/sources/`."""
