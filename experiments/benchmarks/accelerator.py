"""On a GPU or TPU: images/s of whole networks, their share of the device's peak, PyTorch beside.

    python -m experiments.benchmarks.accelerator            # eight minutes at most
    python -m experiments.benchmarks.accelerator --networks original --batches 1024
    python -m experiments.benchmarks.accelerator --quick    # small, anywhere

A run on the same device replaces what it measures in the result file and keeps the rest.

PyTorch and JAX come one after the other, each in a process of its own, so that neither holds the
memory of the other. What does not fit into the time or the memory is named in the result. The peak
is a matrix product of the same type, measured on the device: float32 as both libraries multiply it
by default in convolutions, on tensor cores with shortened mantissas (TF32) where there are any.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.data.pipeline import training_batches
from experiments.benchmarks import pipeline, work
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import RESULTS, read, write

NETWORKS = ("paper", "original", "one-weird-trick")
BATCHES = (128, 1024)
DTYPES = ("bfloat16", "float32")
WHAT = ("train", "inference")
OURS, RIVAL = "this library", "PyTorch"
TURNS, TURN_SECONDS = 5, 0.5
PRODUCT = 8192
RIVAL_SHARE = 0.3
"""Of the time, for PyTorch."""

Run = Callable[[int], None]


def cases(networks: Iterable[str], batches: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yields what is measured, the most important first."""
    for batch, network, what, dtype in itertools.product(batches, networks, WHAT, DTYPES):
        yield {"network": network, "what": what, "batch": batch, "dtype": dtype, "views": 1}


def median_seconds(run: Run, quick: bool) -> float:
    """Returns the median time of an iteration; a turn is so many as fill half a second."""
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


def _torch_cases(options: argparse.Namespace) -> dict[str, Any]:
    """Measures PyTorch: channels_last, eager, cuDNN's fastest algorithms, TF32 where allowed."""
    try:
        import torch
    except ImportError:
        return {"left_out": "PyTorch is not installed"}
    from experiments.benchmarks import torch_contestant

    if not options.quick and not torch.cuda.is_available():
        return {"left_out": "PyTorch sees no GPU"}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True

    def build(case: dict[str, Any]) -> Run:
        make = {"train": torch_contestant.training, "inference": torch_contestant.inference}
        given = {**case, "memory_format": "channels_last", "device": device}
        run = make[case["what"]](given)

        def measured(iterations: int) -> None:
            with torch.autocast(device, torch.bfloat16, enabled=case["dtype"] == "bfloat16"):
                run(iterations)
            if device == "cuda":
                torch.cuda.synchronize()

        return measured

    rows = _measure(build, options)
    return {"version": torch.__version__, "rows": rows}


def _jax_cases(options: argparse.Namespace) -> dict[str, Any]:
    """Measures this library, the device's peak, and ten steps against those of the CPU."""
    import jax

    from experiments.benchmarks import jax_contestant

    def build(case: dict[str, Any]) -> Run:
        make = {"train": jax_contestant.training, "inference": jax_contestant.inference}
        return make[case["what"]](case)[0]

    peaks = {dtype: peak(dtype, options.quick) for dtype in DTYPES}
    result: dict[str, Any] = {
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "peak_tflop_per_second": peaks,
        "equality": equality(options.quick),
    }
    result["rows"] = _measure(build, options)
    for row in result["rows"]:
        if "images_per_second" in row:
            rate = row["images_per_second"] * work.gflop(row["network"], row["what"]) / 1e3
            row["share_of_peak"] = rate / peaks[row["dtype"]]
    return result


def _measure(build: Callable[[dict[str, Any]], Run], options: Any) -> list[dict[str, Any]]:
    """Returns a row for each case: its rate, or why there is none."""
    rows = []
    for case in cases(options.networks.split(","), map(int, options.batches.split(","))):
        row = {name: case[name] for name in ("network", "what", "batch", "dtype")}
        start = time.perf_counter()
        if start - options.begin > options.seconds:
            row["left_out"] = "out of time"
        else:
            try:
                seconds = median_seconds(build(case), options.quick)
                row["images_per_second"] = case["batch"] / seconds
                row["measuring_seconds"] = time.perf_counter() - start
            except Exception as error:  # out of memory, or a layer that PyTorch lacks
                row["left_out"] = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    return rows


