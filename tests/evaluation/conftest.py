"""The tiny data set and network, for loops that take a second."""

from tiny import config, dataset, tiny_network  # noqa: F401
