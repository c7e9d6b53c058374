"""Default places of files."""

import hashlib
import os
import platform
import sys
import tempfile
from pathlib import Path

from alexnet_jax.errors import InputError

_CACHE_SETTINGS = {
    # The least recently used programs go first; those of one run need less than 1 MiB.
    "JAX_COMPILATION_CACHE_MAX_SIZE": str(256 * 1024**2),
    # Small programs, too: there are few, and reading one takes a tenth of compiling it.
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}


def default_data_dir() -> Path:
    """Returns the absolute folder of prepared data sets; it need not exist yet.

    `$ALEXNET_DATA_DIR` if set, else `alexnet_jax/data` in `$XDG_CACHE_HOME`, else in `~/.cache`,
    else (a user without a home) a folder of this user's own in the system's temporary folder.
    """
    named = os.environ.get("ALEXNET_DATA_DIR")
    if named:
        return Path(named).expanduser().absolute()
    return cache_dir() / "data"


def readable(name: str | os.PathLike) -> str:
    """Returns a file's name or path for people and files; what is no UTF-8 in it is escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def check_utf8(folder: Path) -> None:
    """Raises `InputError` for a path that is no UTF-8: some libraries cannot write there."""
    try:
        os.fspath(folder).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"the folder {readable(folder)} has a name that is no UTF-8; name another"
        ) from None


def cache_dir() -> Path:
    """Returns the absolute cache folder of alexnet_jax; it need not exist yet."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):  # the XDG specification: a relative path is invalid and ignored
        return Path(named) / "alexnet_jax"
    try:
        home = Path.home()
    except RuntimeError:
        home = None
    # A service account's home is often "/" or a folder that does not exist.
    if home is not None and home.is_dir() and os.access(home, os.W_OK) and home != Path("/"):
        return home.absolute() / ".cache" / "alexnet_jax"
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"alexnet_jax-{user}"


def compilation_cache_dir() -> Path:
    """Returns the absolute folder of compiled programs, named after the processor.

    XLA loads those of another processor, which may crash (SIGILL), and machines may share a home.
    """
    digest = hashlib.sha256("\n".join(_processor()).encode()).hexdigest()
    return cache_dir() / "compiled" / f"{platform.machine() or 'unknown'}-{digest[:12]}"


def _processor() -> list[str]:
    wanted = ("vendor_id", "cpu family", "model", "model name", "flags", "CPU ", "Features")
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text().partition("\n\n")
    except OSError:
        return [platform.system(), platform.machine(), platform.processor()]
    lines = [line for line in first.splitlines() if line.startswith(wanted)]
    return [" ".join(sorted(line.split())) for line in lines]


def use_compilation_cache() -> Path | None:
    """Lets JAX keep compiled programs on disk, before JAX is imported; returns the folder, if any.

    For programs, not for the library: it sets JAX's own environment variables. Those that the user
    has set stay (`JAX_COMPILATION_CACHE_DIR`, empty: no folder; `JAX_ENABLE_COMPILATION_CACHE`).
    A folder that is not this user's alone is not used: loading a program runs it.
    """
    if "jax" in sys.modules or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return None
    folder = compilation_cache_dir()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not all(_is_ours(place) for place in (folder, folder.parent, folder.parent.parent)):
            return None
    except OSError:
        return None
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    for name, value in _CACHE_SETTINGS.items():
        os.environ.setdefault(name, value)
    return folder


def _is_ours(folder: Path) -> bool:
    """Returns whether this user owns `folder` and may write to it, and the world may not."""
    status = folder.stat()
    owned = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return owned and not status.st_mode & 0o002 and os.access(folder, os.W_OK)