def peak(dtype: str, quick: bool) -> float:
    """Returns the measured rate of a product of two square matrices, in TFLOP/s.

    Args:
      dtype: of the matrices.
      quick: small ones.
    """
    import jax
    import jax.numpy as jnp

    size = 256 if quick else PRODUCT
    a, b = (jax.random.normal(jax.random.key(i), (size, size), dtype) for i in (0, 1))
    product = jax.jit(jnp.dot)

    def run(iterations: int) -> None:
        for _ in range(iterations):
            out = product(a, b)
        out.block_until_ready()  # pyright: ignore[reportPossiblyUnboundVariable]

    return work.gflop_of_product(size) / 1e3 / median_seconds(run, quick)


def equality(quick: bool) -> dict[str, Any]:
    """Returns how far ten training steps on the device are from those on the CPU, in float64.

    And logits of one batch in the usual types, as the largest difference from float64 on the CPU
    over the largest logit.

    Args:
      quick: of a small network.
    """
    import jax
    import numpy as np
    import optax

    import alexnet_jax

    network = alexnet_jax.NETWORKS["digits" if quick else "paper"]
    rng = np.random.default_rng(0)
    images = 60 * rng.standard_normal((4, network.image_size, network.image_size, 3))
    labels = rng.integers(0, network.classes, 4)
    optimizer = optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(1e-3, momentum=0.9))
    params = alexnet_jax.AlexNet(network).init(jax.random.key(0), images[:1].astype("f4"))
    params = jax.device_get(params["params"])

    with jax.enable_x64(True):
        model = alexnet_jax.AlexNet(network, np.dtype("float64"))

        @jax.jit
        def ten_steps(params, images):
            def step(carry, key):
                params, state = carry

                def loss(params):
                    logits: Any = model.apply(
                        {"params": params}, images, train=True, rngs={"dropout": key}
                    )
                    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

                value, grads = jax.value_and_grad(loss)(params)
                updates, state = optimizer.update(grads, state, params)
                return (optax.apply_updates(params, updates), state), value

            keys = jax.random.split(jax.random.key(1), 10)
            (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), keys)
            return params, losses

        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
        found = []
        for device in (jax.devices("cpu")[0], jax.devices()[0]):
            found.append(jax.device_get(ten_steps(*jax.device_put((wide, images), device))))
        (expected, losses), (ours, _) = found
        difference = max(
            float(np.abs(a - b).max() / np.abs(a).max())
            for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(ours), strict=True)
        )
        cpu = jax.device_put(({"params": wide}, images), jax.devices("cpu")[0])
        exact = np.asarray(jax.jit(model.apply)(*cpu))
    logits = {}
    for dtype, precision in itertools.product(("float32", "bfloat16"), ("default", "highest")):
        with jax.default_matmul_precision(precision):
            usual: Any = alexnet_jax.AlexNet(network, np.dtype(dtype)).apply
            out = np.asarray(jax.jit(usual)({"params": params}, images.astype("f4")))
        name = f"{dtype}, {precision} precision"
        logits[name] = float(np.abs(out - exact).max() / np.abs(exact).max())
    return {
        "network": network.name,
        "float64_parameters_after_ten_steps": difference,
        "losses": [float(losses[0]), float(losses[-1])],
        "logits": logits,
    }


def input_pipeline(quick: bool) -> float:
    """Returns images/s of whole training batches of 224x224 crops, as `alexnet train` reads them.

    Args:
      quick: few images.
    """
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


