"""Freed memory stays with the process, so that a step does not fault its pages in again."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
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


def _page_faults(mode):
    command = [sys.executable, "-c", SCRIPT, mode]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return int(result.stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_freed_memory_is_not_faulted_in_again():
    assert _page_faults("keep") < 0.1 * max(_page_faults("leave"), 1000)


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_who_has_chosen_is_left_alone(name, monkeypatch):
    from alexnet_jax.network import host_memory

    monkeypatch.setenv(name, "glibc.malloc.arena_max=4" if name == "GLIBC_TUNABLES" else "4")
    assert host_memory.keep_freed_memory.__wrapped__() is False


def test_other_systems_are_left_alone(monkeypatch):
    from alexnet_jax.network import host_memory

    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert host_memory.keep_freed_memory.__wrapped__() is False
