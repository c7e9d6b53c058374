"""On a GPU or TPU: images/s of whole networks, their share of the card's peak, and PyTorch's.

    python -m experiments.benchmarks.accelerator            # eight minutes at most
    python -m experiments.benchmarks.accelerator --networks original --batches 1024
    python -m experiments.benchmarks.accelerator --quick    # small, anywhere

A run on the same device replaces what it measures in the result file and keeps the rest.

JAX and PyTorch come one after the other, each in a process of its own, so that neither holds the
memory of the other. The training step of the first network in bfloat16 comes first, with its
profile, the input pipeline beside it, and the step fed by the pipeline: what a user gets. What does
not fit into the time or the memory is named in the result. Shares are of two peaks: what the maker
states for the card, and a matrix product of the same type, measured on the device: float32 as both
libraries multiply it by default in convolutions, on tensor cores with shortened mantissas (TF32)
where there are any.
"""

import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments import programs
from experiments.benchmarks import accelerator_jobs, jobs, networks, peaks, pipeline, work
from experiments.benchmarks.accelerator_jobs import CASE, DTYPES, OURS, RIVAL
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import RESULTS, read, write

NETWORKS = networks.DEFAULT
BATCHES = (1024, 128)
WHAT = ("train", "inference")
SECONDS = 480.0
OUR_SHARE = 0.64
"""This library's share of the time; PyTorch, which compiles nothing, has the rest."""
GRACE_SECONDS = 15.0
"""Time between the end of the measurements and that of their process."""
_EXPECTED = {("train", OURS): 35, ("inference", OURS): 10}
_EXPECTED |= {("train", RIVAL): 20, ("inference", RIVAL): 5}
"""Seconds for a large network at batch 1024, compiling included, where none was measured yet."""
_CLOSER_SECONDS = 25.0  # profile, and feeding from two stores
_SMALL_GFLOP = 0.5


def cases(names: Iterable[str], batches: Iterable[int]) -> list[dict[str, Any]]:
    """Returns what is measured, the most important first.

    That is: the training step of the first network in bfloat16, looked at closer; bfloat16 before
    float32; the first batch size before the others; training before inference.
    """
    names, batches = list(names), list(batches)
    made = [
        {"network": network, "what": what, "batch": batch, "dtype": dtype, "views": 1}
        for dtype in DTYPES
        for batch in batches
        for what in WHAT
        for network in names
    ]
    for case in made:
        facts = (case["network"], case["what"], case["dtype"])
        case["closer"] = facts == (names[0], "train", DTYPES[0])
    return sorted(made, key=lambda case: not case["closer"])


def plan(who: str, wanted: list[dict[str, Any]], known: dict[Any, float]) -> list[dict[str, Any]]:
    """Returns the cases with the seconds that each is expected to take, from earlier rows."""
    planned = []
    for case in wanted:
        small = work.gflop(case["network"], "inference") < _SMALL_GFLOP
        guess = _EXPECTED[case["what"], who] / (2 if small or case["batch"] < 512 else 1)
        seconds = known.get(tuple(case[name] for name in CASE), guess)
        seconds += _CLOSER_SECONDS * (case["closer"] and who == OURS)
        planned.append(case | {"expected_seconds": seconds})
    return planned


def fitting(planned: list[dict[str, Any]], seconds: float) -> int:
    """Returns how many cases should fit into the time, in their order; later short ones may, too.

    A case that is expected not to fit is passed over when its turn comes.
    """
    count = 0
    for case in planned:
        if case["expected_seconds"] <= seconds:
            seconds -= case["expected_seconds"]
            count += 1
    return count


def measure(who: str, job: dict[str, Any], deadline: float) -> dict[str, Any]:
    """Returns what the process of `who` has found until the deadline (of `time.time`)."""
    print(f"{who}: {len(job['cases'])} cases, of which about ", end="")
    left = deadline - GRACE_SECONDS - time.time()
    print(f"{fitting(job['cases'], left)} should fit into {left:.0f} s", flush=True)
    job = job | {"who": who, "deadline": deadline - GRACE_SECONDS}
    result: dict[str, Any] = {"rows": []}
    try:
        for piece in jobs.stream(accelerator_jobs.__name__, job, deadline):
            _add(result, piece)
            print(piece, file=sys.stderr, flush=True)
    except jobs.JobError as error:
        result["left_out"] = str(error)
    done = {tuple(row[name] for name in CASE) for row in result["rows"]}
    if done:
        for case in job["cases"]:
            if tuple(case[name] for name in CASE) not in done:
                row = {name: case[name] for name in CASE}
                result["rows"].append(row | {"left_out": result.get("left_out", "out of time")})
    else:
        del result["rows"]
    return result


def _add(result: dict[str, Any], piece: dict[str, Any]) -> None:
    """Puts a piece into the result: one of a list, or facts."""
    lists = {"row": "rows", "profile": "profiles", "fed": "feeding"}
    for name, value in piece.items():
        if name in lists:
            result.setdefault(lists[name], []).append(value)
        else:
            result[name] = value


