"""Jobs: a module computes one thing in a process of its own; JSON goes in and comes out."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
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


def stream(module: str, job: dict[str, Any], deadline: float) -> Iterator[dict[str, Any]]:
    """Yields each line of JSON that the process of a job prints, as soon as it is there.

    At the `deadline` (of `time.time`) the process is ended; what it had said before counts.

    Raises:
      JobError: it has ended with an error, or was ended.
    """
    process = start(module, job)
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    alarm = threading.Timer(max(0.0, deadline - time.time()), end)
    alarm.daemon = True
    alarm.start()
    with process:  # closes its output at the end
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("{"):  # what libraries print does not
                    yield json.loads(line)
            process.wait()
        finally:
            alarm.cancel()
            process.kill()
    if late.is_set():
        raise JobError("it was ended when the time was up")
    if process.returncode:
        raise JobError(f"its process ended with code {process.returncode}")
