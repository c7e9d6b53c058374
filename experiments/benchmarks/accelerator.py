"""On a GPU or TPU: images/s of whole networks, their share of the device's peak, and PyTorch's.

    python -m experiments.benchmarks.accelerator            # eight minutes at most
    python -m experiments.benchmarks.accelerator --networks original --batches 1024
    python -m experiments.benchmarks.accelerator --quick    # small, anywhere

A run on the same device replaces what it measures in the result file and keeps the rest.

PyTorch and JAX come one after the other, each in a process of its own, so that neither holds the
memory of the other. What does not fit into the time or the memory is named in the result. The peak
is a matrix product of the same type, measured on the device: float32 as both libraries multiply it
by default in convolutions, on tensor cores with shortened mantissas (TF32) where there are any.
"""

import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.data.pipeline import training_batches
from experiments import programs
from experiments.benchmarks import jobs, pipeline, work
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import RESULTS, read, write

NETWORKS = ("paper", "original", "one-weird-trick")
BATCHES = (128, 1024)
DTYPES = ("bfloat16", "float32")
WHAT = ("train", "inference")
OURS, RIVAL = "this library", "PyTorch"
TURNS, TURN_SECONDS = 5, 0.5
PRODUCT_SIZE = 8192
RIVAL_SHARE = 0.3
"""PyTorch's share of the time."""

Run = Callable[[int], None]


