"""What every writer returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Written(NamedTuple):
    """A file that was written and read back, still to be checked.

    Attributes:
      describe: makes the sidecar, given what the check has found.
      compute: from stored images, uint8 `[n, s, s, 3]`, to logits `[n, classes]`; None: the arrays
        in the file were compared, which is enough.
      program: what computes, for messages: "the ONNX model".
      engine: what runs it, with its version.
      check: what was compared before.
      notes: what the user should know, one line each.
    """

    describe: Callable[[str], dict[str, Any]]
    compute: Callable[[np.ndarray], Any] | None = None
    program: str = ""
    engine: str = ""
    check: str = ""
    notes: tuple[str, ...] = ()
