"""Freed memory stays with the process, so that a step does not fault its pages in again."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

PAGE_FAULTS = """
import resource
import sys

import numpy as np

import alexnet_jax

if sys.argv[1] == "keep":
    alexnet_jax.AlexNet
np.ones(1 << 23)  # 64 MiB, freed at once
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    np.ones(1 << 23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
HUGE_PAGES = """
import re
from pathlib import Path

import alexnet_jax

def advised():
    areas = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.M)
    return sum(
        int(re.search(r"Size: +(\\d+)", area)[1])
        for area in areas
        if re.search(r"^VmFlags:.* hg", area, re.M)
    )

before = advised()
alexnet_jax.AlexNet
resident = int(re.search(r"Rss: +(\\d+)", Path("/proc/self/smaps_rollup").read_text())[1])
print(before, advised(), resident)
"""
GIVE_BACK = """
import ctypes

from alexnet_jax.network.host_memory import FreedMemory, _resident_bytes

library = ctypes.CDLL(None)
library.malloc.argtypes, library.malloc.restype = (ctypes.c_size_t,), ctypes.c_void_p
library.free.argtypes = (ctypes.c_void_p,)
freed = FreedMemory()
freed.give_back_if_grown()
block, edge = library.malloc(5 << 28), library.malloc(1 << 10)  # 1.25 GiB, not at the heap's end
ctypes.memset(block, 1, 5 << 28)
library.free(block)
kept = _resident_bytes()
assert freed.give_back_if_grown()
print(kept - _resident_bytes() > 1 << 30, freed.give_back_if_grown())
"""
STATE = """
import ctypes, logging, os, signal, sys, threading, warnings

def state():
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    hooks = sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook
    logs = list(logging.root.handlers), logging.root.level, logging.root.manager.disable
    places = os.getcwd(), list(sys.path), list(sys.argv), sys.stdout, sys.stderr
    filters = list(warnings.filters), warnings.showwarning
    return handlers, hooks, logs, places, filters, dict(os.environ), threading.active_count()

def refuse(*_):
    raise AssertionError("the import calls the C library")

ctypes.CDLL = refuse
before = state()
import alexnet_jax
assert state() == before
assert "alexnet_jax.network.host_memory" not in sys.modules
"""


def run(*words):
    command = [sys.executable, "-c", *words]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return result.stdout


def test_the_import_of_the_package_changes_nothing_of_the_process():
    run(STATE)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_freed_memory_is_not_faulted_in_again():
    kept, left = (int(run(PAGE_FAULTS, mode)) for mode in ("keep", "leave"))
    assert kept < 0.1 * max(left, 1000)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has malloc_trim")
def test_memory_that_is_kept_for_nothing_goes_back_to_the_system():
    assert run(GIVE_BACK).split() == ["True", "False"]


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc"
    or not Path("/sys/kernel/mm/transparent_hugepage").exists()
    or not Path("/proc/self/smaps_rollup").exists(),
    reason="only Linux with transparent huge pages takes the advice",
)
def test_the_heap_grows_into_huge_pages_and_takes_no_memory_for_it():
    before, after, resident = map(int, run(HUGE_PAGES).split())  # KiB
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 10
    assert after - before > 0.4 * memory
    assert resident < 0.4 * memory


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALEXNET_JAX_KEEP_MEMORY", "0"),
        ("MALLOC_ARENA_MAX", "4"),
        ("GLIBC_TUNABLES", "glibc.malloc.arena_max=4"),
        ("system", "Darwin"),
    ],
)
def test_the_environment_or_another_system_turns_the_setting_off(name, value, monkeypatch):
    from alexnet_jax.network import host_memory

    monkeypatch.setattr("ctypes.CDLL", pytest.fail)
    if name == "system":
        monkeypatch.setattr(platform, "system", lambda: value)
    else:
        monkeypatch.setenv(name, value)
    assert host_memory.keep_freed_memory.__wrapped__() is False
