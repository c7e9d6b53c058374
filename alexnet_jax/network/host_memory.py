"""How the C library hands out the memory of a training step on a CPU."""

import ctypes
import functools
import os
import platform

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


@functools.cache
def keep_freed_memory() -> bool:
    """Asks glibc to keep freed memory in the process; returns whether it does.

    XLA's CPU backend allocates its buffers anew in every step, and glibc unmaps large ones: zeroing
    the pages again costs pointwise layers more than their arithmetic. One arena for all threads,
    because others hold no block above 64 MiB. Threads that exist keep theirs, so call this before
    JAX computes. Nothing is done without glibc, with `ALEXNET_JAX_KEEP_MEMORY=0`, or where
    `MALLOC_ARENA_MAX` or `GLIBC_TUNABLES=glibc.malloc…` is set.
    """
    environment = os.environ
    if environment.get("ALEXNET_JAX_KEEP_MEMORY") == "0" or "MALLOC_ARENA_MAX" in environment:
        return False
    if "glibc.malloc" in environment.get("GLIBC_TUNABLES", ""):
        return False
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_ARENA_MAX, 1))
    return all([mallopt(name, value) for name, value in settings])
