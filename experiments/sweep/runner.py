"""Runs what a claim lists, each in a process of its own, and writes down what came out."""

import hashlib
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
from collections.abc import Callable
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
from experiments.sweep.claims import CLAIMS, Claim, Goal, Variant, quick

Run = dict[str, Any]
CLASSES = 10
"""Of every set that claims are tried on."""
_OF_A_RUN_BEFORE = ("params_sha256", "wall_seconds", "cpu_cores", "commit")


def networks() -> None:
    """Makes the networks of all claims known in this process."""
    for claim in CLAIMS.values():
        for variant in claim.variants.values():
            for one in (variant, variant.before):
                if one is not None and one.network is not None:
                    NETWORKS[one.network.name] = one.network


def train_here(workdir: Path, data_dir: Path | None, cores: set[int]) -> None:
    """Trains what lies in `workdir.with_suffix(".json")`; the body of each run's process."""
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
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Runs what has not been run yet; returns the record, which is written after each run.

    Args:
      claim: what to run.
      name: of the claim.
      scratch: folder of the run folders; a run that was stopped goes on there.
      output: record; what it holds of the same configuration is not run again.
      data_dir: of the prepared sets; None: the user's own.
      jobs: runs side by side, which share the cores.
      say: takes a line for the user.

    Raises:
      RuntimeError: a run ended with an error, or was stopped; what was begun is kept.
    """
    networks()
    record = read(output) or {"claim": name, "runs": []}
    wanted = [
        (variant, seed) for seed in range(claim.seeds) for variant in claim.variants
    ]  # seed by seed, so that pairs are whole early

    places = (scratch / "runs").absolute()  # claims share runs of one recipe

    def trained(variant: Variant, seed: int) -> Path:
        if variant.before is not None:
            before = trained(variant.before, seed)
            if json.loads((before / "run.json").read_text("utf-8"))["status"] == "failed":
                raise RuntimeError(f"{before}, from which layers are to be taken, has diverged")
        text = _text_of(variant, seed, places)
        workdir = places / _digest(text)
        workdir.parent.mkdir(parents=True, exist_ok=True)
        with writing:
            its_turn = turns.setdefault(workdir, threading.Lock())
        with its_turn:  # variants of a seed may share the run before
            if workdir in done:
                return workdir
            workdir.with_suffix(".json").write_text(text, "utf-8")
            mine = free.get()
            try:
                _train(workdir, data_dir, mine, claim.goal, stop)
            finally:
                free.put(mine)
            done.add(workdir)
        return workdir

    def one(variant: str, seed: int) -> None:
        digest = digest_of(claim.variants[variant], seed)
        if digest in recorded:
            return
        workdir = trained(claim.variants[variant], seed)
        found = measured(workdir, claim.goal)
        if claim.overfits and not found.get("diverged"):
            mine = free.get()  # a job's turn: as many work at once as were asked for
            try:
                found |= overfitting(workdir, found["error"], data_dir)
            finally:
                free.put(mine)
        if (before := claim.variants[variant].before) is not None:
            info = json.loads((places / digest_of(before, seed) / "run.json").read_text("utf-8"))
            found["before"] = {name: info[name] for name in _OF_A_RUN_BEFORE}
        with writing:
            record["runs"].append({"variant": variant, "seed": seed, "config": digest, **found})
            record["runs"].sort(key=lambda run: (order.index(run["variant"]), run["seed"]))
            record["environment"] = environment()
            write(output, record)
        say(f"{name}, {variant}, seed {seed}: {json.dumps(found)}")

    def one_unless_stopped(variant: str, seed: int) -> None:
        try:
            if not stop.is_set():
                one(variant, seed)
        except BaseException:
            stop.set()  # the others that are training save, and nothing else begins
            raise

    order, writing, stop = list(claim.variants), threading.Lock(), threading.Event()
    turns: dict[Path, threading.Lock] = {}
    done: set[Path] = set()
    cores, free = sorted(os.sched_getaffinity(0)), queue.SimpleQueue()
    for job in range(jobs):
        free.put(set(cores[job::jobs] or cores))
    seeds = {run["seed"] for run in record["runs"]}
    names = {digest_of(claim.variants[name], seed): name for name in order for seed in seeds}
    record["runs"] = [  # by their recipes, so that a variant may get another name
        run | {"variant": names[run["config"]]} for run in record["runs"] if run["config"] in names
    ]
    record["runs"] = [  # a record from before gaps were told lacks them
        run for run in record["runs"] if not claim.overfits or run.get("diverged") or "gap" in run
    ]
    recorded = {run["config"] for run in record["runs"]}
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for job in as_completed([pool.submit(one_unless_stopped, *pair) for pair in wanted]):
                job.result()  # the first error, not that of a run that was stopped for it
        finally:
            stop.set()  # Ctrl-C ends in this thread
    write(output, record)
    return record


def _train(
    workdir: Path,
    data_dir: Path | None,
    cores: set[int],
    goal: Goal | None,
    stop: threading.Event,
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
        # In a session of its own: Ctrl-C comes to it once, from here; twice would end it at once.
        process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        try:
            while process.poll() is None and not stop.is_set() and not is_there():
                time.sleep(1)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)  # it saves, and ends
            process.wait()
    if is_there():
        return
    if stop.is_set():
        raise RuntimeError(f"{workdir} was stopped; the same command goes on with it")
    if process.returncode not in (0, DivergedError.exit_code):  # to diverge is a result
        raise RuntimeError(f"the run ended with {process.returncode}; see {log.name}")
    if json.loads((workdir / "run.json").read_text("utf-8"))["status"] == "interrupted":
        raise RuntimeError(f"{workdir} was stopped; the same command goes on with it")


def _reached(workdir: Path, goal: Goal) -> int | None:
    """Returns the first whole epoch whose error is no larger than the goal, if there is one."""
    path = workdir / "metrics.jsonl"
    rows = read_rows(path) if path.exists() else []
    last = max((row["epoch"] for row in rows), default=0.0)
    found = errors_by_epoch(rows, goal.of)
    return next((e for e, error in found if e <= last and error <= goal.error), None)


def _text_of(variant: Variant, seed: int, places: Path) -> str:
    """Returns a run's configuration; it names the run before by its place below `places`."""
    config = json.loads(variant.config.to_json()) | {"seed": seed}
    if variant.before is not None:
        config["transfer"]["run"] = str(places / digest_of(variant.before, seed))
    return json.dumps(config, indent=2)


