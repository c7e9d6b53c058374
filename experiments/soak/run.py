"""Stops runs at random moments, by every signal, until they end: is each end the unbroken one?

    python -m experiments.soak.run --scratch runs/soak --faults 200
    python -m experiments.soak.run --scratch runs/soak --faults 40 --processes 2
    python -m experiments.soak.run --scratch runs/soak --faults 10 --name original -- train \
        --preset imagenette-original --data.source IMAGENETTE --batch-size 4 --epochs 0.03 \
        --evaluate-every-epochs 1 --checkpoint-every-steps 4 --final-views 1

A life is one work folder: the same command is started, stopped after a random time by a random
signal and started again, until it ends by itself. With two processes, one or both are stopped. The
record counts faults, runs that could not continue, exit codes that were not promised, and ends
whose parameters differ in any bit. The words after `--` are run instead of the default preset. The
record grows with every life; the same command continues where it was stopped.
"""

import collections
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from experiments import pages, programs
from experiments.benchmarks import jobs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.pages import table

OUTPUT = Path(__file__).parent / "results" / "soak.json"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PROMISED = {0, 6, 129, 130, 143, *(-number for number in SIGNALS)}
"""Exit codes: saved, another process was lost, stopped before anything could be saved, and ended
by the signal itself (kill -9; any signal while Python starts or waits for other processes)."""
ALONE_SECONDS = 90.0
"""After this time a process that waits for a lost one is stopped, as a batch system would do."""
SHORT = ("--epochs", "4", "--checkpoint-every-steps", "9", "--evaluate-every-epochs", "1")
LIMIT_SECONDS = 300.0
MAX_FAULTS = 60
"""After so many faults a life is left alone: the machine may be too busy to end between two."""


def _restore_signals() -> None:
    """Lets a run receive signals that `nohup` or a background shell makes its children ignore."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


class Soak(NamedTuple):
    """The command whose runs are stopped, and its name in the record."""

    name: str
    words: list[str]
    processes: int
    scratch: Path


class Command:
    """The processes of one attempt."""

    def __init__(self, soak: Soak, workdir: Path):
        words = [sys.executable, "-m", "alexnet_jax.main", *soak.words]
        words += ["--workdir", str(workdir), "--data-dir", str(soak.scratch / "data")]
        groups, count = [words], soak.processes
        if count > 1:
            together = ["--coordinator", jobs.free_address(), "--processes", str(count)]
            groups = [[*words, *together, "--process-id", str(i)] for i in range(count)]
        self.log = workdir.with_suffix(".log").open("ab")
        self.processes = [
            subprocess.Popen(
                group, stdout=subprocess.DEVNULL, stderr=self.log, preexec_fn=_restore_signals
            )
            for group in groups
        ]

    def running(self) -> list[subprocess.Popen]:
        return [process for process in self.processes if process.poll() is None]

    def wait(self, seconds: float) -> bool:
        """Waits, and returns whether all have ended."""
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self.running()

    def close(self) -> list[int | None]:
        """Ends what still runs, and returns the exit codes; None where one hung."""
        hung = self.running()
        for process in hung:
            process.kill()
            process.wait()
        self.log.close()
        return [None if process in hung else process.returncode for process in self.processes]


def live(soak: Soak, workdir: Path, longest: float, chance: random.Random) -> Any:
    """Returns the faults of one life, and the digest of its end; None: it could not continue.

    A fault comes after `longest` seconds at most; `chance` draws times, signals and victims.
    """
    faults: list[dict[str, Any]] = []
    while True:
        attempt = Command(soak, workdir)
        left_alone = len(faults) >= MAX_FAULTS
        moment = LIMIT_SECONDS if left_alone else chance.uniform(0.2, longest)
        if attempt.wait(moment) or left_alone:
            codes = attempt.close()
            info = json.loads((workdir / "run.json").read_text("utf-8"))
            ended = set(codes) == {0} and info["status"] == "finished"
            return faults, info["params_sha256"] if ended else None
        number = chance.choice(SIGNALS)
        running = attempt.running()
        for process in running if chance.random() < 0.5 else running[:1]:
            process.send_signal(number)
        if not attempt.wait(LIMIT_SECONDS if soak.processes == 1 else ALONE_SECONDS):
            for process in attempt.running():
                process.terminate()
            attempt.wait(LIMIT_SECONDS)
        codes = attempt.close()
        faults.append({"signal": number.name, "seconds": round(moment, 2), "codes": codes})


def unbroken(soak: Soak) -> tuple[str, float]:
    """Returns the digest of the unbroken run and the seconds that it takes, data at hand."""
    for name in ("first", "unbroken"):  # the first one prepares the set and compiles
        start = time.monotonic()
        workdir = soak.scratch / f"{name}-{soak.name}"
        command = Command(soak, workdir)
        if not command.wait(LIMIT_SECONDS) or set(command.close()) != {0}:
            raise SystemExit("the unbroken run failed; see its log in the scratch folder")
    seconds = time.monotonic() - start
    info = json.loads((workdir / "run.json").read_text("utf-8"))
    return info["params_sha256"], seconds


def table_of(record: dict[str, Any]) -> str:
    head = ["run", "lives", "faults", "by signal", "runs lost", "other exit codes"]
    lines = []
    for name, lives in sorted(record["lives"].items()):
        faults = [fault for life in lives for fault in life["faults"]]
        signals = collections.Counter(fault["signal"] for fault in faults)
        codes = [code for fault in faults for code in fault["codes"]]
        lines.append(
            [
                f"`{name}`",
                len(lives),
                len(faults),
                ", ".join(f"{signal} {count}" for signal, count in sorted(signals.items())),
                sum(life["digest"] is None for life in lives),
                sum(code not in PROMISED for code in codes),
                sum(life["digest"] not in (None, life["unbroken"]) for life in lives),
            ]
        )
    return table([*head, "ends that differ in a bit"], lines)


def main() -> None:
    parser = programs.parser(__doc__, OUTPUT)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--faults", type=int, default=200, help="in all, those of before included")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--name", default="digits", help="in the record")
    parser.add_argument("words", nargs="*", help="of the command, after --")
    arguments = parser.parse_args()
    scratch, count = arguments.scratch.absolute(), arguments.processes
    scratch.mkdir(parents=True, exist_ok=True)
    name = arguments.name + (f", {count} processes" if count > 1 else "")
    soak = Soak(name, arguments.words or ["train", *SHORT], count, scratch)
    record = read(arguments.output) or {"lives": {}}
    lives = record["lives"].setdefault(name, [])
    digest, seconds = unbroken(soak)
    while sum(len(one["faults"]) for one in lives) < arguments.faults:
        number = len(lives)
        workdir = scratch / f"life-{name}-{number}"
        shutil.rmtree(workdir, ignore_errors=True)
        chance = random.Random(1000 * count + number)
        faults, end = live(soak, workdir, 0.6 * seconds, chance)
        lives.append({"unbroken": digest, "digest": end, "faults": faults})
        write(arguments.output, {"environment": environment(), "lives": record["lives"]})
        print(f"life {number}: {len(faults)} faults, {'lost' if end is None else end == digest}")
        if end == digest:
            shutil.rmtree(workdir)
    if arguments.output == OUTPUT:
        pages.write("soak")


if __name__ == "__main__":
    main()
