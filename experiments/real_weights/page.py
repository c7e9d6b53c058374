"""Writes the tables of this folder's README from the committed results.

python -m experiments.real_weights.page          # rewrites the tables
python -m experiments.real_weights.page --check  # exits with 1 if the README is out of date
"""

import sys
from pathlib import Path
from typing import Any

from experiments.benchmarks.records import read
from experiments.generated import made_with, rewrite, table, with_parts

README = Path(__file__).parent / "README.md"
RESULTS = Path(__file__).parent / "results" / "real_weights.json"
TARGETS = {"imagenette": 0.88, "cats_vs_dogs": 0.92}
PUBLISHED = {
    "imagenette": "none for this task; torchvision's whole network: 56.5 % of 1,000 classes",
    "cats_vs_dogs": "82.7 % (SVM, 2008), 98.9 % (OverFeat, winner of 2014), other splits",
}


def updated(text: str, results: Path = RESULTS) -> str:
    """Returns the README's text with its generated parts made anew."""
    record = read(results)
    if record is None:
        raise ValueError(f"{results.name} is missing; run experiments.real_weights.run")
    parts = {"transfer": _transfer(record), "import": _import(record), "conv1": _conv1(record)}
    return with_parts(text, parts, "experiments.real_weights.page")


def missed(record: dict[str, Any]) -> list[str]:
    """Returns a line for every target that the record misses."""
    lines = [
        f"{name}: {record['sets'][name]['trained']['test_accuracy']:.3f} < {target}"
        for name, target in TARGETS.items()
        if not record["sets"][name]["trained"]["test_accuracy"] >= target
    ]
    facts = record["import"]
    if not all(facts["bit_equal"].values()) or not facts["conv1"]["bit_equal"]:
        lines.append("the imported arrays are not those of the archive")
    lines += [
        f"{check['layer']}: {check['statistic']} {check['value']:.2f}"
        for check in facts["checks"]
        if not check["passed"]
    ]
    if "fine_tuned" in record and not record["fine_tuned"]["trunk_unchanged"]:
        lines.append("fine-tuning changed the frozen trunk")
    return lines


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _transfer(record: dict[str, Any]) -> str:
    head = ["set (training, test images)", "asked", "trained trunk", "untrained trunk", "published"]
    lines = []
    for name, target in TARGETS.items():
        found = record["sets"][name]
        images, trained = found["images"], found["trained"]
        lines.append(
            [
                f"{name} ({images['train']:,}, {images['test']:,})",
                f"{100 * target:.0f} %",
                f"**{_percent(trained['test_accuracy'])}** "
                f"(± {100 * trained['standard_error']:.1f})",
                _percent(found["untrained"]["test_accuracy"]),
                PUBLISHED[name],
            ]
        )
    under = made_with(record, RESULTS.name, ["torch"])
    return f"{table(head, lines)}\n\n{_fine_tuned(record)}{under}."


def _fine_tuned(record: dict[str, Any]) -> str:
    found = record.get("fine_tuned")
    if not found:
        return ""
    epochs = "epoch" if found["epochs"] == 1 else "epochs"
    return (
        f"fc6 to fc8 trained on the frozen trunk with the project's `train`, {found['set']}, "
        f"{found['epochs']:g} {epochs}: {_percent(found['test_accuracy_centre'][-1])} with the "
        f"centre view, {_percent(found['test_accuracy_ten_views'])} with ten; the trunk is "
        f"{'unchanged, bit by bit' if found['trunk_unchanged'] else 'CHANGED'}.\n\n"
    )


def _import(record: dict[str, Any]) -> str:
    facts = record["import"]
    statistics = list(dict.fromkeys(check["statistic"] for check in facts["checks"]))
    found = {(check["layer"], check["statistic"]): check for check in facts["checks"]}
    lines = [
        [
            layer,
            "yes" if equal else "NO",
            *(f"{found[layer, name]['value']:.2f}" for name in statistics),
        ]
        for layer, equal in facts["bit_equal"].items()
    ]
    return table(["layer", "bit equal to the archive", *statistics], lines)


def _conv1(record: dict[str, Any]) -> str:
    facts = record["import"]["conv1"]
    names = list(next(iter(facts["banks"].values())))
    lines = [
        [bank, *(f"{values[name]:.0f}" if name == "filters" else f"{values[name]:.2f}"
                 for name in names)]
        for bank, values in facts["banks"].items()
    ]  # fmt: skip
    words = "is bit equal to" if facts["bit_equal"] else "DIFFERS from"
    return (
        f"{table(['filters of conv1', *names], lines)}\n\n"
        f"conv1 as imported {words} `torchvision_kernel` and `torchvision_bias`."
    )


if __name__ == "__main__":
    rewrite({README: updated}, sys.argv)
