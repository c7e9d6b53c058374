"""On which systems and versions of Python do the requirements resolve to wheels?

    pip install uv && python -m experiments.platforms.run  # about a minute; installs nothing else
    python -m experiments.platforms.run --check            # exits with 1 if the page is out of date

Writes `results/platforms.json` and the table of this folder's README. Resolving is not running: the
README says which systems the tests were run on.
"""

import argparse
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.generated import rewrite, table, with_parts

HERE = Path(__file__).parent
OUTPUT = HERE / "results" / "platforms.json"
README = HERE / "README.md"
REQUIREMENTS = HERE.parents[1] / "requirements.txt"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SYSTEMS = {
    "Linux, x86-64": "x86_64-manylinux_2_28",
    "Linux, x86-64, glibc 2.31": "x86_64-manylinux_2_31",
    "Linux, aarch64": "aarch64-manylinux_2_28",
    "macOS, Apple silicon": "aarch64-apple-darwin",
    "Windows, x86-64": "x86_64-pc-windows-msvc",
}
"""Names of systems, and what uv calls them."""
ROWS = (
    ("Linux, x86-64", ""),
    ("Linux, x86-64", "jax[cuda13]"),
    ("Linux, x86-64, glibc 2.31", "jax[tpu]"),
    ("Linux, aarch64", ""),
    ("Linux, aarch64", "jax[cuda13]"),
    ("macOS, Apple silicon", ""),
    ("Windows, x86-64", ""),
)
"""System, and what is installed beside the requirements."""
_SOURCE_ONLY = "promise"  # TFDS needs it; pure Python, and there is no wheel


def resolve(system: str, python: str, extra: str) -> dict[str, str]:
    """Returns `{"jax": version}` where wheels of everything are there, else `{"lacks": reason}`.

    Args:
      system: key of `SYSTEMS`.
      python: version, as 3.14.
      extra: a further requirement, or nothing.
    """
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


def updated(text: str) -> str:
    """Returns the README with the table of the record."""
    record = read(OUTPUT)
    assert record is not None
    lines = []
    for system, extra in ROWS:
        found = record["resolved"][f"{system}; {extra}"]
        cells = [
            f"jax {found[python]['jax']}"
            if "jax" in found[python]
            else f"no: {found[python]['lacks']}"
            for python in PYTHONS
        ]
        lines.append([system, f"`{extra}`" if extra else "–", *cells])
    head = ["system", "beside the requirements", *(f"Python {python}" for python in PYTHONS)]
    made = f"Resolved on {record['environment']['date'][:10]} by uv {record['uv']}"
    rows = f"{table(head, lines)}\n\n{made}; [json](results/{OUTPUT.name})."
    return with_parts(text, {"platforms": rows}, "experiments.platforms.run")


def main() -> None:
    """Resolves for every system and version; prints what lacks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only compare the page")
    arguments = parser.parse_args()
    if not arguments.check:
        if not shutil.which("uv"):
            parser.error("uv, which resolves for other systems, is not installed: pip install uv")
        version = subprocess.run(["uv", "--version"], capture_output=True, text=True).stdout.split()
        resolved: dict[str, Any] = {}
        for system, extra in ROWS:
            row = {python: resolve(system, python, extra) for python in PYTHONS}
            resolved[f"{system}; {extra}"] = row
            print(f"{system} {extra}: {row}", flush=True)
        write(OUTPUT, {"environment": environment(), "uv": version[1], "resolved": resolved})
    rewrite({README: updated}, ["--check"] if arguments.check else [])


if __name__ == "__main__":
    main()
