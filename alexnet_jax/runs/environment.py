"""Where a run takes place: versions, hardware, commit and command, for `run.json`."""

import contextlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "tensorflow-datasets",
    "grain",
    "array-record",
    "numpy",
    "pillow",
)
"""Packages whose versions a run depends on."""


def environment() -> dict[str, Any]:
    import jax  # not above: `doctor` reads the list where packages are missing

    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "command": " ".join(["python -m alexnet_jax.main", *sys.argv[1:]]),
        "commit": _commit(),
        "versions": versions,
        "devices": [device.device_kind for device in jax.devices()],
        "platform": jax.default_backend(),
        "processor": _processor(),
        "cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
    }


def _commit() -> str | None:
    """Returns the source's git commit, with `+` when programs were changed; None without git."""

    def git(*words: str) -> str:
        run = subprocess.run(
            ["git", *words], cwd=Path(__file__).parent,
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
        return run.stdout.strip()

    try:
        commit = git("describe", "--always", "--abbrev=12", "--exclude=*")
        programs = (":/alexnet_jax/*.py", ":/experiments/*.py")  # no records, no pages
        changed = git("diff", "--name-only", "HEAD", "--", *programs)
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}{'+' if changed else ''}" or None


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
