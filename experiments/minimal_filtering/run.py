"""Trains the same presets and seeds with and without minimal filtering, and compares the errors.

    python -m experiments.minimal_filtering.run --scratch runs/minimal --jobs 2 \
        digits 10 "" cifar10-18pct 3 "--epochs 4 --data.source CIFAR10"

Give preset, number of seeds and further options of `alexnet train`, once or more. A finished run is
not repeated: the same command continues where it was stopped. Writes `results/training.json` and
the table of the page.
"""

import json
import shlex
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from experiments import pages, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import write
from experiments.pages import table
from experiments.paired import paired

OUTPUT = Path(__file__).parent / "results" / "training.json"
FORMS = ("minimal", "direct")
_DIRECT = "minimal_filtering.best_tile = lambda x, kernel, padding: None"


def train(preset: str, form: str, seed: int, options: str, scratch: Path) -> dict[str, float]:
    """Returns error (%) and loss of a run's last test; trains the run if it is missing."""
    workdir = scratch / f"{preset}-{form}-{seed}"
    log, rows = workdir / "metrics.jsonl", []
    for _ in range(2):
        rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        rows = [row for row in rows if row.get("test_views") == 1]
        if rows:
            break
        words = ["train", "--preset", preset, "--seed", str(seed), "--workdir", str(workdir)]
        words += shlex.split(options)
        program = [
            "import sys",
            "from alexnet_jax.main import main",
            "from alexnet_jax.network import minimal_filtering",
            _DIRECT if form == "direct" else "",
            f"sys.exit(main({words!r}))",
        ]
        command = [sys.executable, "-c", "\n".join(program)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(f"{workdir.name}: {100 * rows[-1]['final/top1_error']:.2f} %", flush=True)
    return {"error": 100 * rows[-1]["final/top1_error"], "loss": rows[-1]["final/loss"]}


def comparison(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Returns mean and spread of the errors of both forms, and of their paired differences.

    The runs of both forms are in the order of their seeds.
    """
    errors = {form: [run["error"] for run in runs[form]] for form in FORMS}
    minimal, direct = (dict(enumerate(errors[form])) for form in FORMS)
    difference = paired(minimal, direct)
    if difference is None:
        raise ValueError("a comparison needs two seeds or more")
    return {
        "mean": {form: statistics.mean(values) for form, values in errors.items()},
        "standard_deviation": {form: statistics.stdev(values) for form, values in errors.items()},
        "difference": difference["mean"],
        "interval_95": difference["interval_95"],
    }


def table_of(record: dict[str, Any]) -> str:
    head = ["preset", "seeds", "minimal filtering: error (%)", "direct: error (%)"]
    head += ["paired difference (points)", "95 % interval"]
    lines = []
    for entry in record["entries"]:
        found, (low, high) = entry["comparison"], entry["comparison"]["interval_95"]
        cells = [f"{found['mean'][f]:.2f} ± {found['standard_deviation'][f]:.2f}" for f in FORMS]
        name = f"`{entry['preset']}`" + (f", {entry['note']}" if entry["note"] else "")
        cells += [f"{found['difference']:+.2f}", f"{low:+.2f} to {high:+.2f}"]
        lines.append([name, entry["seeds"], *cells])
    return table(head, lines)


def main() -> None:
    parser = programs.parser(__doc__, OUTPUT)
    parser.add_argument("experiments", nargs="+", help="PRESET SEEDS OPTIONS, in threes")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the run folders")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    arguments = parser.parse_args()
    words = arguments.experiments
    if len(words) % 3:
        parser.error("give PRESET SEEDS OPTIONS in threes")
    entries = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for preset, seeds, options in zip(words[::3], words[1::3], words[2::3], strict=True):
            jobs = {
                form: [
                    pool.submit(train, preset, form, seed, options, arguments.scratch)
                    for seed in range(int(seeds))
                ]
                for form in FORMS
            }
            runs = {form: [job.result() for job in jobs[form]] for form in FORMS}
            shown = shlex.split(options)
            note = f"{shown[shown.index('--epochs') + 1]} epochs" if "--epochs" in shown else ""
            entry = {"preset": preset, "seeds": int(seeds), "note": note, "runs": runs}
            entries.append(entry | {"comparison": comparison(runs)})
            write(arguments.output, {"environment": environment(), "entries": entries})
    if arguments.output == OUTPUT:
        pages.write("minimal_filtering")


if __name__ == "__main__":
    main()
