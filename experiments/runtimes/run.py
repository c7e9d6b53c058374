"""Which runtimes run our exported files, and how far are their logits from ours?

    python -m experiments.runtimes.run              # installs about 12 GB; under an hour
    python -m experiments.runtimes.run --only OpenCV --again
    python -m experiments.runtimes.run --ci         # three runtimes, two networks; writes no record
    python -m experiments.runtimes.run --package OLD --form whole --name before

`runtimes.toml` has an entry per runtime and version. Nine networks with fixed random weights are
exported once by each [form, batch]; each file runs in a process of its own. What was measured with
the same commit and requirements is kept, unless `--again`. Writes `results/runtimes.json`.
OLD is a checkout of an older version, which exports; page and tests are of this one.
"""

import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import pages, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.runtimes.environments import ROOT, Job, Outcome, environment_of, run_jobs

HERE = Path(__file__).parent
NETWORKS = (
    "paper",
    "original",
    "caffenet",
    "one-weird-trick",
    "one-tower-adaptive",
    "cifar-18pct",
    "cifar-13pct",
    "cifar-11pct",
    "no-talk",
)
"""Together they have every kind of layer, grouped dense layers, and windows that overhang."""
ENDS = ("logits.npy", "refusal.txt")
"""What is written last, beside the file or in its place."""
CI_NETWORKS = ("one-weird-trick", "cifar-11pct")
TOLERANCES = {False: 1e-4, True: 2e-2}
"""Largest error over largest logit of a right float32 file, and of a float16 one."""


def entries() -> list[dict[str, Any]]:
    return tomllib.loads((HERE / "runtimes.toml").read_text("utf-8"))["runtime"]


def version_of(entry: dict[str, Any]) -> str:
    first = (*entry.get("requirements", ()), *entry.get("node", ()))[0]
    return first.replace("==", "@").rpartition("@")[2]


def make_files(
    networks: Sequence[str], kind: str, form: str, batch: str, package: Path, work: Path
) -> Path:
    """Returns the folder of the exported files, which are made once."""
    folder = work / "files" / f"{kind}-{form}-{batch}"
    folder.mkdir(parents=True, exist_ok=True)
    lacking = [
        network
        for network in networks
        if not any((folder / f"{network}.{kind}.{end}").exists() for end in ENDS)
    ]
    for left in (path for network in lacking for path in folder.glob(f"{network}.*")):
        left.unlink()
    if lacking:
        command = [sys.executable, HERE / "make_files.py", kind, form, batch, folder, *lacking]
        subprocess.run(command, env=os.environ | {"PYTHONPATH": str(package)}, check=True)
    return folder


def about(entry: dict[str, Any], form: str, batch: str) -> dict[str, Any]:
    return {
        "runtime": entry["name"],
        "version": version_of(entry),
        "option": entry.get("option", ""),
        "requirements": [*entry.get("requirements", ()), *entry.get("node", ())],
        "kind": entry.get("format", "onnx"),
        "form": form,
        "batch": batch,
        "tolerance": TOLERANCES[entry.get("float16", False)],
        "networks": {},
    }


def measure(
    entry: dict[str, Any], form: str, batch: str, networks: Any, package: Path, work: Path
) -> dict[str, Any]:
    """Returns the row of a runtime and a kind of file."""
    kind, row = entry.get("format", "onnx"), about(entry, form, batch)
    place = environment_of(entry, work.parent)
    if place.missing:
        return row | {"missing": place.missing}
    folder = make_files(networks, kind, form, batch, package, work)
    files = {network: folder / f"{network}.{kind}" for network in networks}
    sizes = (1,) if batch == "1" or entry.get("single") else (3, 1)
    jobs = {
        network: Job(file, Path(f"{file}.images.npy"), sizes)
        for network, file in files.items()
        if file.exists()
    }
    outcomes = dict(zip(jobs, run_jobs(entry, place, list(jobs.values())), strict=True))
    for network, file in files.items():
        row["networks"][network] = _compared(outcomes.get(network), file)
    print(*_key(row)[-5:], row["networks"], flush=True)
    return row


def _compared(outcome: Outcome | None, file: Path) -> dict[str, Any]:
    if outcome is None:
        return {"no_file": Path(f"{file}.refusal.txt").read_text()}
    if outcome.logits is None:
        return {"refusal": outcome.refusal}
    return {"error": error_of(outcome.logits, np.load(f"{file}.logits.npy"))}


def error_of(logits: np.ndarray, ours: np.ndarray) -> float:
    """Returns the largest error over the largest logit; infinite if they are no such numbers."""
    if logits.shape[1:] != ours.shape or not np.isfinite(logits).all():
        return float("inf")
    return float(f"{np.abs(logits - ours).max() / np.abs(ours).max():.1e}")


def is_right(row: dict[str, Any], network: str) -> bool:
    return row["networks"].get(network, {}).get("error", np.inf) <= row["tolerance"]


def main() -> None:
    """With `--ci`, exits with 1 if a file is refused or gives other logits."""
    parser = programs.parser(__doc__)
    parser.add_argument("--name", default="runtimes", help="of the record in results/")
    parser.add_argument("--package", type=Path, default=ROOT, help="checkout that exports")
    parser.add_argument("--work", type=Path, default=Path("runs/runtimes"))
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME")
    parser.add_argument("--again", action="store_true", help="measure what the record has, too")
    parser.add_argument("--form", choices=("whole", "network"), help="only files of this form")
    parser.add_argument("--ci", action="store_true")
    arguments = parser.parse_args()
    package = arguments.package.absolute()
    commit = commit_of(package)
    work = arguments.work.absolute() / commit
    if arguments.ci:
        raise SystemExit(check(package, work))
    output = HERE / "results" / f"{arguments.name}.json"
    old = {_key(row): row for row in (read(output) or {"rows": []})["rows"]}
    new: dict[Any, dict[str, Any]] = {}
    for entry, (form, batch) in files_of(entries(), arguments.form):
        key = _key(about(entry, form, batch))
        row = old.get(key)
        is_chosen = not arguments.only or entry["name"] in arguments.only
        if is_chosen and (arguments.again or row is None or row["commit"] != commit):
            row = measure(entry, form, batch, entry.get("networks", NETWORKS), package, work)
            row["commit"] = commit
        if row:
            new[key] = row
            rows = list(({**old, **new} if arguments.only or arguments.form else new).values())
            write(output, {"environment": environment(), "rows": rows})
    pages.write("runtimes")


def check(package: Path, work: Path) -> int:
    """Returns 1 if a runtime of CI refuses a file or gives other logits."""
    failed = False
    for entry in entries():
        if not entry.get("ci"):
            continue
        row = measure(entry, "whole", "free", CI_NETWORKS, package, work)
        name = f"{row['runtime']} {row['version']}"
        if "missing" in row:
            print(f"NOT TESTED: {name} cannot be installed: {row['missing']}")
        for network, outcome in row["networks"].items():
            right = is_right(row, network)
            failed |= not right
            print(f"{'right' if right else 'WRONG'}: {name}, {network}: {outcome}")
    return int(failed)


def files_of(
    found: list[dict[str, Any]], form: str | None
) -> list[tuple[dict[str, Any], tuple[str, str]]]:
    whole = ("whole", "free")
    pairs = [(entry, tuple(file)) for entry in found for file in entry.get("files", [whole])]
    return [(entry, file) for entry, file in pairs if form in (None, file[0])]


def commit_of(package: Path) -> str:
    command = ["git", "-C", package, "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return (*row["requirements"], *(row[n] for n in ("runtime", "option", "kind", "form", "batch")))


if __name__ == "__main__":
    main()
