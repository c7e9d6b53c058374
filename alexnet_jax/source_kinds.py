"""The kinds of sources of images, and what other modules need to know of each."""

from typing import NamedTuple


class SourceTraits(NamedTuple):
    """What all rooms ask of a kind of source.

    Attributes:
      has_files: its images are image files, which have an appearance.
      loads_tensorflow: its images are listed in a process of its own.
      reports_copies: a run says which test images are copies of training images.
    """

    has_files: bool = True
    loads_tensorflow: bool = False
    reports_copies: bool = False


SOURCE_KINDS = {
    "digits": SourceTraits(has_files=False),
    "folder": SourceTraits(reports_copies=True),
    "cifar10": SourceTraits(has_files=False),
    "imagenet2012": SourceTraits(),
    "tfds": SourceTraits(loads_tensorflow=True),
}
"""Kinds of sources; each has a module of its name in `preparation/sources/`."""
