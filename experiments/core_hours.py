"""How many core hours the runs took, and how far two runs of one recipe and seed lie apart."""

from typing import Any

from experiments.benchmarks.records import read
from experiments.reproduction import ROOT, find_record, runs_of
from experiments.sweep.claims import CLAIMS


def core_hours() -> dict[str, Any]:
    """Returns the number of runs by kind, each counted once, and the core hours of all."""
    sweeps = [run for name in CLAIMS for run in runs_of(name)]
    hours_of_sweeps = {run["config"]: _hours(run) for run in sweeps}  # claims share runs
    before = {
        run["before"]["params_sha256"]: _hours(run["before"]) for run in sweeps if "before" in run
    }
    towers = runs_of("specialise") + runs_of("specialise", "figure3")
    cores = (find_record("specialise") or {}).get("environment", {}).get("cpu_cores", 1)
    others = [_hours(run, cores) for run in towers]
    dropped = [_hours(run) for run in runs_of("after_drop")]
    counted = {run.get("params_sha256") for run in [*sweeps, *towers]}
    for path in sorted(ROOT.glob("*/results/*.json")):
        run = (read(path) or {}).get("run", {})
        if "wall_seconds" in run:
            counted.add(run.get("params_sha256"))
            others.append(_hours(run))
    averaged = {
        run["params_sha256"]: _hours(run)
        for entry in (find_record("ensembles") or {"sets": {}})["sets"].values()
        for run in entry.get("training", [])
        if run["params_sha256"] not in counted and run["wall_seconds"]
    }
    hours = [*hours_of_sweeps.values(), *before.values(), *others, *dropped, *averaged.values()]
    return {
        "sweeps": len(hours_of_sweeps),
        "before": len(before),
        "others": len(others),
        "dropped": len(dropped),
        "averaged": len(averaged),
        "hours": sum(hours),
    }


def _hours(run: dict[str, Any], cores: int = 1) -> float:
    return run.get("cpu_cores", cores) * run["wall_seconds"] / 3600


def rounding() -> list[float]:
    """Returns the differences (points) of runs of one recipe and seed that were made twice."""
    return [
        abs(one["error"] - other["error"])
        for one in runs_of("towers")
        for other in runs_of("specialise")
        if (one["variant"], one["seed"]) == (other["variant"], other["seed"])
    ]
