"""What `doctor` finds out about the machine: packages, devices, compiled programs."""

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.runs.environment import PACKAGES

NVIDIA_DRIVER = Path("/proc/driver/nvidia")


class Finding(NamedTuple):
    """One line: `ok`, `note` (nothing to do) or `bad` (to be repaired); its subject; its text."""

    state: str
    subject: str
    text: str


def check_packages() -> Iterator[Finding]:
    for package in PACKAGES:
        try:
            yield Finding("ok", "package", f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            yield Finding(
                "bad", "package", f"{package} is missing: pip install -r requirements.txt"
            )
    present = importlib.util.find_spec("tensorflow") is not None
    text = "present" if present else "absent"
    yield Finding("note", "tensorflow", f"{text}; only some `prepare --source tfds:NAME` need it")


def check_devices() -> Iterator[Finding]:
    try:
        import jax

        names = [device.device_kind for device in jax.devices()]
    except Exception as error:  # a driver that does not fit shows itself in many ways
        yield Finding("bad", "devices", f"JAX finds none: {' '.join(str(error).split())[:200]}")
        return
    kinds = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    backend = jax.default_backend()
    cores = f", {os.cpu_count()} cores" if backend == "cpu" else ""
    yield Finding("ok", "devices", f"{backend}: {kinds}{cores}")
    cards = _nvidia_cards() if backend == "cpu" else []
    if cards:
        yield _unused_cards(cards)


def _unused_cards(cards: list[str]) -> Finding:
    """Returns why JAX does not use the NVIDIA cards of the machine, and the remedy."""
    seen = f"{', '.join(cards)} is here, but JAX does not use it: "
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms:
        return Finding("note", "devices", f"{seen}JAX_PLATFORMS is '{platforms}'")
    plugins = [
        found.metadata["Name"]
        for found in metadata.distributions()
        if re.fullmatch(r"jax-cuda\d+-plugin", found.metadata["Name"] or "")
    ]
    if not plugins:
        return Finding("bad", "devices", f'{seen}pip install "jax[cuda13]"')
    return Finding(
        "bad",
        "devices",
        f"{seen}{', '.join(plugins)} is installed; its version must be that of jaxlib, and "
        "`nvidia-smi` must show a driver for that CUDA version or a newer one",
    )


def _nvidia_cards() -> list[str]:
    """Returns the names of the NVIDIA cards that the driver knows, whether JAX uses them or not."""
    names = []
    for file in sorted(NVIDIA_DRIVER.glob("gpus/*/information")):
        with contextlib.suppress(OSError):
            model = re.search(r"^Model:\s*(.+)", file.read_text("utf-8", "replace"), re.MULTILINE)
            names.append(model[1].strip() if model else "an NVIDIA card")
    if names or not shutil.which("nvidia-smi"):
        return names
    # Under Windows (WSL) the driver has no such files.
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
        return re.findall(r"^GPU \d+: (.+?) \(UUID", listing.stdout, re.MULTILINE)
    return []


def check_compiled_programs() -> Iterator[Finding]:
    try:
        import jax

        folder = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
        if not folder or not jax.config.jax_enable_compilation_cache:  # type: ignore[attr-defined]
            why = "switched off, or the cache folder cannot be written, or it is not yours alone"
            yield Finding("note", "compiled", f"each start compiles again: {why}")
            return
    except ImportError:  # reported as a missing package
        return
    sizes = [path.stat().st_size for path in Path(folder).glob("*-cache")]
    text = f"{folder}: {len(sizes)} programs, {sum(sizes) / 1024**2:.1f} MiB; may be removed"
    yield Finding("ok", "compiled", text)
