"""Where the repository lies, in one line, and what is made of it: buttons, a cell that installs.

`python -m experiments.notebooks.pair --repository ACCOUNT/NAME` rewrites the line and the rest.
"""

import re
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = "OWNER/alexnet_jax"
"""Where Colab finds the notebooks; OWNER is a placeholder."""
_PLACEHOLDER = "OWNER"
_COLAB = "https://colab.research.google.com"
_INSTALL = """\
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

if importlib.util.find_spec("alexnet_jax") is None:
    above = [Path.cwd(), *Path.cwd().parents]  # in a clone, the clone
    clones = [folder for folder in above if (folder / "alexnet_jax" / "main.py").exists()]
    source = clones[0] if clones else Path("source").absolute()
    if not source.exists():
        {fetch}
    tpu = any(Path("/dev").glob("accel*")) or any(Path("/dev").glob("vfio/[0-9]*"))
    wheels = "jax[cuda12]" if shutil.which("nvidia-smi") else "jax[tpu]" if tpu else "jax"
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, "-r", source / "requirements.txt", wheels], check=True)
    sys.path.insert(0, str(source))"""
_CLONE = """\
address = "https://github.com/{repository}"
        subprocess.run(["git", "clone", "-q", "--depth", "1", address, source], check=True)"""
_UNPUBLISHED = f"""\
**The buttons lead nowhere yet: `{_PLACEHOLDER}` in their address is a placeholder.** Who publishes
a copy puts account and name in its place, everywhere at once, by
`{{command}} --repository ACCOUNT/NAME`, and commits what changed.
Opened from a clone the notebooks run as they are."""
_NO_ADDRESS = """\
raise RuntimeError(
            "alexnet_jax is not installed, and this notebook names no repository to fetch it from: "
            "open it in a clone, or put a clone beside it as a folder 'source'"
        )"""


def is_published() -> bool:
    """Returns whether the repository has an address."""
    return not REPOSITORY.startswith(f"{_PLACEHOLDER}/")


def install() -> str:
    """Returns the cell that installs the library where it is not installed.

    It takes the clone that the notebook lies in, or one beside it as `source`; elsewhere it clones
    the repository, or says that there is no address.
    """
    fetch = _CLONE.format(repository=REPOSITORY) if is_published() else _NO_ADDRESS
    return _INSTALL.format(fetch=fetch)


def badge(name: str) -> str:
    """Returns the Markdown of the button that opens a notebook in Colab."""
    place = f"{_COLAB}/github/{REPOSITORY}/blob/main/experiments/notebooks/{name}.ipynb"
    return f"[![Colab]({_COLAB}/assets/colab-badge.svg)]({place})"


def badges(names: Sequence[str], command: str) -> str:
    """Returns the buttons of all notebooks, and what they need while there is no address."""
    lines = [f"- {badge(name)} [{name}]({name}.ipynb)" for name in names]
    if not is_published():
        lines += ["", _UNPUBLISHED.format(command=command)]
    return "\n".join(lines)


def publish(repository: str) -> None:
    """Makes `repository` the constant of this file, here and in the file.

    Args:
      repository: `ACCOUNT/NAME` on GitHub.

    Raises:
      ValueError: it is something else.
    """
    global REPOSITORY
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"a repository is given as ACCOUNT/NAME, not '{repository}'")
    path = Path(__file__)
    line = f'REPOSITORY = "{repository}"'
    text = re.sub(r"^REPOSITORY = .*$", line, path.read_text("utf-8"), flags=re.MULTILINE)
    path.write_text(text, "utf-8")
    REPOSITORY = repository
