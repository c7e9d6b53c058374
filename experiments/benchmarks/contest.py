"""Contests: programs that take turns at the same work, so that a busy spell hits all alike.

Every contestant is a process of its own, because the thread pools of two frameworks in one process
get in each other's way. It builds and compiles once, then waits on standard input. A turn is one
line of JSON each way: how many iterations to run, and how many seconds they took.
"""

import dataclasses
import json
import math
import os
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
    """A contestant cannot go on; the message says why, in one line."""


@dataclass(frozen=True)
class Contestant:
    """One program in a contest.

    Attributes:
      name: unique in the contest.
      module: module of this package that is run, with the options as its argument.
      options: what to build; JSON.
      work: what one iteration does, in units of the contest (images, or GFLOP for a bound).
    """

    name: str
    module: str
    options: dict[str, Any]
    work: float


@dataclass(frozen=True)
class Rules:
    """How a contest is held.

    Attributes:
      rounds: turns of each contestant.
      turn_seconds: a turn has as many iterations as fit into this time, at least one.
      slow_seconds: who takes longer than this for its first iteration (compiled, but not warmed
        up) gets no further turn: the first one counts.
      each: keep the time of every iteration, for latencies; else that of whole turns.
      limit_seconds: who does not answer for so long is out.
    """

    rounds: int = 3
    turn_seconds: float = 1.0
    slow_seconds: float = math.inf
    each: bool = False
    limit_seconds: float = 900.0


@dataclass
class Score:
    """What a contestant has reached.

    Attributes:
      work: work of one iteration.
      iterations: iterations in a turn.
      turns: number of timed turns.
      seconds: per iteration, one for each turn (or each iteration, see `Rules.each`).
      details: what the contestant says of itself.
      failed: why there are no (more) turns; empty when all went well.
      cold: the one turn was also the first iteration.
    """

    work: float
    iterations: int = 1
    turns: int = 0
    seconds: list[float] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    failed: str = ""
    cold: bool = False

    def record(self) -> dict[str, Any]:
        """Returns the score as JSON: median, lowest and highest seconds, and rate of the median."""
        record = dataclasses.asdict(self)
        record.pop("seconds")
        for name in ("details", "failed", "cold"):
            if not record[name]:
                record.pop(name)
        if self.seconds:
            median = statistics.median(self.seconds)
            record |= {
                "median_seconds": _rounded(median),
                "lowest_seconds": _rounded(min(self.seconds)),
                "highest_seconds": _rounded(max(self.seconds)),
                "rate": _rounded(self.work / median),
                "lowest_rate": _rounded(self.work / max(self.seconds)),
                "highest_rate": _rounded(self.work / min(self.seconds)),
            }
            if len(self.seconds) <= 32:
                record["seconds"] = [_rounded(value) for value in self.seconds]
        return record


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


class _Process:
    """A running contestant."""

    def __init__(self, contestant: Contestant, limit_seconds: float):
        self._limit = limit_seconds
        self._log: IO[bytes] = tempfile.TemporaryFile()
        self._rest = b""
        words = [sys.executable, "-m", f"{_PACKAGE}.{contestant.module}"]
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
        """Returns the next answer; raises `ContestantError` when none comes."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + self._limit
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise ContestantError(f"no answer within {self._limit:g} s")
            piece = os.read(self._process.stdout.fileno(), 2**16)
            if not piece:
                raise ContestantError(self._last_words())
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        answer = json.loads(line)
        if "failed" in answer:
            raise ContestantError(answer["failed"])
        return answer

    def ask(self, **request: Any) -> dict[str, Any]:
        """Sends a request and returns the answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise ContestantError(self._last_words()) from None
        return self.read()

    def close(self) -> None:
        """Ends the process and waits for it."""
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

    def _last_words(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        # Never a path: results are published.
        words = [word for word in (lines or [""])[-1].split() if "/" not in word]
        return f"died with exit status {code}: {' '.join(words)[:200]}"


def hold(
    contestants: Sequence[Contestant],
    rules: Rules,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Score]:
    """Holds a contest: turns A B C A B C and so on.

    Args:
      contestants: in the order of their turns.
      rules: number and length of the turns.
      say: told what happens, line by line.

    Returns:
      `{name: score}`, for those that failed, too.
    """
    scores = {entry.name: Score(entry.work) for entry in contestants}
    running: dict[str, _Process] = {}
    try:
        for entry in contestants:  # all build at once; nothing is measured yet
            running[entry.name] = _Process(entry, rules.limit_seconds)
        for name, process in list(running.items()):
            score = scores[name]
            _attempt(name, score, running, say, lambda s=score, p=process: _ready(s, p))
        for name, process in list(running.items()):
            score = scores[name]
            _attempt(name, score, running, say, lambda s=score, p=process: _warm_up(s, p, rules))
            if score.cold:
                say(f"  only turn  {name}: {score.work / score.seconds[0]:,.1f}/s")
        for number in range(1, rules.rounds + 1):
            for name, process in list(running.items()):
                score = scores[name]
                if score.cold:
                    continue
                _attempt(name, score, running, say, lambda s=score, p=process: _turn(s, p, rules))
                if not score.failed:
                    say(f"  round {number}  {name}: {score.work / score.seconds[-1]:,.1f}/s")
    finally:
        for process in running.values():
            process.close()
    return scores


def _attempt(name, score: Score, running, say, action: Callable[[], None]) -> None:
    try:
        action()
    except ContestantError as error:
        score.failed = str(error)
        running.pop(name).close()
        say(f"  {name} is out: {error}")


def _ready(score: Score, process: _Process) -> None:
    score.details = process.read().get("details", {})


def _warm_up(score: Score, process: _Process, rules: Rules) -> None:
    """Runs a contestant once, and settles the length of its turns."""
    (first,) = process.ask(iterations=1)["seconds"]
    if first > rules.slow_seconds:
        score.seconds, score.turns, score.cold = [first], 1, True
        return
    for _ in range(3):  # the shortest says how many fit; a single one may have been disturbed
        if first < rules.turn_seconds:
            first = min(first, process.ask(iterations=1)["seconds"][0])
    if first < rules.turn_seconds:
        score.iterations = math.ceil(rules.turn_seconds / max(first, 1e-6))


def _turn(score: Score, process: _Process, rules: Rules) -> None:
    seconds = process.ask(iterations=score.iterations, each=rules.each)["seconds"]
    score.seconds += seconds if rules.each else [seconds[0] / score.iterations]
    score.turns += 1


def serve(build: Callable[[dict[str, Any]], tuple[Callable[[int], None], dict[str, Any]]]) -> None:
    """Is a contestant: builds what the command line says, then answers until the input ends.

    Args:
      build: maps options to (function that runs so many iterations to their end, details).
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
        sizes = [1] * iterations if request.get("each") else [iterations]
        seconds = []
        for size in sizes:
            start = time.perf_counter()
            run(size)
            seconds.append(time.perf_counter() - start)
        answer(seconds=seconds)
