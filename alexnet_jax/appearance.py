"""How image files are read: which way up, and in which colours."""

from typing import Literal, NamedTuple

Orientation = Literal["upright", "stored"]
"""Which way up images are read: turned as their EXIF says, or as their pixels are stored."""

Colours = Literal["shown", "stored"]
"""In which colours encoded images are read: as a viewer shows them, or the file's own numbers."""


class Appearance(NamedTuple):
    """How image files are read: which way up, and in which colours."""

    orientation: Orientation
    colours: Colours


AS_VIEWED = Appearance("upright", "shown")
"""As a viewer shows a photo."""

AS_STORED = Appearance("stored", "stored")
"""As 2012 read ImageNet."""
