"""Where things lie when the user names no place."""

import os
import tempfile
from pathlib import Path


def default_data_dir() -> Path:
    """Returns the absolute folder of prepared data sets; it need not exist yet.

    `$ALEXNET_DATA_DIR` if set, else `alexnet_jax/data` in `$XDG_CACHE_HOME`, else in `~/.cache`,
    else (a user without a home) a folder of this user's own in the system's temporary folder.
    """
    named = os.environ.get("ALEXNET_DATA_DIR")
    if named:
        return Path(named).expanduser().absolute()
    return cache_dir() / "data"


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