def main() -> None:
    begin = time.time()
    parser = programs.parser(__doc__, RESULTS / "accelerator.json")
    parser.add_argument("--quick", action="store_true", help="a small network, few iterations")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="end after this time")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="names with commas")
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    options = parser.parse_args()
    names = ["digits"] if options.quick else options.networks.split(",")
    batches = [4] if options.quick else [int(size) for size in options.batches.split(",")]
    if unknown := [name for name in names if name not in networks.NETWORKS]:
        parser.error(f"unknown networks: {', '.join(unknown)}")

    import jax

    jax.config.update("jax_platforms", "cpu")  # this process leaves the device to the others
    wanted, old, end = cases(names, batches), read(options.output), begin + options.seconds
    with tempfile.TemporaryDirectory() as folder:
        sets = pipeline.synthetic_sets(Path(folder), 16 if options.quick else 512)
        job = {"quick": options.quick, "sets": {store: str(path) for store, path in sets.items()}}
        found = {}
        for who, share in ((OURS, OUR_SHARE), (RIVAL, 1.0)):
            planned = plan(who, wanted, _known(old, who))
            found[who] = measure(who, job | {"cases": planned}, begin + share * (end - begin))
            if who == OURS and found[OURS].get("platform") == "cpu" and not options.quick:
                parser.exit(1, f"{_none_found()}\n")
    if "device" not in found[OURS]:
        parser.exit(1, f"nothing was measured: {found[OURS].get('left_out')}\n")
    result = {"environment": environment(), **found}
    result["input_pipeline_images_per_second"] = _reading(found[OURS])
    result["card"] = card(result)
    write(options.output, merged(old, result))
    rows = [row for who in (OURS, RIVAL) for row in result[who].get("rows", [])]
    left = sum("left_out" in row for row in rows)
    print(
        f"{len(rows) - left} of {len(rows)} cases in {time.time() - begin:.0f} s; {left} left out"
    )


def _none_found() -> str:
    return (
        "no accelerator is found: JAX sees only the CPU. Install the JAX of the device (NVIDIA: "
        'pip install "jax[cuda13]") and see `python -m alexnet_jax.main doctor`; --quick tries '
        "this program on the CPU. No record was changed."
    )


def _known(old: dict[str, Any] | None, who: str) -> dict[Any, float]:
    rows = (old or {}).get(who, {}).get("rows", [])
    done = [row for row in rows if "measuring_seconds" in row]
    return {tuple(row[name] for name in CASE): row["measuring_seconds"] for row in done}


def _reading(ours: dict[str, Any]) -> float | None:
    """Returns images/s of the pipeline alone from JPEGs, of the smallest batch."""
    feeding = [one for one in ours.get("feeding", []) if one.get("store") == "jpeg"]
    feeding.sort(key=lambda one: one["batch"])
    return feeding[0]["pipeline_images_per_second"] if feeding else None


def card(result: dict[str, Any]) -> dict[str, Any]:
    """Returns what is stated of the device of a result, also of an older one, or why nothing is."""
    device = result[OURS]["device"]
    known = peaks.card(device)
    if known is None:
        return {"left_out": f"the peak of '{device}' is not in the table of peaks"}
    return {"bfloat16": known.bfloat16, "float32": known.float32, "source": known.source}


def merged(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """Returns the new result with what only the old one of the same device has."""
    if not old or old[OURS].get("device") != new[OURS]["device"]:
        return new
    result = {**old, **{name: value for name, value in new.items() if value is not None}}
    for who in (OURS, RIVAL):
        result[who] = {**old[who], **new[who]}
        if "rows" in new[who]:
            result[who]["rows"] = _merged(old[who].get("rows", []), new[who]["rows"])
        if "left_out" not in new[who]:
            result[who].pop("left_out", None)
    return result


def _merged(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows of both, the new ones instead of old ones unless they were left out."""

    def by_case(rows: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
        names = ("batch", "network", "what", "dtype")
        return {tuple(row[name] for name in names): row for row in rows}

    measured = [row for row in new if "left_out" not in row]
    return list((by_case(new) | by_case(old) | by_case(measured)).values())


def by_case(result: dict[str, Any]) -> dict[tuple[str, int, str], dict[tuple[str, str], Any]]:
    """Returns the rows of a result, `{(network, batch, dtype): {(what, who): row}}`."""
    cases: dict[tuple[str, int, str], dict[tuple[str, str], Any]] = {}
    for who in (OURS, RIVAL):
        for row in result[who].get("rows", []):
            case = cases.setdefault((row["network"], row["batch"], row["dtype"]), {})
            case[row["what"], who] = row
    return cases


def share_of_card(result: dict[str, Any], row: dict[str, Any]) -> float | None:
    """Returns the share of the stated peak that a row reaches, also one of an older record."""
    if "images_per_second" not in row:
        return None
    rate = row["images_per_second"] * work.gflop(row["network"], row["what"])
    return peaks.share(result[OURS]["device"], row["dtype"], rate)


if __name__ == "__main__":
    main()
