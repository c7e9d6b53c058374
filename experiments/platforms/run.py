"""On which systems and versions of Python do the requirements resolve to wheels?

    pip install uv && python -m experiments.platforms.run  # about a minute; installs nothing else

Writes `results/platforms.json` and the table of the page. To resolve is not to run: the page says
on which systems the tests were run.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from experiments import pages, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import write

HERE = Path(__file__).parent
OUTPUT = HERE / "results" / "platforms.json"
REQUIREMENTS = HERE.parents[1] / "requirements.txt"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SYSTEMS = {
    "Linux, x86-64": "x86_64-manylinux_2_28",
    "Linux, x86-64, glibc 2.31": "x86_64-manylinux_2_31",
    "Linux, aarch64": "aarch64-manylinux_2_28",
    "macOS, Apple silicon": "aarch64-apple-darwin",
    "Windows, x86-64": "x86_64-pc-windows-msvc",
}
"""Systems, and uv's names for them."""
ROWS = (
    ("Linux, x86-64", ""),
    ("Linux, x86-64", "jax[cuda13]"),
    ("Linux, x86-64, glibc 2.31", "jax[tpu]"),
    ("Linux, aarch64", ""),
    ("Linux, aarch64", "jax[cuda13]"),
    ("macOS, Apple silicon", ""),
    ("Windows, x86-64", ""),
)
"""System, and what is installed in addition to the requirements."""
_SOURCE_ONLY = "promise"  # TFDS needs it; pure Python, and there is no wheel


def resolve(system: str, python: str, extra: str) -> dict[str, str]:
    """Returns `{"jax": version}` where wheels of everything are there, else `{"lacks": reason}`."""
    options = ["--python-platform", SYSTEMS[system], "--python-version", python]
    options += ["--only-binary", ":all:", "--no-binary", _SOURCE_ONLY, "--no-header"]
    result = subprocess.run(
        ["uv", "pip", "compile", "--quiet", *options, "-"],
        input=f"{REQUIREMENTS.read_text('utf-8')}\n{extra}\n",
        capture_output=True,
        text=True,
        timeout=600,
    )
    if result.returncode == 0:
        versions = dict(
            re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==(\S+)", result.stdout, re.MULTILINE)
        )
        return {"jax": versions["jax"]}
    lacking = re.search(r"([a-z][\w-]*)[<>=~]=\S+ has no wheels", result.stderr)
    return {"lacks": lacking[1] if lacking else " ".join(result.stderr.split())[:200]}


def main() -> None:
    parser = programs.parser(__doc__)
    parser.parse_args()
    if not shutil.which("uv"):
        parser.error("uv, which resolves for other systems, is not installed: pip install uv")
    version = subprocess.run(["uv", "--version"], capture_output=True, text=True).stdout.split()
    resolved: dict[str, Any] = {}
    for system, extra in ROWS:
        row = {python: resolve(system, python, extra) for python in PYTHONS}
        resolved[f"{system}; {extra}"] = row
        print(f"{system} {extra}: {row}", flush=True)
    write(OUTPUT, {"environment": environment(), "uv": version[1], "resolved": resolved})
    pages.write("platforms")


if __name__ == "__main__":
    main()
