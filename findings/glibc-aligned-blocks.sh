#!/usr/bin/env bash
# glibc 2.36 on Linux: a program that takes an aligned block, keeps one small object and gives the block back, again
# and again, with the settings that keep freed memory in the process, grows by a block each time, eight times
# over. `posix_memalign` takes some bytes more than asked for, cuts them off behind the block, and frees them; the
# thread's cache keeps them, and the next small object gets them. So the hole that the block leaves is too small for the
# same block. Without the cache (`glibc.malloc.tcache_count=0`), or with `malloc` instead, the process does not grow.
# Seen first in XLA's CPU backend, whose temporary buffers are one such block in each step.
# Guessed: the block that was just freed fits the next request of the same size.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/grow.py" <<'PYTHON'
import ctypes
import json
import sys

MIB = 1 << 20
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
library = ctypes.CDLL(None)
library.malloc.restype = library.sbrk.restype = ctypes.c_void_p
library.malloc.argtypes, library.free.argtypes = (ctypes.c_size_t,), (ctypes.c_void_p,)
library.sbrk.argtypes = (ctypes.c_long,)
pointer = ctypes.POINTER(ctypes.c_void_p)
library.posix_memalign.argtypes = (pointer, ctypes.c_size_t, ctypes.c_size_t)
assert library.mallopt(M_MMAP_MAX, 0) and library.mallopt(M_TRIM_THRESHOLD, -1)
first = library.sbrk(0)
sizes = []
for _ in range(12):
    block = ctypes.c_void_p()
    if sys.argv[1] == "aligned":
        assert library.posix_memalign(ctypes.byref(block), 64, 64 * MIB) == 0
    else:
        block.value = library.malloc(64 * MIB)
    library.malloc(80)  # kept
    library.free(block)
    sizes.append((library.sbrk(0) - first) // MIB)
print(json.dumps(sizes))
PYTHON
getconf GNU_LIBC_VERSION
aligned=$(python3 "$folder/grow.py" aligned)
uncached=$(GLIBC_TUNABLES=glibc.malloc.tcache_count=0 python3 "$folder/grow.py" aligned)
plain=$(python3 "$folder/grow.py" plain)
printf 'MiB of heap after each block of 64 MiB\n  aligned            %s\n  aligned, no cache  %s\n  malloc             %s\n' \
    "$aligned" "$uncached" "$plain"
once="[64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64]"
[ "$aligned" = "[64, 128, 192, 256, 320, 384, 448, 512, 512, 512, 512, 512]" ]
[ "$uncached" = "$once" ] && [ "$plain" = "$once" ]
