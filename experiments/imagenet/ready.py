"""How long each row of the paper's tables would take, at measured rates."""

from typing import NamedTuple

from alexnet_jax.network.layers import summarize
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.presets import PRESETS
from experiments.benchmarks import accelerator, contestants
from experiments.benchmarks.records import RESULTS, read

MEASURED = "original"
"""The network whose rates were measured; the time of others is in proportion to their products."""
IMAGES = {
    "imagenet2010": 1_261_406, "imagenet2012": 1_281_167,
    "fall2009": 8_900_000, "fall2011": 15_000_000,
}  # fmt: skip
"""Training images (paper §2, §6; of ImageNet 2010 and 2012 the published lists)."""
ONE = ("imagenet-original",)
CHAIN = ("imagenet-original", "fall-2009", "fall-2011-pretrain", "imagenet-finetune")


class Readiness(NamedTuple):
    """A row of the paper's tables: its place, its errors, and the presets of its runs."""

    place: str
    who: str
    test: str
    errors: str
    runs: tuple[str, ...]


_VALIDATION = "ILSVRC-2012 validation"
LINES = (
    Readiness("table 1", "CNN", "ILSVRC-2010 test", "37.5 / 17.0", ("imagenet-2010",)),
    Readiness("table 2", "1 CNN", _VALIDATION, "40.7 / 18.2", ONE),
    Readiness("table 2", "5 CNNs", _VALIDATION, "38.1 / 16.4 (test: – / 16.4)", 5 * ONE),
    Readiness("table 2", "1 CNN*", _VALIDATION, "39.0 / 16.6", CHAIN),
    Readiness(
        "table 2",
        "7 CNNs*",
        _VALIDATION,
        "36.7 / 15.4 (test: – / 15.3)",
        (*5 * ONE, *CHAIN[1:], CHAIN[-1]),
    ),
    Readiness(
        "§6",
        "CNN, six convolutions",
        "half of Fall 2009",
        "67.4 / 40.9",
        ("imagenet-original", "fall-2009"),
    ),
)


def work(preset: str) -> float:
    """Returns the images of a whole training, weighted by their cost relative to `MEASURED`."""
    config = PRESETS[preset]

    def products(network: str) -> int:
        return sum(row.macs for row in summarize(NETWORKS[network]))

    share = products(config.network) / products(MEASURED)
    return config.epochs * IMAGES[config.data.name] * share


def work_of(line: Readiness) -> float:
    return sum(work(name) for name in line.runs)


def rates() -> tuple[float, float, float, str]:
    """Returns images/s (training on two cores, on a GPU; its input pipeline) and the processor."""
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


def runs_text(line: Readiness) -> str:
    """Returns the presets of a row, e.g. "2 × `imagenet-finetune`"."""
    counts = {name: line.runs.count(name) for name in dict.fromkeys(line.runs)}
    return ", ".join(f"{n} × `{name}`" if n > 1 else f"`{name}`" for name, n in counts.items())
