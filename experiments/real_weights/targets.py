"""What the record of real weights is compared with, and which targets it misses."""

from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "real_weights.json"
TARGETS = {"imagenette": 0.88, "cats_vs_dogs": 0.92}
PUBLISHED = {
    "imagenette": "none for this task; torchvision's whole network: 56.5 % of 1,000 classes",
    "cats_vs_dogs": "82.7 % (SVM, 2008), 98.9 % (OverFeat, winner of 2014), other splits",
}


def missed(record: dict[str, Any]) -> list[str]:
    """Returns a line for every target that the record misses."""
    lines = [
        f"{name}: {record['sets'][name]['trained']['test_accuracy']:.3f} < {target}"
        for name, target in TARGETS.items()
        if not record["sets"][name]["trained"]["test_accuracy"] >= target
    ]
    facts = record["import"]
    if not all(facts["bit_equal"].values()) or not facts["conv1"]["bit_equal"]:
        lines.append("the imported arrays differ from those of the archive")
    lines += [
        f"{check['layer']}: {check['statistic']} {check['value']:.2f}"
        for check in facts["checks"]
        if not check["passed"]
    ]
    if "fine_tuned" in record and not record["fine_tuned"]["trunk_unchanged"]:
        lines.append("fine-tuning changed the frozen trunk")
    return lines
