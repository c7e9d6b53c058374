"""Programs that come with a runtime's package: converters and compilers."""

import subprocess
import sys
from pathlib import Path


def run_tool(name, words, made, folder=None):
    """Runs a program of this environment; raises `ValueError` if it does not make the file."""
    command = [str(Path(sys.executable).parent / name), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode or not Path(made).exists():
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        telling = [line for line in lines if "error" in line.lower() or "not support" in line]
        raise ValueError(f"{name}: {(telling or lines or ['no reason given'])[-1]}")