def _child(which: str, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Runs one contestant in a process of its own and returns what it found."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        command = [sys.executable, "-m", __spec__.name, "--contestant", which]
        command += ["--seconds", str(seconds), "--output", str(output)]
        command += ["--networks", options.networks, "--batches", options.batches]
        done = subprocess.run(command + ["--quick"] * options.quick, check=False)
        if not output.exists():
            return {"left_out": f"its process ended with code {done.returncode}"}
        return json.loads(output.read_text("utf-8"))


def main() -> None:
    """Measures and writes `results/accelerator.json`."""
    begin = time.perf_counter()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small network, few iterations")
    parser.add_argument("--seconds", type=float, default=450, help="begin nothing after so many")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="names with commas")
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    parser.add_argument("--output", type=Path, default=RESULTS / "accelerator.json")
    parser.add_argument("--contestant", choices=("torch", "jax"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.networks, options.batches = "digits", "4"
    options.begin = begin
    if options.contestant:
        result = {"torch": _torch_cases, "jax": _jax_cases}[options.contestant](options)
        options.output.write_text(json.dumps(result), "utf-8")
        return
    import jax

    jax.config.update("jax_platforms", "cpu")  # this process leaves the device to the others
    rival = _child("torch", options, RIVAL_SHARE * options.seconds)
    images = input_pipeline(options.quick)
    ours = _child("jax", options, options.seconds - (time.perf_counter() - begin))
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
    print(table(result))


def _merged(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows of both, the new ones instead of old ones unless they were left out."""

    def by_case(rows: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
        names = ("batch", "network", "what", "dtype")
        return {tuple(row[name] for name in names): row for row in rows}

    measured = [row for row in new if "left_out" not in row]
    return list((by_case(new) | by_case(old) | by_case(measured)).values())


def table(result: dict[str, Any]) -> str:
    """Returns the result as a Markdown table."""
    lines = [
        "| network, batch, type | training: ours | PyTorch | share of peak "
        "| inference: ours | PyTorch | share of peak |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    rates: dict[str, dict[Any, Any]] = {}
    for who in (OURS, RIVAL):
        for row in result[who].get("rows", []):
            key = f"`{row['network']}`, {row['batch']}, {row['dtype']}"
            rates.setdefault(key, {})[row["what"], who] = row
    for key, rows in rates.items():
        cells = [key]
        for what in WHAT:
            ours, theirs = (rows.get((what, who), {}) for who in (OURS, RIVAL))
            for row in (ours, theirs):
                rate = row.get("images_per_second")
                cells.append(f"{rate:,.0f}" if rate else "–")
            share = ours.get("share_of_peak")
            cells.append(f"{100 * share:.0f} %" if share else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def sentence(result: dict[str, Any]) -> str:
    """Returns the rates of the smallest batch in bfloat16 in words, PyTorch's in brackets."""
    found: dict[Any, dict[str, float]] = {}
    batch = min(row["batch"] for row in result[OURS]["rows"])
    for who in (OURS, RIVAL):
        for row in result[who].get("rows", []):
            if row["batch"] == batch and row["dtype"] == "bfloat16" and "left_out" not in row:
                rates = found.setdefault((row["network"], row["what"]), {})
                rates[who] = row["images_per_second"]
    words = []
    for (network, what), rates in found.items():
        verb = "training" if what == "train" else "inference"
        rival = f" ({rates[RIVAL]:,.0f})" if RIVAL in rates else ""
        if OURS in rates:
            words.append(f"`{network}` {verb} {rates[OURS]:,.0f}{rival}")
    return (
        f"{result[OURS]['device']}, bfloat16, batch {batch}, images/s (PyTorch): "
        f"{', '.join(words)}; [json](results/accelerator.json)."
    )


def facts(result: dict[str, Any]) -> str:
    """Returns what stands below the table: device, versions, peaks, equality, input pipeline."""
    ours, place = result[OURS], result["environment"]
    same, versions = ours["equality"], place["versions"]
    logits = ", ".join(f"{name} {value:.1e}" for name, value in same["logits"].items())
    peaks = ", ".join(
        f"{rate:,.0f} TFLOP/s {name}" for name, rate in ours["peak_tflop_per_second"].items()
    )
    cpu = f"{same['float64_parameters_after_ten_steps']:.1e}"
    pipeline_rate = f"{result['input_pipeline_images_per_second']:,.0f}"
    return (
        f"{ours['device']}; jax {versions['jax']}, torch {versions['torch']}; "
        f"{place['date'][:10]}; [json](results/accelerator.json). Images/s; –: not run for want of "
        f"time. The peak is a matrix product of the same type: {peaks}. Ten training steps of "
        f"`{same['network']}` in float64 end within {cpu} of the CPU's parameters; logits differ "
        f"from the CPU's in float64 by at most (of the largest): {logits}. The input pipeline of "
        f"that host ({place['cpu_cores']} cores) reads {pipeline_rate} JPEGs/s."
    )


if __name__ == "__main__":
    main()
