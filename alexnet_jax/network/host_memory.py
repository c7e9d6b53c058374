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

    XLA's CPU backend allocates the buffers of a step anew in every step. By default glibc maps and
    unmaps the large ones each time, and the system zeroes every page again, which costs pointwise
    layers more than their arithmetic. With this setting the process stays as large as its largest
    step. One arena for all threads is part of it: the other arenas hold no block above 64 MiB.
    Threads that exist keep their arenas, so call this before JAX computes anything.

    Does nothing without glibc, with `ALEXNET_JAX_KEEP_MEMORY=0` in the environment, or where
    `MALLOC_ARENA_MAX` or `GLIBC_TUNABLES=glibc.malloc…` have configured the allocator already.
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