def cases(networks: Iterable[str], batches: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yields what is measured, the most important first."""
    for batch, network, what, dtype in itertools.product(batches, networks, WHAT, DTYPES):
        yield {"network": network, "what": what, "batch": batch, "dtype": dtype, "views": 1}


def median_seconds(run: Run, quick: bool) -> float:
    """Returns the median time of an iteration; a turn takes about half a second."""
    run(1)
    start = time.perf_counter()
    run(2)
    once = (time.perf_counter() - start) / 2
    iterations = 1 if quick else max(1, round(TURN_SECONDS / once))
    times = []
    for _ in range(2 if quick else TURNS):
        start = time.perf_counter()
        run(iterations)
        times.append((time.perf_counter() - start) / iterations)
    return statistics.median(times)


def torch_cases(job: dict[str, Any]) -> dict[str, Any]:
    """Measures PyTorch: channels_last, eager, cuDNN's fastest algorithms, TF32 where allowed."""
    begin = time.perf_counter()
    try:
        import torch
    except ImportError:
        return {"left_out": "PyTorch is not installed"}
    from experiments.benchmarks import torch_contestant

    if not job["quick"] and not torch.cuda.is_available():
        return {"left_out": "PyTorch sees no GPU"}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True

    def build(case: dict[str, Any]) -> Run:
        run = torch_contestant.program(case | {"memory_format": "channels_last", "device": device})

        def measured(iterations: int) -> None:
            with torch.autocast(device, torch.bfloat16, enabled=case["dtype"] == "bfloat16"):
                run(iterations)
            if device == "cuda":
                torch.cuda.synchronize()

        return measured

    rows = _measure(build, job, begin)
    return {"version": torch.__version__, "rows": rows}


def jax_cases(job: dict[str, Any]) -> dict[str, Any]:
    """Measures this library, the device's peak, and ten steps against those of the CPU."""
    begin = time.perf_counter()
    import jax

    from experiments.benchmarks import jax_contestant
    from experiments.benchmarks.equality import equality

    peaks = {dtype: peak(dtype, job["quick"]) for dtype in DTYPES}
    result: dict[str, Any] = {
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "peak_tflop_per_second": peaks,
        "equality": equality(job["quick"]),
    }
    result["rows"] = _measure(lambda case: jax_contestant.program(case)[0], job, begin)
    for row in result["rows"]:
        if "images_per_second" in row:
            rate = row["images_per_second"] * work.gflop(row["network"], row["what"]) / 1e3
            row["share_of_peak"] = rate / peaks[row["dtype"]]
    return result


def _measure(
    build: Callable[[dict[str, Any]], Run], job: dict[str, Any], begin: float
) -> list[dict[str, Any]]:
    """Returns a row for each case: its rate, or why there is none."""
    rows = []
    for case in cases(job["networks"], job["batches"]):
        row = {name: case[name] for name in ("network", "what", "batch", "dtype")}
        start = time.perf_counter()
        if start - begin > job["seconds"]:
            row["left_out"] = "out of time"
        else:
            try:
                seconds = median_seconds(build(case), job["quick"])
                row["images_per_second"] = case["batch"] / seconds
                row["measuring_seconds"] = time.perf_counter() - start
            except Exception as error:  # out of memory, or a layer that PyTorch lacks
                row["left_out"] = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    return rows


def peak(dtype: str, quick: bool) -> float:
    """Returns the measured rate of a product of two square matrices, in TFLOP/s."""
    import jax
    import jax.numpy as jnp

    size = 256 if quick else PRODUCT_SIZE
    a, b = (jax.random.normal(jax.random.key(i), (size, size), dtype) for i in (0, 1))
    product = jax.jit(jnp.dot)

    def run(iterations: int) -> None:
        for _ in range(iterations):
            out = product(a, b)
        out.block_until_ready()  # pyright: ignore[reportPossiblyUnboundVariable]

    return work.gflop_of_product(size) / 1e3 / median_seconds(run, quick)


def input_pipeline(quick: bool) -> float:
    """Returns images/s of training batches of 224x224 crops, as `alexnet train` reads them."""
    size, count = (8, 16) if quick else (128, 512)
    with tempfile.TemporaryDirectory() as folder:
        split = open_dataset(pipeline.synthetic_sets(Path(folder), count)["jpeg"], 0).split("train")
        with closing(
            training_batches(
                split,
                seed=0,
                batch_size=size,
                image_size=pipeline.IMAGE_SIZE,
                augment=pipeline.AUGMENT,
            )
        ) as batches:

            def run(iterations: int) -> None:
                for _ in range(iterations):
                    next(batches)

            run(16)  # what was read ahead
            return size / median_seconds(run, quick)


def main() -> None:
    begin = time.perf_counter()
    parser = programs.parser(__doc__, RESULTS / "accelerator.json")
    parser.add_argument("--quick", action="store_true", help="a small network, few iterations")
    parser.add_argument("--seconds", type=float, default=450, help="begin nothing after this time")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="names with commas")
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    options = parser.parse_args()
    networks = ["digits"] if options.quick else options.networks.split(",")
    batches = [4] if options.quick else [int(size) for size in options.batches.split(",")]
    job = {"quick": options.quick, "networks": networks, "batches": batches}

    def measure(who: str, seconds: float) -> dict[str, Any]:
        try:
            return jobs.run(__spec__.name, job | {"who": who, "seconds": seconds})
        except jobs.JobError as error:
            return {"left_out": str(error)}

    import jax

    jax.config.update("jax_platforms", "cpu")  # this process leaves the device to the others
    rival = measure(RIVAL, RIVAL_SHARE * options.seconds)
    images = input_pipeline(options.quick)
    ours = measure(OURS, options.seconds - (time.perf_counter() - begin))
    result = {
        "environment": environment(),
        "input_pipeline_images_per_second": images,
        OURS: ours,
        RIVAL: rival,
    }
    old = read(options.output)
    if old and old[OURS].get("device") == ours.get("device"):
        for who in (name for name in (OURS, RIVAL) if "rows" in result[name]):
            result[who]["rows"] = _merged(old[who].get("rows", []), result[who]["rows"])
    write(options.output, result)


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


if __name__ == "__main__":
    if job := jobs.current():
        print(json.dumps({OURS: jax_cases, RIVAL: torch_cases}[job["who"]](job)))
    else:
        main()
