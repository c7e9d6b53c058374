"""Runs the variants of a claim, each in a process of its own, and records the results."""

import contextlib
import json
import math
import os
import queue
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Literal

from alexnet_jax import workflow
from alexnet_jax.config import Config
from alexnet_jax.errors import DivergedError
from alexnet_jax.locations import use_compilation_cache
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.runs.metrics_log import read_rows
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.sweep.claims import CLAIMS, Claim, Goal
from experiments.sweep.digest import config_text, digest_of, text_digest
from experiments.sweep.variants import Variant

Run = dict[str, Any]
CLASSES = 10
"""Of every set of a claim."""
_KEPT_OF_RUN_BEFORE = ("params_sha256", "wall_seconds", "cpu_cores", "commit")


def networks() -> None:
    """Adds the networks of all claims to `NETWORKS`."""
    for claim in CLAIMS.values():
        for variant in claim.variants.values():
            for one in (variant, variant.before):
                if one is not None and one.network is not None:
                    NETWORKS[one.network.name] = one.network


def train_here(workdir: Path, data_dir: Path | None, cores: set[int]) -> None:
    """Trains the configuration in `workdir.with_suffix(".json")`: the program of each run."""
    os.sched_setaffinity(0, cores)
    networks()
    use_compilation_cache()
    config = Config.from_json(workdir.with_suffix(".json").read_text("utf-8"))
    try:
        workflow.train(config, workdir, data_dir)
    except DivergedError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def run_claim(
    claim: Claim,
    name: str,
    scratch: Path,
    output: Path,
    *,
    data_dir: Path | None = None,
    jobs: int = 1,
) -> dict[str, Any]:
    """Runs what the record `output` lacks, and writes it after each run.

    Run folders lie in `scratch`, where stopped runs continue; `jobs` run side by side and share the
    cores. RuntimeError: a run ended with an error, or was stopped.
    """
    networks()
    sweep = _Sweep(claim, name, scratch, output, data_dir, jobs)
    # Seed by seed, so that pairs are complete early.
    wanted = [(variant, seed) for seed in range(claim.seeds) for variant in claim.variants]
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for job in as_completed([pool.submit(sweep.run, *pair) for pair in wanted]):
                job.result()  # the first error, not that of a run that was stopped because of it
        finally:
            sweep.stop.set()  # Ctrl-C ends in this thread
    write(output, sweep.record)
    return sweep.record


class _Sweep:
    """The runs of a claim in one call, which share cores, run folders and the record."""

    def __init__(
        self, claim: Claim, name: str, scratch: Path, output: Path, data_dir: Path | None, jobs: int
    ):
        self.claim, self.name, self.output, self.data_dir = claim, name, output, data_dir
        self.places = (scratch / "runs").absolute()  # claims share runs of one recipe
        self.record = read(output) or {"claim": name, "runs": []}
        self.record["runs"] = _known_runs(claim, self.record["runs"])
        self.recorded = {run["config"] for run in self.record["runs"]}
        self.stop, self.lock = threading.Event(), threading.Lock()
        self.locks: dict[Path, threading.Lock] = {}  # of the run folders
        self.trained: set[Path] = set()
        cores, self.free_cores = sorted(os.sched_getaffinity(0)), queue.SimpleQueue()
        for job in range(jobs):
            self.free_cores.put(set(cores[job::jobs] or cores))

    def run(self, variant: str, seed: int) -> None:
        """Trains and measures one variant with one seed, unless the record has it."""
        digest = digest_of(self.claim.variants[variant], seed)
        if self.stop.is_set() or digest in self.recorded:
            return
        try:
            found = self._measure(self.claim.variants[variant], seed)
        except BaseException:
            self.stop.set()  # other runs save and end, and nothing else begins
            raise
        order = list(self.claim.variants)
        with self.lock:
            runs = self.record["runs"]
            runs.append({"variant": variant, "seed": seed, "config": digest, **found})
            runs.sort(key=lambda run: (order.index(run["variant"]), run["seed"]))
            self.record["environment"] = environment()
            write(self.output, self.record)
        print(f"{self.name}, {variant}, seed {seed}: {json.dumps(found)}")

    @contextlib.contextmanager
    def _turn(self) -> Iterator[set[int]]:
        """Yields the cores of a job, so that no more than `jobs` work at once."""
        cores = self.free_cores.get()
        try:
            yield cores
        finally:
            self.free_cores.put(cores)

    def _measure(self, variant: Variant, seed: int) -> Run:
        workdir = self._train(variant, seed)
        found = measured(workdir, self.claim.goal)
        if self.claim.overfits and not found.get("diverged"):
            with self._turn():
                found |= overfitting(workdir, found["error"], self.data_dir)
        if variant.before is not None:
            info = self._info(digest_of(variant.before, seed))
            found["before"] = {name: info[name] for name in _KEPT_OF_RUN_BEFORE}
        return found

    def _train(self, variant: Variant, seed: int) -> Path:
        """Returns the folder of a finished run; trains it, and first the run before it."""
        if variant.before is not None:
            before = self._train(variant.before, seed)
            if self._info(before.name)["status"] == "failed":
                raise RuntimeError(f"{before}, whose layers are to be copied, has diverged")
        text = config_text(variant, seed, self.places)
        workdir = self.places / text_digest(text)
        workdir.parent.mkdir(parents=True, exist_ok=True)
        with self.lock:
            lock = self.locks.setdefault(workdir, threading.Lock())
        with lock:  # variants of a seed may share the run before
            if workdir not in self.trained:
                workdir.with_suffix(".json").write_text(text, "utf-8")
                with self._turn() as cores:
                    _train(workdir, self.data_dir, cores, self.claim.goal, self.stop)
                self.trained.add(workdir)
        return workdir

    def _info(self, folder: str) -> dict[str, Any]:
        return json.loads((self.places / folder / "run.json").read_text("utf-8"))


