"""Who takes part: the names of the contestants and how their programs are started."""

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
"""The contestants of which the faster one is the rival."""
PRODUCTS = (PRODUCT_XLA, PRODUCT_TORCH)
"""The contestants of which the faster one is the bound; their work is in GFLOP, not images."""

_PROGRAMS = {
    OURS: ("jax_contestant", {"kind": "ours"}),
    OURS_BFLOAT16: ("jax_contestant", {"kind": "ours", "dtype": "bfloat16"}),
    MODULE: ("jax_contestant", {"kind": "module"}),
    # The tunable has its usual value: it says that the allocator is to be left alone.
    PLAIN: (
        "jax_contestant",
        {"kind": "plain", "environment": {"GLIBC_TUNABLES": "glibc.malloc.check=0"}},
    ),
    CONTIGUOUS: ("torch_contestant", {"kind": "torch", "memory_format": "contiguous"}),
    CHANNELS_LAST: ("torch_contestant", {"kind": "torch", "memory_format": "channels_last"}),
    COMPILED: (
        "torch_contestant",
        {"kind": "torch", "memory_format": "channels_last", "compile": True},
    ),
    SAME_ALLOCATOR: (
        "torch_contestant",
        {"kind": "torch", "memory_format": "channels_last", "keep_freed_memory": True},
    ),
}


def contestant(name: str, network: str, what: str, batch: int, views: int = 1) -> Contestant:
    """Returns the contestant of this name.

    Args:
      name: one of the names above, without the products.
      network: name of the network.
      what: "train" or "inference".
      batch: images per iteration.
      views: of the test, 1 or 10.
    """
    module, options = _PROGRAMS[name]
    options = {**options, "network": network, "what": what, "batch": batch, "views": views}
    return Contestant(name, module, options, batch)


def product(name: str, size: int = work.BOUND_SIZE) -> Contestant:
    """Returns one of the matrix products that bound the others, of `size` x `size` matrices."""
    module = "jax_contestant" if name == PRODUCT_XLA else "torch_contestant"
    return Contestant(name, module, {"kind": "bound", "size": size}, work.gflop_of_product(size))
