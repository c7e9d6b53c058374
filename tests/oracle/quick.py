"""Of many values of a test some are quick proof enough; the others wait for `-m slow`."""

from collections.abc import Container, Iterable
from typing import Any

import pytest


def only(quick: Iterable[Any], values: Iterable[Any]) -> list[Any]:
    """Returns the values of one argument; those that are not among `quick` are marked slow."""
    return rows([(value,) for value in quick], [(value,) for value in values])


def rows(quick: Container[tuple], values: Iterable[tuple]) -> list[Any]:
    """Returns the rows of several arguments; those that are not among `quick` are marked slow."""
    return [pytest.param(*row, marks=() if row in quick else pytest.mark.slow) for row in values]
