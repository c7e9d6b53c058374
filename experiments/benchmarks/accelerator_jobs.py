"""The two processes that `accelerator` starts: this library, and PyTorch, alone on the device.

Each prints one line of JSON for each piece as soon as it is measured: `{"row": …}` for a case, or
facts of the result, so that nothing is lost of a process that is ended for lack of time.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from experiments.benchmarks import jobs, peaks, work

OURS, RIVAL = "this library", "PyTorch"
DTYPES = ("bfloat16", "float32")
CASE = ("network", "what", "batch", "dtype")
TURNS, TURN_SECONDS = 5, 0.5
PRODUCT_SIZE = 8192
EQUALITY_SECONDS = 60.0  # about what it takes

Run = Callable[[int], None]
Pieces = Iterator[dict[str, Any]]


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


def torch_pieces(job: dict[str, Any]) -> Pieces:
    """Measures PyTorch: channels_last, eager, cuDNN's fastest algorithms, TF32 where allowed."""
    try:
        import torch
    except ImportError:
        yield {"left_out": "PyTorch is not installed"}
        return
    from experiments.benchmarks import torch_contestant

    if not job["quick"] and not torch.cuda.is_available():
        yield {"left_out": "PyTorch sees no GPU"}
        return
    yield {"version": torch.__version__}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True

    def rate(case: dict[str, Any]) -> dict[str, Any]:
        run = torch_contestant.program(case | {"memory_format": "channels_last", "device": device})

        def measured(iterations: int) -> None:
            with torch.autocast(device, torch.bfloat16, enabled=case["dtype"] == "bfloat16"):
                run(iterations)
            if device == "cuda":
                torch.cuda.synchronize()

        return {"images_per_second": case["batch"] / median_seconds(measured, job["quick"])}

    yield from rows(job, rate)


def jax_pieces(job: dict[str, Any]) -> Pieces:
    """Measures this library, the device's peak, and ten steps against those of the CPU."""
    import jax

    from experiments.benchmarks import jax_contestant

    device, platform = jax.devices()[0].device_kind, jax.default_backend()
    yield {"device": device, "platform": platform}
    if platform == "cpu" and not job["quick"]:
        return
    measured = {dtype: peak(dtype, job["quick"]) for dtype in DTYPES}
    yield {"peak_tflop_per_second": measured}
    closer: list[Any] = []  # the program of the last row, if it is to be looked at closer

    def rate(case: dict[str, Any]) -> dict[str, Any]:
        if case["what"] == "train":
            steps = jax_contestant.training_steps(case)
            closer.extend([steps] if case["closer"] else [])
            run = steps.run
        else:
            run, _ = jax_contestant.inference(case)
        rate = case["batch"] / median_seconds(run, job["quick"])
        gflop = rate * work.gflop(case["network"], case["what"])
        return {
            "images_per_second": rate,
            "share_of_peak": gflop / 1e3 / measured[case["dtype"]],
            "share_of_card": peaks.share(device, case["dtype"], gflop),
        }

    for piece in rows(job, rate):
        yield piece
        if closer and "images_per_second" in piece["row"]:
            yield from _look_closer(closer[0], piece["row"], job)
        closer.clear()
    if job["quick"] or time.time() + EQUALITY_SECONDS < job["deadline"]:
        from experiments.benchmarks.equality import equality

        yield {"equality": equality(job["quick"])}


def _look_closer(steps: Any, row: dict[str, Any], job: dict[str, Any]) -> Pieces:
    """Yields the profile of a training step, and its rates when it is fed from the disk."""
    from experiments.benchmarks import accelerator_profile

    parts: list[tuple[str, dict[str, Any], Callable[[], dict[str, Any]]]] = [
        ("profile", {}, lambda: accelerator_profile.of_a_step(steps.run, steps.compiled))
    ]
    for store, path in job["sets"].items():
        parts.append(
            ("fed", {"store": store}, lambda path=path: _fed(steps, row, Path(path), job["quick"]))
        )
    for name, facts, measure in parts:
        facts = {key: row[key] for key in CASE} | facts
        try:
            in_time = time.time() < job["deadline"]
            found = measure() if in_time else {"left_out": "out of time"}
        except Exception as error:
            found = {"left_out": _words(error)}
        yield {name: facts | found}


def _fed(steps: Any, case: dict[str, Any], path: Path, quick: bool) -> dict[str, Any]:
    """Returns images/s of reading alone, and of reading and training, as `alexnet train` does."""
    from alexnet_jax.data.dataset import open_dataset
    from alexnet_jax.data.pipeline import device_prefetch, training_batches, usable_cores
    from alexnet_jax.network import placement

    rate = case["images_per_second"]
    size, split = case["batch"], open_dataset(path, 0).split("train")
    ahead = usable_cores() + 4  # what lies ready or is being made

    def batches() -> Any:
        return training_batches(
            split,
            seed=0,
            batch_size=size,
            image_size=work.image_size(case["network"]),
            augment=work.experiment(case["network"]).augment,
        )

    def median(take: Run) -> float:
        """Of turns without a pause, as long as all that was read ahead."""
        take(2 if quick else ahead)
        times = []
        for _ in range(1 if quick else 3):
            start = time.perf_counter()
            count = 2 if quick else max(ahead // 2, round(rate / size))  # about a second
            take(count)
            times.append((time.perf_counter() - start) / count)
        return size / statistics.median(times)

    with closing(batches()) as read:
        alone = median(lambda count: _take(read, count))
    putter = placement.batch_putter(None, size)
    with closing(device_prefetch(batches(), put=putter)) as read:
        fed = median(lambda count: steps.run(count, read))
    return {
        "cpu_cores": usable_cores(),
        "step_images_per_second": rate,
        "pipeline_images_per_second": alone,
        "fed_images_per_second": fed,
        "fed_of_step": fed / rate,
    }


def _take(batches: Iterator[Any], count: int) -> None:
    for _ in range(count):
        next(batches)


def rows(job: dict[str, Any], rate: Callable[[dict[str, Any]], dict[str, Any]]) -> Pieces:
    """Yields a row for each case: its rate, or why there is none."""
    for case in job["cases"]:
        row = {name: case[name] for name in CASE}
        left, start = job["deadline"] - time.time(), time.perf_counter()
        if left < case["expected_seconds"]:
            row["left_out"] = "out of time"
        else:
            try:
                row |= rate(case)
                row["measuring_seconds"] = time.perf_counter() - start
            except Exception as error:  # out of memory, or a layer that PyTorch lacks
                row["left_out"] = _words(error)
        yield {"row": row}


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"


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


if __name__ == "__main__":
    job = jobs.current()
    assert job is not None, "started by experiments.benchmarks.accelerator"
    for piece in {OURS: jax_pieces, RIVAL: torch_pieces}[job["who"]](job):
        print(json.dumps(piece), flush=True)
