"""Is a run that is killed at random moments and resumed the unbroken run, bit for bit?

    python -m experiments.kill_and_resume.run --preset digits --kills 5 \
        --output experiments/kill_and_resume/results/digits.json -- \
        --epochs 3 --checkpoint-every-steps 3

Trains once without a break and once with `kill -9` at random moments after a random number of
new progress lines, each followed by the same command, and compares the SHA-256 of the final
parameters. What follows `--` goes to `alexnet_jax.main train`.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Runs the comparison; exits with 1 when the parameters differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="digits")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--output", type=Path, help="JSON file of the result")
    parser.add_argument("--scratch", type=Path, help="folder for the two runs")
    parser.add_argument("train", nargs="*", help="further options of train")
    arguments = parser.parse_args()
    scratch = arguments.scratch or Path(tempfile.mkdtemp())
    command = [sys.executable, "-m", "alexnet_jax.main", "train", "--preset", arguments.preset]
    command += [*arguments.train, "--log-every-steps", "1"]
    chance = random.Random(arguments.seed)

    unbroken = _finish(command, scratch / "unbroken")
    broken = scratch / "broken"
    killed_at = [_kill(command, broken, chance) for _ in range(arguments.kills)]
    resumed = _finish(command, broken)
    equal = unbroken["params_sha256"] == resumed["params_sha256"]
    result = {
        "preset": arguments.preset,
        "options": [word for word in arguments.train if "/" not in word],
        "steps": unbroken["step"],
        "killed_after_step": killed_at,
        "unbroken_sha256": unbroken["params_sha256"],
        "resumed_sha256": resumed["params_sha256"],
        "equal": equal,
        "versions": unbroken["versions"],
        "processor": unbroken["processor"],
        "commit": unbroken["commit"],
    }
    print(json.dumps(result, indent=1))
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(0 if equal else 1)


def _finish(command: list[str], workdir: Path) -> dict:
    subprocess.run([*command, "--workdir", str(workdir)], check=True, stdout=subprocess.DEVNULL)
    return json.loads((workdir / "run.json").read_text())


def _kill(command: list[str], workdir: Path, chance: random.Random) -> int:
    """Starts the run, kills it after some new rows of metrics; returns the last step seen."""
    rows = workdir / "metrics.jsonl"
    with subprocess.Popen(
        [*command, "--workdir", str(workdir)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:  # the first step is done, so the old rows are cut off
            if line.startswith("first step"):
                break
        wanted = len(_lines(rows)) + chance.randint(1, 9)
        while len(_lines(rows)) < wanted and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    if process.returncode != -9:
        raise SystemExit("the run ended before it could be killed; train for more epochs")
    return json.loads(_lines(rows)[-1])["step"]


def _lines(path: Path) -> list[str]:
    """Returns the whole lines of a file that is being written."""
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


if __name__ == "__main__":
    main()
