"""Of many values of a test some are quick proof enough; the others wait for `-m slow`."""

from collections.abc import Container, Iterable
from typing import Any

import pytest


def only(quick: Container[Any], values: Iterable[Any]) -> list[Any]:
    """Returns the values for `parametrize`; those that are not among `quick` are marked slow."""
    return [
        value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values
    ]
