"""The names of the contestants, and how their programs are started."""

from typing import Any

from experiments.benchmarks import work
from experiments.benchmarks.contest import Contestant

OURS = "this library"
OURS_BFLOAT16 = "this library, bfloat16"
MODULE = "module and optax"
PLAIN = "plain Flax"
CONTIGUOUS = "PyTorch, contiguous"
CHANNELS_LAST = "PyTorch, channels_last"
COMPILED = "PyTorch, channels_last, torch.compile"
SAME_ALLOCATOR = "PyTorch, channels_last, same allocator settings"
PRODUCT_XLA = "matrix product, XLA"
PRODUCT_TORCH = "matrix product, PyTorch"

PYTORCH = (CONTIGUOUS, CHANNELS_LAST)
"""The faster one of these is the rival."""
PRODUCTS = (PRODUCT_XLA, PRODUCT_TORCH)
"""The faster one of these is the bound; their work is in GFLOP, not in images."""

LEAVE_ALLOCATOR = {"ALEXNET_JAX_KEEP_MEMORY": "0"}

_JAX, _TORCH = "jax_contestant", "torch_contestant"
_PROGRAMS: dict[str, tuple[str, dict[str, Any]]] = {
    OURS: (_JAX, {"kind": "ours"}),
    OURS_BFLOAT16: (_JAX, {"kind": "ours", "dtype": "bfloat16"}),
    MODULE: ("module_contestant", {}),
    PLAIN: (_JAX, {"kind": "plain", "environment": LEAVE_ALLOCATOR}),
    CONTIGUOUS: (_TORCH, {"kind": "torch", "memory_format": "contiguous"}),
    CHANNELS_LAST: (_TORCH, {"kind": "torch", "memory_format": "channels_last"}),
    COMPILED: (_TORCH, {"kind": "torch", "memory_format": "channels_last", "compile": True}),
    SAME_ALLOCATOR: (
        _TORCH,
        {"kind": "torch", "memory_format": "channels_last", "keep_freed_memory": True},
    ),
}


def contestant(
    name: str, network: str, what: str, batch: int, views: int = 1, **more: Any
) -> Contestant:
    """Returns the contestant of this name, which is not one of `PRODUCTS`.

    `what` is "train" or "inference", `batch` images per iteration, `views` 1 or 10.
    """
    module, options = _PROGRAMS[name]
    options = {**options, "network": network, "what": what, "batch": batch, "views": views, **more}
    return Contestant(name, module, options, batch)


def product(name: str, size: int = work.BOUND_SIZE) -> Contestant:
    """Returns one of `PRODUCTS`, of `size` x `size` matrices."""
    module = _JAX if name == PRODUCT_XLA else _TORCH
    return Contestant(name, module, {"kind": "bound", "size": size}, work.gflop_of_product(size))
