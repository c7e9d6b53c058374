"""How the C library gives out the memory of a training step on a CPU."""

import ctypes
import functools
import os
import platform

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


@functools.cache
def keep_freed_memory() -> bool:
    """Asks glibc to keep the memory that is freed, instead of returning it to the system.

    XLA's CPU backend allocates the buffers of a step anew in every step. By default glibc maps and
    unmaps the large ones each time, and the system zeroes every page again, which costs pointwise
    layers more than their arithmetic. One arena for all threads belongs to it: the others hold no
    block above 64 MiB. The process then stays as large as its largest step. It is done when
    `network.model` is imported, since threads of XLA that exist keep their arenas. A program with
    `MALLOC_ARENA_MAX` or `glibc.malloc` tunables in its environment is left as it is.

    Returns:
      Whether it was done: False where the C library is not glibc, or where somebody has chosen.
    """
    chosen = "MALLOC_ARENA_MAX" in os.environ
    if chosen or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_ARENA_MAX, 1))
    return all([mallopt(name, value) for name, value in settings])
