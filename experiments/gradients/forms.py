"""The forms of a network's operations: the library's own, those of training, and the plain ones."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from alexnet_jax.network import model, ops

FORMS = ("library", "training", "plain")
"""`training`: as where no images are differentiated; what images were differentiated by before."""

_NAMES = ("convolution", "max_pool", "avg_pool", "local_response_norm", "response_norm")


@contextlib.contextmanager
def forms(name: str) -> Iterator[None]:
    """A context in which networks are traced with the operations of one of `FORMS`."""
    with contextlib.ExitStack() as stack:
        if name == "training":
            module = model.layer_module
            stack.enter_context(
                mock.patch.object(
                    model, "layer_module", lambda name, layer, sources: module(name, layer)
                )
            )
        elif name == "plain":
            for operation in _NAMES:
                plain = _without_sources(getattr(ops, f"plain_{operation}"))
                stack.enter_context(mock.patch.object(ops, operation, plain))
        yield


def _without_sources(form: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arrays, sources=None, **options: form(*arrays, **options)
