"""Contests: programs that take turns at the same work, so that a slow minute hits all alike.

Every contestant is a process of its own, because the thread pools of two frameworks in one process
disturb each other. It builds and compiles once, then waits on standard input. A turn is one line of
JSON each way: how many iterations to run, and how many seconds they took.
"""

import dataclasses
import json
import math
import os
import resource
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGE = __package__ or "experiments.benchmarks"


class ContestantError(Exception):
    """A contestant cannot continue; the message says why, in one line."""


@dataclass(frozen=True)
class Contestant:
    """One program in a contest."""

    name: str
    module: str  # of this package, or with its own; run with the options as its argument
    options: dict[str, Any]  # what to build; `environment` holds variables for its process
    work: float  # of one iteration, in images (or GFLOP for a bound)


@dataclass(frozen=True)
class Rules:
    """How a contest is held.

    Attributes:
      turn_seconds: a turn has as many iterations as fit into this time, at least one.
      slow_seconds: a contestant whose first iteration (compiled, not warmed up) takes longer has
        no further turn: the first one counts.
      each: keep the time of every iteration, for latencies; else that of whole turns.
      limit_seconds: a contestant that does not answer in this time is out.
    """

    rounds: int = 3
    turn_seconds: float = 1.0
    slow_seconds: float = math.inf
    each: bool = False
    limit_seconds: float = 900.0


@dataclass
class Score:
    """The result of a contestant."""

    work: float
    iterations: int = 1  # in a turn
    turns: int = 0
    seconds: list[float] = field(default_factory=list)  # per iteration, of each turn (or iteration)
    peak_mib: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)  # what it reports about itself
    failed: str = ""  # why there are no (more) turns
    cold: bool = False  # the one turn was also the first iteration

    def record(self) -> dict[str, Any]:
        """Returns the score as JSON: median, lowest and highest seconds, and the rates."""
        record = {name: value for name, value in dataclasses.asdict(self).items() if value}
        seconds = record.pop("seconds", [])
        if not seconds:
            return record
        ends = {"median": statistics.median, "lowest": min, "highest": max}
        for end, of in ends.items():
            record[f"{end}_seconds"] = _rounded(of(seconds))
        record |= {
            "rate": _rounded(self.work / statistics.median(seconds)),
            "lowest_rate": _rounded(self.work / max(seconds)),
            "highest_rate": _rounded(self.work / min(seconds)),
        }
        if len(seconds) <= 32:
            record["seconds"] = [_rounded(value) for value in seconds]
        return record


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


class _Process:
    def __init__(self, contestant: Contestant, limit_seconds: float):
        self._limit = limit_seconds
        self._log: IO[bytes] = tempfile.TemporaryFile()
        self._rest = b""
        module = (
            contestant.module if "." in contestant.module else f"{_PACKAGE}.{contestant.module}"
        )
        words = [sys.executable, "-m", module]
        self._process = subprocess.Popen(
            [*words, json.dumps(contestant.options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=_ROOT,
            # Accelerators have contests of their own.
            env=os.environ
            | {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
            | contestant.options.get("environment", {}),
        )

    def read(self) -> dict[str, Any]:
        """Returns the next answer."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + self._limit
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise ContestantError(f"no answer within {self._limit:g} s")
            piece = os.read(self._process.stdout.fileno(), 2**16)
            if not piece:
                raise ContestantError(self._error())
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        answer = json.loads(line)
        if "failed" in answer:
            raise ContestantError(answer["failed"])
        return answer

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise ContestantError(self._error()) from None
        return self.read()

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    pass
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _error(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        # Never a path: results are published.
        words = [word for word in (lines or [""])[-1].split() if "/" not in word]
        return f"died with exit status {code}: {' '.join(words)[:200]}"


def hold(
    contestants: Sequence[Contestant], rules: Rules, say: Callable[[str], None] = lambda line: None
) -> dict[str, Score]:
    """Holds a contest, in turns A B C A B C; returns all scores, also of those that failed."""
    scores = {entry.name: Score(entry.work) for entry in contestants}
    running: dict[str, _Process] = {}

    def each(act: Callable[[Score, _Process], str | None]) -> None:
        """Lets every contestant act that is still in the contest, and says what `act` returns."""
        for name, process in list(running.items()):
            try:
                if news := act(scores[name], process):
                    say(f"  {news}  {name}: {scores[name].work / scores[name].seconds[-1]:,.1f}/s")
            except ContestantError as error:
                scores[name].failed = str(error)
                running.pop(name).close()
                say(f"  {name} is out: {error}")

    try:
        for entry in contestants:  # all build at once; nothing is measured yet
            running[entry.name] = _Process(entry, rules.limit_seconds)
        each(_get_ready)
        each(lambda score, process: _warm_up(score, process, rules))
        for number in range(1, rules.rounds + 1):
            each(lambda score, process, number=number: _take_turn(score, process, rules, number))
    finally:
        for process in running.values():
            process.close()
    return scores


def _get_ready(score: Score, process: _Process) -> None:
    score.details = process.read().get("details", {})


def _warm_up(score: Score, process: _Process, rules: Rules) -> str | None:
    """Runs a contestant unmeasured, and sets the length of its turns."""

    def seconds_of_one() -> float:
        answer = process.ask(iterations=1)
        score.peak_mib = answer["peak_mib"]
        return answer["seconds"][0]

    shortest = seconds_of_one()
    if shortest > rules.slow_seconds:
        score.seconds, score.turns, score.cold = [shortest], 1, True
        return "only turn"
    for _ in range(3):  # the shortest counts: a single one may have been disturbed
        if shortest < rules.turn_seconds:
            shortest = min(shortest, seconds_of_one())
    if shortest < rules.turn_seconds:
        score.iterations = math.ceil(rules.turn_seconds / max(shortest, 1e-6))
    return None


def _take_turn(score: Score, process: _Process, rules: Rules, number: int) -> str | None:
    if score.cold:
        return None
    answer = process.ask(iterations=score.iterations, each=rules.each)
    seconds = answer["seconds"]
    score.seconds += seconds if rules.each else [seconds[0] / score.iterations]
    score.turns += 1
    score.peak_mib = answer["peak_mib"]
    return f"round {number}"


def serve(build: Callable[[dict[str, Any]], tuple[Callable[[int], None], dict[str, Any]]]) -> None:
    """Runs a contestant: builds what the command line says, then answers until the input ends.

    `build` maps options to (function that runs a number of iterations to their end, details).
    """
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    try:
        run, details = build(json.loads(sys.argv[1]))
    except ContestantError as error:
        answer(failed=str(error))
        return
    answer(details=details)
    for line in sys.stdin:
        request = json.loads(line)
        iterations = request["iterations"]
        seconds = []
        for size in [1] * iterations if request.get("each") else [iterations]:
            start = time.perf_counter()
            run(size)
            seconds.append(time.perf_counter() - start)
        answer(seconds=seconds, peak_mib=peak_mib())


def peak_mib() -> float:
    """Returns the largest resident memory of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1)  # KiB on Linux
