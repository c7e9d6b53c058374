"""Writes the tables of this folder's README from the committed results.

python -m experiments.two_towers.page          # rewrites the tables
python -m experiments.two_towers.page --check  # exits with 1 if the README is out of date
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alexnet_jax.network.layers import Network
from alexnet_jax.network.networks import NETWORKS
from experiments.benchmarks.records import read
from experiments.generated import made_with, rewrite, table, with_parts
from experiments.two_towers import traffic
from experiments.two_towers.figure import size
from experiments.two_towers.run import RESULTS

README = Path(__file__).parent / "README.md"
_MIB = 2**20


def page(text: str, results: Path = RESULTS) -> str:
    """Returns the text of the README with its generated parts made anew."""
    equality, scale = read(results / "two_towers.json"), read(results / "scale.json")
    return with_parts(text, parts(equality, scale), "experiments.two_towers.page")


def parts(equality: Any, scale: Any) -> dict[str, str]:
    """Returns every generated part of the README by its name; no results, no table."""
    makers: dict[str, tuple[Any, Callable[[Any], str]]] = {
        "equality": (equality, _equality),
        "exchanges": (equality, _exchanges),
        "scale": (scale, _scale),
    }
    return {
        name: make(record) if record else "Not run yet." for name, (record, make) in makers.items()
    }


def _equality(record: dict[str, Any]) -> str:
    steps = record["settings"]["steps"]
    head = [
        "replicas x towers",
        "loss of step 1",
        "gradients, float32",
        f"parameters after {steps} steps, float32",
        "the same, float64",
        "test: largest difference of a probability, other answers",
        "compiled",
        "collectives",
    ]
    lines = []
    for row in record["rows"]:
        single, double = row["float32"], row.get("float64")
        test = single["test"]
        alone = row is record["rows"][0]
        lines.append(
            [
                row["name"],
                f"{single['losses'][0]:.6f}",
                "–" if alone else f"{single['gradient_difference']['largest']:.1e}",
                "–" if alone else f"{single['param_difference']['largest']:.1e}",
                "–" if alone or not double else f"{double['param_difference']['largest']:.1e}",
                f"loss {test['loss']:.6f}, top-1 error {100 * test['top1_error']:.0f} %"
                if alone
                else f"{test['probability_difference']:.1g}, "
                f"{test['other_answers']} of {test['images']}",
                {1: "once"}.get(single["compiled"], f"{single['compiled']} times"),
                _collectives(single["collectives"]),
            ]
        )
    settings = record["settings"]
    what = f"`{settings['network']}`, full width, 10 classes, batch {settings['batch_size']}, rate "
    what += f"{settings['learning_rate']}, {settings['test_images']} test images"
    return "\n\n".join(
        (table(head, lines), f"{what}. {made_with(record, 'two_towers.json', ['torch'])}")
    )


def _collectives(found: dict[str, Any]) -> str:
    """Returns the collectives of a step in words."""
    counts = {
        "all-gather": len(found["forward_bytes_per_image"]),
        "reduce-scatter": len(found["backward_bytes_per_image"]),
        "gradient sum": found["gradient_sums"],
        "scalar sum": found["scalar_sums"],
        "other": len(found["others"]),
    }
    words = [f"{count} {name}{'s' * (count > 1)}" for name, count in counts.items() if count]
    return ", ".join(words) or "none"


def _exchanges(record: dict[str, Any]) -> str:
    """Returns the bytes per image between towers, by formula and in the compiled programs."""
    network = NETWORKS[record["settings"]["network"]]
    found = {row["name"]: _between(row) for row in record["rows"] if row["towers"] == 2}
    first = next(iter(found.values()))
    alike = [name for name, sizes in found.items() if sizes == first]
    left = {way: list(sizes) for way, sizes in first.items()}
    lines, total = [], {"forward": 0, "backward": 0}
    for one in traffic.exchanges(network):
        line = [f"`{one.layer}`", size(one.shape)]
        for way, expected in zip(total, (one.forward_bytes(), one.backward_bytes()), strict=True):
            total[way] += expected
            seen = expected in left[way]
            if seen:
                left[way].remove(expected)
            line += [f"{expected:,}", f"{expected:,}" if seen else "none" if expected else "0"]
        lines.append(line)
    sums = [number for way in total for number in (total[way], sum(first[way]))]
    lines.append(["all", "", *(f"{number:,.0f}" for number in sums)])
    head = ["before", "a tower's half", "activations: formula", "compiled"]
    head += ["their gradients: formula", "compiled"]
    return "\n\n".join(
        (
            table(head, lines),
            f"Compiled alike: {', '.join(alike)} ([json](results/two_towers.json)).",
            _break_even(network, sum(total.values())),
        )
    )


def _between(row: dict[str, Any]) -> dict[str, list[float]]:
    found = row["float32"]["collectives"]
    return {way: sorted(found[f"{way}_bytes_per_image"]) for way in ("forward", "backward")}


def _break_even(network: Network, sent: int) -> str:
    """Returns what two devices send as two towers and as two replicas, in words."""
    whole = traffic.gradient_bytes(network)
    return (
        f"So with a batch of 128 images each tower sends {_mib(128 * sent)} MiB a step. As two "
        f"replicas the same two devices would each send {_mib(whole)} MiB of gradients, whatever "
        f"the batch: two towers send less up to a batch of {whole // sent:,}."
    )


def _scale(record: dict[str, Any]) -> str:
    head = ["replicas x towers", "batch", "parameters, velocities (MiB)", "all arguments (MiB)"]
    head += ["temporary (MiB)", "between towers (MiB), formula / compiled"]
    head += ["gradients (MiB), formula / compiled", "scalars (bytes)", "compiling (s)"]
    blocks = []
    for dtype in dict.fromkeys(row["dtype"] for row in record["rows"]):
        lines = []
        for row in (row for row in record["rows"] if row["dtype"] == dtype):
            sizes = [_mib(row[f"{name}_bytes"]) for name in ("state", "argument", "temporary")]
            pairs = [
                " / ".join(_mib(row[f"{name}_bytes{end}"]) for end in ("_formula", ""))
                for name in ("tower", "gradient")
            ]
            batch = row["replicas"] * record["settings"]["images_per_replica"]
            mesh = f"{row['replicas']}x{row['towers']}"
            last = [str(row["scalar_bytes"]), f"{row['compile_seconds']:.0f}"]
            lines.append([mesh, f"{batch:,}", *sizes, *pairs, *last])
        blocks.append(f"`{record['settings']['network']}`, {dtype}:\n\n{table(head, lines)}")
    others = sorted({other for row in record["rows"] for other in row["others"]})
    blocks.append(f"Other collectives: {', '.join(others) or 'none'}.")
    return "\n\n".join([*blocks, made_with(record, "scale.json", ["torch"])])


def _mib(count: int) -> str:
    return f"{count / _MIB:,.1f}"


if __name__ == "__main__":
    rewrite({README: page}, sys.argv)