def _known_runs(claim: Claim, runs: list[Run]) -> list[Run]:
    """Returns the runs of a record whose recipes the claim has, under its names of today."""
    seeds = {run["seed"] for run in runs}
    names = {digest_of(claim.variants[name], s): name for name in claim.variants for s in seeds}
    known = [run | {"variant": names[run["config"]]} for run in runs if run["config"] in names]
    # An old record lacks the gaps.
    return [run for run in known if not claim.overfits or run.get("diverged") or "gap" in run]


def _train(
    workdir: Path, data_dir: Path | None, cores: set[int], goal: Goal | None, stop: threading.Event
) -> None:
    """Trains in a process of its own, to the end or until a goal is reached."""

    def is_there() -> bool:
        return goal is not None and _reached(workdir, goal) is not None

    if is_there():
        return
    program = (
        "from pathlib import Path; from experiments.sweep.runner import train_here; "
        f"train_here(Path({str(workdir)!r}), {data_dir and str(data_dir)!r}, {cores})"
    )
    with workdir.with_suffix(".log").open("a") as log:
        words = [sys.executable, "-c", program]
        # In a session of its own: Ctrl-C reaches it once, from here; a second one would kill it.
        process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        try:
            while process.poll() is None and not stop.is_set() and not is_there():
                time.sleep(1)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)  # it saves and ends
            process.wait()
    if is_there():
        return
    if stop.is_set():
        raise RuntimeError(f"{workdir} was stopped; the same command continues it")
    if process.returncode not in (0, DivergedError.exit_code):  # divergence is a result
        raise RuntimeError(f"the run ended with {process.returncode}; see {log.name}")
    if json.loads((workdir / "run.json").read_text("utf-8"))["status"] == "interrupted":
        raise RuntimeError(f"{workdir} was stopped; the same command continues it")


def _reached(workdir: Path, goal: Goal) -> int | None:
    """Returns the first whole epoch whose error is at most the goal, or None."""
    path = workdir / "metrics.jsonl"
    rows = read_rows(path) if path.exists() else []
    last = max((row["epoch"] for row in rows), default=0.0)
    found = errors_by_epoch(rows, goal.of)
    return next((e for e, error in found if e <= last and error <= goal.error), None)


def measured(workdir: Path, goal: Goal | None) -> Run:
    """Returns errors in percent, epochs and time of a finished run."""
    path = workdir / "metrics.jsonl"
    rows = read_rows(path) if path.exists() else []  # it may diverge before the first row
    info = json.loads((workdir / "run.json").read_text("utf-8"))
    tests = {row["test_views"]: row for row in rows if "test_views" in row}
    steps = max((row["step"] for row in rows), default=0)
    if info["status"] == "failed":
        nothing = dict.fromkeys(("error", "epochs_to_reach", "training_error", "steps_on_plateau"))
        time = {"steps": steps, "wall_seconds": info["wall_seconds"]}
        return nothing | {"diverged": True} | time
    epochs = errors_by_epoch(rows)
    limit = math.log(CLASSES) - 0.1
    left = (r["step"] for r in rows if r.get("train/loss") is not None and r["train/loss"] < limit)
    found: Run = {}
    if goal is not None:
        found["epochs_to_reach"] = _reached(workdir, goal)
        found["by_epoch"] = [round(100 * e, 2) for _, e in errors_by_epoch(rows, goal.of)]
    else:
        found["error"] = 100 * tests[1]["final/top1_error"]
        found["error_ten_views"] = 100 * tests[10]["final/top1_error"] if 10 in tests else None
        found["views_averaged"] = tests.get(10, {}).get("views_averaged")  # of these ten
        found["loss"] = tests[1]["final/loss"]
    return found | {
        "training_error": 100 * epochs[-1][1],
        "steps_on_plateau": next(left, None),
        "steps": info.get("step", steps),
        "wall_seconds": info["wall_seconds"],
        "params_sha256": info.get("params_sha256"),  # none of a run that was ended early
        "cpu_cores": info["cpu_cores"],
        "processor": info["processor"],
        "commit": info["commit"],
    }


def overfitting(workdir: Path, error: float, data_dir: Path | None) -> dict[str, float]:
    """Returns a run's error on its training images (centre, no masks) and the gap, percent."""
    on_training = workflow.evaluate_run(workdir, "last", 1, data_dir=data_dir, split="train")
    found = 100 * on_training.top1_error
    return {"error_on_training_images": round(found, 5), "gap": round(error - found, 5)}


def errors_by_epoch(
    rows: list[dict[str, Any]], of: Literal["training", "test"] = "training"
) -> list[tuple[int, float]]:
    """Returns (epoch, mean error as a fraction) of each whole epoch, from 1.

    If there is no whole epoch, of the rows there are.
    """
    key, epoch_of = ("train/top1_error", math.ceil)
    if of == "test":  # after the step that ends an epoch, which may begin the next one
        key, epoch_of = ("validation/top1_error", math.floor)
    by_epoch: dict[int, list[float]] = {}
    for row in rows:
        if row.get(key) is not None:
            by_epoch.setdefault(max(1, epoch_of(row["epoch"])), []).append(row[key])
    last = max((row["epoch"] for row in rows), default=0.0)
    whole = {epoch: values for epoch, values in by_epoch.items() if epoch <= last} or by_epoch
    return [(epoch, statistics.mean(values)) for epoch, values in sorted(whole.items())]
