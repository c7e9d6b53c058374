"""How long the default command takes to its first training step, and with how much work.

    python -m experiments.benchmarks.startup

Each measurement is the command as it is typed, in a process of its own, from its start to the end
of its first step. Cold and warm take turns: cold begins without compiled programs, warm with those
of an earlier run. The data set is prepared before. CPU seconds are of all threads: on a busy
machine they say more than the clock.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments import programs
from experiments.benchmarks.records import RESULTS, row, write_rows

_FIRST = "first step"


def main() -> None:
    parser = programs.parser(__doc__, RESULTS / "startup.json")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        warm = place / "warm"
        run(place, warm)  # prepares the data, and fills the cache
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as cold:
                for name, cache in (("empty", Path(cold)), ("warm", warm)):
                    found.setdefault(name, []).append(run(place, cache))
                    print(f"{name:6}", found[name][-1], flush=True)
    rows = [
        row(f"first step, {name} cache{what}", [one[field] for one in found[name]])
        for name in ("warm", "empty")
        for what, field in (("", "seconds"), (", CPU time", "cpu_seconds"))
    ]
    question = "Seconds from the default command to the end of its first training step."
    packages = ("optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "tensorboardX")
    write_rows(options.output, question, rows, packages, rounds=found)


def run(place: Path, cache: Path) -> dict[str, float]:
    """Returns the seconds of the default command until its first step.

    Data and runs lie in `place`, compiled programs in `cache`.
    """
    workdir = place / "run"
    words = [sys.executable, "-m", "alexnet_jax.main", "--workdir", str(workdir)]
    variables = os.environ | {"ALEXNET_DATA_DIR": str(place / "data"), "XDG_CACHE_HOME": str(cache)}
    variables.pop("JAX_COMPILATION_CACHE_DIR", None)
    root = Path(__file__).resolve().parents[2]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    with subprocess.Popen(
        words, cwd=root, env=variables, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(_FIRST):
                break
        seconds = time.monotonic() - started
        process.kill()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = json.loads((workdir / "run.json").read_text())["seconds_to_first_step"]
    shutil.rmtree(workdir)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result = {"seconds": seconds, "cpu_seconds": cpu, "run_json_seconds": own}
    return {name: round(value, 2) for name, value in result.items()}


if __name__ == "__main__":
    main()
