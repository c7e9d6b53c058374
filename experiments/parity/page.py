"""Writes the tables of this folder's README from the committed results.

python -m experiments.parity.page          # rewrites the tables
python -m experiments.parity.page --check  # exits with 1 if the README is out of date
"""

import math
import sys
from pathlib import Path
from typing import Any

from alexnet_jax.network.layers import summarize
from alexnet_jax.network.networks import NETWORKS
from experiments.benchmarks.records import read
from experiments.generated import made_with, rewrite, table, with_parts

README = Path(__file__).parent / "README.md"
RESULTS = Path(__file__).parent / "results" / "parity.json"
_LIST = (
    (("paper",), "as printed: α = 1e-4 undivided, N(0, 0.01²) everywhere"),
    (
        ("original",),
        "run 145: conv1 → LRN → pool → ReLU, α/n = 2e-5, 0.03 initial weights in conv3–5, `rnorm` "
        "in block 2",
    ),
    (("caffenet", "bvlc-alexnet"), "Caffe's two"),
    (("one-weird-trick", "one-weird-trick-2014"), "torchvision's, cuda-convnet2's"),
    (
        ("one-tower", "one-tower-adaptive"),
        "what courses draw: one GPU, no groups; the second pools to 6 x 6, so that any image size "
        "has the same weights",
    ),
    (
        ("one-tower-half", "non-overlapping", "no-lrn", "no-talk"),
        "the ablations of §3 (runs 145-half, 147, 148, 150)",
    ),
    (
        ("six-conv", "six-conv-2009", "six-conv-2011"),
        "run 146 with 1,000, 10,184 and 21,843 classes",
    ),
    (
        ("cifar-13pct", "cifar-11pct", "cifar-18pct", "cifar-19pct", "cifar-80sec"),
        "the CIFAR-10 nets",
    ),
    (
        ("figure1-relu", "figure1-tanh", "figure1-sigmoid"),
        "a four-layer net for Figure 1 (the paper does not name it)",
    ),
    (
        ("cifar-alexnet", "cifar-alexnet-one-tower"),
        "the paper's eight layers for 32x32, with two towers and with one",
    ),
    (("miniature",), "the paper's eight layers in small, for claims: 24x24"),
    (("digits",), "the paper's network in small, for digits"),
)
"""Every network, and what it is."""
_QUANTITIES = ("logits", "image gradient", "kernel gradients", "bias gradients")


def updated(text: str, results: Path = RESULTS) -> str:
    """Returns the README's text with its generated parts made anew."""
    record = read(results)
    if record is None:
        raise ValueError(f"{results.name} is missing; run experiments.parity.run")
    makers = {
        "networks": _networks,
        "layers": _layers,
        "steps": _steps,
        "round trips": _round_trips,
        "environment": _environment,
    }
    parts = {name: make(record) for name, make in makers.items()} | {"list": _list()}
    return with_parts(text, parts, "experiments.parity.page")


def _list() -> str:
    """Returns the table of all networks, with their parameters."""
    lines = []
    for names, what in _LIST:
        counts = [sum(row.params for row in summarize(NETWORKS[name])) for name in names]
        told = [f"{count:,}" for count in counts]
        name = ", ".join(f"`{name}`" for name in names)
        lines.append([name, what, told[0] if len(set(told)) == 1 else "; ".join(told)])
    return table(["name", "what", "parameters"], lines)


def largest(differences: dict[str, Any]) -> float:
    """Returns the largest number in a row of differences; infinity where one is not finite."""
    numbers = [value for value in differences.values() if isinstance(value, float)]
    return max(number if math.isfinite(number) else math.inf for number in numbers)


def missed(record: dict[str, Any]) -> list[str]:
    """Returns a line for every target that the record misses."""
    lines = []
    for rows, key in ((record["networks"], "network"), (record["layers"], "name")):
        for row in rows:
            for dtype, target in record["targets"].items():
                if not largest(row[dtype]) <= target:
                    lines.append(f"{row[key]}, {dtype}: {largest(row[dtype]):.1e} > {target:g}")
    for row in record["steps"]:
        found = {key: row[key] for key in ("losses", "parameters", "velocities")}
        if not largest(found) <= record["targets"]["float64"] or not row["conv1 rests from step 6"]:
            lines.append(f"ten steps of {row['network']}: {largest(found):.1e}")
    for row in record["round_trips"]:
        if not row.get("bit_equal", row.get("difference", 1) <= record["targets"]["float32"]):
            lines.append(f"round trip {row['way']}")
    return lines


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"


