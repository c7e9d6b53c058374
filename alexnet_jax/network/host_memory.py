"""How the C library hands out the memory of a training step on a CPU."""

import ctypes
import functools
import os
import platform
from pathlib import Path

# Parameters of mallopt(3), from glibc's malloc.h, and of madvise(2), from Linux's mman-common.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_MADV_HUGEPAGE, _HUGE_PAGE_BYTES = 14, 2 << 20


@functools.cache
def keep_freed_memory() -> bool:
    """Asks glibc to keep freed memory in the process, in huge pages; returns whether it does.

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
    library = ctypes.CDLL(None)
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_ARENA_MAX, 1))
    kept = all([library.mallopt(name, value) for name, value in settings])
    if kept:
        _advise_huge_pages(library)
    return kept


def _advise_huge_pages(library):
    """Has the heap grow into pages of 2 MiB: tiles and maps are read at large strides.

    Advice is for addresses that there are. So half of the machine's memory is taken, untouched, and
    given back at once; by the settings above it stays the top of the heap. It uses no memory.
    """
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    library.malloc.argtypes, library.malloc.restype = (ctypes.c_size_t,), ctypes.c_void_p
    library.free.argtypes, library.free.restype = (ctypes.c_void_p,), None
    library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    block = library.malloc(size)
    if block is not None:  # else a limit of the user's is lower
        first = -(-block // _HUGE_PAGE_BYTES) * _HUGE_PAGE_BYTES
        library.madvise(first, block + size - first, _MADV_HUGEPAGE)
        library.free(block)


class FreedMemory:
    """Returns memory to the system that the process keeps for nothing.

    glibc cuts some bytes off behind an aligned block, and its caches hand them to small objects.
    Then the block that a step has freed is too small for the next step, which takes another one,
    of 2 GiB in the paper's network. Holes that the compiler has left stay, too.
    """

    def __init__(self) -> None:
        self._usual = 0  # bytes that the process holds
        self._calls_to_settle = 0

    def give_back_if_grown(self) -> bool:
        """Gives back what is free where the process has grown by 1 GiB; returns whether it did.

        To be called before the first step, and after each step is begun: the block of a running
        step is not free. What the process holds in the next two calls is then its usual size.
        """
        resident = _resident_bytes()
        if self._calls_to_settle:
            self._calls_to_settle -= 1
            self._usual = max(self._usual, resident)
            return False
        if not keep_freed_memory() or resident < self._usual + _MUCH_BYTES:
            return False
        ctypes.CDLL(None).malloc_trim(0)
        self._usual, self._calls_to_settle = _resident_bytes(), _CALLS_TO_SETTLE
        return True


_MUCH_BYTES, _CALLS_TO_SETTLE = 1 << 30, 2


def _resident_bytes() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
