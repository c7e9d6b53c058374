"""How long each row of the paper's tables would take, at measured rates.

python -m experiments.imagenet.ready          # rewrites the table of the README
python -m experiments.imagenet.ready --check  # exits with 1 if it is out of date
"""

import sys
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.network.layers import summarize
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.presets import PRESETS
from experiments.benchmarks import accelerator, contestants
from experiments.benchmarks.records import RESULTS, read
from experiments.generated import rewrite, table, with_parts

README = Path(__file__).with_name("README.md")
MEASURED = "original"
"""Network whose rates were measured; others take time in proportion to their multiplications."""
IMAGES = {
    "imagenet2010": 1_261_406, "imagenet2012": 1_281_167,
    "fall2009": 8_900_000, "fall2011": 15_000_000,
}  # fmt: skip
"""Training images (paper §2, §6; of ImageNet 2010 and 2012 the published lists)."""
ONE = ("imagenet-original",)
CHAIN = ("imagenet-original", "fall-2009", "fall-2011-pretrain", "imagenet-finetune")


class Line(NamedTuple):
    """A row of the paper: where it stands, its errors, and the presets that are run for it."""

    place: str
    who: str
    test: str
    errors: str
    runs: tuple[str, ...]


_VALIDATION = "ILSVRC-2012 validation"
LINES = (
    Line("table 1", "CNN", "ILSVRC-2010 test", "37.5 / 17.0", ("imagenet-2010",)),
    Line("table 2", "1 CNN", _VALIDATION, "40.7 / 18.2", ONE),
    Line("table 2", "5 CNNs", _VALIDATION, "38.1 / 16.4 (test: – / 16.4)", 5 * ONE),
    Line("table 2", "1 CNN*", _VALIDATION, "39.0 / 16.6", CHAIN),
    Line(
        "table 2",
        "7 CNNs*",
        _VALIDATION,
        "36.7 / 15.4 (test: – / 15.3)",
        (*5 * ONE, *CHAIN[1:], CHAIN[-1]),
    ),
    Line(
        "§6",
        "CNN, six convolutions",
        "half of Fall 2009",
        "67.4 / 40.9",
        ("imagenet-original", "fall-2009"),
    ),
)


def work(preset: str) -> float:
    """Returns the images that a preset trains on in all, as if each cost what `MEASURED` does."""
    config = PRESETS[preset]

    def products(network: str) -> int:
        return sum(row.macs for row in summarize(NETWORKS[network]))

    share = products(config.network) / products(MEASURED)
    return config.epochs * IMAGES[config.data.name] * share


def rates() -> tuple[float, float, float, str]:
    """Returns images/s in training (two cores; a GPU; what its machine feeds) and the processor."""
    networks, device = read(RESULTS / "networks.json"), read(RESULTS / "accelerator.json")
    assert networks and device
    entry = networks["entries"][f"{MEASURED}/train"]
    rows = device[accelerator.OURS]["rows"]
    best = max(
        row["images_per_second"]
        for row in rows
        if (row["network"], row["what"], row["batch"]) == (MEASURED, "train", 128)
        and "left_out" not in row
    )
    cores = entry["contestants"][contestants.OURS]["rate"]
    fed = device["input_pipeline_images_per_second"]
    return cores, best, fed, networks["environment"]["processor"]


def rows() -> str:
    """Returns the table."""
    cores, device, fed, processor = rates()
    head = ["the paper", "tested on", "top-1 / top-5 (%)", "runs", "million images"]
    head += ["days, 2 cores", "hours, one H200"]
    lines = []
    for line in LINES:
        names = [f"{line.runs.count(n)} × `{n}`" for n in dict.fromkeys(line.runs)]
        images = sum(work(name) for name in line.runs)
        lines.append(
            [
                f"{line.place}, {line.who}",
                line.test,
                line.errors,
                ", ".join(names).replace("1 × ", ""),
                f"{images / 1e6:,.0f}",
                f"{images / cores / 86_400:,.0f}",
                f"{images / min(device, fed) / 3600:,.1f}",
            ]
        )
    return (
        f"{table(head, lines)}\n\nAt {cores:.1f} images/s (two cores, {processor}, float32) and "
        f"{min(device, fed):,.0f} (H200: the network takes {device:,.0f} in bfloat16, the input "
        f"pipeline on its 16 cores gives {fed:,.0f}), both measured with `{MEASURED}`; others "
        "in proportion to their multiplications. Fall 2009 and 2011 with the paper's round numbers "
        "of images, 2010 and 2012 with those of the published lists."
    )


def updated(text: str) -> str:
    """Returns the README with the table of today's records."""
    return with_parts(text, {"ready": rows()}, "experiments.imagenet.ready")


if __name__ == "__main__":
    rewrite({README: updated}, sys.argv)