def _networks(record: dict[str, Any]) -> str:
    head = ["network", "precision", *_QUANTITIES, "worst layers (kernel, bias)"]
    lines = []
    for row in record["networks"]:
        for dtype in record["targets"]:
            found = row[dtype]
            name = f"`{row['network']}`" if dtype == "float32" else ""
            worst = f"{found['worst kernel']}, {found['worst bias']}"
            numbers = [_number(found[quantity]) for quantity in _QUANTITIES]
            lines.append([name, dtype, *numbers, worst])
    best = {
        dtype: max(largest(row[dtype]) for row in record["networks"]) for dtype in record["targets"]
    }
    yardstick = max(largest(row["PyTorch float32 to float64"]) for row in record["networks"])
    return (
        f"{table(head, lines)}\n\n"
        f"Largest of all: float32 {best['float32']:.1e}, float64 {best['float64']:.1e}. "
        f"As a yardstick, PyTorch in float32 differs from PyTorch in float64 by up to "
        f"{yardstick:.1e}. {_draws(record)}\n\n{_decisions(record)}"
    ).rstrip()


def _draws(record: dict[str, Any]) -> str:
    """Returns how often float32 takes another way than float64, among all draws of images."""
    rows, target = record["draws"]["rows"], record["targets"]["float32"]
    counts = [sum(row[side] > target for row in rows) for side in ("PyTorch", "ours")]
    worst = [max(row[side] for row in rows) for side in ("PyTorch", "ours")]
    return (
        f"All {len(rows)} draws of images for `{record['draws']['network']}`, float32 against "
        f"PyTorch's float64: PyTorch's differs by more than {target:g} in {counts[0]} (at most "
        f"{worst[0]:.1e}), ours in {counts[1]} (at most {worst[1]:.1e}); see decisions, below."
    )


def _decisions(record: dict[str, Any]) -> str:
    """Returns the decisions that differ where float32 is beyond its target."""
    head = [
        *("network", "draw", "largest difference", "layer", "other decisions"),
        "float64 of the first: chosen, right",
    ]
    drawn = record["draws"]
    beyond = [
        (row["network"], passed["draw"], passed["float32"], passed["layers"])
        for row in record["networks"]
        for passed in row.get("passed over", [])
    ]
    beyond += [
        (drawn["network"], draw, row["ours"], row["layers"])
        for draw, row in enumerate(drawn["rows"])
        if "layers" in row
    ]
    lines = []
    for name, draw, difference, layers in beyond:
        for found in layers or [{"layer": "none", "others": 0, "decisions": 0, "values": []}]:
            counts = f"{found['others']} of {found['decisions']:,}"
            values = ", ".join(f"{value:.9g}" for value in found["values"])
            lines.append(
                [f"`{name}`", str(draw), _number(difference), found["layer"], counts, values]
            )
    return table(head, lines) if lines else ""


def _layers(record: dict[str, Any]) -> str:
    names = ("output", "image gradient", "kernel gradient", "bias gradient")
    lines = []
    for row in record["layers"]:
        pairs = [
            " / ".join(_number(row[dtype][name]) for dtype in record["targets"])
            if name in row["float32"]
            else "–"
            for name in names
        ]
        lines.append([row["name"], *pairs])
    return table(["layer alone (float32 / float64)", *names], lines)


def _steps(record: dict[str, Any]) -> str:
    head = [
        *("network", "gradients by", "losses", "parameters", "velocities"),
        *("conv1 rests", "control: rate outside the velocity"),
    ]
    lines = [
        [
            f"`{row['network']}`, narrow",
            row["gradients"],
            *(_number(row[key]) for key in ("losses", "parameters", "velocities")),
            "yes" if row["conv1 rests from step 6"] else "NO",
            _number(row["parameters, rate outside the velocity"]),
        ]
        for row in record["steps"]
    ]
    return table(head, lines)


def _round_trips(record: dict[str, Any]) -> str:
    lines = []
    for row in record["round_trips"]:
        if "difference" in row:
            result = f"largest difference {_number(row['difference'])}"
        else:
            result = "bit equal" if row["bit_equal"] else "DIFFERENT"
        lines.append([row["way"], result])
    return table(["way", "result"], lines)


def _environment(record: dict[str, Any]) -> str:
    commit = f"; commit {record['environment']['commit']}; [json]"
    return f"{made_with(record, 'parity.json')}.".replace("; [json]", commit)


if __name__ == "__main__":
    rewrite({README: updated}, sys.argv)
