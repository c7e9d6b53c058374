"""Jobs: a module computes one thing in a process of its own; JSON goes in and comes out."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

_VARIABLE = "ALEXNET_JAX_JOB"
_ROOT = Path(__file__).resolve().parents[2]


class JobError(Exception):
    """A job has ended without a result."""


def current() -> dict[str, Any] | None:
    """Returns the job of this process; None: it is not the process of a job."""
    text = os.environ.get(_VARIABLE)
    return json.loads(text) if text else None


def start(module: str, job: dict[str, Any], **variables: str) -> subprocess.Popen[str]:
    """Starts `python -m module` with a job and further environment variables."""
    return subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=_ROOT,
        env=os.environ | variables | {_VARIABLE: json.dumps(job)},
        stdout=subprocess.PIPE,
        text=True,
    )


def free_address() -> str:
    """Returns an address of this machine at which processes may meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def run(module: str, job: dict[str, Any], **variables: str) -> dict[str, Any]:
    """Returns what the process of a job prints in its last line."""
    process = start(module, job, **variables)
    output, _ = process.communicate()
    if process.returncode:
        raise JobError(f"its process ended with code {process.returncode}")
    return json.loads(output.splitlines()[-1])