def digest_of(variant: Variant, seed: int) -> str:
    """Returns what a record names a run's configuration by.

    Args:
      variant: of a claim.
      seed: of the run.
    """
    return _digest(_text_of(variant, seed, Path()))


def _digest(text: str) -> str:
    """Returns a digest of a configuration, whatever place its images came from.

    Only what differs from the defaults counts: a field that the library gets later, whose default
    is to do what was done before, changes no digest, unless it is one of the schedule's phases. A
    default that changes would have to be named here, and is not noticed.
    """
    config = json.loads(text)
    config["data"]["source"] = ""
    config["transfer"]["run"] = Path(config["transfer"]["run"]).name
    said = json.dumps(_unusual(config, json.loads(Config().to_json())), sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _unusual(config: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _unusual(value, usual[name]) if isinstance(value, dict) else value
        for name, value in config.items()
        if value != usual[name]
    }


def measured(workdir: Path, goal: Goal | None) -> Run:
    """Returns what counts of a finished run: errors in percent, epochs, time.

    Args:
      workdir: run folder.
      goal: see `Claim`.
    """
    path = workdir / "metrics.jsonl"
    rows = read_rows(path) if path.exists() else []  # none: it diverged before the first
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
    """Returns a run's error on its training images, centre and no masks, and the gap, percent.

    Args:
      workdir: folder of a finished run.
      error: on the test images.
      data_dir: of the prepared sets.
    """
    on_training = workflow.evaluate_run(workdir, "last", 1, data_dir=data_dir, split="train")
    found = 100 * on_training.top1_error
    return {"error_on_training_images": round(found, 5), "gap": round(error - found, 5)}


def errors_by_epoch(
    rows: list[dict[str, Any]], of: Literal["training", "test"] = "training"
) -> list[tuple[int, float]]:
    """Returns (epoch, mean error as a fraction) of each whole epoch, from 1.

    If there is no whole one, that of what there is.

    Args:
      rows: of `metrics.jsonl`.
      of: the steps of an epoch, or the test after it.
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


def chosen(name: str, toy: bool) -> Claim:
    """Returns a claim by name, at toy size if asked for."""
    return quick(CLAIMS[name]) if toy else CLAIMS[name]
