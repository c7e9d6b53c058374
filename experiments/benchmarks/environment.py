"""What a measurement was made with: versions and hardware, and no names of people or places."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "torch")


def threads() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment(packages: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns date, versions (also of `packages`), processor, cores, memory, system and commit."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "versions": {"python": platform.python_version()}
        | {name: _version(name) for name in (*_PACKAGES, *packages)},
        "processor": _processor(),
        "cpu_cores": threads(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """Returns the commit, with a word if sources of the library differ from it."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        command = ["git", "-C", str(here), *words]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        return result.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", ":/alexnet_jax")
        return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (
            " with changes" if changed else ""
        )
    except OSError:
        return "unknown"


def _processor() -> str:
    """Returns the processor's name with the vector units that matter to matrix products."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {}
    for line in lines:
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    flags = facts.get("flags", "").split()
    units = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    name = facts.get("model name", platform.machine())
    return f"{name} ({', '.join(units)})" if units else name


def _memory_gib() -> float:
    try:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0.0
    return round(pages / 2**30, 1)
