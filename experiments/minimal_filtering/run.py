"""Trains the same presets and seeds with and without minimal filtering, and compares the errors.

    python -m experiments.minimal_filtering.run --scratch runs/minimal --jobs 2 \
        digits 10 "" cifar10-18pct 3 "--epochs 4 --data.source CIFAR10"

Preset, number of seeds and further options of `alexnet train`, as often as wanted. A run that has
ended is not repeated: the same command goes on where it was stopped. Writes
`results/training.json` and the table of the README.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.generated import made_with, rewrite, table, with_parts
from experiments.paired import paired

HERE = Path(__file__).parent
OUTPUT = HERE / "results" / "training.json"
README = HERE / "README.md"
FORMS = ("minimal", "direct")
_DIRECT = "minimal_filtering.best_tile = lambda x, kernel, padding: None"


def train(preset: str, form: str, seed: int, options: str, scratch: Path) -> dict[str, float]:
    """Returns the error (%) and loss of the last test of one run, which is made if need be.

    Args:
      preset: name of the preset.
      form: of the convolutions, "minimal" or "direct".
      seed: of the run.
      options: further ones of `alexnet train`.
      scratch: folder of the run folders.
    """
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

    Args:
      runs: what `train` returned for each seed, in the same order, by form.
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


def rows(record: dict[str, Any]) -> str:
    """Returns the table of a record."""
    head = ["preset", "seeds", "minimal filtering: error (%)", "direct: error (%)"]
    head += ["paired difference (points)", "95 % interval"]
    lines = []
    for entry in record["entries"]:
        found, low_high = entry["comparison"], entry["comparison"]["interval_95"]
        cells = [f"{found['mean'][f]:.2f} ± {found['standard_deviation'][f]:.2f}" for f in FORMS]
        name = f"`{entry['preset']}`" + (f", {entry['note']}" if entry["note"] else "")
        interval = " to ".join(f"{value:+.2f}" for value in low_high)
        lines.append([name, str(entry["seeds"]), *cells, f"{found['difference']:+.2f}", interval])
    under = f"Mean ± standard deviation over seeds. {made_with(record, OUTPUT.name, ['torch'])}."
    return f"{table(head, lines)}\n\n{under}"


def updated(text: str) -> str:
    """Returns the README with the table of today's record."""
    record = read(OUTPUT)
    return with_parts(text, {"training": rows(record)}, __spec__.name) if record else text


def main() -> None:
    """Trains what is not trained yet, writes the record and the README."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiments", nargs="+", help="PRESET SEEDS OPTIONS, in threes")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the run folders")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--output", type=Path, default=OUTPUT)
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
        rewrite({README: updated})


if __name__ == "__main__":
    main()
